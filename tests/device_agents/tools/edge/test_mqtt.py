"""MQTT: what is said and heard through a real broker, and the topics that stay closed."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.tools.edge.broker import covers
from device_agents.tools.edge.mqtt import MqttPublish, MqttRequest, MqttRetained, MqttSubscribe

from ..bench import Bench, failing
from .stands import a_broker, a_thing, client, edge

LEVEL = st.sampled_from(["a", "b", "+", ""])
FILTER = st.builds(
    lambda levels, end: "/".join([*levels, *end]), st.lists(LEVEL, max_size=3), st.sampled_from([[], ["#"]])
)
TOPIC = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=4).map("/".join)


def matches(topic_filter: str, topic: str) -> bool:
    """As the standard says it, level by level; written apart from the code that it checks."""
    mine, levels = topic_filter.split("/"), topic.split("/")
    if mine[-1] == "#":
        head = mine[:-1]
        return len(levels) >= len(head) and all(a in ("+", b) for a, b in zip(head, levels, strict=False))
    return len(mine) == len(levels) and all(a in ("+", b) for a, b in zip(mine, levels, strict=True))


@given(FILTER, FILTER, TOPIC)
def test_what_a_filter_covers_matches_nothing_that_the_filter_does_not(allowed: str, asked: str, topic: str):
    if covers(allowed, asked) and matches(asked, topic):
        assert matches(allowed, topic)


@given(FILTER, TOPIC)
def test_a_filter_covers_exactly_the_topics_that_it_matches(allowed: str, topic: str):
    assert covers(allowed, topic) == matches(allowed, topic)


@pytest.mark.parametrize(
    ("allowed", "asked"), [("#", "$SYS/x"), ("+/x", "$SYS/x"), ("home/+", "home/#"), ("a/#", "+/b")]
)
def test_a_wildcard_opens_neither_the_brokers_own_topics_nor_more_than_it_says(allowed: str, asked: str):
    assert not covers(allowed, asked)


@pytest.mark.parametrize("topic", ["#", "+/door", "$SYS/broker", "home", "homes/x", "garage/#"])
def test_topics_that_the_owner_has_not_opened_are_refused_before_anything_is_dialled(tmp_path: Path, topic: str):
    bench = Bench(tmp_path)
    settings = edge("mqtt://127.0.0.1:1", subscribe=("home/+/#",))

    with failing("denied", "edge.subscribe", "agent.toml"):
        bench.call(MqttSubscribe(settings), topic=topic)


@pytest.mark.parametrize("topic", ["home/#/x", "home/a#", "home/a+", "home/+b/c"])
def test_wildcards_in_the_wrong_place_are_bad_arguments(tmp_path: Path, topic: str):
    with failing("bad_arguments", "topic filter"):
        Bench(tmp_path).call(MqttSubscribe(edge("mqtt://127.0.0.1:1")), topic=topic)


def test_a_broker_that_is_not_there_is_said_to_be_unavailable_and_worth_a_retry(tmp_path: Path):
    with failing("unavailable", "127.0.0.1", retryable=True):
        Bench(tmp_path).call(MqttPublish(edge("mqtt://127.0.0.1:1")), topic="home/x", payload="y")


def test_what_is_published_retained_is_there_for_those_who_ask_later(tmp_path: Path):
    bench = Bench(tmp_path)
    with a_broker(bench) as url:
        bench.call(MqttPublish(edge(url)), topic="home/lamp", payload="ON", retain=True)
        kept = bench.call(MqttRetained(edge(url)), topic="home/#")

    assert {told.topic: told.payload for told in kept.messages} == {"home/boiler": '{"t": 61.5}', "home/lamp": "ON"}
    assert all(told.retained for told in kept.messages)


def test_a_subscription_ends_with_what_came_when_its_time_is_over(tmp_path: Path):
    bench = Bench(tmp_path)
    with a_broker(bench) as url:
        found = bench.call(MqttSubscribe(edge(url)), topic="home/boiler", count=5, for_s=0.5)
        with failing("timeout", "1 of at least 2", retryable=True):
            bench.call(MqttSubscribe(edge(url)), topic="home/boiler", count=5, for_s=0.5, least=2)

    assert [told.payload for told in found.messages] == ['{"t": 61.5}']


def test_more_than_a_result_can_hold_is_cut_and_said_to_be(tmp_path: Path):
    bench = Bench(tmp_path)

    async def heard_of_many(url: str) -> object:
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(bench.run(MqttSubscribe(edge(url)), topic="home/many", count=9))
            async with client(url) as broker:
                while not hearing.done():
                    await broker.publish("home/many", "x" * 10_000, qos=1)
        return hearing.result()

    with a_broker(bench) as url:
        found = asyncio.run(heard_of_many(url))

    assert (len(found.messages), found.more) == (2, True)  # type: ignore[attr-defined]  # a Heard


def test_a_question_is_answered_on_the_topic_that_it_names_by_the_first_new_message(tmp_path: Path):
    bench = Bench(tmp_path)

    async def asked(url: str) -> object:
        async with client(url) as broker:
            await broker.publish("home/answer", "an old one", qos=1, retain=True)
        async with a_thing(url, "home/ask", lambda asked: ("home/answer", asked.upper())):
            asking = {"topic": "home/ask", "payload": "how warm", "reply_topic": "home/answer"}
            return (await bench.run(MqttRequest(edge(url)), **asking)).payload

    with a_broker(bench) as url:
        assert asyncio.run(asked(url)) == "HOW WARM"
        with failing("timeout", "no answer", retryable=True):
            silent = {"topic": "home/ask", "payload": "x", "reply_topic": "home/nobody", "timeout_s": 0.3}
            bench.call(MqttRequest(edge(url)), **silent)
