# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may be sent a request, which holds a password: the endpoint named, proven by its certificate, and nobody else.

A limit that no test can show here: a resolver that never answers holds the call as long as the system's resolver waits.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK

from .certificates import issue, server_context
from .scripted_server import ScriptedServer, action_of, http, read_head

pytestmark = pytest.mark.thorough

DR, NAME = "pgm-dr", "rds.example.invalid"
PASSWORD, SECRET, PROXY_PASSWORD = "Pass+w/rd1", "Secret+/2", "Pr0xyS3cret"
INSTANCE = {"Items": {"DBInstanceAttribute": [{"DBInstanceId": DR, "Engine": "PostgreSQL"}]}}
ANSWERS = {
    "DescribeDBInstanceAttribute": INSTANCE,
    "DescribeReplicationLinkLogs": {"TotalSize": 0, "Items": []},
    "CreateReplicationLink": {"TaskId": 7},
}
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def service(_unused, head):
    """A script: a service on which a link can be made."""
    return http(json.dumps(ANSWERS[action_of(head)]))


def link(endpoint, **changes):
    """Make a link and wait for nothing."""
    given = {"dr_instance_id": DR, "endpoint": endpoint, "access_key_id": "LTAI", "access_key_secret": SECRET}
    given |= {"source_address": "10.0.0.1", "replicator_account": "dr", "replicator_password": PASSWORD, "wait": False}
    given |= {"max_retries": 0, "connect_timeout": 3, "read_timeout": 3, "request_timeout": 5, "settle_timeout": 0}
    defaults = {name: option.get("default") for name, option in REPLICATION_LINK["argument_spec"].items()}
    result = run(LINK, {**defaults, **given, **changes}, check_mode=False, diff=False, environment={})
    for secret in (PASSWORD, SECRET, PROXY_PASSWORD, "Pass%2Bw%2Frd1"):
        assert secret not in json.dumps(result)
    return result


