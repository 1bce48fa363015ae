"""An instruction that names no tools goes where the tools fit its words, with those tools and no others."""

import msgspec
from msgspec import Raw

from galaxy.core.events import ApprovalRequested, StarLeased
from galaxy.core.goal import Grant
from galaxy.core.placement.matching import TOOLS_MAX, Lexical, Match, Words, matched
from galaxy.core.star import INSTRUCT, Instruction
from protocol.vocabulary import Effect, Kind, Profile, ToolSpec

from .helpers import KeptLog, Log, connect, joined, star, submit

SCHEMA = Raw(b"{}")
RELAY = ("relay.set", "Switch a relay of the device, such as a pump or a lamp, on or off.", Effect.IDEMPOTENT)
SENSOR = ("sensor.read", "Tell what a sensor of the device measures.", Effect.PURE)
READ = ("file.read", "Read a file.", Effect.PURE)
COMMIT = ("git.commit", "Record the changes of a git repository.", Effect.ONCE)
FOLLOW = (INSTRUCT, "Follow an instruction about a pump, a file or whatever there is.", Effect.ONCE)

Offered = tuple[str, str, Effect]


def fitted(*tools: Offered, withdrawn: str = "") -> Profile:
    specs = tuple(ToolSpec(name, text, effect, SCHEMA, SCHEMA) for name, text, effect in (*tools, FOLLOW))
    return Profile(Kind.EDGE, 1, specs, {}, withdrawn={withdrawn: "it broke"} if withdrawn else {})


def fits(text: str, *granted: str, **profiles: Profile) -> Match:
    return matched(Words(text, granted), profiles, Lexical())


def fleet(log: Log, **profiles: Profile) -> None:
    for name, profile in profiles.items():
        log.feed(*joined(name), connect(name, profile=profile))


def told(text: str, **more: object) -> Log:
    """Return a galaxy of a porch and a server in which a device was told this."""
    log = KeptLog()
    fleet(log, porch=fitted(RELAY, SENSOR), server=fitted(READ, COMMIT))
    words = Instruction(text, match=True)
    log.feed(submit(star("a", tool=INSTRUCT, instruction=words, arguments={"n": 1}), at=1.0, **more))
    return log


def test_words_are_matched_with_what_tools_are_called_and_say_of_themselves():
    assert fits("turn the pump off", porch=fitted(RELAY, SENSOR)).tools == {"porch": ("relay.set",)}
    assert fits("what do the sensors measure?", porch=fitted(RELAY, SENSOR)).tools == {"porch": ("sensor.read",)}
    assert fits("setRelay", porch=fitted(RELAY, SENSOR)).tools == {"porch": ("relay.set",)}


def test_a_device_whose_tools_fit_less_is_refused_with_the_better_one():
    found = fits("commit what changed", porch=fitted(RELAY, READ), server=fitted(READ, COMMIT), desk=fitted(COMMIT))

    assert found.tools == {"server": ("git.commit",), "desk": ("git.commit",)}
    assert found.refused == {
        "porch": "the instruction names no tools, and its words fit git.commit on server better; "
        "of the tools here none has to do with it"
    }


def test_words_that_fit_no_tool_go_to_any_device_without_tools():
    assert fits("tell me a joke", porch=fitted(RELAY), server=fitted(READ)) == Match({"porch": (), "server": ()}, {})


def test_what_is_not_granted_or_withdrawn_or_follows_instructions_itself_is_not_found():
    text = "switch the pump, or read the file"

    assert fits(text, "file.read", porch=fitted(RELAY, READ)).tools == {"porch": ("file.read",)}
    assert fits(text, porch=fitted(RELAY, READ, withdrawn="relay.set")).tools == {"porch": ("file.read",)}
    assert INSTRUCT not in fits("follow the instruction", porch=fitted(RELAY)).tools["porch"]


def test_a_model_gets_so_many_tools_and_no_more():
    many = fitted(*((f"pump.switch{n}", "Switch a pump.", Effect.PURE) for n in range(TOOLS_MAX * 3)))

    assert len(fits("switch the pump", porch=many).tools["porch"]) == TOOLS_MAX


def test_an_instruction_is_leased_to_the_device_that_fits_with_the_tools_that_fit():
    log = told("turn the pump off")

    (leased,) = log.of(StarLeased)
    assert (leased.device, leased.tools, leased.effect) == ("porch", ("relay.set",), Effect.IDEMPOTENT)
    assert list(leased.refused) == ["server"]
    assert log.course("a").attempts[0].tools == ("relay.set",)


def test_the_device_is_told_the_tools_that_were_found():
    log = Log()
    fleet(log, porch=fitted(RELAY, SENSOR))
    (order,) = log.feed(
        submit(star("a", tool=INSTRUCT, instruction=Instruction("turn the pump off", match=True)), at=1.0)
    )

    assert msgspec.json.decode(order.arguments)["tools"] == ["relay.set"]


def test_an_instruction_that_names_its_tools_is_left_as_it_is():
    log = Log()
    fleet(log, porch=fitted(RELAY, SENSOR), server=fitted(READ))
    log.feed(submit(star("a", tool=INSTRUCT, instruction=Instruction("turn the pump off", tools=("file.read",)))))
    log.feed(submit(star("a", tool=INSTRUCT, instruction=Instruction("turn the pump off")), c="d"))

    assert [(leased.device, leased.tools) for leased in log.of(StarLeased)] == [("server", ()), ("porch", ())]


def test_a_grant_of_tools_holds_for_those_that_are_found():
    log = told("turn the pump off, or read the file", grant=Grant(tools=(INSTRUCT, "file.read")))

    (leased,) = log.of(StarLeased)
    assert (leased.device, leased.tools) == ("server", ("file.read",))


def test_a_person_is_asked_about_the_tools_that_were_found():
    log = told("commit what changed", grant=Grant(approve=(Effect.ONCE,)))

    (asked,) = log.of(ApprovalRequested)
    assert (asked.device, asked.effect) == ("server", Effect.ONCE)
    assert msgspec.json.decode(asked.arguments)["tools"] == ["git.commit"]
