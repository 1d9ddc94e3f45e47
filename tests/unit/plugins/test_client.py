# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client on bad networks: what is repeated, what is not, and how long it may take."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest
import requests

from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import Credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

from .conftest import ACCOUNT, DR

PASSWORD = ACCOUNT["replicator_password"]
WRITE = {
    "DBInstanceId": DR,
    "DryRun": "false",
    "SourceAddress": "127.0.0.1",
    "SourcePort": "20003",
    "SourceCategory": "other",
    "ReplicatorAccount": "dr_sync",
    "ReplicatorPassword": PASSWORD,
}


@pytest.fixture
def connect(rds):
    """Make clients of the emulator, or of another endpoint, that do not pause."""
    clients = []

    def make(endpoint=None, **limits):
        environment = rds.environment
        keys = Credentials(
            environment["ALIBABA_CLOUD_ACCESS_KEY_ID"], environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], None, "test"
        )
        pauses = []
        client = _client.Client(
            resolve_endpoint(endpoint or rds.endpoint, None, "public"),
            lambda: keys,
            _client.Limits(**{"max_retries": 2, "request_timeout": 5, **limits}),
            sleep=pauses.append,
        )
        client.pauses = pauses
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def read(client):
    return client.call("DescribeDBInstanceAttribute", {"DBInstanceId": DR}, repeatable=True)


def write(client):
    return client.call("CreateReplicationLink", WRITE, repeatable=False)


def failure(action, client):
    with pytest.raises(RdsError) as caught:
        action(client)
    assert PASSWORD not in str(caught.value.as_result())
    error = caught.value
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    return caught.value


TRANSPORT = [
    {"fault": "lost", "where": "before"},
    {"fault": "reset", "where": "before"},
    {"fault": "truncated", "where": "before"},
    {"fault": "status", "http_status": 500, "content": "json"},
    {"fault": "status", "http_status": 502, "content": "html"},
    {"fault": "status", "http_status": 503, "content": "empty"},
    {"fault": "html", "where": "before"},
    {"fault": "body", "where": "before", "body": "[1, 2]"},
    {"fault": "body", "where": "before", "base64": "gYKD"},
    {"fault": "delay", "where": "after", "seconds": 1.2},
]


@pytest.mark.parametrize("rule", TRANSPORT, ids=lambda rule: f"{rule['fault']}-{rule.get('content', '')}")
@pytest.mark.thorough
def test_a_read_is_repeated_after_a_bad_answer(rds, connect, rule):
    client = connect(read_timeout=0.5)
    rds.add_fault(action="DescribeDBInstanceAttribute", **rule)
    assert read(client)["Items"]
    assert len(client.retries) == 1 and len(client.pauses) == 1


@pytest.mark.parametrize("rule", TRANSPORT, ids=lambda rule: f"{rule['fault']}-{rule.get('content', '')}")
@pytest.mark.thorough
def test_a_write_is_not_repeated_after_a_bad_answer(rds, connect, rule):
    rds.add_fault(action="CreateReplicationLink", **rule)
    error = failure(write, connect(read_timeout=0.5))
    assert error.outcome == "unknown"
    assert len(rds.journal("CreateReplicationLink")) == 1


def test_an_unsent_write_is_repeated_and_says_that_nothing_was_sent(rds, connect):
    client = connect("http://127.0.0.1:9")
    error = failure(write, client)
    assert (error.code, error.outcome) == ("EndpointUnreachable", "not_sent")
    assert len(client.retries) == 2
    assert "connection refused" in error.message


def test_a_name_that_does_not_exist_is_told_as_such(rds, connect):
    error = failure(write, connect("https://rds.invalid", max_retries=0))
    assert (error.code, error.outcome, error.category) == ("EndpointUnreachable", "not_sent", "fix_network")
    assert "name not found" in error.message


def test_an_endpoint_without_tls_is_told_as_such(rds, connect):
    error = failure(write, connect(rds.endpoint.replace("http://", "https://")))
    assert (error.code, error.outcome) == ("CertificateRefused", "not_sent")


@pytest.mark.parametrize(("code", "status"), [("Throttling.User", 400), ("Whatever", 429), ("LockTimeout", 400)])
def test_a_write_that_the_service_held_back_is_repeated(rds, connect, code, status):
    rule = {"fault": "error", "code": code, "http_status": status, "message": "later", "retry_after_ms": 700}
    rds.add_fault(action="CreateReplicationLink", times=2, **rule)
    client = connect()
    assert write(client)["TaskId"]
    assert client.retries == [f"CreateReplicationLink: {code}"] * 2
    assert all(0.7 <= pause <= 0.9 for pause in client.pauses), "the service's own pause is kept, with some jitter"


def test_retries_are_bounded(rds, connect):
    rds.add_fault(fault="error", code="Throttling", times=50)
    client = connect(max_retries=3)
    assert failure(read, client).code == "Throttling"
    assert len(client.retries) == 3
    assert client.pauses == sorted(client.pauses), "without advice of the service, pauses grow"


def test_redirects_are_not_followed(rds, connect):
    rds.add_fault(fault="redirect", location=f"{rds.endpoint}/elsewhere", times=5)
    error = failure(read, connect())
    assert (error.code, error.http_status) == ("Redirected", 302)
    assert len(rds.journal()) == 1


