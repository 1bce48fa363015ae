"""What the demo asks for: a server computes, the edge measures and decides, the desktop and the phone act on it."""

import sys
from itertools import pairwise
from typing import Any

COMPUTE = {"labels": {"role": "compute"}}
SESSION = "report"

# It takes its time, so that its device can be killed meanwhile; it changes nothing, so that another may do it instead.
USUAL = (
    "import sys, time; time.sleep(3); rows = open(sys.argv[1]).read().split(); "
    "print(round(sum(map(float, rows)) / len(rows), 2), end='')"
)
DIGEST = "import sys; print(f'the store is {sys.argv[1]}; usually it has {sys.argv[2]} C', end='')"
SHELVES = ("shelf-1", "shelf-2", "shelf-3")
SOON = {"lost_after_s": 15.0, "stop_after_s": 15.0}  # a device that is killed is not waited for any longer


def constellation(form_url: str) -> dict[str, Any]:
    """Return the constellation; the form is at the address."""
    readings = [_from(shelf, "/value") for shelf in SHELVES]
    verdict, usual, digest = _from("verdict", "/best/label"), _from("usual", "/stdout"), _from("digest", "/stdout")
    return {
        "name": "cold store",
        "stars": [
            # the servers
            _program("usual", USUAL, "history.txt", title="what is usual, from the files"),
            _program("digest", DIGEST, verdict, usual),
            # the edge
            *(_star(shelf, "sensor.read", "porch", sensor=shelf, timeout_s=20) for shelf in SHELVES),
            _star("verdict", "onnx.run", "porch", model="too_warm", inputs={"readings": [readings]}),
            # the desktop
            _star("open", "browser.open", "desk", url=form_url, session=SESSION),
            _star("fill", "browser.fill", "desk", session=SESSION, fields=_fields(verdict, usual, digest)),
            _star("send", "browser.click", "desk", session=SESSION, element={"role": "button", "name": "Send"}),
            _star("receipt", "browser.screenshot", "desk", session=SESSION),
            _star("workbook", "office.sheet_write", "desk", sheets=[_sheet(readings, verdict, usual)]),
            # the phone
            _star("launch", "phone.launch", "pocket", package="com.galaxy.counter"),
            _star("before", "phone.screenshot", "pocket"),
            _star("tap", "phone.tap", "pocket", id="more"),
            _star("after", "phone.screenshot", "pocket"),
            {"id": "all-well", "tool": "system.echo", "arguments": {"value": "nothing to count"}},
            # the report, committed by the server's MCP server of git
            _star("report", "file.write", "atlas", path="report/report.txt", content=digest),
            _star("stage", "mcp:git/git_add", "atlas", repo_path=".", files=["report.txt"]),
            _star("commit", "mcp:git/git_commit", "atlas", repo_path=".", message=digest),
        ],
        "lines": [
            *_chain("open", "fill", "send", "receipt"),
            *_chain("report", "stage", "commit"),
            *_chain("launch", "before", "tap", "after"),
            {"source": "verdict", "target": "launch", "condition": "result.best.label == 'too warm'"},
            {"source": "verdict", "target": "all-well", "condition": "result.best.label == 'cold enough'"},
        ],
    }


def _fields(verdict: Any, usual: Any, digest: Any) -> list[dict[str, Any]]:
    return [
        {"label": "Verdict", "value": verdict},
        {"label": "Usual temperature", "value": usual},
        {"label": "Remark", "value": digest},
        {"label": "Urgent", "value": True},
    ]


def _sheet(readings: list[Any], verdict: Any, usual: Any) -> dict[str, Any]:
    rows = [[shelf, reading] for shelf, reading in zip(SHELVES, readings, strict=True)]
    return {"name": "Cold store", "header": True, "rows": [["shelf", "°C"], *rows, ["usual", usual], ["is", verdict]]}


def _star(star_id: str, tool: str, device: str, **arguments: Any) -> dict[str, Any]:
    return {"id": star_id, "tool": tool, "arguments": arguments, "needs": {"device": device}}


def _program(star_id: str, code: str, *arguments: Any, title: str = "") -> dict[str, Any]:
    command = [sys.executable, "-c", code, *arguments]
    policies = {"effects": "pure", "needs": COMPUTE, "disconnect": SOON}
    return {"id": star_id, "title": title, "tool": "shell.run", "arguments": {"argv": command}, **policies}


def _from(star: str, pointer: str) -> dict[str, str]:
    return {"$from": star, "pointer": pointer}


def _chain(*stars: str) -> list[dict[str, str]]:
    return [{"source": one, "target": other} for one, other in pairwise(stars)]