# -- which endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://rds.aliyuncs.com",
        "http://10.0.0.1:8080",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://127.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://127.0.0.1\\.example.com",
        "ftp://127.0.0.1",
        f"https://user:{PROXY_PASSWORD}@rds.aliyuncs.com",
        f"http://user:{PROXY_PASSWORD}@127.0.0.1",
        f"user:{PROXY_PASSWORD}@127.0.0.1",
        f"http://127.0.0.1@{PROXY_PASSWORD}.example.com",
        "http://127.0.0.1/path",
        "https://rds.aliyuncs.com/?x=y",
        "https://rds.aliyuncs.com#x",
        "https://rds.aliyuncs.com\r\nHost: other",
        "https://:443",
        "https://rds.aliyuncs.com:99999",
    ],
)
def test_an_endpoint_that_is_not_safe_is_refused_before_anything_is_sent(endpoint, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    result = link(endpoint)
    assert (result["error"]["code"], result["outcome"]) == ("InvalidOptions", "not_sent")
    assert "endpoint" in result["msg"]


def test_plain_http_reaches_loopback():
    with ScriptedServer(service) as server:
        assert link(f"http://localhost:{server.port}")["outcome"] == "created"
        assert len(server.heads) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("action", ["DescribeDBInstanceAttribute", "CreateReplicationLink"])
def test_a_redirect_reaches_nobody(status, action):
    with ScriptedServer(service) as other, ScriptedServer(service) as server:
        places = iter([f"http://localhost:{other.port}/x", f"//127.0.0.1:{other.port}", "/x"] * 3)

        def redirect(stream, head):
            if action_of(head) != action:
                return service(stream, head)
            return http("{}", f"Location: {next(places)}", status=f"{status} x")

        server.answer = redirect
        for _unused in range(3):
            result = link(f"http://127.0.0.1:{server.port}")
            assert (result["error"]["code"], result["error"]["http_status"]) == ("Redirected", status)
        assert other.heads == []
        assert sum(action_of(head) == action for head in server.heads) == 3
        assert all(head.startswith("POST /?") for head in server.heads)


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    ca = issue(directory, "ca")
    made = {
        "ca": ca,
        "other ca": issue(directory, "other"),
        "right": issue(directory, "right", ["127.0.0.1", NAME], ca),
        "another name": issue(directory, "wrong", ["rds.aliyuncs.com", "127.0.0.2"], ca),
        "ended": issue(directory, "ended", ["127.0.0.1"], ca, days=-1),
        "self-signed": issue(directory, "self", ["127.0.0.1"]),
        "home-made": issue(directory, "home", ["127.0.0.1"], ca, identifiers=False),
    }
    return {name: str(issued.file) for name, issued in made.items()}


def test_a_certificate_of_the_authority_named_is_accepted(certificates):
    with ScriptedServer(service, server_context(certificates["right"])) as server:
        result = link(f"https://127.0.0.1:{server.port}", ca_path=certificates["ca"])
        assert result["outcome"] == "created", result["msg"]
        assert any("ReplicatorPassword=Pass%2Bw%2Frd1" in head for head in server.heads)


@pytest.mark.parametrize(
    ("shown", "trusted", "why", "remedy"),
    [
        ("right", None, "unable to get local issuer certificate", "ca_path"),
        ("right", "other ca", "unable to get local issuer certificate", "ca_path"),
        ("another name", "ca", "IP address mismatch", "endpoint"),
        ("ended", "ca", "certificate has expired", "clock"),
        ("self-signed", None, "self-signed certificate", "ca_path"),
        ("self-signed", "ca", "self-signed certificate", "ca_path"),
        pytest.param(
            "home-made",
            "ca",
            "Missing Authority Key Identifier",
            "reissue",
            marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.13 is the first that minds"),
        ),
    ],
)
def test_a_certificate_that_proves_nothing_gets_no_request(certificates, shown, trusted, why, remedy):
    with ScriptedServer(service, server_context(certificates[shown])) as server:
        result = link(f"https://127.0.0.1:{server.port}", ca_path=certificates.get(trusted), max_retries=3)
        assert server.heads == []
    assert (result["error"]["code"], result["outcome"]) == ("CertificateRefused", "not_sent")
    assert f"(certificate refused: {why}" in result["msg"] and remedy in result["error"]["remedy"], result["msg"]
    assert result["retries"] == [], "a certificate does not get better by asking again"


def test_ca_path_beats_the_environment(certificates, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates["other ca"])
    with ScriptedServer(service, server_context(certificates["right"])) as server:
        assert link(f"https://127.0.0.1:{server.port}", ca_path=certificates["ca"])["outcome"] == "created"
    with Proxy() as proxy, ScriptedServer(service, server_context(certificates["right"])) as server:
        proxy.target = server.port
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert link(f"https://{NAME}", ca_path=certificates["ca"])["outcome"] == "created"
        assert link(f"https://{NAME}")["error"]["code"] == "CertificateRefused"


# -- proxies -----------------------------------------------------------------------------------------------------------


class Proxy:
    """A proxy on loopback that connects whatever name is asked for to one port of loopback."""

    def __init__(self, status="200 Connection established"):
        self.status, self.target, self.heads = status, 0, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_unused):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._listener.accept()[:1], daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            client.settimeout(20)
            self.heads.append(read_head(client))
            client.sendall(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
            if not self.status.startswith("200"):
                return
            with socket.create_connection(("127.0.0.1", self.target), 20) as server:
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(20)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_sees_a_name_and_nothing_else(certificates, monkeypatch, variable):
    with Proxy() as proxy, ScriptedServer(service, server_context(certificates["right"])) as server:
        proxy.target = server.port
        monkeypatch.setenv(variable, f"http://user:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}")
        result = link(f"https://{NAME}", ca_path=certificates["ca"])
        assert result["outcome"] == "created", result["msg"]
        assert len(server.heads) == 3
        assert proxy.heads
        for head in proxy.heads:
            assert head.startswith(f"CONNECT {NAME}:443 ")
            assert "Proxy-Authorization: Basic" in head
            assert "Replicator" not in head and "LTAI" not in head
        assert not any("roxy-" in head for head in server.heads), "the endpoint does not learn the proxy's password"


class SocksProxy(Proxy):
    """The same as a SOCKS 5 proxy, which resolves names (RFC 1928)."""

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            client.settimeout(20)
            client.recv(2 + client.recv(2)[1])
            client.sendall(b"\x05\x00")
            kind, length = client.recv(5)[3:]
            self.heads.append((kind, client.recv(length).decode(), int.from_bytes(client.recv(2))))
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            with socket.create_connection(("127.0.0.1", self.target), 20) as server:
                threading.Thread(target=pump, args=(server, client), daemon=True).start()
                pump(client, server)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
def test_a_socks_proxy_sees_a_name_and_nothing_else(certificates, monkeypatch, variable):
    """With requests[socks], as the remedy has it that names the library."""
    with SocksProxy() as proxy, ScriptedServer(service, server_context(certificates["right"])) as server:
        proxy.target = server.port
        monkeypatch.setenv(variable, f"socks5h://127.0.0.1:{proxy.port}")
        result = link(f"https://{NAME}", ca_path=certificates["ca"])
        assert result["outcome"] == "created", result["msg"]
        assert len(server.heads) == 3
        assert set(proxy.heads) == {(3, NAME, 443)}


@pytest.mark.parametrize(
    ("status", "certificate_shown", "code"),
    [
        ("407 Proxy Authentication Required", "right", "EndpointUnreachable"),
        ("502 Bad Gateway", "right", "EndpointUnreachable"),
        ("302 Found\r\nLocation: http://127.0.0.1:9/", "right", "EndpointUnreachable"),
        ("200 OK", "self-signed", "CertificateRefused"),
        ("200 OK", "another name", "CertificateRefused"),
    ],
)
def test_a_proxy_that_fails_or_cheats_gets_no_request(certificates, monkeypatch, status, certificate_shown, code):
    with Proxy(status) as proxy, ScriptedServer(service, server_context(certificates[certificate_shown])) as server:
        proxy.target = server.port
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}")
        result = link(f"https://{NAME}", ca_path=certificates["ca"])
        assert (result["error"]["code"], result["outcome"]) == (code, "not_sent"), result["msg"]
        assert server.heads == [] and len(proxy.heads) == 1


