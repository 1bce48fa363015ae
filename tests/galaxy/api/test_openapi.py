"""The API as it is described: kept beside the code, and true."""

import json
import os
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.galaxy.api.helpers import TOKEN, Node, star
from tests.galaxy.api.served import served

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.mark.asyncio
async def test_the_kept_description_of_the_api_is_what_the_node_gives(node: Node):
    """REWRITE=1 writes it anew: read the difference before keeping it."""
    found = json.dumps((await node.http.get("/openapi.json")).json(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("REWRITE"):
        KEPT.write_text(found, "utf-8")

    assert KEPT.read_text("utf-8") == found


@pytest.mark.asyncio
async def test_every_refusal_that_is_described_is_a_problem(node: Node):
    document = (await node.http.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            refusals = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
            if path == "/readyz":
                assert list(refusals.pop("503")["content"]) == ["application/json"]
            assert refusals.keys() >= {"403"}, (method, path)
            for status, response in refusals.items():
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = sorted(
    (path, method) for path, item in json.loads(KEPT.read_text("utf-8"))["paths"].items() for method in item
)
CASES_EACH = 20


def test_nothing_that_the_description_allows_breaks_the_node_or_its_description(tmp_path: Path):
    schema = schemathesis.openapi.from_dict(json.loads(KEPT.read_text("utf-8")))
    with served(tmp_path) as node:
        known = node.do(lambda n: n.submit("a", star("b", "fly"), lines=["a -> b"]))
        for path, method in OPERATIONS:
            _fuzz(schema[path][method.upper()], node.url, {"constellation_id": known, "star_id": "a"})


def _fuzz(operation: schemathesis.APIOperation, url: str, known: dict[str, str]) -> None:
    @hypothesis.settings(
        max_examples=CASES_EACH,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(), aimed=strategies.booleans())
    def answered_as_described(case: schemathesis.Case, aimed: bool) -> None:
        if aimed and case.path_parameters:
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        answer = case.call(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"})
        case.validate_response(answer, checks=CHECKS)

    answered_as_described()
