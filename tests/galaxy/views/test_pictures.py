"""Pictures of constellations and devices: whole, and by the names of the API."""

import msgspec
from msgspec import Raw

from galaxy.core.attempt import Candidate
from galaxy.core.constellation import Constellation
from galaxy.core.events import ConstellationEvent, ConstellationSubmitted, LineJudged, StarLeased, StarReported
from galaxy.core.fleet import Device, Presence
from galaxy.core.star import Line, Star, Verify, When
from galaxy.views import pictures
from protocol.vocabulary import Effect, Failure, Kind, Outcome, Profile
from tests.galaxy.api.devices import spec

A, B, SPARE = Star("a", "work"), Star("b", "work"), Star("spare", "work")


def lived(*events: ConstellationEvent, stars: tuple[Star, ...] = (A,), lines: tuple[Line, ...] = ()) -> Constellation:
    made = Constellation("c")
    made.apply(ConstellationSubmitted(at=1.0, constellation="c", name="plan", stars=stars, lines=lines, by="api"))
    for event in events:
        made.apply(event)
    return made


def leased() -> StarLeased:
    at_it = (Candidate("laptop", 0.00049, 0, 1),)
    return StarLeased(
        at=2.0,
        constellation="c",
        star="a",
        attempt=1,
        device="laptop",
        effect=Effect.ONCE,
        candidates=at_it,
        refused={"phone": "no such tool"},
    )


def reported(outcome: Outcome = Outcome.SUCCEEDED, failure: Failure | None = None) -> StarReported:
    result = Raw(b'{"n":1}') if failure is None else Raw(b"null")
    return StarReported(
        at=3.0, constellation="c", star="a", attempt=1, device="laptop", outcome=outcome, result=result, failure=failure
    )


def test_a_star_is_shown_as_written_with_all_its_defaults():
    shown = pictures.star(lived(), lived().courses["a"], None)

    assert shown["needs"] == {"tools": (), "labels": {}, "device": ""}
    assert shown["retry"] == {"attempts": 3, "backoff_s": 1.0, "factor": 2.0, "cap_s": 60.0, "jitter": True}
    assert (shown["state"], shown["attempts"], shown["result"], shown["wait"]) == ("ready", [], None, None)


NOT_WEIGHED = {"runs_s": 0.0, "moves_s": 0.0, "behind_s": 0.0, "burden_s": 0.0, "burden": None}


def test_an_attempt_is_shown_with_why_it_was_made_there():
    made = lived(leased(), reported())
    (attempt,) = pictures.star(made, made.courses["a"], None)["attempts"]

    assert attempt == {
        "number": 1,
        "device": "laptop",
        "purpose": "run",
        "effect": "once",
        "leased_at": 2.0,
        "accepted_at": None,
        "ended_at": 3.0,
        "outcome": "succeeded",
        "failure": None,
        "ran_s": 0.0,
        "note": None,
        "fraction": None,
        "beside": None,
        "stopping": None,
        "stopping_at": None,
        "unconfirmed": False,
        "late": None,
        "placement": {
            "candidates": [{"device": "laptop", "starts_in_s": 0.0, "held": 0, "slots": 1, **NOT_WEIGHED}],
            "refused": {"phone": "no such tool"},
        },
        "tools": (),
    }


def test_a_failure_says_who_made_up_for_it():
    broken = Failure("broken", "it is broken")
    lines = (Line("a", "spare", When.FAILURE),)
    made = lived(leased(), reported(Outcome.FAILED, broken), stars=(A, SPARE), lines=lines)
    shown = pictures.brief(made)

    assert shown["failures"] == [{"star": "a", "failure": broken, "handled_by": None}]
    assert shown["counts"] == {"failed": 1, "ready": 1}


def test_a_line_says_whether_its_condition_held_and_why_that_could_not_be_told():
    condition = Line("a", "b", When.CONDITION, "result.n > 1")
    judged = LineJudged(at=4.0, constellation="c", source="a", target="b", met=False, error="no n")
    before = lived(leased(), reported(), stars=(A, B), lines=(condition,))
    after = lived(leased(), reported(), judged, stars=(A, B), lines=(condition,))

    assert [(line["met"], line["error"]) for line in pictures.constellation(before, None)["lines"]] == [(None, None)]
    assert [(line["met"], line["error"]) for line in pictures.constellation(after, None)["lines"]] == [(False, "no n")]


def test_a_whole_picture_can_be_written_as_json_with_what_devices_said_as_they_said_it():
    verified = Star("v", "work", verify=Verify("look", "result.ok", Raw(b'{"x":1}')))
    made = lived(leased(), reported(), stars=(A, verified))
    text = msgspec.json.encode(pictures.constellation(made, None))

    assert b'"result":{"n":1}' in text
    assert b'"verify":{"tool":"look","happened":"result.ok","arguments":{"x":1}}' in text


def test_a_device_is_shown_before_it_has_said_anything_and_after():
    device = Device("laptop", "key", 1.0, since=1.0)
    joined = pictures.device(device, 0)
    device.profile = Profile(Kind.DESKTOP, 2, (spec("work"),), {"room": "attic"}, "agent/1")
    device.presence = Presence.CONNECTED
    here = pictures.device(device, 1)

    assert (joined["kind"], joined["slots"], joined["tools"]) == (None, 0, [])
    assert "key" not in str(here)
    assert (here["kind"], here["held"], here["slots"], here["labels"]) == ("desktop", 1, 2, {"room": "attic"})
    assert [tool["name"] for tool in here["tools"]] == ["work"]
