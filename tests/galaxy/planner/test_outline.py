"""The outline planner: what it draws at first, what it adds when lists are known, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galaxy.core.edit import Edit, RemoveStar, Supersede
from galaxy.core.goal import FactKind, GiveUp, Grant
from galaxy.core.star import Fallback, Instruction, Needs, OnFailure, OnSuccess, Retry, Star, Timeouts
from galaxy.planner.contract import PlannerFailed
from galaxy.planner.outline import Outline
from galaxy.planner.steps import OutlineError
from tests.galaxy.planner.outline_views import METER, Alive, device_view, fact, fleet, planned, revised

DOCS = Path(__file__).parents[3] / "docs" / "outline.md"
ENDED = fact(FactKind.ENDED)
OF_LIST = fact(FactKind.SUCCEEDED, "s1")

COPIES = """\
1. file.list path=notes
2. system.info
3. file.write path="{F/path}.bak" content={F/text} for each F in step 1 /entries
4. system.echo value={3/bytes}
5. system.info after 3, 2
"""
ENTRIES = {"entries": [{"path": "a", "text": "A"}, {"path": "b", "text": "B"}]}


async def star_in(text: str) -> Star:
    """Return the last star that an outline has at first."""
    return (await planned(text)).constellation.courses.popitem()[1].star


# At first.


@pytest.mark.asyncio
async def test_each_outline_in_the_docs_can_be_followed():
    outlines = re.findall(r"```outline\n(.*?)```", DOCS.read_text("utf-8"), re.S)

    assert [(await planned(text)).told() for text in outlines] == [
        [
            's1: file.list {"path":"notes"}',
            "s2: system.info {}",
            's6: system.echo {"value":"no archive"}',
            "s2 -> s6 failure",
        ],
        [
            's1: file.list {"path":"notes"}',
            's3: instruct {"folder":"notes"}',
            's4: http.request {"url":"https://example.org"}',
            "s5: system.info {}",
            "s1 -> s3",
            "s1 -> s4 condition `size(result.entries) > 0`",
            "s4 -> s5 failure",
        ],
    ]


@pytest.mark.asyncio
async def test_steps_that_do_not_name_each_other_are_joined_by_nothing():
    assert (await planned("- system.info\n- system.info")).told() == ["s1: system.info {}", "s2: system.info {}"]


@pytest.mark.asyncio
async def test_all_that_a_step_can_say_stands_in_its_star():
    text = '1. Read it: @laptop [zone=home] [os=linux] file.read path=a or else shell.run argv=["cat","a"] retry 2\n'
    text += "   within 1.5m needs approval"

    assert await star_in(text) == Star(
        "s1",
        "file.read",
        msgspec.Raw(b'{"path":"a"}'),
        title="Read it",
        needs=Needs(labels={"zone": "home", "os": "linux"}, device="laptop"),
        retry=Retry(2),
        timeouts=Timeouts(run_s=90.0),
        fallback=Fallback("shell.run", msgspec.Raw(b'{"argv":["cat","a"]}')),
        needs_approval=True,
    )


@pytest.mark.asyncio
async def test_an_instruction_goes_to_a_device_that_has_its_tools():
    star = await star_in('1. do "tidy up" folder=notes with file.list, file.delete')

    assert (star.tool, star.instruction) == ("instruct", Instruction("tidy up", tools=("file.list", "file.delete")))
    assert star.needs == Needs(("file.list", "file.delete"))


@pytest.mark.asyncio
async def test_each_way_to_wait_is_a_line():
    text = "1. a\n2. b after 1\n3. c if 1 fails\n4. d if 1 ends\n5. e if 1 gives `result.ok`\n6. f if step 1 succeeds\n"
    text += "7. g x={1/y} if 1 gives `result.z > 0`\n8. h x={1}\n9. i if fails\n10. j or else k x={1}"

    lines = [told for told in (await planned(text)).told() if "->" in told]

    assert sorted(lines) == [
        "s1 -> s10",
        "s1 -> s2",
        "s1 -> s3 failure",
        "s1 -> s4 always",
        "s1 -> s5 condition `result.ok`",
        "s1 -> s6",
        "s1 -> s7 condition `result.z > 0`",
        "s1 -> s8 (bound)",
        "s8 -> s9 failure",
    ]


@pytest.mark.asyncio
async def test_a_loop_waits_for_its_list_and_what_is_behind_it_waits_for_the_loop():
    alive = await planned(COPIES)

    assert alive.told() == ['s1: file.list {"path":"notes"}', "s2: system.info {}"]
    wishes = {name: course.star.on_success for name, course in alive.constellation.courses.items()}
    assert wishes == {"s1": OnSuccess.CONSULT, "s2": None}


@pytest.mark.asyncio
async def test_what_is_drawn_is_the_same_in_each_notation():
    markdown = "1. file.list\n2. Two: @laptop [a=b] file.read path={1/x} after 1 retry 2 within 5s needs approval"
    yaml = """
