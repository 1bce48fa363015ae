"""Where pages may not lead the browser, however they try."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from device_agents.guard import Guard, Policy, Web
from device_agents.tools.desktop.browser.acting import BrowserClick
from device_agents.tools.desktop.browser.chromium import Chromium
from device_agents.tools.desktop.browser.looking import BrowserOpen, BrowserRead
from device_agents.tools.desktop.browser.proxy import Proxy
from device_agents.tools.desktop.browser.sessions import Sessions
from device_agents.tools.desktop.browser.settings import BrowserSettings
from device_agents.tools.http import Resolve, resolved

from ...bench import Bench, failing
from ...site import serving
from .stands import ANYWHERE, HOME, PageServer, no_browser

pytestmark = pytest.mark.skipif(bool(no_browser()), reason="there is no Chromium on the PATH")
METADATA = "169.254.169.254"


class Stand:
    """A site that may be asked, one that may not, and a browser between."""

    def __init__(self, bench: Bench, site: PageServer, other: PageServer) -> None:
        self.bench = bench
        self.site = site
        self.other = other
        self.sessions = Sessions(BrowserSettings(), resolved)
        self.allow(Policy(http=Web(private=True, ports=(site.port, 80))))

    def allow(self, policy: Policy, resolve: Resolve = resolved) -> None:
        self.bench.guard = Guard(policy, self.bench.work)
        self.bench.context = replace(self.bench.context, guard=self.bench.guard)
        self.sessions = Sessions(BrowserSettings(), resolve)

    def told(self, story: Any) -> None:
        async def run() -> None:
            try:
                await story()
            finally:
                await self.sessions.close()

        asyncio.run(run())

    async def open(self, url: str, **more: Any) -> Any:
        return await self.bench.run(BrowserOpen(self.sessions), url=url, **more)

    async def read(self, **more: Any) -> Any:
        return await self.bench.run(BrowserRead(self.sessions), **more)

    async def click(self, **more: Any) -> Any:
        return await self.bench.run(BrowserClick(self.sessions), **more)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with ExitStack() as stack:
        site, other = PageServer(), PageServer()
        for each in (site, other):
            stack.enter_context(serving(each))
        yield Stand(Bench(tmp_path, HOME), site, other)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "chrome://version",
            "javascript:alert(1)",
            "data:text/html,x",
            "about:blank",
            "ftp://x/",
        ),
        *("view-source:http://x/", "http://", "x", "http://a:b@127.0.0.1/", "devtools://devtools/x", "http://[::1/"),
    ],
)
def test_only_addresses_of_the_web_are_opened(stand: Stand, url: str):
    with failing("bad_url"):
        stand.told(lambda: stand.open(url))


def test_a_redirect_to_the_metadata_of_a_cloud_is_refused(stand: Stand):
    with failing("denied", METADATA, "no setting"):
        stand.told(lambda: stand.open(stand.site.url(f"/redirect/302/http://{METADATA}/latest")))


def test_a_redirect_to_a_port_that_is_not_open_is_refused(stand: Stand):
    with failing("denied", "http.ports", "guard.toml"):
        stand.told(lambda: stand.open(stand.site.url(f"/redirect/307/{stand.other.url()}")))
    with failing("denied", "http.ports", "guard.toml"):
        stand.told(lambda: stand.open(stand.site.url("/redirect/302/https://127.0.0.1/x")))
    assert stand.other.asked == []


def test_a_redirect_to_a_file_is_refused_by_the_browser(stand: Stand):
    for target in ("file:///etc/passwd", "data:text/html,x", "chrome://version"):
        with failing("browser_failed", "ERR_"):
            stand.told(lambda: stand.open(stand.site.url(f"/redirect/302/{target}")))  # noqa: B023  # called at once


def test_a_redirect_to_a_private_address_is_refused(stand: Stand):
    async def names(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1" if host == "shop.test" else host]

    class Outside(Guard):
        """One for which loopback is as public as the internet: there is none here."""

        def check_address(self, host: str, address: str) -> None:
            if address != "127.0.0.1" or host != "shop.test":
                super().check_address(host, address)

    stand.allow(HOME, names)
    guard = Outside(Policy(http=Web(ports=(stand.site.port, stand.other.port))), stand.bench.work)
    stand.bench.context = replace(stand.bench.context, guard=guard)
    shop = f"http://shop.test:{stand.site.port}"

    async def story() -> None:
        assert (await stand.open(f"{shop}/")).title == "Start"
        with failing("denied", "http.private = true", "guard.toml"):
            await stand.open(f"{shop}/redirect/302/{stand.other.url()}")

    stand.told(story)
    assert stand.other.asked == []


def test_a_link_to_a_forbidden_place_is_clicked_and_leads_nowhere(stand: Stand):
    stand.site.pages["link"] = f"<title>L</title><a href='{stand.other.url()}'>Go</a>"

    async def story() -> None:
        with failing("denied", "it was clicked", "http.ports"):
            await stand.click(url=stand.site.url("/page/link"), element={"text": "Go"})

    stand.told(story)
    assert stand.other.asked == []


def test_a_page_does_not_lead_to_files_or_to_the_browser_itself(stand: Stand):
    async def story() -> None:
        await stand.open(stand.site.url("/away"), session="s")
        for text in ("Files", "Chrome"):
            clicked = await stand.click(session="s", element={"text": text})
            assert (clicked.title, clicked.url) == ("A", stand.site.url("/away"))

    stand.told(story)


WISHES = """<title>W</title><link rel="icon" href="data:,"><body><img src="{0}/img"><iframe src="{0}/frame"></iframe>
<link rel="stylesheet" href="{0}/css"><link rel="prefetch" href="{0}/prefetch"><link rel="preconnect" href="{0}">
<link rel="dns-prefetch" href="{0}"><script src="{0}/script"></script><video src="{0}/video"></video>
<object data="{0}/object"></object><form id="f" action="{0}/form" target="hidden" method="post"></form>
<iframe name="hidden"></iframe>
<script>
let left = [];
const tried = name => promise => left.push(Promise.resolve(promise).then(x => name + ' came', e => name + ' failed'));
tried('fetch')(fetch('{0}/fetch', {{mode: 'no-cors'}}));
tried('beacon')(Promise.resolve(navigator.sendBeacon('{0}/beacon', 'x')).then(() => {{throw 0}}));
tried('socket')(new Promise((yes, no) => {{
  let s = new WebSocket('{1}/socket'); s.onopen = yes; s.onerror = no;}}));
