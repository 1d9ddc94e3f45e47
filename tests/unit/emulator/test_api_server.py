# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The process: seeds and their mistakes, the ready file, the end, the control API, and speed."""

from __future__ import annotations

import ast
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rds_emulator
from rds_emulator.client import Emulator, EmulatorError
from rds_emulator.dispatch import Dispatcher
from rds_emulator.reading import ReadError
from rds_emulator.seed import read_seed
from rds_emulator.server import Server
from rds_emulator.wire import Reply
from tests.unit.emulator.api_helper import ACCOUNT, KEY, SEED, Caller, make_world

PACKAGE = Path(rds_emulator.__file__).parent


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(SEED, engine="memory") as running:
        yield running


@pytest.fixture
def rds(emulator: Emulator) -> Iterator[Caller]:
    emulator.reset()
    caller = Caller(emulator, KEY)
    yield caller
    caller.close()


def run(*options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rds_emulator", "--engine", "memory", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **more)


# -- the seed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((PACKAGE / "seeds").glob("*.yml")), ids=lambda path: path.name)
def test_shipped_seeds_are_right(path: Path) -> None:
    read_seed(yaml.safe_load(path.read_text("utf-8")))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"keys": []}, "keys"),
        ({"keys": [{"access_key_id": "x"}]}, r"keys\[0\].access_key_secret"),
        ({"kyes": []}, "kyes"),
        ({"keys": [{"access_key_id": "x", "access_key_secret": None}]}, r"keys\[0\].access_key_secret is missing"),
        ({"faults": [{"fault": "odd"}]}, r"faults\[0\].fault"),
        ({"instances": [{"id": "a b"}]}, r"instances\[0\].id"),
        ({"instances": [{"id": "a"}, {"id": "b", "lock_mode": "Open"}]}, r"instances\[1\].lock_mode"),
        ({"instances": [{"id": "a"}, {"id": "a"}]}, "a is used twice"),
        ({"instances": [{"id": "a", "engine_version": "new"}]}, "engine_version"),
        ({"instances": [{"id": "a", "storage_gb": True}]}, "storage_gb"),
        ({"sources": [{"name": "x", "accounts": [{"name": "y"}]}]}, r"sources\[0\].accounts\[0\].password"),
        ({"sources": [{"name": "x", "behaviour": "odd"}]}, r"sources\[0\].behaviour"),
        ({"sources": [{"name": "x", "memory": {"size": 1}}]}, r"sources\[0\].memory.size"),
        ({"quirks": {"password_echo": "loud"}}, "quirks.password_echo"),
        ({"limits": {"CreateReplicationLink": "ten"}}, "limits.CreateReplicationLink"),
        ({"memory": {"stage_seconds": -1}}, "memory.stage_seconds"),
    ],
)
def test_a_mistake_in_a_seed_is_named(change: dict[str, Any], names: str) -> None:
    with pytest.raises(ReadError, match=names):
        read_seed({**SEED, **change})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: [", "is not YAML (line"),
        ("{keys: [{access_key_id: a, access_key_secret: [hunter22]}]}", "keys[0].access_key_secret must be a text"),
    ],
)
def test_a_wrong_seed_ends_with_status_2_and_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    seed = tmp_path / "seed.yml"
    seed.write_text(text, encoding="utf-8")
    ended = run("--seed", str(seed))
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "hunter22" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_missing_seed() -> None:
    ended = run("--seed", "no-such-file.yml")
    assert (ended.returncode, "cannot be read" in ended.stderr) == (2, True)


def test_only_loopback_is_listened_on() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(ValueError, match="loopback"):
            Server(host, 0, lambda *arguments: Reply(200, b""))
    assert run("--host", "0.0.0.0").returncode == 2


# -- the process ---------------------------------------------------------------------------------------------------


