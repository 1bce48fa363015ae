"""Requests to real servers on loopback: what goes out, what comes back, and where none goes."""

import base64
import datetime
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device_agents.guard import Limits, Policy, Web
from device_agents.tools.http import HttpRequest, Resolve
from device_agents.tools.spool import INLINE_BASE64_MAX, INLINE_BYTES_MAX

from .bench import Bench, failing
from .site import Server, serving

ANY_PORT = tuple(range(1024, 65536))
HOME = Policy(http=Web(private=True, ports=ANY_PORT), limits=Limits(output_bytes=1 << 20, timeout_s=100))


@pytest.fixture
def site() -> Iterator[Server]:
    with serving(Server("127.0.0.1")) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, HOME)


def names(**addresses: str | list[str]) -> Resolve:
    """Answer each look-up with the next address of the name, one whole list in the place of an address."""
    left = {
        name.replace("_", "."): list(answers.split()) if isinstance(answers, str) else [answers]
        for name, answers in addresses.items()
    }

    async def resolve(host: str, port: int) -> list[str]:
        answer = left[host].pop(0)
        return answer if isinstance(answer, list) else [answer]

    return resolve


# What goes out and comes back.


def test_a_request_says_what_the_call_says(bench: Bench, site: Server):
    result = bench.call(
        HttpRequest(), method="PUT", url=site.url("/a?b=c#d"), headers={"X-Mine": "1"}, json={"ä": None}
    )

    heard = json.loads(result.body)
    assert (result.status, result.url, result.bytes) == (200, site.url("/a?b=c"), len(result.body))
    assert (heard["method"], heard["path"], heard["body"]) == ("PUT", "/a?b=c", '{"ä":null}')
    assert heard["headers"]["x-mine"] == "1"
    assert heard["headers"]["content-type"] == result.headers["content-type"] == "application/json"
    assert heard["headers"]["host"] == f"127.0.0.1:{site.port}"


def test_a_body_may_be_text_or_json_null_or_nothing(bench: Bench, site: Server):
    def sent(**body: object) -> str:
        return str(json.loads(bench.call(HttpRequest(), method="POST", url=site.url(), **body).body)["body"])

    assert (sent(text="ü"), sent(json=None), sent()) == ("ü", "null", "")
    with failing("bad_arguments", "either"):
        sent(text="x", json=None)


def test_a_body_comes_back_as_what_it_is(bench: Bench, site: Server):
    assert bench.call(HttpRequest(), method="HEAD", url=site.url()).body == ""
    assert bench.call(HttpRequest(), url=site.url("/latin")).body == "ä"
    assert base64.b64decode(bench.call(HttpRequest(), url=site.url("/binary/9")).body_base64) == b"\xff" * 9


@pytest.mark.parametrize("path", [f"/bytes/{INLINE_BYTES_MAX + 1}", f"/binary/{INLINE_BASE64_MAX + 1}"])
def test_a_body_too_long_for_a_result_is_an_artifact(bench: Bench, site: Server, path: str):
    result = bench.call(HttpRequest(), url=site.url(path))

    assert (result.body, result.body_base64) == (None, None)
    assert len(bench.shelf.content(result.body_artifact)) == result.bytes == int(path.rpartition("/")[2])


def test_headers_come_back_as_far_as_a_result_holds_them(bench: Bench, site: Server):
    assert 3 < len(bench.call(HttpRequest(), url=site.url("/headers")).headers) < 10


def test_a_body_ends_at_the_limits_even_when_it_was_small_on_the_wire(bench: Bench, site: Server):
    assert bench.call(HttpRequest(), url=site.url("/bytes/10"), bytes_max=10).bytes == 10
    with failing("output_too_large", "9 bytes"):
        bench.call(HttpRequest(), url=site.url("/bytes/10"), bytes_max=9)
    with failing("output_too_large", str(1 << 20)):
        bench.call(HttpRequest(), url=site.url("/bomb"))


def test_a_status_of_400_or_more_is_a_failure_unless_it_is_not(bench: Bench, site: Server):
    with failing("http_status", "404 Not Found", "the reason"):
        bench.call(HttpRequest(), url=site.url("/status/404"))
    with failing("http_status", "503", retryable=True):
        bench.call(HttpRequest(), url=site.url("/status/503"))
    assert bench.call(HttpRequest(), url=site.url("/status/404"), check=False).status == 404


