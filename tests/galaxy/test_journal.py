"""Events as rows: what is written can be read, whatever a device or a caller put in."""

from typing import get_args

import pytest
from msgspec import Raw

from galaxy.core import events
from galaxy.core.attempt import Candidate
from galaxy.core.edit import AddStar, Edit
from galaxy.core.events import FLEET, AnyEvent, Event
from galaxy.core.goal import ConsultEnd, Fact, FactKind, Usage
from galaxy.core.star import Star
from galaxy.journal import event_of, row_of, stream_of
from galaxy.store.errors import StoreCorrupt
from protocol.vocabulary import Effect, Failure, Held, Holding, Kind, Outcome, Profile, Vitals

STAR = {"constellation": "c", "star": "a"}
ASKED = {"constellation": "c", "consult": 3}
TRIED = {**STAR, "attempt": 2, "device": "laptop"}
FAILURE = Failure("broken", "it is \u2028 broken \U0001f600", retryable=True)
PROFILE = Profile(Kind.EDGE, 2, (), {"room": "attic"})

EXAMPLES: list[Event] = [
    events.ConstellationSubmitted(at=1.5, constellation="c", name="x\0y", stars=(Star("a", "t", Raw(b'{"x":1e999}')),)),
    events.ConstellationEdited(at=1.5, constellation="c", base=1, edit=Edit((AddStar(Star("b", "t")),), "why")),
    events.ConstellationPaused(at=1.5, constellation="c", reason="x", by="api"),
    events.ConstellationResumed(at=1.5, constellation="c"),
    events.CancelRequested(at=1.5, constellation="c", reason=""),
    events.ConsultOpened(at=1.5, **ASKED, planner="llm", facts=(Fact(FactKind.FAILED, 1.0, "a"),), deadline_at=2.5),
    events.AnswerRefused(at=1.5, **ASKED, reason="no", by="planner:llm"),
    events.ConsultClosed(at=1.5, **ASKED, end=ConsultEnd.SILENT, reason="silent"),
    events.GoalReached(at=1.5, **ASKED, answer=Raw(b'{"$from":"a"}'), despite=("b",), reason="done"),
    events.GoalGivenUp(at=1.5, **ASKED, reason="no way"),
    events.UsageReserved(at=1.5, **ASKED, call="k", tokens=7, money=0.5),
    events.UsageSettled(at=1.5, **ASKED, call="k", usage=Usage("small", 3, 4, 0.25, 1.0, "plan@1", "p", "a", "x")),
    events.PlannerThought(at=1.5, **ASKED, text="so"),
    events.ApprovalRequested(at=1.5, **TRIED, tool="t", arguments=Raw(b'{"x":1}'), effect=Effect.ONCE, expires_at=2.5),
    events.ApprovalGiven(at=1.5, **STAR, attempt=2, by="ann", reason="fine", rule="r"),
    events.ApprovalDenied(at=1.5, **STAR, attempt=2, by="ann", reason="no", asked_at=1.25),
    events.ApprovalLapsed(at=1.5, **TRIED, reason="it was revoked"),
    events.StarAccepted(at=1.5, **TRIED),
    events.StarProgressed(at=1.5, **TRIED, note="half", fraction=0.5),
    events.StarReported(at=1.5, **TRIED, outcome=Outcome.SUCCEEDED, result=Raw(b'[1, {"x":"\xc3\xa9"}]')),
    events.StarReported(at=1.5, **TRIED, outcome=Outcome.FAILED, failure=FAILURE, ran_s=0.25),
    events.ReportRefused(at=1.5, **TRIED, reason="is over"),
    events.StarLeased(
        at=1.5, **TRIED, effect=Effect.ONCE, candidates=(Candidate("laptop", 0.0, 0, 1),), refused={"x": "y"}
    ),
    events.StopBegun(at=1.5, **TRIED),
    events.AttemptRevoked(at=1.5, **TRIED, reason="the other is kept"),
    events.StopUnconfirmed(at=1.5, **TRIED, reason="silent"),
    events.LeaseEnded(at=1.5, **TRIED, cause=events.LeaseEnd.LOST, failure=FAILURE),
    events.StarFailed(at=1.5, **STAR, failure=FAILURE),
    events.LineJudged(at=1.5, constellation="c", source="a", target="b", met=False, error="why"),
    events.EffectJudged(at=1.5, **STAR, attempt=1, happened=True),
    events.ConstellationEnded(at=1.5, constellation="c", state=events.ConstellationState.FAILED, counts={"failed": 1}),
    events.NodeStarted(at=1.5),
    events.JoinTokenMinted(at=1.5, digest="d", expires_at=2.5),
    events.DeviceJoined(at=1.5, device="laptop", public_key="k", token_digest="d"),
    events.DeviceConnected(at=1.5, device="laptop", boot="b", profile=PROFILE, held=(Held("c/a#1", Holding.RUNNING),)),
    events.DeviceProfiled(at=1.5, device="laptop", profile=PROFILE),
    events.DeviceVitals(at=1.5, device="laptop", vitals=Vitals(battery=0.5, charging=False)),
    events.DeviceDisconnected(at=1.5, device="laptop", reason="cut"),
    events.DeviceSuspected(at=1.5, device="laptop", phi=8.0, reason="silent"),
    events.DeviceTrusted(at=1.5, device="laptop"),
    events.DeviceAsleep(at=1.5, device="laptop", until=9.5, reason="night"),
    events.DeviceLost(at=1.5, device="laptop", reason="gone"),
    events.DeviceDraining(at=1.5, device="laptop", reason="x"),
    events.DeviceRevoked(at=1.5, device="laptop", reason="x"),
    events.RuleMade(at=1.5, rule="r", tool="t", pattern=Raw(b'{"x":"*"}'), expires_at=2.5, by="ann"),
    events.RuleEnded(at=1.5, rule="r", by="ann"),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was_written(event: Event):
    row = row_of(event, "s", 7)

    assert event_of(row) == event
    assert (row.stream, row.seq, row.at) == ("s", 7, 1.5)
    assert row.body.startswith(b'{"kind":"' + row.kind.encode() + b'",')


def test_there_is_an_example_of_every_kind_of_event():
    assert {type(event) for event in EXAMPLES} == set(get_args(AnyEvent))


def test_what_happens_to_devices_has_a_stream_of_its_own():
    streams = {type(event).__name__: stream_of(event) for event in EXAMPLES}

    assert {name for name, stream in streams.items() if stream == FLEET} == {
        "NodeStarted",
        "JoinTokenMinted",
        *(name for name in streams if name.startswith(("Device", "Rule"))),
    }


def test_a_field_that_a_later_galaxy_added_is_passed_over():
    row = row_of(events.NodeStarted(at=1.5), FLEET, 1)

    assert event_of(row._replace(body=b'{"kind":"node_started","at":1.5,"new":[1]}')) == events.NodeStarted(at=1.5)
    with pytest.raises(StoreCorrupt, match="event 1 of ~fleet cannot be read"):
        event_of(row._replace(body=b'{"kind":"of_a_later_galaxy","at":1.5}'))
