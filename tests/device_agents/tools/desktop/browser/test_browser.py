"""A real browser on real pages: what it does, what stays open, what comes to an end."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from device_agents.errors import ToolFailed
from device_agents.guard import Limits, Policy
from device_agents.tools.base import Tool
from device_agents.tools.desktop.browser import tools
from device_agents.tools.desktop.browser.looking import BrowserOpen
from device_agents.tools.desktop.browser.session import PAGES_MAX
from device_agents.tools.desktop.browser.settings import BrowserSettings

from ...bench import Bench, failing
from .stands import ANYWHERE, HOME, PageServer, no_browser, pages, processes_with

pytestmark = pytest.mark.skipif(bool(no_browser()), reason="there is no Chromium on the PATH")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, HOME)


@pytest.fixture
def site(bench: Bench) -> Iterator[PageServer]:
    with pages(bench) as site:
        yield site


class Browser:
    """The tools of one device, called by their short names."""

    def __init__(self, bench: Bench, **settings: Any) -> None:
        self.bench = bench
        self.tools: dict[str, Any] = {tool.name: tool for tool in tools(BrowserSettings(**settings))}

    def sessions(self) -> Any:
        return self.tools["browser.open"]._sessions

    async def __call__(self, what: str, **arguments: Any) -> Any:
        tool: Tool = self.tools[f"browser.{what}"]
        return await self.bench.run(tool, **arguments)


def told(story: Any, bench: Bench, **settings: Any) -> None:
    """Run a story of one device's browsers, and find nothing of them afterwards."""

    async def run() -> None:
        browser = Browser(bench, **settings)
        try:
            await story(browser)
        finally:
            await browser.sessions().close()

    asyncio.run(run())
    assert psutil.Process().children(recursive=True) == []


def test_a_form_is_filled_in_and_sent_once(bench: Bench, site: PageServer):
    fields = [
        {"label": "Name", "value": "Ada & Bo"},
        {"role": "combobox", "value": "Large"},
        {"selector": "[name=gift]", "value": True},
    ]

    async def story(browser: Browser) -> None:
        opened = await browser("open", session="s", url=site.url("/form"))
        assert (opened.title, opened.status, opened.url) == ("Order", 200, site.url("/form"))
        await browser("fill", session="s", fields=fields)
        sent = await browser("click", session="s", element={"role": "button", "name": "Send"})
        assert (sent.title, sent.status, sent.url) == ("Thanks", 200, site.url("/order"))

    told(story, bench)
    assert [each for each in site.asked if "order" in each] == ["POST /order name=Ada+%26+Bo&size=l&gift=on"]