def test_a_proxy_that_is_not_there_shows_no_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PROXY_PASSWORD}@127.0.0.1:9")
    result = link(f"https://{NAME}")
    assert (result["error"]["code"], result["outcome"]) == ("EndpointUnreachable", "not_sent")


def test_loopback_is_never_reached_through_a_proxy(monkeypatch, certificates):
    with (
        Proxy() as proxy,
        ScriptedServer(service) as plain,
        ScriptedServer(service, server_context(certificates["right"])) as secure,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert link(f"http://127.0.0.1:{plain.port}")["outcome"] == "created"
        assert link(f"https://127.0.0.1:{secure.port}", ca_path=certificates["ca"])["outcome"] == "created"
        assert proxy.heads == []


# -- peers that do not answer ------------------------------------------------------------------------------------------


def test_a_black_hole_costs_the_connect_timeout_for_each_attempt():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # its queue is full soon, and what comes then gets no answer
        for _unused in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        began = time.monotonic()
        result = link(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.4, max_retries=1)
        spent = time.monotonic() - began
    assert (result["error"]["code"], result["outcome"]) == ("EndpointUnreachable", "not_sent")
    assert "connect timed out" in result["msg"]
    assert len(result["retries"]) == 1
    assert spent < 8


@pytest.mark.parametrize("scheme", ["https", "proxy"])
def test_a_handshake_that_is_never_answered_ends(scheme, monkeypatch):
    """TCP answers, TLS or the proxy does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        endpoint = f"https://127.0.0.1:{port}"
        if scheme == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            endpoint = f"https://{NAME}"
        began = time.monotonic()
        result = link(endpoint, connect_timeout=0.5, read_timeout=0.5, request_timeout=1)
        assert time.monotonic() - began < 8
    assert (result["error"]["code"], result["outcome"]) == ("EndpointUnreachable", "not_sent"), result["msg"]
