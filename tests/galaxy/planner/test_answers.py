"""From a model's words to an edit: what is taken, what is refused, and that every mistake is named."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from galaxy.core.edit import AddLine, AddStar, Edit, RemoveLine, RemoveStar, Retry, Skip, Supersede, UpdateStar, drafted
from galaxy.core.goal import Done, GiveUp, Grant
from galaxy.core.star import INSTRUCT, Binding, Line, OnSuccess, Star, Verify, When
from galaxy.core.states import FAILED, READY, RUNNING, SUCCEEDED, WAITING
from galaxy.planner.answer_schema import Json, menu_of, plan_schema, revise_schema
from galaxy.planner.answers import BadAnswer, as_constellation, plan_from, revision_from
from galaxy.planner.contract import StarView, View
from galaxy.planner.schema_check import mistakes_in
from protocol.vocabulary import Effect, Failure

from .replay import completed
from .sky import DEVICES, TOOLS, a_star, a_view, device, fleet, seen, spec

LOST = Failure("not_found", "no such file")
RESULT = Raw(b'{"path": "a", "size": 1, "bytes": 1, "content": "x"}')


def held(name: str, **more: Any) -> StarView:
    return seen(more.pop("star", a_star(name)), READY, failure_held=True, failure=LOST, device="desk", **more)


VIEW = a_view(
    seen(a_star("fetched"), SUCCEEDED, result=RESULT, device="desk"),
    held("lost"),
    seen(a_star("busy"), RUNNING, device="atlas"),
    seen(a_star("later"), WAITING, sources=(Line("lost", "later"),)),
    seen(a_star("gone"), FAILED, failure=LOST, device="rig"),
)

EMPTY = a_view()


def value(name: str, given: Any) -> Json:
    return {"name": name, "value": msgspec.json.encode(given).decode()}


def step(tool: str = "file.read", *arguments: Json, **more: Any) -> Json:
    return {"name": "new", "tool": tool, "arguments": list(arguments) or [value("path", "a")], **more}


def plan(view: View = EMPTY, /, steps_max: int = 3, **steps: Any) -> Edit:
    """Return what becomes of an answer to a goal; what it leaves out is filled in as a model would."""
    menu = menu_of(view, steps_max)
    schema = plan_schema(menu)
    answer = completed({"thought": "", "steps": steps}, schema, schema)
    return plan_from(msgspec.json.encode(answer).decode(), schema, view, menu)


def revise(decision: str = "edit", view: View = VIEW, **said: Any) -> Any:
    menu = menu_of(view, 3)
    schema = revise_schema(menu)
    answer = {"thought": "", "decision": decision, "reason": "so", "add": {}, **said}
    return revision_from(msgspec.json.encode(completed(answer, schema, schema)).decode(), schema, view, menu)


def operations(*arguments: Any, **more: Any) -> Any:
    return list(revise(*arguments, **more).operations)


def mistakes(made: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(BadAnswer) as raised:
        made(*arguments, **more)
    return "\n".join(raised.value.mistakes)


def test_steps_become_stars_with_names_bindings_lines_and_policies():
    edit = plan(
        s1=step(name="Read the notes!"),
        s2=step(
            "file.write",
            value("path", "b"),
            {"name": "content", "from": "s1", "pointer": "/content"},
            name="copy",
            device="rig",
            after=[{"star": "s1", "when": "condition", "condition": "result.size > 1"}],
            needs_approval=True,
            ask_after=True,
        ),
    )

    read, copy, line = edit.operations
    assert isinstance(read, AddStar)
    assert isinstance(copy, AddStar)
    assert (read.star.id, copy.star.bindings) == ("read-the-notes", (Binding("read-the-notes", "/content"),))
    assert (copy.star.needs.device, copy.star.on_success) == ("rig", OnSuccess.CONSULT)
    assert copy.star.needs_approval
    assert line == AddLine(Line("read-the-notes", "copy", When.CONDITION, "result.size > 1"))


def test_two_steps_of_one_name_get_ids_of_their_own():
    assert [one.star.id for one in plan(s1=step(), s2=step(), s3=step(name="$$$")).operations] == [
        "new",
        "new-2",
        "s3-2",
    ]  # type: ignore[union-attr]


def test_bindings_deep_within_a_value_are_followed_and_renamed():
    argv = ["echo", {"$from": "s1", "pointer": "/content"}]
    edit = plan(s1=step(name="source"), s2=step("shell.run", value("argv", argv)))

    assert edit.operations[1].star.bindings == (Binding("source", "/content"),)  # type: ignore[union-attr]


def test_text_without_its_quotes_is_taken_where_only_text_can_be_meant():
    raw = [{"name": "path", "value": "notes.txt"}, {"name": "content", "value": "42"}]
    star = plan(s1=step("file.write", *raw)).operations[0].star  # type: ignore[union-attr]

    assert msgspec.json.decode(star.arguments) == {"path": "notes.txt", "content": "42"}


def test_json_within_a_fence_is_read_all_the_same():
    menu = menu_of(a_view(), 1)
    text = '```json\n{"thought": "", "steps": {"s1": null}}\n```'

    assert mistakes(plan_from, text, plan_schema(menu), a_view(), menu).startswith("there are no steps")


@pytest.mark.parametrize("text", ["", "no", "[]", '{"thought": 1}', "[" * 100_000, '{"a": NaN}', '"\\ud800"'])
def test_what_is_no_answer_at_all_is_a_mistake_and_not_a_crash(text: str):
    menu = menu_of(a_view(), 1)

    assert mistakes(plan_from, text, plan_schema(menu), a_view(), menu)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (step("file.reed"), "file.reed"),
        (step(device="vault"), "vault"),
        (step("shell.run", value("argv", ["ls"]), device="rig"), "rig has no tool shell.run; desk, atlas can do it"),
        (step("file.read", value("path", "a"), value("limit", "x")), '"x" is not integer'),
        (step("file.read", value("path", "a"), value("limit", 0)), "minimum 1"),
        (step("file.read", value("path", "a"), value("mode", 1)), 'there is no "mode"'),
        (step("file.read", value("offset", 1)), "path is missing"),
        (step("file.read", {"name": "limit", "value": "{"}, value("path", "a")), "not JSON"),
        (step("file.read", value("path", "a"), value("path", "b")), "given twice"),
        (step("file.read", value("path", {"$from": "nobody", "pointer": ""})), '"nobody"'),
        (step("file.read", value("path", {"$from": "s1", "pointer": ""})), '"s1"'),
        (step("file.read", value("path", "a"), budget=1_000), "budget"),
    ],
)
def test_a_step_that_cannot_work_is_refused_with_the_reason(wrong: Json, said: str):
    assert said in mistakes(plan, s1=wrong)


def test_a_pointer_that_no_result_can_have_is_refused_before_anything_runs():
    taken = {"name": "path", "from": "s1", "pointer": "/contents"}

    assert '"contents": file.read gives path, size, bytes, content, artifact' in mistakes(
        plan, s1=step(), s2=step("file.read", taken)
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"star": "s1", "when": "condition"}, "a condition goes with"),
        ({"star": "s1", "when": "success", "condition": "true"}, "a condition goes with"),
        ({"star": "s1", "when": "condition", "condition": "result >"}, "not a CEL expression"),
        ({"star": "s3", "when": "success"}, "s3"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_refused_with_the_reason(line: Json, said: str):
    assert said in mistakes(plan, s1=step(), s2=step(after=[{"condition": "", **line}]))


def test_all_mistakes_are_named_and_not_only_the_first():
    found = mistakes(plan, s1=step("file.read", value("limit", 0)), s2=step("file.write", value("mode", 4_000)))

    for words in ("s1 arguments/: path is missing", "s1 arguments/limit", "s2 arguments/mode"):
        assert words in found


def test_what_is_not_granted_does_not_exist_for_the_planner():
    view = a_view(grant=Grant(tools=("file.read",), devices=("desk",)))

    assert "file.write" in mistakes(plan, view, s1=step("file.write"))
    assert "atlas" in mistakes(plan, view, s1=step(device="atlas"))


def test_names_too_many_for_an_enumeration_are_checked_by_ourselves():
    devices = [device(f"d{n}", "edge") for n in range(200)]

    assert "device vault is not granted" in mistakes(plan, a_view(fleet=fleet(*devices)), s1=step(device="vault"))


def test_an_instruction_goes_to_devices_that_follow_some_with_granted_tools_only():
    able = a_view(fleet=fleet(replace(DEVICES[0], tools=(TOOLS["file.read"], spec(INSTRUCT)))))
    given = {"text": "Tidy up.", "tools": ["file.read"]}
    star = plan(able, s1=step(INSTRUCT, value("x", 1), instruction=given)).operations[0].star  # type: ignore[union-attr]

    assert star.instruction.tools == ("file.read",)
    assert "an instruction goes with" in mistakes(plan, able, s1=step(INSTRUCT))
    assert "shell.run" in mistakes(plan, able, s1=step(INSTRUCT, instruction={"text": "x", "tools": ["shell.run"]}))


def test_the_changes_become_operations_in_an_order_that_works():
    update = {"star": "later", **step(), "after": [{"star": "s1", "when": "always", "condition": ""}]}
    del update["name"]
    done = operations(retry=["lost"], add={"s1": step()}, update=[update])

    assert [type(one) for one in done] == [AddStar, UpdateStar, AddLine, RemoveLine, Retry]


def test_what_has_not_started_can_be_skipped_or_taken_out():
    assert operations(skip=["later"]) == [Skip("later", "so")]
    assert operations(remove=["later"]) == [RemoveStar("later")]
    assert "tried already" in mistakes(revise, remove=["lost"])


def test_a_new_star_takes_the_place_of_a_failed_or_a_running_one():
    for old in ("lost", "busy"):
        (one,) = operations(add={"s1": step(replaces=old)})
        assert isinstance(one, Supersede)
        assert (one.id, one.star.id) == (old, "new")


def test_nothing_takes_the_place_of_what_has_ended_or_of_what_is_replaced_already():
    assert '"fetched"' in mistakes(revise, add={"s1": step(replaces="fetched")})
    assert "replaced by s1 already" in mistakes(
        revise, add={"s1": step(replaces="lost"), "s2": step(replaces="lost", name="other")}
    )


def test_a_cycle_through_a_rewritten_star_is_refused_by_the_rules_of_edits():
    first = seen(a_star("first"), READY)
    view = a_view(first, seen(a_star("second"), WAITING, sources=(Line("first", "second"),)))
    update = {"star": "first", "tool": "file.read", "arguments": [value("path", "a")]}
    update["after"] = [{"star": "second", "when": "success", "condition": ""}]

    assert "cycle" in mistakes(revise, view=view, update=[update])


def test_what_a_person_said_of_another_call_is_not_kept_for_the_new_one():
    """Or a planner could have a dangerous program run again and again, as harmless as the one before it."""
    old = Star("a", "file.read", effects=Effect.PURE, verify=Verify("file.stat", "true"), needs_approval=True)
    view = a_view(held("a", star=old))
    update = {"star": "a", "tool": "shell.run", "arguments": [value("argv", ["ls"])]}
    (rewritten,) = operations(view=view, update=[update])

    assert (rewritten.star.effects, rewritten.star.verify) == (None, None)
    assert rewritten.star.needs_approval
    (replaced,) = operations(view=view, add={"s1": step(replaces="a")})
    assert replaced.star.needs_approval


def test_going_on_and_giving_up_are_answers_with_a_reason():
    assert revise("go_on") == Edit((), "so")
    assert revise("give_up") == GiveUp("so")
    assert "say why" in mistakes(revise, "give_up", reason="")


def test_changes_and_another_decision_do_not_go_together():
    assert "the decision is done" in mistakes(revise, "done", skip=["later"])
    assert "nothing is changed" in mistakes(revise, "edit")


def test_done_names_what_failed_with_nothing_in_its_place():
    assert "star lost failed" in mistakes(revise, "done", despite=["gone"])
    done = revise(
        "done", despite=["lost", "gone"], answer=[{"text": "It is "}, {"from": "fetched", "pointer": "/content"}]
    )

    assert isinstance(done, Done)
    assert done.despite == ("lost", "gone")
    assert msgspec.json.decode(done.answer) == ["It is ", {"$from": "fetched", "pointer": "/content"}]


def test_done_refers_only_to_what_is_there():
    assert "leads nowhere" in mistakes(
        revise, "done", despite=["lost", "gone"], answer=[{"from": "fetched", "pointer": "/x"}]
    )


def test_a_failure_that_another_star_has_handled_needs_no_mention():
    rescue = seen(a_star("rescue"), SUCCEEDED, result=RESULT, sources=(Line("gone", "rescue", When.FAILURE),))
    view = a_view(seen(a_star("gone"), FAILED, failure=LOST), rescue)

    assert isinstance(revise("done", view=view), Done)


def test_a_star_that_is_named_like_a_key_makes_the_keys_give_way():
    view = a_view(seen(a_star("s1"), SUCCEEDED, result=RESULT))

    assert menu_of(view, 2).keys == ("new_s1", "new_s2")


def test_a_model_that_obeys_a_hostile_result_is_refused_for_every_wish():
    found = mistakes(
        revise,
        add={"s1": step("shell.wipe", device="vault")},
        budget={"money": 1_000_000},
        grant={"devices": ["vault"]},
    )

    for words in ("shell.wipe", "vault", "budget", "grant"):
        assert words in found


def fitting(schema: Json, root: Json) -> st.SearchStrategy[Any]:
    """Return values that fit an answer's schema."""
    if "$ref" in schema:
        return fitting(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([fitting(one, root) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return st.fixed_dictionaries({name: fitting(one, root) for name, one in schema["properties"].items()})
        case "array":
            return st.lists(fitting(schema["items"], root), max_size=min(2, schema["maxItems"]))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    usual = st.sampled_from(["", "path", "content", '"a"', "/content", "1", "{}", "true"])
    return st.one_of(usual, st.text(max_size=min(schema["maxLength"], 10)))


MENU = menu_of(VIEW, 2)
REVISE_SCHEMA = revise_schema(MENU)


@settings(max_examples=150, deadline=None)
@given(fitting(REVISE_SCHEMA, REVISE_SCHEMA))
def test_any_answer_that_fits_the_schema_is_a_sound_answer_or_a_list_of_mistakes(said: Any):
    text = msgspec.json.encode(said).decode()
    assert mistakes_in(said, REVISE_SCHEMA) == []
    try:
        answer = revision_from(text, REVISE_SCHEMA, VIEW, MENU)
    except BadAnswer as exc:
        found = exc.mistakes
        assert found
        return
    if isinstance(answer, Edit):
        drafted(as_constellation(VIEW), answer.operations)


def test_schemas_are_such_that_strict_endpoints_take_them():
    """All properties required, nothing else allowed, every text and list with its maximum."""
    for schema in (plan_schema(MENU), REVISE_SCHEMA, plan_schema(menu_of(a_view(fleet=fleet(*DEVICES)), 12))):
        pending: list[Any] = [schema]
        while pending:
            one = pending.pop()
            if isinstance(one, list):
                pending += one
            elif isinstance(one, dict):
                pending += one.values()
                if one.get("type") == "object":
                    assert one["required"] == list(one["properties"])
                    assert one["additionalProperties"] is False
                elif one.get("type") == "string":
                    assert "maxLength" in one or "enum" in one
                elif one.get("type") == "array":
                    assert "maxItems" in one