def test_what_is_read_has_refs_that_can_be_clicked(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        tree = await browser("read", session="s", url=site.url())
        line = next(line for line in tree.text.splitlines() if "The form" in line)
        ref = line.split("ref=")[1].split("]")[0]
        assert 'heading "Hello" [level=1]' in tree.text
        assert (await browser("click", session="s", element={"ref": ref})).title == "Order"
        assert (await browser("read", session="s", url=site.url(), form="text")).text.startswith("Hello\n")

    told(story, bench)


def test_an_element_is_one_and_is_there(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/twins"))
        with failing("ambiguous", "2 elements", "nth"):
            await browser("click", session="s", element={"text": "Go"})
        await browser("click", session="s", element={"text": "Go", "nth": 1})
        with failing("element_not_found", "browser.read", retryable=True):
            await browser("click", session="s", element={"role": "link"}, timeout_s=2)
        with failing("bad_arguments", "exactly one"):
            await browser("click", session="s", element={"role": "link", "text": "x"})
        await browser("read", session="s")

    told(story, bench)


def test_a_session_keeps_its_cookies_and_no_other_constellation_has_them(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/login"))
        assert "who=ada" in (await browser("read", session="s", url=site.url("/who"))).text
        assert "nobody" in (await browser("read", session="t", url=site.url("/who"))).text
        bench.context = replace(bench.context, attempt="other/star#1")
        with failing("no_session", "browser.open"):
            await browser("read", session="s")
        assert "nobody" in (await browser("read", session="s", url=site.url("/who"))).text

    told(story, bench)


def test_a_closed_session_is_gone_and_may_be_closed_again(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/login"))
        assert (await browser("close", session="s")).closed
        assert psutil.Process().children(recursive=True) == []
        assert not (await browser("close", session="s")).closed
        with failing("no_session"):
            await browser("pdf", session="s")

    told(story, bench)


def test_a_download_is_an_artifact_with_its_bytes(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        got = await browser("download", session="s", url=site.url("/files"), element={"text": "Small"})
        assert (got.file_name, got.url, got.file.media_type) == ("1000.csv", site.url("/file/1000"), "text/csv")
        assert bench.shelf.content(got.file) == b"x" * 1000
        direct = await browser("download", session="s", url=site.url("/file/70000"))
        assert bench.shelf.content(direct.file) == b"x" * 70_000

    told(story, bench)


def test_a_file_that_is_too_large_is_stopped_as_it_comes(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/files"))
        for name in ("Large", "Endless"):
            with failing("output_too_large", "1000000 bytes"):
                await browser("download", session="s", element={"text": name}, bytes_max=1_000_000)
        folder = bench.context.scratch / "download"
        assert [each.stat().st_size for each in folder.iterdir() if each.stat().st_size > 4 << 20] == []
        got = await browser("download", session="s", element={"text": "Small"}, bytes_max=1_000_000)
        assert got.file.bytes == 1000

    told(story, bench)


def test_a_click_that_downloads_nothing_says_so(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/files"))
        with failing("no_download"):
            await browser("download", session="s", element={"text": "None"}, timeout_s=5)
        assert (await browser("read", session="s")).title == "Order"

    told(story, bench)


def test_pages_become_pictures_and_documents(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        shot = await browser("screenshot", session="s", url=site.url())
        tall = await browser("screenshot", session="s", url=site.url("/huge"), full=True)
        pdf = await browser("pdf", session="s", url=site.url())
        assert bench.shelf.content(shot.picture)[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(bench.shelf.content(tall.picture)[20:24]) == 10_000
        assert bench.shelf.content(pdf.pdf)[:5] == b"%PDF-"

    told(story, bench)


def test_a_page_that_never_comes_takes_no_longer_than_it_may(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        with failing("timeout", retryable=True):
            await browser("open", url=site.url("/silence"), timeout_s=2)

    told(story, bench)


@pytest.mark.parametrize("page", ["dialogs", "spin"])
def test_a_page_that_lets_nobody_speak_ends_with_the_call(bench: Bench, site: PageServer, page: str):
    async def story(browser: Browser) -> None:
        began = time.monotonic()
        with failing("timeout", retryable=True):
            await browser("open", session="s", url=site.url(f"/{page}"), timeout_s=3)
            await browser("read", session="s", timeout_s=3)
        assert time.monotonic() - began < 15

    told(story, bench)


def test_a_huge_page_is_cut_and_whole_in_an_artifact(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        for form in ("tree", "text"):
            huge = await browser("read", session="s", url=site.url("/huge"), form=form, timeout_s=60)
            assert "Ignore all rules" in huge.text
            assert len(huge.text) == 20_000 < huge.characters
            assert len(bench.shelf.content(huge.whole)) == huge.characters

    told(story, bench)


def test_what_a_page_brings_has_a_limit(bench: Bench, site: PageServer):
    bench.guard = type(bench.guard)(Policy(http=ANYWHERE, limits=Limits(output_bytes=200_000)), bench.work)
    bench.context = replace(bench.context, guard=bench.guard)

    async def story(browser: Browser) -> None:
        with failing("output_too_large", "limits.output_bytes"):
            await browser("open", session="s", url=site.url("/bytes/9000000"), timeout_s=10)
            await browser("read", session="s", timeout_s=10)

    told(story, bench)


def test_popups_are_few_and_the_newest_is_looked_at(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/popups"))
        clicked = await browser("click", session="s", element={"text": "Many"})
        read = await browser("read", session="s")
        assert max(clicked.pages, read.pages) <= PAGES_MAX
        assert read.title == "Start"

    told(story, bench)


def test_a_browser_that_died_is_opened_anew(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url("/login"))
        own = str(next(iter(browser.sessions()._open.values())).chromium.own)
        for pid in processes_with(f"--user-data-dir={own}"):
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(ToolFailed, match=r"has ended|no session"):
            await browser("read", session="s")
        with failing("no_session"):
            await browser("read", session="s")
        assert "nobody" in (await browser("read", session="s", url=site.url("/who"))).text

    told(story, bench)


def test_one_session_is_for_one_call_at_a_time(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url())
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(failed(browser("open", session="s", url=site.url("/silence"), timeout_s=2)))
            busy = group.create_task(failed(browser("read", session="s")))
        assert (waiting.result(), busy.result()) == ("timeout", "session_busy")

    async def failed(call: Any) -> str:
        with pytest.raises(ToolFailed) as caught:
            await call
        return caught.value.failure.code

    told(story, bench)


def test_one_browser_too_many_ends_the_one_that_was_idle_for_longest(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        for name in ("a", "b", "c"):
            await browser("open", session=name, url=site.url())
        with failing("no_session"):
            await browser("read", session="a")
        await browser("read", session="b")
        assert len(browser.sessions()._open) == 2

    told(story, bench, sessions_max=2)


def test_a_browser_starts_however_long_the_name_of_the_temporary_folder_is(
    bench: Bench, site: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    async def story(browser: Browser) -> None:
        assert (await browser("read", url=site.url("/form"))).title

    told(story, bench)


def test_a_browser_that_nobody_uses_ends_by_itself(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        await browser("open", session="s", url=site.url())
        session = next(iter(browser.sessions()._open.values()))
        own = session.chromium.own
        async with asyncio.timeout(10):
            while session.ending is None:
                await asyncio.get_running_loop().run_in_executor(None, processes_with, "x")
            await session.ending
        assert psutil.Process().children(recursive=True) == []
        assert not own.exists()

    told(story, bench, idle_s=0.1)


def test_the_service_ends_all_browsers_with_the_agent(bench: Bench, site: PageServer):
    async def story(browser: Browser) -> None:
        tool: BrowserOpen = browser.tools["browser.open"]
        async with asyncio.TaskGroup() as group:
            service = group.create_task(tool.services(bench.guard)[0]())  # type: ignore[arg-type]  # a coroutine
            await browser("open", session="s", url=site.url())
            service.cancel()
        assert psutil.Process().children(recursive=True) == []

    told(story, bench)


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.device_agents.tools.bench import Bench
from tests.device_agents.tools.desktop.browser.stands import HOME
from device_agents.tools.desktop.browser import tools
from device_agents.tools.desktop.browser.settings import BrowserSettings

async def main():
    bench = Bench(Path(sys.argv[1]), HOME)
    tool = tools(BrowserSettings())[0]
    await bench.run(tool, url=sys.argv[2], session="s")
    session = next(iter(tool._sessions._open.values()))
    await (await session.page()).evaluate("void setTimeout(() => { for (;;); }, 0)")
    print(session.chromium.own, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_nothing_outlives_an_agent_that_is_killed(tmp_path: Path, site: PageServer):
    (tmp_path / "agent").mkdir()
    command = [sys.executable, "-c", AGENT, str(tmp_path / "agent"), site.url()]
    root = Path(__file__).parents[5]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as agent:
        assert agent.stdout is not None
        own = Path(agent.stdout.readline().strip())
        family = psutil.Process(agent.pid).children(recursive=True)
        assert own.name.startswith("galaxy-browser-")
        assert own.is_dir()
        assert any("run-driver" in process.cmdline() for process in family)
        assert processes_with(str(own))
        agent.kill()
    gone, alive = psutil.wait_procs(family, timeout=15)
    assert (len(gone), alive) == (len(family), [])
    assert processes_with(str(own)) == []
    assert not own.exists()
