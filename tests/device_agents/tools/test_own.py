"""Tools that a device's owner writes: the tutorial, followed to the letter, and files that cannot be used."""

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from device_agents.__main__ import app
from device_agents.tools import BadTools, Settings, tools_for
from galaxy.cli.local import local_galaxy
from protocol.vocabulary import Kind

TUTORIAL = Path(__file__).parent.parent.parent.parent / "docs" / "tutorial-own-agent.md"
LINES_MAX = 60


def blocks(language: str) -> list[str]:
    """Return the tutorial's blocks in the language."""
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL.read_text("utf-8"), re.S)


class Printer(socketserver.ThreadingTCPServer):
    """A printer on TCP that does as G-code says: it heats at once, and forgets nothing."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.nozzle = 20.0
        self.said: list[list[str]] = []  # on each connection; one may still talk when the next begins


class Talk(socketserver.StreamRequestHandler):
    """One connection to the printer."""

    def handle(self) -> None:
        assert isinstance(self.server, Printer)
        said: list[str] = []
        self.server.said.append(said)
        for line in self.rfile:
            code = line.decode().strip()
            said.append(code)
            if heat := re.fullmatch(r"M10[49] S(\d+)", code):
                self.server.nozzle = float(heat[1]) or 20.0
            if code == "G666":
                self.wfile.write(b"Error: no such thing\n")
            elif code == "M105":
                self.wfile.write(f"ok T:{self.server.nozzle} /0.0 B:21.5 /0.0\n".encode())
            else:
                self.wfile.write(b"echo: busy\nok\n")


@contextmanager
def a_printer() -> Iterator[Printer]:
    with Printer() as printer:
        thread = threading.Thread(target=printer.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield printer
        finally:
            printer.shutdown()
            thread.join()


def test_the_tutorial_needs_less_code_than_it_says():
    lines = [line for block in blocks("python") for line in block.splitlines() if line.strip()]

    assert len(lines) < LINES_MAX


def test_who_follows_the_tutorial_prints_on_a_3d_printer(tmp_path: Path):
    (settings,) = blocks("toml")
    (constellation,) = map(yaml.safe_load, blocks("yaml"))
    with a_printer() as printer, local_galaxy(tmp_path) as home:
        code = "\n".join(blocks("python")).replace("8899", str(printer.server_address[1]))
        (tmp_path / "maker" / "work").mkdir(parents=True)
        (tmp_path / "maker" / "work" / "cube.gcode").write_text("M109 S210 ; heat\nG28\n\nG1 X10\n", "utf-8")
        home.add_agent("maker", "--kind", "edge", files={"printer.py": code, "agent.toml": settings})
        home.wait_for_agents()
        path = f"/v1/constellations/{home.request('POST', '/v1/constellations', json=constellation).json()['id']}"
        home.wait_until(lambda: home.request("GET", path).json()["ended_at"], "it has not ended")
        shown: dict[str, Any] = home.request("GET", path).json()

    assert {star["id"]: star["result"] for star in shown["stars"]} == {
        "before": {"nozzle": 20.0, "bed": 21.5},
        "print": {"lines": 3},
        "after": {"nozzle": 20.0, "bed": 21.5},
    }
    printed = ["M109 S210", "G28", "G1 X10", "M104 S0", "M140 S0", "M107"]
    assert printer.said == [["M105"], printed, ["M105"]]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("def tools(: pass", "SyntaxError"),
        ("x = 1", "has no attribute 'tools'"),
        ("def tools(): return [object()]", "has no name, effect, limits, Arguments, Result, run"),
        (
            "from device_agents.tools.files import FileRead\ndef tools(): return [FileRead()]",
            "a tool file.read already",
        ),
    ],
)
def test_a_file_of_tools_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, code: str, reason: str):
    (tmp_path / "mine.py").write_text(code, "utf-8")

    with pytest.raises(BadTools, match=re.escape(reason)):
        tools_for(Kind.EDGE, Settings(own=(str(tmp_path / "mine.py"),)))


def test_an_agent_says_which_file_of_tools_it_cannot_use_and_does_not_start(tmp_path: Path):
    (tmp_path / "agent.toml").write_text('own = ["gone.py"]\n', "utf-8")

    ended = CliRunner().invoke(app, ["doctor", "--kind", "edge", "--state", str(tmp_path)])

    assert (ended.exit_code, "gone.py is no Python file that can be read" in ended.output.replace("\n", " ")) == (
        3,
        True,
    )
