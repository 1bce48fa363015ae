"""Looking at ports on loopback, and where nobody looks."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from device_agents.guard import Limits, Policy, Web
from device_agents.tools.network import NetPort, PortArguments

from .bench import Bench, failing

ANY_PORT = tuple(range(1, 65536))
HOME = Policy(http=Web(private=True, ports=ANY_PORT), limits=Limits(timeout_s=30))
AWAY = Policy(http=Web(ports=ANY_PORT))


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def at_home(folder: Path) -> Bench:
    return Bench(folder, HOME)


def leading_to(*addresses: str) -> NetPort:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return NetPort(resolve=resolve)


def test_a_port_that_something_listens_on_is_open(tmp_path: Path):
    with listening() as port:
        found = at_home(tmp_path).call(NetPort(), host="127.0.0.1", port=port)

    assert (found.open, found.cause) == (True, "")


def test_a_port_that_nothing_listens_on_is_closed_and_the_cause_is_said(tmp_path: Path):
    with listening() as port:
        pass
    found = at_home(tmp_path).call(NetPort(), host="127.0.0.1", port=port)

    assert (found.open, "127.0.0.1" in found.cause) == (False, True)


def test_another_address_of_the_host_is_tried_when_the_first_refuses(tmp_path: Path):
    with listening() as port:
        assert at_home(tmp_path).call(leading_to("127.0.0.2", "127.0.0.1"), host="twice.test", port=port).open


def test_a_name_that_leads_nowhere_is_a_finding_and_no_failure(tmp_path: Path):
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = at_home(tmp_path).call(NetPort(resolve=unknown), host="no.such.host", port=80)

    assert (found.open, "no.such.host" in found.cause) == (False, True)


def test_who_says_nothing_is_given_up_in_time(tmp_path: Path):
    """The queue of those who wait to be taken is full, so a further one hears nothing."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        found = at_home(tmp_path).call(NetPort(), host="127.0.0.1", port=server.getsockname()[1], timeout_s=0.1)

    assert (found.open, found.cause) == (False, "no answer in 0.1 s")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "10.0.0.1", "192.168.1.1", "2130706433"])
def test_private_addresses_are_denied_unless_their_owner_opens_them(tmp_path: Path, host: str):
    with failing("denied", "http.private = true"):
        Bench(tmp_path, AWAY).call(NetPort(), host=host, port=80)


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "::ffff:169.254.169.254", "0.0.0.0"])
def test_addresses_of_no_host_are_denied_whatever_is_opened(tmp_path: Path, address: str):
    with failing("denied", "no setting allows it"):
        at_home(tmp_path).call(leading_to(address), host="somewhere.test", port=80)


def test_a_name_is_looked_up_once_and_what_it_led_to_is_judged(tmp_path: Path):
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with failing("denied"):
        Bench(tmp_path, AWAY).call(NetPort(resolve=rebinding), host="Rebinding.Test", port=80)
    assert asked == ["rebinding.test"]


def test_hosts_ports_and_times_are_those_that_the_owner_allows(tmp_path: Path):
    bench = Bench(tmp_path, Policy(http=Web(hosts=("*.home.test",)), limits=Limits(timeout_s=1)))

    with failing("denied", "http.hosts"):
        bench.call(NetPort(), host="example.com", port=80, timeout_s=1)
    with failing("denied", "http.ports"):
        bench.call(NetPort(), host="a.home.test", port=22, timeout_s=1)
    with failing("denied", "limits.timeout_s"):
        bench.call(NetPort(), host="a.home.test", port=80)


@pytest.mark.parametrize(
    "arguments",
    [{"port": 0}, {"port": 65_536}, {"host": ""}, {"host": "a b"}, {"host": "ä"}, {"timeout_s": 0}, {"scheme": "udp"}],
)
def test_arguments_out_of_their_bounds_are_refused(arguments: dict[str, object]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"host": "a.test", "port": 80, **arguments}, PortArguments)
