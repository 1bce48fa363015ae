"""Who may call at all: no trick with the path, the method or a header leads past the gate."""

import logging
from typing import Any

import pytest

from tests.galaxy.api.asgi import BEARER, Exchange, Header
from tests.galaxy.api.helpers import TOKEN, Node
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

GUARDED = [
    "/v1/constellations",
    "/v1/devices",
    "/v1/join-tokens",
    "/v1/artifacts/" + "0" * 64,
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
]


@pytest.fixture
def bare(node: Node) -> Node:
    """The node, with a client that has no token."""
    node.http.headers.pop("Authorization")
    return node


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "TRACE"])
async def test_without_the_token_nothing_is_answered(bare: Node, method: str, path: str):
    async with nothing_recorded(bare):
        answer = await bare.http.request(method, path)

    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", GUARDED)
async def test_without_the_token_a_head_tells_nothing(bare: Node, path: str):
    answer = await bare.http.head(path)

    assert answer.status_code == 401


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN} x",
    f"Bearer {TOKEN[:-1]}",
    "Bearer \u00e9",
]


@pytest.mark.parametrize("authorization", WRONG)
async def test_a_wrong_token_is_like_none(bare: Node, authorization: str):
    given = [(b"authorization", authorization.encode("latin-1"))]
    answer = await bare.http.get("/v1/devices", headers=given)

    problem(answer, 401, "unauthorized")


async def test_the_token_opens_in_whatever_case_its_scheme_is_written(bare: Node):
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await bare.http.get("/v1/devices", headers={"Authorization": f"{scheme} {TOKEN}"})
        assert answer.status_code == 200


ASIDE = [
    "/healthz/../v1/devices",
    "/healthz/../../v1/devices",
    "/v1/join/../devices",
    "/v1/agent/../devices",
    "/v1/agent/",
    "/v1/agentx",
    "/v1/join/",
    "/v1/join/devices",
    "//v1/devices",
    "/v1//devices",
    "/v1/devices/",
    "/v1/devices%3F/healthz",
    "/%76%31/devices",
    "/v1%2Fdevices",
    "/healthz;/v1/devices",
    "/healthz%00",
    "/HEALTHZ",
    "/v1/artifacts/../devices",
]


@pytest.mark.parametrize("path", ASIDE)
async def test_no_way_of_writing_a_path_leads_past_the_gate(bare: Node, path: str):
    from urllib.parse import unquote

    exchange = Exchange(bare, unquote(path))
    exchange.give(type="http.request", body=b"", more_body=False)

    assert (await exchange.next())["status"] == 401


@pytest.mark.parametrize("root", ["/v1/join", "/healthz"])
async def test_a_prefix_of_a_proxy_opens_nothing(bare: Node, root: str):
    exchange = Exchange(bare, f"{root}/v1/devices", root_path=root)
    exchange.give(type="http.request", body=b"", more_body=False)

    assert (await exchange.next())["status"] == 401


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/devices", ()),
        ("/v1/artifacts/" + "0" * 64, ()),
        ("/v1/agent/", ()),
        ("/v1/agent", (("origin", "http://evil.example"),)),
    ],
)
async def test_a_websocket_elsewhere_is_refused_before_it_is_accepted(bare: Node, path: str, headers: tuple[Header]):
    exchange = Exchange(bare, path, *headers, kind="websocket")
    exchange.give(type="websocket.connect")
    event = await exchange.next()

    assert (event["type"], event["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize("path", ["/v1/devices", "/healthz", "/v1/join"])
async def test_a_websocket_where_none_is_answered_is_closed(node: Node, path: str):
    exchange = Exchange(node, path, BEARER, kind="websocket")
    exchange.give(type="websocket.connect")

    assert (await exchange.next())["type"] == "websocket.close"


GOOD_HOSTS = [
    "localhost",
    "localhost:8421",
    "LOCALHOST.:1",
    "127.0.0.1:8421",
    "[::1]:8421",
    "10.1.2.3",
    "galaxy.example",
]
BAD_HOSTS = [
    "",
    "evil.example",
    "localhost.evil.example",
    "galaxy.example.evil.com:8421",
    "localhost@evil.com",
    "127.0.0.1.evil.com",
    "a:b",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_a_node_answers_to_its_names_and_to_any_address(node: Node, host: str):
    assert (await node.http.get("/v1/devices", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_a_name_that_points_here_is_no_name_of_this_node(node: Node, host: str):
    for path in ("/v1/devices", "/healthz", "/v1/join", "/v1/agent"):
        problem(await node.http.get(path, headers={"Host": host}), 403, "forbidden-host")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:9999", "http://localhost", "http://localhost:8421.evil.com"],
)
async def test_pages_of_others_may_not_call_even_with_the_token(node: Node, origin: str):
    async with nothing_recorded(node):
        for path in ("/v1/join-tokens", "/v1/join"):
            problem(await node.http.post(path, headers={"Origin": origin}), 403, "forbidden-origin")


async def test_the_nodes_own_pages_may_call(node: Node):
    answer = await node.http.post("/v1/join-tokens", headers={"Origin": "http://localhost:8421"})

    assert answer.status_code == 201


async def test_what_is_not_there_is_a_problem_too(node: Node):
    problem(await node.http.get("/v1/nothing"), 404, "not-found")
    problem(await node.http.get("/v1/agent"), 404, "not-found")
    wrong = await node.http.put("/v1/devices")
    problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "GET"


async def test_no_log_line_tells_a_token(node: Node, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    join = (await node.http.post("/v1/join-tokens")).json()["token"]
    body: dict[str, Any] = {"token": join, "name": "phone", "public_key": "x"}
    for _ in range(2):
        await node.http.post("/v1/join", json=body)
        await node.http.post("/v1/join", json={**body, "public_key": "A" * 43 + "="})
    await node.http.get("/v1/devices", headers={"Authorization": "Bearer a-wrong-token"})

    told = "\n".join(str(vars(record)) for record in caplog.records if not record.name.startswith("http"))
    assert "refused" in told
    for token in (join, TOKEN, "a-wrong-token"):
        assert token not in told
