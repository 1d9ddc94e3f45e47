# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nothing is lost, nothing runs twice, and no outcome is a lie: every fault in every phase of a run.

A cell is one fault that strikes one phase, once or from then on. What the run says is compared with what the emulator
knows: its state, and its journal of the requests that arrived. Then the fault is over and a second run has to converge.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run as run_operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK
from tests.freeze.recorder import from_journal, frozen

from .conftest import ACCOUNT, DR, creates

pytestmark = pytest.mark.thorough

CREATE, ATTRIBUTE, LOGS = "CreateReplicationLink", "DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"
DEFAULTS = {name: spec.get("default") for name, spec in REPLICATION_LINK["argument_spec"].items()}
TEMPORARY = {
    "access_key_id": "STS.NUEmulatorFakeKey002",
    "access_key_secret": "EmulatorFakeStsSecret002",
    "security_token": "CAISemulator+fake/token==with=pad",
}
QUICK = {"settle_timeout": 20, "wait_timeout": 20, "wait_interval": 0.02, "max_retries": 1, "request_timeout": 10}
IMPATIENT = 0.2  # seconds of settling where nothing will turn up
READ_TIMEOUT, LATE = 0.3, 0.5  # seconds; the latter is when a request that is delayed is carried out or answered


# -- the faults --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A fault, and what it does to a create.

    `fate`: held (not carried out, provably, and may be repeated), barred (the same, but repeating is of no use),
    denied (a clear no), done (carried out, the answer is spoilt), gone (not carried out, and no client can know).
    """

    fate: str
    rule: dict[str, Any] | None = None  # of the emulator, or
    detour: str | None = None  # where the request goes instead of to the emulator
    options: dict[str, Any] = field(default_factory=dict)
    told: str = "refused"  # the outcome while a `held` fault lasts
    passes: bool = True  # whether a wait tolerates it once


def status(number: int, content: str, where: str) -> dict[str, Any]:
    return {"fault": "status", "http_status": number, "content": content, "where": where}


def code(name: str, **more: Any) -> dict[str, Any]:
    return {"fault": "error", "code": name, **more}


SLOW = {"read_timeout": READ_TIMEOUT}
SERVER_ERROR = {"RequestId": "R", "Code": "InternalError", "Message": "An error occurred."}
FAULTS = {
    "connection-refused": Fault("held", detour="refused", told="not_sent"),
    "name-not-found": Fault("held", detour="dns", told="not_sent"),
    "tls-fails": Fault("barred", detour="tls", passes=False),
    "reset-in-the-tls-handshake": Fault("held", detour="handshake", told="not_sent"),
    "reset-with-the-request-unread": Fault("gone", detour="reset"),
    "reset-before-commit": Fault("gone", {"fault": "reset", "where": "before"}),
    "reset-after-commit": Fault("done", {"fault": "reset"}),
    "lost-before-commit": Fault("gone", {"fault": "lost", "where": "before"}),
    "lost-after-commit": Fault("done", {"fault": "lost"}),
    "read-time-out-without-commit": Fault("gone", detour="silent", options=SLOW),
    "read-time-out-then-commit": Fault("done", {"fault": "delay", "seconds": LATE, "where": "before"}, options=SLOW),
    "read-time-out-after-commit": Fault("done", {"fault": "delay", "seconds": LATE}, options=SLOW),
    "truncated-before-commit": Fault("gone", {"fault": "truncated", "where": "before"}),
    "truncated-after-commit": Fault("done", {"fault": "truncated"}),
    "html-200-before-commit": Fault("gone", {"fault": "html", "where": "before"}),
    "html-200-after-commit": Fault("done", {"fault": "html"}),
    "error-body-200-before-commit": Fault("gone", {"fault": "error_body_200", "code": "InvalidParam"}),
    "error-body-200-after-commit": Fault("done", {"fault": "body", "body": SERVER_ERROR}),
    "500-before-commit": Fault("gone", code("InternalError")),
    "500-after-commit": Fault("done", status(500, "json", "after")),
    "502-before-commit": Fault("gone", status(502, "html", "before")),
    "502-after-commit": Fault("done", status(502, "html", "after")),
    "503-before-commit": Fault("gone", code("ServiceUnavailable")),
    "503-after-commit": Fault("done", status(503, "empty", "after")),
    "throttled-400": Fault("held", code("Throttling.User")),
    "throttled-400-with-advice": Fault("held", code("Throttling.User", retry_after_ms=30)),
    "throttled-429": Fault("held", code("Throttling", http_status=429)),
    "throttled-429-with-advice": Fault("held", code("Throttling", http_status=429, retry_after_ms=30)),
    "LockTimeout": Fault("held", code("LockTimeout", http_status=400, message="lock")),
    "OperationDenied.DBInstanceStatus": Fault("held", code("OperationDenied.DBInstanceStatus")),
    "IncorrectDBInstanceState": Fault("busy", code("IncorrectDBInstanceState"), options={"settle_timeout": 2}),
    "MirrorInsExists": Fault("denied", code("MirrorInsExists"), passes=False),
    "token-expired": Fault("denied", {"fault": "expire_token"}, options=TEMPORARY, passes=False),
}
PHASES = {
    "look-at-instance": {"action": ATTRIBUTE},
    "look-at-log": {"action": LOGS},
    "dry-run": {"action": CREATE, "match": {"DryRun": True}},
    "create": {"action": CREATE, "match": {"DryRun": False}},
    "poll": {"action": LOGS, "skip": 1},
}


def expected(fault: Fault, phase: str, lasting: bool) -> str:
    """The only true outcome of a cell."""
    if phase == "poll":
        return "running" if lasting or not fault.passes else "created"
    if fault.fate in ("barred", "denied") or (fault.fate == "busy" and phase.startswith("look")):
        return "not_sent" if fault.fate == "barred" else "refused"
    if lasting and fault.fate in ("held", "busy"):
        return fault.told
    if phase == "create":
        return {"held": "created", "busy": "created", "done": "adopted", "gone": "unknown"}[fault.fate]
    if lasting:  # what only reads has created nothing, whatever became of its answer
        return "unknown" if phase == "dry-run" else "not_sent"
    return "previewed" if phase == "dry-run" else "created"


def cells() -> list[Any]:
    found = []
    for name, fault in FAULTS.items():
        for phase in PHASES:
            for lasting in (False, True):
                # A fault that ends the run at once, or a create that is not sent again, cannot be met twice.
                again = ("held", "busy") if phase == "create" else ("held", "done", "gone")
                twice = fault.fate in again or (fault.fate == "busy" and phase == "dry-run")
                late_read = name == "read-time-out-then-commit" and PHASES[phase]["action"] != CREATE  # commits nothing
                if (twice or not lasting) and not late_read:
                    found.append(pytest.param(fault, phase, lasting, id=f"{phase}-{name}{'-for-good' * lasting}"))
    return found


# -- roads that end elsewhere ------------------------------------------------------------------------------------------


class Peer:
    """Something on loopback that accepts connections and is no RDS: it resets them, or never says a word."""

    def __init__(self, behaviour: str) -> None:
        self._behaviour, self._kept = behaviour, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
                if self._behaviour == "silent":
                    self._kept.append(connection)
                    continue
                connection.recv(1, socket.MSG_PEEK)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            except OSError:
                return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (self._listener, *self._kept):
            connection.close()


@dataclass
class Roads:
    """Leads chosen requests astray below the collection: real sockets, real TLS, the real requests and urllib3."""

    emulator: str
    peer: Peer | None = None
    target: str | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    times: int | None = 0
    left: list[str] = field(default_factory=list)  # DryRun of creates whose bytes left, but not for the emulator
    first: Callable[[], Any] | None = None  # runs before the first create that really creates is sent

    def lead(self, detour: str, phase: dict[str, Any], times: int | None) -> None:
        if detour in ("silent", "reset", "handshake"):
            self.peer = Peer(detour)
        self.target = {
            "refused": f"http://{_closed_port()}",
            "dns": "http://rds.invalid",
            "tls": f"https://{self.emulator}",
            "handshake": f"https://{self.peer.address if self.peer else ''}",
        }.get(detour, f"http://{self.peer.address if self.peer else ''}")
        self.chosen, self.times = {"skip": 0, **phase}, times

    def turn(self, request: Any) -> None:
        """Change the URL of a request that is to go astray."""
        parameters = {key: values[0] for key, values in parse_qs(urlsplit(request.url).query).items()}
        action = request.headers["x-acs-action"]
        if action == CREATE and parameters["DryRun"] == "false" and self.first:
            first, self.first = self.first, None
            first()
        wanted = {key: str(value).lower() for key, value in self.chosen.get("match", {}).items()}
        if self.target is None or action != self.chosen["action"] or not wanted.items() <= parameters.items():
            return
        if self.chosen["skip"]:
            self.chosen["skip"] -= 1
        elif self.times is None or self.times > 0:
            self.times = None if self.times is None else self.times - 1
            query = urlsplit(request.url).query
            request.url = f"{self.target}/?{query}"
            if self.peer and self.target.startswith("http:") and action == CREATE:
                self.left.append(parameters["DryRun"])

    def close(self) -> None:
        self.target = None
        if self.peer:
            self.peer.close()
            self.peer = None


def _closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def roads(rds, monkeypatch: pytest.MonkeyPatch) -> Iterator[Roads]:
    roads = Roads(urlsplit(rds.endpoint).netloc)
    send, look_up = requests.adapters.HTTPAdapter.send, socket.getaddrinfo

    def astray(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        roads.turn(request)
        return send(adapter, request, *args, **kwargs)

    def no_such_name(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("rds.invalid", b"rds.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", astray)
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    monkeypatch.setattr("random.uniform", lambda low, high: low / 20)  # pauses between repetitions, shortened
    yield roads
    roads.close()


@pytest.fixture
def ensure(rds, roads: Roads) -> Callable[..., dict[str, Any]]:
    """Run the module's operation in this process."""

    def run(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        source = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
        given = {**DEFAULTS, "dr_instance_id": DR, **source, **ACCOUNT, **QUICK, **options}
        operation = functools.partial(run_operation, LINK, given, diff=False)
        return frozen(
            lambda: operation(check_mode=check_mode, environment=rds.environment),
            module="replication_link",
            options={**source, **ACCOUNT, **QUICK, **options},
            check_mode=check_mode,
            requests=lambda: from_journal(rds.journal()),
        )

    return run


# -- the witness -------------------------------------------------------------------------------------------------------


def is_ours(entry: dict[str, Any]) -> bool:
    return entry["params"].get("TaskName") != "another run"


def doubtful(entry: dict[str, Any]) -> bool:
    """Whether a create was not provably refused: the client has seen no clear no, so it may have been carried out."""
    return entry["committed"] or entry["http_status"] is None or not 400 <= entry["http_status"] < 500


def settled(rds) -> None:
    """Wait until no request is under way and no task runs any more."""
    for _unused in range(1000):
        delayed = [entry for entry in rds.journal() if entry["fault"] == "delay" and entry["http_status"] is None]
        if not delayed and not any(task["status"] == "running" for task in rds.state()["tasks"]):
            return
        time.sleep(0.01)
    raise AssertionError("the emulator does not come to rest")


def assert_true(result: dict[str, Any], rds, roads: Roads, fresh_link: bool = True) -> None:
    """Compare what a run says with what the emulator knows now. `fresh_link`: there was none before the run."""
    outcome, real, dry = result["outcome"], creates(rds, "false"), creates(rds, "true")
    ours = [entry for entry in real if is_ours(entry)]
    told = (outcome, result["changed"], result.get("msg"))
    link = rds.state()["instances"][DR]["link"]
    streams = bool(link) and (result["link"] or {}).get("state") == "streaming"
    committed = [entry for entry in ours if entry["committed"]]
    may_be_there = [entry for entry in ours if doubtful(entry)]

    assert len([entry for entry in real if entry["committed"]]) <= 1, "two creates were carried out"
    assert len(may_be_there) + roads.left.count("false") <= 1, "two creates may have been carried out"
    assert bool(result.get("failed")) == (outcome not in ("created", "adopted", "unchanged", "previewed")), told
    if outcome in ("created", "adopted", "unchanged"):
        assert streams, told
    if outcome == "created":
        assert committed and result["changed"], told
        assert link["task_id"] == result["task_id"]
    elif outcome == "adopted":
        assert not committed or result["changed"], told
    elif outcome == "unchanged":
        assert not result["changed"] and not (fresh_link and committed), told
    elif outcome == "previewed":
        assert real == [] and link is None, told
    elif outcome in ("not_sent", "refused"):
        assert not committed and not result["changed"], told
    elif outcome == "unknown":
        assert may_be_there or roads.left or any(doubtful(entry) for entry in dry), told
    elif outcome == "running":
        assert committed and result["changed"], told
    else:
        raise AssertionError(told)


def assert_converges(rds, roads: Roads, ensure: Callable[..., dict[str, Any]]) -> None:
    """The fault is over: one more run, and there is one link, made by one create."""
    rds.clear_faults()
    rds.add_key(**TEMPORARY)
    roads.close()
    settled(rds)
    before = [entry for entry in creates(rds) if entry["committed"]]
    result = ensure()
    assert result["outcome"] == ("unchanged" if before else "created"), result.get("msg")
    assert result["changed"] is (not before)
    settled(rds)
    assert len([entry for entry in creates(rds) if entry["committed"]]) == 1
    assert result["link"]["state"] == "streaming"
    assert rds.state()["instances"][DR]["link"]["task_id"] == result["task_id"]


# -- the matrix --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "phase", "lasting"), cells())
def test_a_fault_is_survived_or_told_truthfully_and_the_next_run_converges(rds, roads, ensure, fault, phase, lasting):
    times = None if lasting else 1
    if fault.rule:
        rds.add_fault(**fault.rule, **PHASES[phase], times=times)
    else:
        roads.lead(fault.detour, PHASES[phase], times)
    outcome = expected(fault, phase, lasting)
    nothing_comes = phase == "create" and outcome in ("unknown", "refused")
    options = {**fault.options, **({"settle_timeout": IMPATIENT} if nothing_comes else {})}
    if lasting and phase != "create":
        options["max_retries"] = 0  # that retries are bounded is shown elsewhere
    result = ensure(check_mode=phase == "dry-run", **options)
    assert result["outcome"] == outcome, result.get("msg")
    settled(rds)
    assert_true(result, rds, roads)
    assert_converges(rds, roads, ensure)


# -- another run was faster --------------------------------------------------------------------------------------------


def another_run(rds, ensure, **options: Any) -> Callable[[], None]:
    """A run of somebody else, known by the name of its task."""

    def run() -> None:
        assert ensure(task_name="another run", **options)["outcome"] == "created"

    return run


@pytest.mark.parametrize("finished", [True, False], ids=["its-link-is-there", "its-task-still-runs"])
@pytest.mark.parametrize(
    "rule",
    [
        None,  # what the emulator says by itself: MirrorInsExists, or IncorrectDBInstanceState
        code("MirrorInsExists"),
        code("IncorrectDBInstanceState"),
        code("LockTimeout", http_status=400, message="lock"),
        code("LockTimeout", http_status=400, message="lock", times=None),
        code("OperationDenied.DBInstanceStatus"),
        code("OperationDenied.DBInstanceStatus", times=None),
        code("Throttling.User"),
    ],
    ids=lambda rule: f"{rule['code']}{'-for-good' * ('times' in rule)}" if rule else "no-fault",
)
def test_the_link_of_a_faster_run_is_adopted_without_a_change(rds, roads, ensure, rule, finished):
    if not finished:
        rds.add_fault(stage="basebackup", fault="hold", instance=DR, task_type="create", seconds=0.4)
    if rule:
        rds.add_fault(**{"skip": 1, **rule}, **PHASES["create"])
    roads.first = another_run(rds, ensure, wait=finished)
    result = ensure()
    assert (result["outcome"], result["changed"]) == ("adopted", False), result.get("msg")
    assert result["task_name"] == "another run"
    settled(rds)
    assert_true(result, rds, roads)
    assert_converges(rds, roads, ensure)


@pytest.mark.parametrize("rule", [None, {"fault": "lost", "where": "before"}], ids=["refused", "reply-lost"])
def test_the_link_of_a_faster_run_from_another_source_is_told_and_left_alone(rds, roads, ensure, rule):
    everything = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    account = {"name": "dr_sync", "password": ACCOUNT["replicator_password"], **everything}
    port = rds.add_source(name="elsewhere", accounts=[account])["port"]
    if rule:
        rds.add_fault(**rule, **PHASES["create"], skip=1)
    roads.first = another_run(rds, ensure, source_port=port)
    result = ensure()
    assert (result["error"]["code"], result["outcome"]) == ("OtherSource", "refused")
    assert_true(result, rds, roads)
    assert rds.state()["instances"][DR]["link"]["source_port"] == port


# -- the look after a lost reply ---------------------------------------------------------------------------------------


def test_a_lost_reply_is_adopted_though_answers_lag_behind_the_commit(rds, roads, ensure):
    rds.add_fault(fault="lag", seconds=1.5)
    rds.add_fault(fault="lost", **PHASES["create"])
    result = ensure()
    assert (result["outcome"], result["changed"]) == ("adopted", True), result.get("msg")
    assert_true(result, rds, roads)
    assert_converges(rds, roads, ensure)


def test_a_second_run_that_still_sees_the_past_makes_no_second_link(rds, roads, ensure):
    rds.add_fault(fault="lag", seconds=1.5)
    rds.add_fault(fault="lost", **PHASES["create"])
    first = ensure(settle_timeout=0.2)
    assert first["outcome"] == "unknown"
    assert_true(first, rds, roads)
    second = ensure()
    assert (second["outcome"], second["changed"]) in (("adopted", False), ("unchanged", False)), second.get("msg")
    assert second["link"]["state"] == "streaming"
    assert_converges(rds, roads, ensure)


def test_a_commit_that_comes_after_the_first_looks_is_found(rds, roads, ensure):
    rds.add_fault(fault="delay", where="before", seconds=1.5, **PHASES["create"])
    result = ensure(read_timeout=READ_TIMEOUT)
    looks = [entry for entry in rds.journal(ATTRIBUTE) if entry["http_status"] == 200]
    assert (result["outcome"], result["changed"]) == ("adopted", True), result.get("msg")
    assert len(looks) > 2, "it was not there at the first look after the time-out"
    assert_true(result, rds, roads)
    assert_converges(rds, roads, ensure)


def test_a_commit_that_comes_after_the_last_look_meets_the_next_run_and_makes_no_second_link(rds, roads, ensure):
    rds.add_fault(fault="delay", where="before", seconds=1.0, **PHASES["create"])
    first = ensure(read_timeout=READ_TIMEOUT, settle_timeout=0.1)
    assert first["outcome"] == "unknown"
    second = ensure()
    assert second["outcome"] in ("created", "adopted", "unchanged")
    assert_converges(rds, roads, ensure)


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "expire_token"},
        {"fault": "html", "times": None},
        {"fault": "lost", "times": None},
        code("Forbidden.RAM", times=None),
        {"fault": "redirect", "location": "/elsewhere", "times": None},
    ],
    ids=lambda rule: rule.get("code", rule["fault"]),
)
@pytest.mark.parametrize("commits", ["after", "before"], ids=["committed", "not-committed"])
def test_a_look_that_fails_does_not_make_a_lost_create_look_refused(rds, roads, ensure, rule, commits):
    rds.add_fault(fault="lost", where=commits, **PHASES["create"])
    rds.add_fault(action=ATTRIBUTE, skip=1, **rule)
    result = ensure(settle_timeout=IMPATIENT, **TEMPORARY)
    assert result["outcome"] == "unknown", result["msg"]
    settled(rds)
    assert_true(result, rds, roads)
    assert_converges(rds, roads, ensure)