steps:
  - tool: file.list
  - {tool: file.read, title: Two, device: laptop, labels: {a: b}, arguments: {path: "{1/x}"}, after: 1, retry: 2,
     within_s: 5, needs_approval: true}
"""

    one, other = (await planned(markdown)).constellation, (await planned(yaml)).constellation

    assert {name: course.star for name, course in one.courses.items()} == {
        name: course.star for name, course in other.courses.items()
    }
    assert one.into == other.into


# What may be used.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1. file.raed", "line 1, column 4: no device has the tool file.raed: write file.read"),
        ("1. @labtop file.read", "line 1, column 4: there is no device labtop: write laptop"),
        ('1. do "it" with file.raed', "line 1, column 4: no device has the tool instruct: write one of file.read"),
        ("1. file.read\n   or else file.cat", "line 2, column 12: no device has the tool file.cat: write file.read"),
    ],
)
async def test_what_no_device_has_is_an_error_where_it_is_written(text: str, message: str):
    gone = device_view("laptop", ("file.read",), presence="unreachable")

    with pytest.raises(OutlineError) as caught:
        await planned(text, fleet=fleet(gone))

    assert str(caught.value) == message


@pytest.mark.asyncio
async def test_without_any_device_every_tool_may_come_yet():
    assert (await planned("1. @anywhere whatever.works")).told() == ["s1: whatever.works {}"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1. shell.run", "line 1, column 4: the tool shell.run is not granted: write one of file.read"),
        ("1. @tower file.read", "line 1, column 4: tower is not granted: write one of laptop"),
    ],
)
async def test_what_is_not_granted_is_an_error_where_it_is_written(text: str, message: str):
    with pytest.raises(OutlineError) as caught:
        await planned(text, grant=Grant(tools=("file.read",), devices=("laptop",)))

    assert str(caught.value) == message


@pytest.mark.asyncio
async def test_an_outline_that_is_refused_is_not_proposed_again():
    alive = Alive(text="1. system.info")

    with pytest.raises(PlannerFailed, match="what the outline says is refused: too large"):
        await Outline().plan(alive.view(refusals=("too large",)), METER)


@pytest.mark.asyncio
async def test_without_a_goal_there_is_nothing_to_follow():
    with pytest.raises(PlannerFailed, match="there is no goal"):
        await Outline().plan(Alive().view(), METER)


# When lists are known.


@pytest.mark.asyncio
async def test_a_loop_becomes_a_star_for_each_item_and_what_is_behind_it_waits_for_all():
    alive = await planned(COPIES)
    alive.succeed("s1", ENTRIES)

    await revised(alive, OF_LIST)

    assert alive.told("s3-1", "s3-2", "s4", "s5") == [
        's3-1: file.write {"path":"a.bak","content":{"$from":"s1","pointer":"/entries/0/text"}}',
        's3-2: file.write {"path":"b.bak","content":{"$from":"s1","pointer":"/entries/1/text"}}',
        's4: system.echo {"value":[{"$from":"s3-1","pointer":"/bytes"},{"$from":"s3-2","pointer":"/bytes"}]}',
        "s5: system.info {}",
        "s1 -> s3-1 (bound)",
        "s1 -> s3-2 (bound)",
        "s3-1 -> s4 (bound)",
        "s3-2 -> s4 (bound)",
        "s3-1 -> s5",
        "s3-2 -> s5",
        "s2 -> s5",
    ]


@pytest.mark.asyncio
async def test_asking_twice_draws_nothing_twice():
    alive = await planned(COPIES)
    alive.succeed("s1", ENTRIES)
    await revised(alive, OF_LIST)

    assert await revised(alive, OF_LIST) == Edit((), "nothing to add")


@pytest.mark.asyncio
async def test_a_loop_over_what_a_step_behind_a_loop_found_is_drawn_later():
    alive = await planned("1. a\n2. b x={X} for each X in step 1\n3. c x={2}\n4. d y={Y} for each Y in step 3")
    alive.succeed("s1", [1])
    await revised(alive, OF_LIST)
    alive.succeed("s2-1", None)
    alive.succeed("s3", ["found"])

    assert alive.constellation.courses["s3"].star.on_success is OnSuccess.CONSULT
    await revised(alive, fact(FactKind.SUCCEEDED, "s3"))
    assert alive.told("s4-1") == ['s4-1: d {"y":{"$from":"s3","pointer":"/0"}}', "s3 -> s4-1 (bound)"]


@pytest.mark.asyncio
async def test_an_empty_list_has_no_stars_and_what_is_behind_goes_on():
    alive = await planned(COPIES)
    alive.succeed("s1", {"entries": []})

    await revised(alive, OF_LIST)

    assert alive.told("s4", "s5") == ['s4: system.echo {"value":[]}', "s5: system.info {}", "s2 -> s5"]


@pytest.mark.asyncio
async def test_when_the_list_failed_nothing_is_drawn_that_needs_it():
    alive = await planned("1. a\n2. b x={X} for each X in step 1\n3. c after 2\n4. d if 2 ends\n5. e after 3")
    alive.fail("s1")

    await revised(alive, fact(FactKind.FAILED, "s1"))

    assert alive.told() == ["s1: a {}", "s4: d {}"]


@pytest.mark.asyncio
async def test_a_star_that_stands_in_for_the_one_with_the_list_brings_the_list():
    alive = await planned("1. a\n2. b x={X} for each X in step 1")
    star = msgspec.structs.replace(alive.constellation.courses["s1"].star, on_failure=OnFailure.PAUSE)
    alive = Alive(star, text=alive.text)
    alive.fail("s1")
    alive.edit((Supersede("s1", msgspec.structs.replace(star, id="s1~fallback")),))
    alive.succeed("s1~fallback", ["found"])

    await revised(alive, fact(FactKind.SUCCEEDED, "s1~fallback"))

    assert alive.told("s2-1") == ['s2-1: b {"x":{"$from":"s1~fallback","pointer":"/0"}}', "s1~fallback -> s2-1 (bound)"]


@pytest.mark.asyncio
async def test_a_star_that_a_person_removed_is_not_drawn_again():
    alive = await planned("1. a\n2. b x={X} for each X in step 1\n3. c\n4. d after 2, 3")
    alive.edit((RemoveStar("s3"),))
    alive.succeed("s1", [1])

    await revised(alive, OF_LIST)

    assert list(alive.constellation.courses) == ["s1", "s2-1"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("result", "why"),
    [
        ([{}] * 201, "the result of s1 has 201 items, at most 200"),
        ({"x": 1}, "the result of s1 is not a list"),
        ([{"a": 1}], "{X} stands in a text, and is an object or a list in item '/0'"),
        ([None], "{X} stands in a text, and is nothing in item '/0'"),
        ({"$artifact": "0" * 64}, "the result of s1 is an artifact; a list must be small enough to be sent inline"),
    ],
)
async def test_a_list_that_cannot_be_gone_through_is_told_to_a_person(result: Any, why: str):
    alive = await planned('1. a\n2. b x="{X}!" for each X in step 1')
    alive.succeed("s1", result)

    with pytest.raises(PlannerFailed, match=re.escape(f"step 2 cannot be drawn: {why}")):
        await revised(alive, OF_LIST)

    assert await revised(alive, fact(FactKind.FAILED, "s9")) == Edit((), "nothing to add")
    assert await revised(alive, ENDED) == GiveUp(f"step 2 cannot be drawn: {why}")


@pytest.mark.asyncio
async def test_a_pointer_that_leads_nowhere_is_told_to_a_person():
    alive = await planned('1. a\n2. b x="{X/p}!" for each X in step 1 /q')
    alive.succeed("s1", {"q": [{"p": True}, {}]})

    with pytest.raises(PlannerFailed, match="in item '/q/1' of s1, '/p' leads nowhere: there is no 'p'"):
        await revised(alive, OF_LIST)


@pytest.mark.asyncio
async def test_an_item_that_is_no_text_is_put_into_a_text_as_json():
    alive = await planned('1. a\n2. do "look at {X}" n={X} for each X in step 1')
    alive.succeed("s1", [True, 2.5, "three"])

    await revised(alive, OF_LIST)

    stars = [course.star for course in alive.constellation.courses.values() if course.star.instruction]
    assert [star.instruction.text for star in stars if star.instruction] == [
        "look at true",
        "look at 2.5",
        "look at three",
    ]