# How it fails.


def test_a_server_that_is_not_there_can_be_asked_again(bench: Bench):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with failing("connect_failed", str(port), retryable=True):
            bench.call(HttpRequest(), method="POST", url=f"http://127.0.0.1:{port}")


def test_a_name_that_leads_nowhere_is_not_found(bench: Bench):
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with failing("host_not_found", "no.such.host", retryable=True):
        bench.call(HttpRequest(resolve=unknown), url="http://no.such.host:8080")
    with failing("host_not_found", "no address", retryable=True):
        bench.call(HttpRequest(resolve=names(no_such_host=[])), url="http://no.such.host:8080")


def test_what_breaks_after_the_request_is_repeatable_only_where_the_method_is(bench: Bench, site: Server):
    with failing("broken_answer", retryable=True):
        bench.call(HttpRequest(), url=site.url("/garbage"))
    with failing("broken_answer"):
        bench.call(HttpRequest(), method="POST", url=site.url("/garbage"))


def test_a_server_that_says_nothing_is_given_up(bench: Bench, site: Server):
    with failing("timeout", "0.2 s", retryable=True):
        bench.call(HttpRequest(), url=site.url("/silence"), timeout_s=0.2)
    with failing("timeout"):
        bench.call(HttpRequest(), method="POST", url=site.url("/silence"), timeout_s=0.2)
    with failing("denied", "limits.timeout_s"):
        bench.call(HttpRequest(), url=site.url(), timeout_s=101)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/", "file:///etc/passwd", "//host/", "host", "", "http://", "http://u:p@host/", "http://u@host/"),
        *("http://host:99999/", "http://host:x/", "http://[::1/", "http://0177.0.0.1/", "HTTP:///x"),
    ],
)
def test_an_address_that_is_not_one_of_the_web_is_refused(bench: Bench, url: str):
    with failing("bad_url"):
        bench.call(HttpRequest(), url=url)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization"])
def test_headers_of_the_connection_are_not_the_calls_to_set(bench: Bench, name: str):
    with failing("bad_arguments", name.lower()):
        bench.call(HttpRequest(), url="http://host/", headers={name: "x"})


# Where no request goes.


def test_a_private_address_is_refused_however_it_is_written(tmp_path: Path, site: Server):
    bench = Bench(tmp_path, Policy(http=Web(ports=ANY_PORT)))

    for host in (
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ):
        with failing("denied", "http.private"):
            bench.call(HttpRequest(), url=site.url(host=host))
    with failing("denied", "no setting"):
        bench.call(HttpRequest(), url=site.url(host="0.0.0.0"))
    assert site.asked == []


def test_hosts_and_ports_beyond_the_policy_are_refused_before_any_look_up(tmp_path: Path):
    bench = Bench(tmp_path, Policy(http=Web(hosts=("*.home",))))

    with failing("denied", "http.hosts"):
        bench.call(HttpRequest(resolve=names()), url="http://elsewhere/")
    with failing("denied", "8080", "http.ports"):
        bench.call(HttpRequest(resolve=names()), url="http://nas.home:8080/")


def test_a_name_is_looked_up_once_and_the_connection_goes_where_it_led(bench: Bench, site: Server):
    with serving(Server("127.0.0.2", site.port)) as meant:
        result = bench.call(
            HttpRequest(resolve=names(host_test="127.0.0.2 127.0.0.1")), url=site.url("/x", "host.test")
        )

    assert json.loads(result.body)["headers"]["host"] == f"host.test:{site.port}"
    assert (meant.asked, site.asked) == (["GET /x"], [])


@pytest.mark.skipif(not socket.has_ipv6, reason="a system without IPv6")
def test_a_name_may_lead_to_an_address_of_ipv6(bench: Bench):
    with serving(Server("::1")) as six:
        result = bench.call(HttpRequest(resolve=names(host_test="::1")), url=six.url(host="host.test"))

    assert json.loads(result.body)["headers"]["host"] == f"host.test:{six.port}"


def test_of_several_addresses_only_allowed_ones_are_tried_and_the_next_after_one_that_is_closed(
    bench: Bench, site: Server
):
    resolve = names(host_test=["169.254.169.254", "127.0.0.3", "127.0.0.1"])

    assert bench.call(HttpRequest(resolve=resolve), url=site.url(host="host.test")).status == 200


