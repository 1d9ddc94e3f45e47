# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each fault as a client sees it on the wire, and what the journal says about it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rds_emulator.client import Emulator, EmulatorError
from rds_emulator.errors import CATALOGUE
from rds_emulator.faults import Faults, read_rule
from rds_emulator.journal import masked
from rds_emulator.reading import ReadError
from rds_emulator.store import Store
from tests.unit.emulator.api_helper import ACCOUNT, KEY, PASSWORD, SEED, Caller, until

pytestmark = pytest.mark.thorough  # they wait for delays

STS = {"access_key_id": "STS.fake", "access_key_secret": "s2", "security_token": "t2", "expires_in": 3600}
DENIED = {"access_key_id": "LTAIdenied", "access_key_secret": "s3", "deny": ["DescribeRegions"], "ram_user": "eve"}
LIMITED = {"DescribeDBInstances": "3 per minute"}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator({**SEED, "keys": [KEY, STS, DENIED], "limits": LIMITED}, engine="memory") as running:
        yield running


@pytest.fixture
def rds(emulator: Emulator) -> Iterator[Caller]:
    emulator.reset()
    caller = Caller(emulator, KEY)
    yield caller
    caller.close()
    emulator.clear_faults()


def create(rds: Caller, **more: Any) -> tuple[int, dict[str, Any]]:
    return rds("CreateReplicationLink", **creation(rds, **more))


def creation(rds: Caller, **more: Any) -> dict[str, Any]:
    return {
        "DBInstanceId": "pgm-dr",
        "DryRun": "false",
        "SourceAddress": "127.0.0.1",
        "SourcePort": rds.emulator.sources["onprem"]["port"],
        "ReplicatorAccount": ACCOUNT["name"],
        "ReplicatorPassword": PASSWORD,
        **more,
    }


def rows(rds: Caller, kind: str = "create") -> list[dict[str, Any]]:
    status, answer = rds("DescribeReplicationLinkLogs", DBInstanceId="pgm-dr", TaskType=kind)
    assert status == 200
    return answer["Items"]