def test_a_kept_connection_that_the_service_drops_under_a_create_is_not_used_for_a_second_one(rds, roads, ensure):
    rds.add_fault(fault="stale", **PHASES["look-at-log"])
    result = ensure(settle_timeout=IMPATIENT)
    assert result["outcome"] == "unknown"
    assert creates(rds) == []
    assert_converges(rds, roads, ensure)


# -- tasks that go on while nobody looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["precheck", "basebackup", "startup", "increment"])
def test_a_task_that_stays_at_a_stage_for_longer_than_the_settle_time_is_waited_for(rds, roads, ensure, stage):
    rds.add_fault(stage=stage, fault="hold", instance=DR, task_type="create")
    first = ensure(wait_timeout=0.1, settle_timeout=0.1)
    assert (first["error"]["code"], first["outcome"], first["changed"]) == ("WaitTimeout", "running", True)
    again = ensure(wait_timeout=0.1, settle_timeout=0.1)
    assert (again["error"]["code"], again["outcome"]) == ("WaitTimeout", "running")
    assert (again["task_id"], again["changed"]) == (first["task_id"], False)
    preview = ensure(check_mode=True, settle_timeout=0.1)
    assert (preview["outcome"], preview["link"]["state"]) == ("unchanged", "creating")
    rds.release()
    assert_converges(rds, roads, ensure)