def test_ready_file_and_printed_environment(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "rds_emulator", "--engine", "memory", "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Stop it"):
                break
        told = json.loads(ready.read_text("utf-8"))
        assert ready.stat().st_mode & 0o777 == 0o600
        assert told["pid"] == process.pid
        assert told["endpoint"] == f"http://127.0.0.1:{told['port']}"
        for name, value in told["environment"].items():
            assert f"export {name}={value}" in lines
        assert told["instances"].keys() == {"pgm-dr000000000001", "pgm-src00000000001"}
        assert told["sources"].keys() == {"onprem"}
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.communicate()


def test_it_ends_with_its_parent() -> None:
    with Emulator(SEED, engine="memory") as running:
        process = running._process
        assert process is not None and process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_start_that_fails_tells_why() -> None:
    with pytest.raises(EmulatorError, match=r"status 2: .*nonsense is not known"), Emulator({"nonsense": 1}):
        pass


def test_stop_is_not_kept_waiting_by_a_delay() -> None:
    with Emulator(SEED, engine="memory") as running:
        running.add_fault(fault="delay", seconds=600)
        running.add_fault(stage="precheck", fault="hold")
        caller = Caller(running, KEY)
        caller.send("DescribeRegions")
        time.sleep(0.1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


def test_requests_are_logged_without_their_parameters() -> None:
    with Emulator(SEED, engine="memory", log_requests=True) as running:
        caller = Caller(running, KEY)
        caller("CreateReplicationLink", DBInstanceId="x", ReplicatorPassword="hunter22")
        caller.close()
        log = running.stderr()
    assert "POST" in log and "RequiredParam.NotFound" in log
    assert "hunter22" not in log and "Signature" not in log


# -- dispatch ------------------------------------------------------------------------------------------------------


def test_what_is_not_there(rds: Caller) -> None:
    status, answer = rds("CreateDBInstance")
    assert (status, answer["Code"]) == (404, "InvalidApi.NotFound")
    assert rds("DescribeRegions", Version="2014-08-16")[1]["Code"] == "InvalidVersion"
    answer = rds.raw("DescribeRegions", method="PUT")
    assert (answer.status, json.loads(answer.read())["Code"]) == (403, "UnsupportedHTTPMethod")
    answer = rds.raw("DescribeRegions", method="GET")
    assert (answer.status, b"RDSRegion" in answer.read()) == (200, True)
    answer = rds.raw("SwitchReplicationLink", method="GET")
    assert json.loads(answer.read())["Code"] == "UnsupportedHTTPMethod"
    rds.connection.request("POST", "/", headers={"x-acs-action": "DescribeRegions"})
    assert json.loads(rds.connection.getresponse().read())["Code"] == "IncompleteSignature"


def test_the_journal_names_parameters_that_the_action_does_not_have(rds: Caller) -> None:
    rds("DescribeReplicationLinkLogs", DBInstanceId="pgm-dr", TaskType="create", Tasktype="create", RegionId="x")
    rds("CreateReplicationLink", DBInstanceId="pgm-dr", replicator_password="hunter22")
    logs, create = rds.emulator.journal()
    assert logs["unknown_params"] == ["Tasktype"]
    assert create["unknown_params"] == ["replicator_password"]
    assert create["params"]["replicator_password"] == "***"
    assert [entry["seq"] for entry in (logs, create)] == [logs["seq"], logs["seq"] + 1]
    assert rds.emulator.report()["actions"] == {"DescribeReplicationLinkLogs": 1, "CreateReplicationLink": 1}
    assert rds.emulator.report()["codes"] == {"RequiredParam.NotFound": 1}


def test_refused_requests_are_in_the_journal_too(rds: Caller) -> None:
    stranger = Caller(rds.emulator, {"access_key_id": "nobody", "access_key_secret": "s"})
    assert stranger("DescribeRegions")[0] == 404
    stranger.close()
    (entry,) = rds.emulator.journal()
    assert (entry["access_key_id"], entry["code"]) == ("nobody", "InvalidAccessKeyId.NotFound")


HEADERS = st.sampled_from(["host", "authorization", "content-type", "x-acs-date", "x-acs-action", "accept"])
NOISE = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    target=NOISE | NOISE.map("/?".__add__) | st.sampled_from(["//[", "/?Signature=", "/?Action=x&Signature="]),
    headers=st.dictionaries(HEADERS, NOISE),
    body=st.binary(max_size=60),
)
def test_nonsense_is_answered_with_an_error_of_the_client(target: str, headers: dict[str, str], body: bytes) -> None:
    reply = DISPATCHER.handle("POST", target, headers, body)
    assert 400 <= reply.status < 500
    assert json.loads(reply.body)["Code"] == reply.code