@pytest.mark.parametrize("fault", ["lost", "reset", "truncated"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_the_answer_is_lost(rds: Caller, fault: str, where: str) -> None:
    rds.emulator.add_fault(fault=fault, action="CreateReplicationLink", where=where)
    with pytest.raises((http.client.HTTPException, ConnectionError)) as caught:
        create(rds, TaskName="once")
    assert isinstance(caught.value, http.client.IncompleteRead) == (fault == "truncated")
    was_reset = isinstance(caught.value, ConnectionResetError)
    assert (was_reset and not isinstance(caught.value, http.client.RemoteDisconnected)) == (fault == "reset")
    rds.close()
    assert len(rows(rds)) == (where == "after")
    assert not any(entry["committed"] for entry in rds.emulator.journal("DescribeReplicationLinkLogs"))
    (entry,) = rds.emulator.journal("CreateReplicationLink")
    assert (entry["committed"], entry["fault"]) == (where == "after", fault)
    assert entry["http_status"] == (200 if fault == "truncated" else None)


def test_stale_drops_the_next_request_on_the_connection_unread(rds: Caller) -> None:
    rds.emulator.add_fault(fault="stale", action="DescribeRegions")
    assert rds("DescribeRegions")[0] == 200
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        create(rds)
    rds.close()
    assert rds.emulator.journal("CreateReplicationLink") == []
    assert create(rds)[0] == 200


def test_error_rows_bring_their_status_and_message(rds: Caller) -> None:
    for code, (status, message) in CATALOGUE.items():
        rds.emulator.add_fault(fault="error", code=code, action="DescribeRegions")
        got, answer = rds("DescribeRegions")
        assert (got, answer["Code"], answer["Message"]) == (status, code, message)
        assert {"RequestId", "HostId", "Recommend"} <= answer.keys()


def test_error_with_a_wait(rds: Caller) -> None:
    rds.emulator.add_fault(fault="error", code="Throttling.User", retry_after_ms=250, skip=1, times=2)
    statuses = []
    for _unused in range(4):
        answer = rds.raw("DescribeRegions")
        answer.read()
        statuses.append((answer.status, answer.getheader("x-acs-retry-after")))
    assert statuses == [(200, None), (400, "250"), (400, "250"), (200, None)]


def test_an_error_after_the_commit(rds: Caller) -> None:
    rds.emulator.add_fault(fault="error", code="InternalError", action="CreateReplicationLink", where="after")
    assert create(rds)[0] == 500
    assert rds.emulator.journal("CreateReplicationLink")[0]["committed"]
    assert len(rows(rds)) == 1


@pytest.mark.parametrize(("content", "start"), [("html", b"<html"), ("json", b"{"), ("empty", b"")])
def test_status(rds: Caller, content: str, start: bytes) -> None:
    rds.emulator.add_fault(fault="status", http_status=502, content=content)
    answer = rds.raw("DescribeRegions")
    body = answer.read()
    assert answer.status == 502
    assert body.startswith(start) and bool(body) == bool(start)


def test_bodies(rds: Caller) -> None:
    rds.emulator.add_fault(fault="html")
    assert rds.raw("DescribeRegions").read().startswith(b"<html")
    rds.emulator.add_fault(fault="body", base64="/wD+", http_status=503)
    answer = rds.raw("DescribeRegions")
    assert (answer.status, answer.read()) == (503, b"\xff\x00\xfe")
    rds.emulator.add_fault(fault="body", body={"a": [1]})
    assert rds("DescribeRegions") == (200, {"a": [1]})
    rds.emulator.add_fault(fault="error_body_200", code="InternalError")
    status, body = rds("DescribeRegions")
    assert (status, body["Code"]) == (200, "InternalError")
    rds.emulator.add_fault(fault="redirect", location="http://127.0.0.1:1/")
    answer = rds.raw("DescribeRegions")
    assert (answer.status, answer.getheader("Location"), answer.read()) == (302, "http://127.0.0.1:1/", b"")
    rds.emulator.add_fault(fault="huge", mib=2)
    assert len(rds.raw("DescribeRegions").read()) > 2 << 20
    rds.emulator.add_fault(fault="gzip_bomb", mib=20)
    answer = rds.raw("DescribeRegions")
    packed = answer.read()
    assert answer.getheader("Content-Encoding") == "gzip"
    assert len(packed) < 100_000 and len(gzip.decompress(packed)) > 20 << 20


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drip(rds: Caller, part: str) -> None:
    rds.emulator.add_fault(fault="drip", part=part, seconds=0.002, action="CreateReplicationLink")
    begun = time.monotonic()
    assert create(rds)[0] == 200
    assert time.monotonic() - begun > 0.2
    assert rows(rds)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_delay_commits_before_or_after_it(rds: Caller, where: str) -> None:
    """With `before` the commit comes when the client has given up already."""
    rds.emulator.add_fault(fault="delay", seconds=1, where=where, action="CreateReplicationLink")
    rds.connection.timeout = 0.1
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        create(rds, TaskName="late")
    other = Caller(rds.emulator, KEY)
    found = len(rows(other))
    if time.monotonic() - begun < 1:  # else the machine is so slow that it may be committed by now
        assert found == (where == "after")
    until(lambda: rows(other))
    assert rds.emulator.journal("CreateReplicationLink")[0]["committed"]
    other.close()


def test_requests_that_meet_are_carried_out_when_the_last_one_has_come(rds: Caller) -> None:
    rds.emulator.add_fault(fault="meet", action="CreateReplicationLink", times=2)
    other = Caller(rds.emulator, KEY)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(create, rds)
        until(lambda: rds.emulator.faults()[0]["hits"] == 1)
        assert rows(other) == [] and not first.done()
        statuses = [create(other)[0], first.result()[0]]
    assert sorted(statuses) == [200, 400]
    other.close()


def test_match_tells_a_dry_run_from_a_create(rds: Caller) -> None:
    rds.emulator.add_fault(fault="error", code="InternalError", action="CreateReplicationLink", match={"DryRun": False})
    assert create(rds, DryRun="True")[0] == 200
    until(lambda: rows(rds, "create-dryrun")[0]["TaskStatus"] == "success")
    assert create(rds, DryRun="False")[0] == 500


def test_an_expired_token(emulator: Emulator, rds: Caller) -> None:
    sts = Caller(emulator, STS)
    assert sts("DescribeRegions")[0] == 200
    emulator.add_fault(fault="expire_token", skip=1)
    codes = [sts("DescribeRegions")[1].get("Code") for _unused in range(3)]
    assert codes == [None, "InvalidSecurityToken.Expired", "InvalidSecurityToken.Expired"]
    emulator.add_key(**STS)
    assert sts("DescribeRegions")[0] == 200
    sts.close()


def test_lag_shows_the_past(rds: Caller) -> None:
    rds.emulator.add_fault(fault="lag", seconds=3600)
    create(rds)
    assert rows(rds) == []
    rds.emulator.clear_faults()
    until(lambda: rows(rds)[0]["TaskStatus"] == "success")


def test_lag_moves_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("rds_emulator.store.time.monotonic", lambda: clock[0])
    store = Store()
    store.set_lag(2)
    for number in range(3):
        with store.change():
            store.sources[str(number)] = store.instances[f"i{number}"] = object()  # type: ignore[assignment]
        clock[0] += 1
    seen = []
    for _unused in range(4):
        seen.append(len(store.view().instances))
        clock[0] += 1
    assert seen == [2, 3, 3, 3]
    store.set_lag(0)
    assert store.view().instances is store.instances


def test_hold_and_release(rds: Caller) -> None:
    rds.emulator.add_fault(stage="basebackup", fault="hold", instance="pgm-dr")
    create(rds)
    until(lambda: rows(rds)[0]["TaskStage"] == "basebackup")
    time.sleep(0.05)
    assert rows(rds)[0]["TaskStatus"] == "running"
    rds.emulator.release()
    until(lambda: rows(rds)[0]["TaskStatus"] == "success")


def test_denial_and_flow_limit(emulator: Emulator, rds: Caller) -> None:
    eve = Caller(emulator, DENIED)
    status, answer = eve("DescribeRegions")
    assert (status, answer["Code"]) == (403, "Forbidden.RAM")
    assert answer["AccessDeniedDetail"]["AuthAction"] == "rds:DescribeRegions"
    assert answer["AccessDeniedDetail"]["AuthPrincipalDisplayName"] == "eve"
    codes = [eve("DescribeDBInstances", RegionId="cn-shanghai")[1].get("Code") for _unused in range(4)]
    assert codes == [None, None, None, "Throttling.User"]
    eve.close()


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({}, "fault"),
        ({"fault": "meltdown"}, "fault must be one of"),
        ({"fault": "lost", "secnods": 1}, "secnods"),
        ({"fault": "delay"}, "seconds"),
        ({"fault": "meet"}, "times"),
        ({"fault": "delay", "seconds": "1"}, "seconds"),
        ({"fault": "lost", "where": "during"}, "where"),
        ({"fault": "lost", "times": 0}, "times"),
        ({"fault": "error", "code": "NoSuchCode"}, "http_status"),
        ({"fault": "body", "base64": "%"}, "base64"),
        ({"stage": "basebackup", "fault": "lost"}, "fault"),
        ({"stage": "cleanup", "fault": "hold"}, "stage"),
        ({"stage": "basebackup", "fault": "hold", "action": "X"}, "action"),
    ],
)
def test_wrong_rules_are_refused_before_any_is_added(emulator: Emulator, rule: dict[str, Any], names: str) -> None:
    with pytest.raises(ReadError, match=names):
        read_rule(rule)
    faults = Faults()
    with pytest.raises(ReadError):
        faults.add([{"fault": "lost"}, rule])
    assert faults.public() == []
    with pytest.raises(EmulatorError, match=names):
        emulator.add_fault(**rule)