def test_an_error_body_with_status_200_is_an_error(rds, connect):
    rds.add_fault(fault="error_body_200", code="InvalidParam", message="no")
    assert failure(read, connect(max_retries=0)).code == "InvalidParam"
    rds.add_fault(fault="error_body_200", code="InvalidParam", message="no")
    error = failure(write, connect())
    assert (error.code, error.outcome) == ("InvalidParam", "unknown")


@pytest.mark.parametrize("part", ["body", "headers"])
@pytest.mark.thorough
def test_a_drip_ends_at_the_deadline(rds, connect, part):
    rds.add_fault(fault="drip", part=part, seconds=0.1)
    began = time.monotonic()
    error = failure(write, connect(read_timeout=2, request_timeout=1))
    assert error.outcome == "unknown"
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("rule", [{"fault": "huge", "mib": 40}, {"fault": "gzip_bomb", "mib": 200}])
@pytest.mark.thorough
def test_an_answer_without_end_is_cut_off(rds, connect, rule):
    rds.add_fault(**rule)
    error = failure(write, connect())
    assert (error.code, error.outcome) == ("ReplyLost", "unknown")


def test_a_peer_that_says_nothing_costs_no_more_than_the_read_timeout(rds, connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", read_timeout=0.5)
        began = time.monotonic()
        error = failure(write, client)
    assert (error.code, error.outcome) == ("ReplyLost", "unknown")
    assert time.monotonic() - began < 4


def test_netrc_and_proxies_do_not_reach_a_loopback_endpoint(rds, connect, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("default login eve password eve\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert read(connect())["Items"]


def test_a_proxy_that_refuses_has_not_taken_the_request(rds, connect, monkeypatch):
    """The CONNECT that goes to a proxy is not the request, which holds the password."""
    taken = []

    def proxy(listener):
        connection = listener.accept()[0]
        taken.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=proxy, args=(listener,), daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        error = failure(write, connect("https://rds.example.invalid", max_retries=0))
    assert (error.code, error.outcome) == ("EndpointUnreachable", "not_sent")
    assert taken[0].startswith(b"CONNECT rds.example.invalid:443")
    assert b"Replicator" not in taken[0]


def test_no_proxy_is_heeded(rds, connect, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "rds.invalid")
    assert "name not found" in failure(read, connect("https://rds.invalid", max_retries=0)).message


def test_one_connection_serves_many_calls(rds, connect):
    client = connect()
    for _number in range(5):
        read(client)
    pools = client._transport._adapter.poolmanager.pools
    (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118  # not a dict: it cannot be iterated over
    assert (pool.num_connections, pool.num_requests) == (1, 5)


def test_a_kept_connection_that_the_server_closed_is_found_out(rds, connect):
    client = connect()
    rds.add_fault(fault="stale", action="DescribeDBInstanceAttribute")
    read(client)
    assert read(client)["Items"]


# -- mistakes of this machine ------------------------------------------------------------------------------------------


def local_mistake(client, code):
    error = failure(write, client)
    assert (error.code, error.outcome, client.retries, client.pauses) == (code, "not_sent", [], []), error
    return error


@pytest.fixture
def without_socks(monkeypatch):
    """requests as it is installed by itself: PySocks is an extra."""

    def missing(*_unused, **_options):
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_socks_without_its_library_names_the_library(rds, connect, monkeypatch, without_socks, variable, scheme):
    monkeypatch.setenv(variable, f"{scheme}://user:hunter2@127.0.0.1:9")
    error = local_mistake(connect("https://rds.invalid"), "MissingLibrary")
    assert variable in error.message and f"{sys.executable} -m pip install 'requests[socks]'," in error.remedy
    assert "hunter2" not in error.message


@pytest.mark.parametrize(
    "proxy",
    ["ftp://127.0.0.1:21", "http://", "http://[::1", "http://127.0.0.1:port", "http://127.0.0.1:99999", "http:///x"],
)
def test_a_proxy_that_is_none_is_named(rds, connect, monkeypatch, proxy):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert "HTTPS_PROXY" in local_mistake(connect("https://rds.invalid"), "ProxyUnusable").message


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ca_path"])
@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), ("none", "no certificates"), ("", "no certificates")]
)
def test_an_authority_that_cannot_be_read_is_named(rds, monkeypatch, tmp_path, variable, content, why):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    if variable != "ca_path":
        monkeypatch.setenv(variable, str(path))
    keys, pauses = Credentials("id", "secret", None, "test"), []
    endpoint = resolve_endpoint(rds.endpoint.replace("http:", "https:"), None, "public")
    ca_path = str(path) if variable == "ca_path" else None
    client = _client.Client(endpoint, lambda: keys, _client.Limits(), ca_path, pauses.append)
    client.pauses = pauses
    error = local_mistake(client, "CaUnreadable")
    assert f"{variable} '{path}' cannot be read" in error.message and why in error.message


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "request_timeout"])
def test_a_time_out_may_be_infinite(rds, connect, name):
    assert read(connect(**{name: float("inf")}))["Items"]