DISPATCHER = Dispatcher(make_world())


# -- control -------------------------------------------------------------------------------------------------------


def test_a_world_can_be_changed_at_runtime(rds: Caller) -> None:
    emulator = rds.emulator
    place = emulator.add_instance(id="pgm-new", region_id="cn-beijing")
    assert place == emulator.instances["pgm-new"]
    assert rds("DescribeDBInstanceAttribute", DBInstanceId="pgm-new")[0] == 200
    emulator.set_instance("pgm-new", status="Restoring", deletion_protection=True)
    item = rds("DescribeDBInstanceAttribute", DBInstanceId="pgm-new")[1]["Items"]["DBInstanceAttribute"][0]
    assert (item["DBInstanceStatus"], item["DeletionProtection"]) == ("Restoring", True)
    assert emulator.add_source(name="more", accounts=[ACCOUNT])["port"] == emulator.sources["more"]["port"]
    emulator.set_quirks(not_found_code="InvalidDBInstanceId.NotFound")
    emulator.delete_instance("pgm-new")
    emulator.delete_source("more")
    assert rds("DescribeDBInstanceAttribute", DBInstanceId="pgm-new")[1]["Code"] == "InvalidDBInstanceId.NotFound"
    emulator.reset()
    assert rds("DescribeDBInstanceAttribute", DBInstanceId="pgm-new")[1]["Code"] == "InvalidDBInstanceName.NotFound"


def test_control_refuses_clearly(emulator: Emulator) -> None:
    for call, says in (
        (lambda: emulator.set_instance("pgm-none", status="Running"), "there is no pgm-none"),
        (lambda: emulator.set_instance("pgm-dr", status="Odd"), "status must be one of"),
        (lambda: emulator.set_instance("pgm-dr", colour="red"), "colour is not known"),
        (lambda: emulator.add_instance(id="pgm-dr"), "exists already"),
        (lambda: emulator.delete_instance("pgm-none"), "there is no pgm-none"),
        (lambda: emulator.break_link("pgm-none", "refused"), "there is no pgm-none"),
        (lambda: emulator.break_link("pgm-dr", "refused"), "pgm-dr has no link"),
        (lambda: emulator.break_link("pgm-dr", "hammer"), "how must be one of refused, wal_removed, "),
        (lambda: emulator.repair_link("pgm-none"), "there is no pgm-none"),
        (lambda: emulator.sql("pgm-dr", "SELECT 1"), "no SQL"),
        (lambda: emulator._call("POST", "bogus"), "there is no POST"),
        (lambda: emulator._call("POST", "sql", {"cluster": "x"}), "statement is missing"),
        (lambda: emulator.add_key(access_key_id="x"), "access_key_secret is missing"),
    ):
        with pytest.raises(EmulatorError, match=says):
            call()


def test_a_web_page_cannot_drive_it(emulator: Emulator) -> None:
    address = emulator.endpoint.removeprefix("http://")
    for headers, status in (
        ({"Host": "rebound.example"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/json"}, 200),
    ):
        connection = http.client.HTTPConnection(address, timeout=5)
        connection.request("POST", "/_emulator/faults", b"[]", headers)
        assert connection.getresponse().status == status
        connection.close()


# -- the house -----------------------------------------------------------------------------------------------------


def test_it_shares_no_code_with_the_collection() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if "plugins" in name or "ansible" in name], path