def test_proxies_of_the_environment_are_not_used(bench: Bench, site: Server, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert bench.call(HttpRequest(), url=site.url()).status == 200


# Redirects.


def test_a_redirect_is_followed_unless_the_call_says_otherwise(bench: Bench, site: Server):
    result = bench.call(HttpRequest(), url=site.url("/redirect/302//landing"))

    assert (result.status, result.url) == (200, site.url("/landing"))
    assert bench.call(HttpRequest(), url=site.url("/redirect/302//x"), follow_redirects=False).status == 302


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", ""), (302, "GET", ""), (303, "GET", ""), (307, "POST", "x"), (308, "POST", "x")],
)
def test_a_redirect_changes_the_method_as_browsers_do(bench: Bench, site: Server, status: int, method: str, body: str):
    result = bench.call(HttpRequest(), method="POST", url=site.url(f"/redirect/{status}//landing"), text="x")

    heard = json.loads(result.body)
    assert (heard["method"], heard["body"]) == (method, body)
    assert ("content-type" in heard["headers"]) == bool(body)


def test_redirects_without_end_are_ended(bench: Bench, site: Server):
    path = "/redirect/302/" * 7

    with failing("too_many_redirects", "5"):
        bench.call(HttpRequest(), url=site.url(path + "/landing"))
    assert len(site.asked) == 6


def test_secrets_stay_with_the_origin_that_they_are_for(bench: Bench, site: Server):
    secrets = {"Authorization": "Bearer x", "Cookie": "x", "X-Api-Key": "x", "Accept": "text/x"}
    with serving(Server("127.0.0.2")) as other:
        away = bench.call(HttpRequest(), url=site.url(f"/redirect/302/{other.url('/x')}"), headers=secrets)
        home = bench.call(HttpRequest(), url=site.url("/redirect/302//x"), headers=secrets)

    assert {"authorization", "cookie", "x-api-key", "accept"} <= json.loads(home.body)["headers"].keys()
    heard = json.loads(away.body)["headers"]
    assert heard["accept"] == "text/x"
    assert not {"authorization", "cookie", "x-api-key"} & heard.keys()


def test_each_redirect_is_judged_like_a_first_request(tmp_path: Path, site: Server):
    bench = Bench(tmp_path, Policy(http=Web(private=True, ports=(site.port,), hosts=("host.test", "other.test"))))
    resolve = names(host_test="127.0.0.1 " * 9 + "169.254.169.254", other_test="0.0.0.0")

    def redirected(target: str) -> None:
        bench.call(HttpRequest(resolve=resolve), url=site.url(f"/redirect/302/{target}", "host.test"))

    with failing("denied", "localhost", "http.hosts"):
        redirected(site.url(host="localhost"))
    with failing("denied", "port 1 ", "http.ports"):
        redirected("http://host.test:1/")
    with failing("denied", "other.test", "0.0.0.0"):
        redirected(site.url(host="other.test"))
    with failing("bad_url"):
        redirected("file:///etc/passwd")
    with failing("bad_url", "password"):
        redirected(site.url(host="u:p@host.test"))


def test_a_name_that_leads_elsewhere_after_a_redirect_is_judged_again(bench: Bench, site: Server):
    resolve = names(host_test="127.0.0.1 169.254.169.254")

    with failing("denied", "169.254.169.254"):
        bench.call(HttpRequest(resolve=resolve), url=site.url("/redirect/302//secret", "host.test"))
    assert site.asked == ["GET /redirect/302//secret"]


# TLS.


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_for_the_name_and_not_for_the_address_that_it_led_to(bench: Bench, tmp_path: Path):
    path = certificate(tmp_path, "host.test")
    accepted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepted.load_cert_chain(path)
    asked_for: list[str | None] = []
    accepted.sni_callback = lambda connection, name, context: asked_for.append(name)
    server = Server("127.0.0.1")
    server.socket = accepted.wrap_socket(server.socket, server_side=True)
    resolve = names(host_test="127.0.0.1", other_test="127.0.0.1")
    tool = HttpRequest(resolve=resolve, trusted=ssl.create_default_context(cafile=str(path)))

    with serving(server):
        assert bench.call(tool, url=f"https://host.test:{server.port}/").status == 200
        with failing("connect_failed", "other.test", retryable=True):
            bench.call(tool, url=f"https://other.test:{server.port}/")

    assert asked_for == ["host.test", "other.test"]