def test_secrets_are_masked_whatever_they_are_called() -> None:
    secret = ("ReplicatorPassword", "replicator_password", "SecurityToken", "AccessKeySecret", "Signature")
    shown = masked({name: "hunter22" for name in secret} | {"TaskName": "a hunter22 b", "NextToken": "x"})
    assert shown == dict.fromkeys([*secret, "TaskName"], "***") | {"NextToken": "x"}


def test_a_password_is_nowhere(rds: Caller) -> None:
    rds.emulator.add_fault(fault="error", code="InternalError", action="CreateReplicationLink")
    create(rds, TaskName=f"oops {PASSWORD}")
    create(rds, SourcePort=1)
    create(rds, ReplicatorPassword="wrong-password")
    until(lambda: not rds.emulator.state()["instances"]["pgm-dr"]["busy"])
    seen = json.dumps([rds.emulator.state(), rds.emulator.journal(), rds.emulator.report()]) + rds.emulator.stderr()
    assert PASSWORD not in seen
    assert "wrong-password" not in seen
    assert KEY["access_key_secret"] not in seen


def test_requests_that_are_too_large_or_cut_short_do_no_harm(rds: Caller) -> None:
    host, port = rds.emulator.endpoint.removeprefix("http://").split(":")
    for payload in (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
        b"POST /?" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"",
    ):
        with socket.create_connection((host, int(port)), 5) as client:
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(4096)
            assert not answer.startswith(b"HTTP/1.1 2")
    assert rds("DescribeRegions")[0] == 200
    assert rds.emulator.stderr() == ""
