"""What commands show of a constellation while it runs, put together from a picture and the events after it."""

from typing import Any

from galaxy.cli.progress import Watched


def picture(*stars: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "name": "the plan", "state": "running", "stars": list(stars)}


def star(star_id: str, **more: Any) -> dict[str, Any]:
    nothing = {"failure": None, "cause": None, "stopping": None, "wait": None, "attempts": []}
    return {"id": star_id, "state": "waiting", **nothing, **more}


def watched(*stars: dict[str, Any]) -> Watched:
    watched = Watched("c")
    watched.look(picture(*(stars or (star("a"),))))
    return watched


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "star": "a", "attempt": 1, "device": "laptop", **more}


def test_a_star_is_told_from_its_lease_to_its_end():
    seen = watched()
    told = [
        seen.hear(event("star_leased")),
        seen.hear(event("star_accepted")),
        seen.hear(event("star_progressed", note="half")),
        seen.hear(event("star_reported", outcome="succeeded", ran_s=1.5)),
        seen.hear({"kind": "constellation_ended", "state": "succeeded"}),
    ]

    assert told == [
        "a: attempt 1 on laptop",
        "",
        "",
        "a: succeeded on laptop in 1.50 s",
        "the plan: succeeded",
    ]
    line = seen.stars["a"]
    assert (line.state, line.device, line.attempts, line.ran_s, line.remark) == ("succeeded", "laptop", 1, 1.5, "")
    assert seen.state == "succeeded"


def test_a_failure_is_told_by_the_first_and_the_last_line_of_its_message():
    seen = watched()
    failure = {"code": "x", "message": "  broken\ntraceback\nin the end\n"}

    told = seen.hear(event("star_reported", outcome="failed", failure=failure, ran_s=0.5))
    assert told == "a: failed on laptop: broken ... in the end"
    assert (seen.stars["a"].state, seen.stars["a"].remark) == ("ready", "broken ... in the end")


def test_a_report_without_a_failure_is_told_by_its_outcome():
    assert watched().hear(event("star_reported", outcome="cancelled")) == "a: cancelled on laptop: cancelled"


def test_a_lost_lease_leaves_its_star_ready_and_a_failed_star_has_failed():
    seen = watched(star("a"), star("b"))
    lost = seen.hear(event("lease_ended", cause="lost", failure={"message": "gone"}))
    failed = seen.hear(event("star_failed", star="b", failure={"message": "nobody can"}))

    assert (lost, failed) == ("a: lost: gone", "b: failed: nobody can")
    assert (seen.stars["a"].state, seen.stars["b"].state) == ("ready", "failed")


def test_time_that_the_picture_counted_already_is_not_counted_again():
    attempts = [{"number": 1, "device": "laptop", "ran_s": 2.0}, {"number": 2, "device": "tower", "ran_s": 1.0}]
    seen = watched(star("a", state="succeeded", attempts=attempts))
    seen.hear(event("star_reported", outcome="failed", failure={"message": "x"}, ran_s=2.0))
    seen.hear(event("star_reported", attempt=2, outcome="succeeded", ran_s=1.0))

    assert seen.stars["a"].ran_s == 3.0


def test_stars_that_an_edit_brings_and_takes_are_shown_and_not():
    seen = watched(star("a"), star("b"))
    operations = [
        {"op": "add_star", "star": {"id": "c"}},
        {"op": "supersede", "id": "a", "star": {"id": "d"}},
        {"op": "remove_star", "id": "b"},
        {"op": "skip", "id": "c"},
        {"op": "add_line", "line": {"source": "a", "target": "c"}},
    ]
    told = seen.hear({"kind": "constellation_edited", "by": "api", "edit": {"operations": operations, "reason": "why"}})

    assert told == "edited by api: why"
    assert {line.id: line.state for line in seen.stars.values()} == {"a": "waiting", "c": "skipped", "d": "waiting"}
    assert seen.hear(event("star_leased", star="d")) == "d: attempt 1 on laptop"


def test_a_condition_is_told_with_the_reason_why_it_could_not_be():
    seen = watched()
    judged = {"kind": "line_judged", "source": "a", "target": "b"}

    assert seen.hear({**judged, "met": True}) == "a -> b: the condition holds"
    assert seen.hear({**judged, "met": False, "error": "no"}) == "a -> b: the condition does not hold (no)"


def test_what_is_about_nothing_known_is_passed_over():
    seen = watched()

    assert seen.hear(event("star_leased", star="x")) == ""
    assert seen.hear({"kind": "of_a_later_galaxy"}) == ""


def test_a_picture_says_why_a_star_waits_or_ended():
    seen = watched(
        star("waits", wait={"reason": "every device is full"}),
        star("skipped", state="skipped", cause="a failed"),
        star("stopping", state="running", stopping="enough"),
        star("failed", state="failed", failure={"message": "broken\nbadly"}),
        star("done", state="succeeded", failure={"message": "an earlier one"}),
    )

    assert {line.id: line.remark for line in seen.stars.values()} == {
        "waits": "every device is full",
        "skipped": "a failed",
        "stopping": "stopping: enough",
        "failed": "broken ... badly",
        "done": "",
    }