tried('events')(new Promise((yes, no) => {{
  let s = new EventSource('{0}/events'); s.onopen = yes; s.onerror = no;}}));
let code = URL.createObjectURL(new Blob([
  "fetch('{0}/worker', {{mode: 'no-cors'}}).then(() => postMessage(1), () => postMessage(0))"]));
tried('worker')(new Promise((yes, no) => {{ let w = new Worker(code); w.onmessage = m => m.data ? yes() : no() }}));
try {{ let peer = new RTCPeerConnection({{iceServers: [
    {{urls: 'stun:127.0.0.1:{2}'}}, {{urls: 'turn:127.0.0.1:{2}', username: 'u', credential: 'p'}}]}});
  peer.createDataChannel('x'); peer.createOffer().then(o => peer.setLocalDescription(o)); }} catch (e) {{}}
try {{ let t = new WebTransport('https://127.0.0.1:{2}/'); tried('transport')(t.ready) }} catch (e) {{}}
try {{ navigator.serviceWorker.register('/sw.js') }} catch (e) {{}}
f.submit();
Promise.all(left).then(all => {{ let p = document.createElement('p'); p.id = 'done'; p.textContent = all.join(', ');
  document.body.append(p) }});
</script>"""


@contextmanager
def datagrams() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


def test_nothing_that_a_page_wants_of_a_forbidden_host_is_asked(stand: Stand):
    other = stand.other.url()

    async def story() -> None:
        with datagrams() as listening:
            port = listening.getsockname()[1]
            stand.site.pages["wishes"] = WISHES.format(other, other.replace("http", "ws"), port)
            opened = await stand.open(stand.site.url("/page/wishes"), session="s")
            async with asyncio.timeout(20):
                while "worker" not in (read := await stand.read(session="s", form="text")).text:
                    pass
            assert [way for way in ("socket", "events", "transport") if f"{way} failed" not in read.text] == []
            assert f"127.0.0.1:{stand.other.port}" in opened.refused + read.refused
            with pytest.raises(BlockingIOError):
                listening.recv(1)

    stand.told(story)
    assert stand.other.asked == []
    assert stand.site.asked == ["GET /page/wishes"]


def test_a_name_that_turns_to_another_address_is_judged_each_time(stand: Stand):
    answers = {"turn.test": iter(["127.0.0.1"] * 2 + [METADATA] * 99)}

    async def names(host: str, port: int) -> Sequence[str]:
        return [next(answers[host])] if host in answers else [host]

    stand.allow(Policy(http=ANYWHERE), names)
    stand.site.pages["turn"] = (
        "<link rel='icon' href='data:,'><title>T</title><p id=p>waiting</p>"
        "<script>setTimeout(() => fetch('/who').then(r => r.text(), e => 'refused')"
        ".then(t => p.textContent = t))</script>"
    )

    async def story() -> None:
        address = f"http://turn.test:{stand.site.port}/page/turn"
        opened = await stand.open(address, session="s")  # looked up by the tool, and once more by the proxy
        assert opened.title == "T"
        async with asyncio.timeout(10):
            while "waiting" in (read := await stand.read(session="s", form="text")).text:
                pass
        assert "waiting" not in read.text
        with failing("denied", METADATA):
            await stand.open(address, session="s")

    stand.told(story)
    assert stand.site.asked == ["GET /page/turn"]


def test_of_a_name_with_several_addresses_only_those_allowed_are_dialled(stand: Stand):
    async def names(host: str, port: int) -> Sequence[str]:
        return [METADATA, "0.0.0.0", "127.0.0.1"] if host == "many.test" else [host]

    stand.allow(Policy(http=ANYWHERE), names)

    async def story() -> None:
        assert (await stand.open(f"http://many.test:{stand.site.port}/")).title == "Start"

    stand.told(story)


def test_no_page_gets_to_the_doors_of_the_agent_itself(stand: Stand):
    stand.allow(Policy(http=ANYWHERE))

    async def story() -> None:
        await stand.open(stand.site.url(), session="s")
        session = next(iter(stand.sessions._open.values()))
        for port in session.proxy.closed_ports:
            with failing("denied", "the agent's own"):
                await stand.open(f"http://127.0.0.1:{port}/", session="s")

    stand.told(story)


def test_the_door_to_the_browser_opens_once_and_to_who_knows_its_name(stand: Stand):
    async def story() -> None:
        chromium, proxy = Chromium(), Proxy(stand.bench.guard, resolved)
        try:
            port = await chromium.start(BrowserSettings(), stand.bench.guard, await proxy.open())
            with pytest.raises(InvalidStatus, match="403"):
                await connect(f"ws://127.0.0.1:{port}/devtools/browser", proxy=None)
            async with connect(chromium.address(port), proxy=None) as line:
                await line.send('{"id": 1, "method": "Browser.getVersion"}')
                assert "Chrome" in str(await line.recv())
                with pytest.raises(InvalidStatus, match="403"):
                    await connect(chromium.address(port), proxy=None)
        finally:
            await chromium.end()
            await proxy.close()
        assert not chromium.own.exists()

    stand.told(story)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"nonsense\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (b"GET gopher://127.0.0.1/ HTTP/1.1\r\n\r\n", b""),
        (b"GET https://127.0.0.1/ HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT [::ffff:169.254.169.254]:80 HTTP/1.1\r\n\r\n", b"403"),
        (b"GET http://a@127.0.0.1/ HTTP/1.1\r\n\r\n", b""),
        (b"GET http://SITE/ HTTP/1.1\r\nA : b\r\n\r\n", b""),
        (b"POST http://SITE/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
        (b"POST http://SITE/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b""),
        (b"GET http://SITE/garbage HTTP/1.1\r\n\r\n", b""),
        (b"x" * 300_000, b""),
    ],
)
def test_the_proxy_does_not_take_what_no_browser_says(stand: Stand, said: bytes, answer: bytes):
    assert asyncio.run(_asked(stand, said)).split(b" ")[1:2] == ([answer] if answer else [])
    assert [each for each in stand.site.asked if "garbage" not in each] == []


def test_a_second_request_behind_the_first_is_not_handed_on(stand: Stand):
    said = b"POST http://SITE/one HTTP/1.1\r\nHost: other\r\nContent-Length: 2\r\nProxy-Authorization: x\r\n\r\nxx"
    told = asyncio.run(_asked(stand, said + b"GET http://OTHER/two HTTP/1.1\r\nHost: OTHER\r\n\r\n"))

    assert stand.site.asked == ["POST /one"]
    assert stand.other.asked == []
    assert b"Connection: close" in told
    assert b'"body": "xx"' in told
    assert f'"Host": "127.0.0.1:{stand.site.port}"'.encode() in told
    assert b"Authorization" not in told


async def _asked(stand: Stand, said: bytes) -> bytes:
    proxy = Proxy(stand.bench.guard, resolved)
    port = await proxy.open()
    proxy.begin(1 << 20)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for name, site in ((b"SITE", stand.site), (b"OTHER", stand.other)):
            said = said.replace(name, b"127.0.0.1:%d" % site.port)
        writer.write(said)
        async with asyncio.timeout(10):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()
    finally:
        await proxy.close()