def test_a_task_that_failed_while_nobody_looked_is_told_of_by_the_run_that_tries_again(rds, roads, ensure):
    rds.add_fault(stage="startup", fault="fail", instance=DR, message="the disk is full")
    assert ensure(wait=False)["outcome"] == "created"
    settled(rds)
    preview = ensure(check_mode=True)
    again = ensure()
    assert (preview["outcome"], again["outcome"]) == ("previewed", "created")
    for result in (preview, again):
        (warning,) = [text for text in result["warnings"] if "startup" in text]
        assert "the disk is full" in warning
    assert "warnings" not in ensure()
    assert len([task for task in rds.state()["tasks"] if task["status"] == "success"]) == 2


def test_a_dry_run_whose_reply_is_lost_while_it_works_is_told_truthfully(rds, roads, ensure):
    rds.add_fault(stage="precheck", fault="hold", instance=DR, task_type="create-dryrun")
    rds.add_fault(fault="lost", **PHASES["dry-run"])
    started = ensure(check_mode=True, wait=False)
    assert (started["outcome"], started["link"]["state"]) == ("previewed", "planned")
    assert [entry["committed"] for entry in creates(rds, "true")] == [True, False], "the second was refused: busy"
    rds.release()
    verdict = ensure(check_mode=True, dry_run_task_id=started["task_id"])
    assert (verdict["outcome"], len(verdict["checks"]) > 10) == ("previewed", True)
    assert creates(rds) == []
    assert_converges(rds, roads, ensure)
