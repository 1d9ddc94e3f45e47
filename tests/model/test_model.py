# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Random histories of one DR instance: runs, faults, and what others do meanwhile. After each step, what must hold.

A step is a run of the collection (in this process, through `run`) under drawn faults, or something that
happens at the service. What others do may also strike between any two requests of a run. The collection's clock and
pauses run SPEED times faster than real ones. Nothing that is drawn depends on an answer, so a seed gives the same
histories again:

    make model                                                     300 histories, always the same draws
    tests/tools/run.sh env MODEL_EXAMPLES=20000 MODEL_SEED=7 python -m pytest -n 2 tests/model
                                                                   more of them, and others (MODEL_STEPS: longer ones)

Half of them are these, the other half those of all verbs on several instances, in test_verbs.py.

A failure prints its history as a program (MODEL_SHRINK=1: the shortest one, which can take minutes). To run that again,
paste its steps below `state = History(world)` in a test. What it was, once understood, becomes a plain test in
tests/unit/plugins/test_counterexamples.py.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, Phase, event, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import connection
from ansible_collections.alicloud.rds.plugins.module_utils._ansible import links as _links
from ansible_collections.alicloud.rds.plugins.module_utils._ansible import roles as _roles
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run as run_operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import (
    REPLICATION_LINK,
    REPLICATION_LINK_INFO,
    REPLICATION_LINKS,
)
from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import Credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet import Fleet
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Waiter, drive
from rds_emulator.client import Emulator

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "300"))
STEPS = int(os.environ.get("MODEL_STEPS", "4"))
SEED = int(os.environ.get("MODEL_SEED", "1"))
SHRINK = os.environ.get("MODEL_SHRINK") == "1"
SHARDS = 3  # tests of a file that pytest-xdist can spread over workers

SPEED = 100  # the collection's clock runs so many times faster
LAG = 0.015  # real seconds that reads may be behind
DELAY = 0.06  # real seconds that an answer may be late
READ_TIMEOUT = 0.03  # real seconds, where an answer may be late
GRACE = 0.3  # real seconds for a request to be read by a busy emulator; "stale" drops some unread
PATIENCE = 20.0  # real seconds after which the emulator must have come to rest

DR, OTHER_DR, RDS_SOURCE = "pgm-dr", "pgm-dr2", "pgm-src"
PASSWORD, WRONG_PASSWORD = "Dr-Sync+Passw0rd/1 &<ü>", "Not/the+0ne = %41"
OUR_KEY = {"access_key_id": "LTAI-model-ours", "access_key_secret": "ModelSecret+With/Odd=Chars01"}
THEIR_KEY = {"access_key_id": "LTAI-model-theirs", "access_key_secret": "AnotherModelSecret02"}
# One for each run of all verbs, so that the journal names the run of a request, however late it comes.
RUN_KEYS = [{**OUR_KEY, "access_key_id": f"{OUR_KEY['access_key_id']}-{n}"} for n in range(STEPS + 4)]
ROLE = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"], "password": PASSWORD}
ACCOUNTS = [{"name": name, **ROLE} for name in ("dr_sync", "their_sync")]
WORLD = {
    "region_id": "cn-shanghai",
    "keys": [OUR_KEY, THEIR_KEY, *RUN_KEYS],
    "instances": [
        {"id": DR},
        {"id": OTHER_DR},
        {"id": RDS_SOURCE, "region_id": "cn-hangzhou", "accounts": ACCOUNTS},
    ],
    "sources": [{"name": "onprem", "accounts": ACCOUNTS}, {"name": "elsewhere", "accounts": ACCOUNTS}],
}

# -- what is drawn: plain data, so that a history can be read and run again --------------------------------------------

TRANSPORT = [
    *({"fault": "lost", "where": where} for where in ("before", "after")),
    *({"fault": "reset", "where": where} for where in ("before", "after")),
    *({"fault": "truncated", "where": where} for where in ("before", "after")),
    *({"fault": "html", "where": where} for where in ("before", "after")),
    {"fault": "stale"},
    *(
        {"fault": "status", "http_status": status, "content": content, "where": where}
        for status, content in ((500, "json"), (502, "html"), (503, "empty"))
        for where in ("before", "after")
    ),
    {"fault": "body", "body": "[1, 2]"},
    {"fault": "body", "body": {"RequestId": "R-1"}},
    *({"fault": "error", "code": "InternalError", "where": where} for where in ("before", "after")),
    *({"fault": "error_body_200", "code": "ServiceUnavailable", "where": where} for where in ("before", "after")),
    *({"fault": "delay", "seconds": DELAY, "where": where} for where in ("before", "after")),
]
REFUSALS = [  # the service says so before it does anything, and so they strike before
    *({"fault": "error", "code": code, "retry_after_ms": 20} for code in ("Throttling.User", "Throttling")),
    *(
        {"fault": "error", "code": code, "http_status": 400}
        for code in (
            *("LockTimeout", "OperationDenied.DBInstanceStatus", "MirrorInsExists", "IncorrectDBInstanceState"),
            *("Forbidden.RAM", "InvalidParam", "SignatureNonceUsed", "InvalidAccessKeyId.Inactive"),
        )
    ),
]
THEIRS = {"ResourceOwnerId": "1"}  # how what others send is told from ours, where nothing else differs
OURS = {"match": {"ReplicatorAccount": "dr_sync"}}  # creates of others are not hit
TARGETS = [
    {"action": "CreateReplicationLink", **OURS},
    {"action": "DescribeDBInstanceAttribute"},
    {"action": "DescribeReplicationLinkLogs"},
]


def counted(rules: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.fixed_dictionaries({"skip": st.integers(0, 2), "times": st.sampled_from([1, 1, 2, 6])})
    return st.tuples(rules, counts).map(lambda pair: {**pair[0], **pair[1]})


ON_CREATE = st.sampled_from(TRANSPORT + REFUSALS).map(lambda rule: {**TARGETS[0], **rule})  # the heart of it
ANYWHERE = counted(
    st.tuples(st.sampled_from(TARGETS), st.sampled_from(TRANSPORT + REFUSALS)).map(lambda pair: {**pair[0], **pair[1]})
)
FAULTS = st.lists(ON_CREATE | ANYWHERE, max_size=2)
DOUBT = st.sampled_from(TRANSPORT).map(lambda rule: [{**TARGETS[0], **rule}])  # was it carried out?

EVENTS = st.sampled_from(
    [
        *("promote", "promote", "detach", "empty", "they_create", "they_create_another", "they_preview"),
        *("lock", "unlock", "reboot", "run", "break", "mend", "calm", "lag"),
        *(f"{fault} {stage}" for fault in ("hold", "fail") for stage in ("precheck", "basebackup", "increment")),
        "release",
    ]
)
MEANWHILE = st.lists(st.tuples(st.integers(0, 9), EVENTS), max_size=2)  # (before which request or pause, what)
SOURCES = st.sampled_from(["onprem", "onprem", "onprem", "elsewhere", RDS_SOURCE])
PLANS = st.sampled_from(["newest", "newest", "newest", "oldest", "failed", "foreign", "create", "absent"])
WAITS = st.sampled_from([{}, {}, {}, {"wait": False}, {"wait_timeout": 0.0}, {"settle_timeout": 0.0}])
PASSWORDS = st.sampled_from([PASSWORD] * 5 + [WRONG_PASSWORD])
QUIRKS = st.fixed_dictionaries(
    {
        "password_echo": st.sampled_from(["plain", "masked"]),
        "state_spelling": st.sampled_from(["steaming", "streaming"]),
        "detail_newline": st.sampled_from(["real", "literal"]),
        "finished_status": st.sampled_from(["success", "running"]),
        "dr_instance_type": st.sampled_from(["Primary", "Guard"]),
    }
)

ENDED = ["they_preview", "they_create", "promote"]
PASTS = st.sampled_from([[], [], [], ["they_preview"], ["they_create"], ENDED, [*ENDED, "empty"], [*ENDED, "empty"]])

DEFAULTS = {name: spec.get("default") for name, spec in REPLICATION_LINK["argument_spec"].items()}
QUICK = {"settle_timeout": 4.0, "wait_timeout": 8.0, "max_retries": 2}  # of the fast clock
INFO_DEFAULTS = {name: spec.get("default") for name, spec in REPLICATION_LINK_INFO["argument_spec"].items()}

LIST_DEFAULTS = {name: rule.get("default") for name, rule in REPLICATION_LINKS["argument_spec"].items()}
LIST_DEFAULTS["creates_per_second"] = 1e6
LINK_KEYS = {
    *("changed", "outcome", "request_id", "db_instance_id", "task_id", "task_name", "task", "plan", "checks"),
    *("timeline", "link", "endpoint", "credentials", "retries"),
}
INFO_KEYS = {
    "changed",
    "check_mode",
    "request_id",
    "instance",
    "dr_instances",
    "link",
    "tasks",
    "endpoint",
    "credentials",
    "retries",
}
FAILURE_KEYS = {"failed", "msg", "error"}
HELD_BACK = {
    "IncorrectDBInstanceState",
    "InvalideStatus.Format",
    "Throttling.User",
    "Throttling",
    "LockTimeout",
    "OperationDenied.DBInstanceStatus",
}


def forms(secret: str) -> Iterator[str]:
    """A secret as a URL, JSON, HTML or a header would carry it."""
    for percent in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield from (percent, percent.lower(), quote(percent, safe=""))
    yield from (secret, html.escape(secret), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode())


SECRETS = {
    form
    for secret in (PASSWORD, WRONG_PASSWORD, OUR_KEY["access_key_secret"], THEIR_KEY["access_key_secret"])
    for form in forms(secret)
}


@dataclass
class Run:
    """A run of the collection, and what it reported."""

    check_mode: bool
    source: str
    wait: bool
    began: float
    first: int  # its requests have sequence numbers from here ...
    last: int = 0  # ... to here
    lag: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def outcome(self) -> str:
        return str(self.result["outcome"])


@dataclass
class End:
    """The end of a link: when, and a task id that is larger than those before it."""

    time: float
    task_id: int


class History(RuleBasedStateMachine):
    """One DR instance and its sources, from the beginning."""

    in_list = False  # whether links are made by the module that takes a list

    def __init__(self, rds: Emulator) -> None:
        super().__init__()
        rds.reset()
        self.rds = rds
        self.whole = False  # no step has failed
        self.holding = False
        self.hurried = False  # a request may still be under way
        self.late = False  # an answer may come late
        self.asked = 0.0  # when the last run ended
        self.sent = 0  # requests of ours, those among them that never arrived too
        self.lag = 0.0
        self.runs: list[Run] = []
        self.ends: list[End] = []
        self.meanwhile: list[tuple[int, str]] = []
        self.moment = 0
        self.them = _client.Client(  # others: the console, a colleague, another tool
            resolve_endpoint(rds.endpoint, None, "public"),
            lambda: Credentials(THEIR_KEY["access_key_id"], THEIR_KEY["access_key_secret"], None, "test"),
            _client.Limits(max_retries=0),
        )

    def teardown(self) -> None:
        try:
            if self.whole:
                self.converge()
        finally:
            self.them.close()

    # -- the service, and others -----------------------------------------------------------------------------------

    def look(self) -> None:
        self.state = self.rds.state()
        self.journal = self.rds.journal()

    @property
    def dr(self) -> dict[str, Any]:
        instance: dict[str, Any] = self.state["instances"][DR]
        return instance

    def tasks(self, kind: str, instance: str = DR) -> list[dict[str, Any]]:
        """Rows of the log, oldest first."""
        rows = [row for row in self.state["tasks"] if (row["type"], row["instance_id"]) == (kind, instance)]
        return sorted(rows, key=lambda row: row["id"])

    def rest(self, late: bool = True) -> None:
        """Wait until nothing moves at the service; with `late`, until delayed requests have come through too."""
        deadline = time.monotonic() + PATIENCE
        before = None
        while True:
            self.look()
            busy = any(instance["busy"] for instance in self.state["instances"].values())
            pending = late and self.late and self.under_way()
            if not pending and (not busy or (self.holding and self.state == before)):
                self.sent = self.arrived() if late else self.sent
                return
            assert time.monotonic() < deadline, "the emulator does not come to rest"
            before = self.state
            time.sleep(0.01 if pending else 0.002)

    def arrived(self) -> int:
        return sum(row["access_key_id"] != THEIR_KEY["access_key_id"] for row in self.journal)

    def under_way(self) -> bool:
        """Whether a request may still come through that its run did not wait for."""
        missing = self.arrived() < self.sent and time.monotonic() < self.asked + GRACE
        return missing or any(row["fault"] == "delay" and row["http_status"] is None for row in self.journal)

    def they_call(self, action: str, **parameters: Any) -> int | None:
        """Call an operation as somebody else; return the task's id, None if it was refused."""
        with contextlib.suppress(RdsError):
            answer = self.them.call(action, {k: str(v) for k, v in parameters.items()}, repeatable=False)
            return int(answer["TaskId"])
        return None

    def they_create(self, source: str, dry_run: str = "false", instance: str = DR) -> int | None:
        task_id = self.they_call(
            "CreateReplicationLink",
            DBInstanceId=instance,
            DryRun=dry_run,
            **self.their_source(source),
            ReplicatorAccount="their_sync",
            ReplicatorPassword=PASSWORD,
            TaskName=f"theirs {source}",
        )
        self.rest(late=False)
        return task_id

    def their_source(self, source: str) -> dict[str, Any]:
        port = self.rds.sources[source]["port"]
        return {"SourceCategory": "other", "SourceAddress": "127.0.0.1", "SourcePort": port}

    def end(self, promote: str, instance: str) -> None:
        task_id = self.they_call("DeleteReplicationLink", DBInstanceId=instance, PromoteToMaster=promote, **THEIRS)
        if task_id is not None:
            self.ends.append(End(time.monotonic(), task_id))
        self.rest(late=False)

    def empty(self, instance: str) -> None:
        """Somebody empties the instance: to the service the same one, with the same log."""
        now = self.state["instances"][instance]
        if now["link"] is None and not now["busy"]:
            self.rds.delete_instance(instance)
            self.rds.add_instance(id=instance, port=now["port"], region_id=now["region_id"])

    def set_lag(self) -> None:
        self.lag = LAG
        self.rds.add_fault(fault="lag", seconds=LAG)

    def calm(self) -> None:
        if self.late and not self.meanwhile:
            self.rest()
        self.lag, self.late, self.holding = 0.0, False, False
        self.rds.clear_faults()

    def release(self) -> None:
        self.holding = False
        self.rds.release()

    def at_stage(self, fault: str, stage: str, instance: str) -> None:
        self.holding = self.holding or fault == "hold"
        self.rds.add_fault(fault=fault, stage=stage, instance=instance)

    def happen(self, what: str, instance: str = DR) -> None:
        if self.meanwhile:
            self.look()
        now, change = self.state["instances"][instance], functools.partial(self.rds.set_instance, instance)
        does: dict[str, Callable[[], Any]] = {
            "promote": lambda: self.end("true", instance),
            "detach": lambda: self.end("false", instance),
            "empty": lambda: self.empty(instance),
            "they_create": lambda: self.they_create("onprem", instance=instance),
            "they_create_another": lambda: self.they_create("elsewhere", instance=instance),
            "they_preview": lambda: self.they_create("onprem", dry_run="true", instance=instance),
            "lock": lambda: change(lock_mode="LockByExpiration"),
            "unlock": lambda: change(lock_mode="Unlock"),
            "reboot": lambda: now["busy"] or change(status="Rebooting"),
            "run": lambda: now["status"] == "Rebooting" and change(status="Running"),
            "break": lambda: change(broken=True),
            "mend": lambda: change(broken=False),
            "lag": self.set_lag,
            "calm": self.calm,
            "release": self.release,
        }
        if what in does:
            does[what]()
        else:
            self.at_stage(*what.split(), instance=instance)

    def between(self) -> None:
        """A run is about to send a request or to pause: let happen what is due."""
        due = [what for moment, what in self.meanwhile if moment == self.moment]
        self.moment += 1
        for what in due:
            self.happen(what)

    # -- steps -----------------------------------------------------------------------------------------------------

    @initialize(quirks=QUIRKS, past=PASTS)
    def begin(self, quirks: dict[str, str], past: list[str]) -> None:
        self.rds.set_quirks(**quirks)
        self.look()
        for what in past:
            self.happen(what)
            self.rest()
        self.whole = True

    @rule(what=EVENTS)
    def others(self, what: str) -> None:
        with self.step():
            self.happen(what)
            self.rest()

    @rule(source=SOURCES, password=PASSWORDS, wait=WAITS, faults=FAULTS, meanwhile=MEANWHILE)
    def preview(self, **drawn: Any) -> None:
        with self.step():
            self.run(check_mode=True, **drawn)

    @rule(source=SOURCES, password=PASSWORDS, wait=WAITS, faults=FAULTS, meanwhile=MEANWHILE, hurry=st.booleans())
    def apply(self, **drawn: Any) -> None:
        with self.step():
            self.run(check_mode=False, **drawn)

    @rule(source=SOURCES, plan=PLANS, faults=FAULTS, meanwhile=MEANWHILE)
    def apply_plan(self, **drawn: Any) -> None:
        with self.step():
            self.run(check_mode=False, **drawn)

    @rule(source=SOURCES, wait=WAITS, faults=DOUBT, more=FAULTS, meanwhile=MEANWHILE, hurry=st.booleans())
    def apply_in_doubt(self, faults: list[dict[str, Any]], more: list[dict[str, Any]], **drawn: Any) -> None:
        with self.step():
            self.run(check_mode=False, faults=faults + more, **drawn)

    @rule(faults=FAULTS)
    def info(self, faults: list[dict[str, Any]]) -> None:
        with self.step():
            if self.hurried:
                self.rest()
            before, first = self.server(), len(self.journal)
            self.arm(faults)
            options = {**INFO_DEFAULTS, "dr_instance_id": DR, **self.limits()}
            result = self.operate(INFO, options, check_mode=False)
            self.rest()
            assert self.server() == before
            assert all(row["action"].startswith("Describe") for row in self.journal[first:])
            self.judge_form(result, INFO_KEYS | ({"outcome"} if result.get("failed") else set()))
            if not result.get("failed") and not self.lag:
                assert (result["link"] is None) == (self.dr["link"] is None)
                assert len(result["tasks"]) == len(self.tasks("create") + self.tasks("create-dryrun"))

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        self.whole = False
        yield
        self.judge_world()
        self.whole = True

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        check_mode: bool,
        source: str,
        password: str = PASSWORD,
        plan: str | None = None,
        wait: dict[str, Any] | None = None,
        faults: list[dict[str, Any]] | None = None,
        meanwhile: list[tuple[int, str]] | None = None,
        hurry: bool = False,
    ) -> Run:
        """Run the operation and judge it. `hurry`: the next step does not wait for requests that are under way."""
        if check_mode and self.hurried:
            self.rest()
        plan_id = self.plan_id(plan)
        before = self.server() if check_mode and not meanwhile else None
        self.arm(faults or [])
        options = {
            **DEFAULTS,
            **QUICK,
            "dr_instance_id": DR,
            **self.source_options(source),
            "replicator_account": "dr_sync",
            "replicator_password": password,
            "dry_run_task_id": plan_id,
            **self.limits(),
            **(wait or {}),
        }
        run = Run(check_mode, source, options["wait"], time.monotonic(), len(self.journal), lag=self.lag)
        making = self.making(source)
        self.meanwhile, self.moment = meanwhile or [], 0
        run.result = self.operate(LINK, options, check_mode=check_mode)
        self.meanwhile = []
        run.lag = max(run.lag, self.lag)
        self.runs.append(run)
        self.hurried = hurry
        self.rest(late=not hurry)
        run.last = len(self.journal)
        code = run.result["error"]["code"] if run.failed else ""
        event(f"{'preview' if check_mode else 'apply'}: {run.outcome} {code}")
        self.judge_form(run.result, LINK_KEYS)
        if not run.failed and not self.disturbed(run):
            self.judge_success(run, making)
        if before is not None:
            assert self.server() == before, "check mode changed the service"
        return run

    def operate(self, operation: Operation, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        patch = pytest.MonkeyPatch()
        try:
            patch.setattr(_client, "Client", functools.partial(watched(_client.Client), self.sending))
            patch.setattr(connection, "Waiter", functools.partial(Waiter, clock=self.clock))
            for module in (_links, _roles):
                patch.setattr(module, "drive", lambda steps: drive(steps, self.pause))
            if operation is LINK and self.in_list:
                patch.setattr(Fleet, "_push", soon)
                given = {"check_mode": check_mode, "diff": True, "environment": self.environment}
                return alone(run_operation(LINKS, listed(options), **given))
            return run_operation(operation, options, check_mode=check_mode, diff=True, environment=self.environment)
        finally:
            self.asked = time.monotonic()
            patch.undo()

    @property
    def environment(self) -> dict[str, str]:
        return self.rds.environment

    def sending(self, action: str | None = None) -> None:
        """A request is about to be sent; None: the same one again."""
        self.between()
        self.sent += 1

    def clock(self) -> float:
        return time.monotonic() * SPEED

    def pause(self, seconds: float) -> None:
        self.between()
        time.sleep(seconds / SPEED)

    def arm(self, faults: list[dict[str, Any]]) -> None:
        for fault in faults:
            self.rds.add_fault(**fault)
        self.late = self.late or any(fault["fault"] == "delay" for fault in faults)

    def limits(self) -> dict[str, Any]:
        return {"max_retries": 2, "read_timeout": READ_TIMEOUT if self.late else 10.0}

    def source_options(self, source: str) -> dict[str, Any]:
        if source == RDS_SOURCE:
            return {
                "source_category": "aliyunRDS",
                "source_instance_name": RDS_SOURCE,
                "source_instance_region_id": "cn-hangzhou",
            }
        return {"source_address": "127.0.0.1", "source_port": self.rds.sources[source]["port"]}

    def plan_id(self, plan: str | None, instance: str = DR) -> int | None:
        """Find a plan of that kind; an id that nobody knows if there is none."""
        if plan is None:
            return None
        if plan == "foreign":
            return self.they_create("onprem", dry_run="true", instance=DR if instance == OTHER_DR else OTHER_DR)
        kind, status = {"failed": ("create-dryrun", "failure"), "create": ("create", "success")}.get(
            plan, ("create-dryrun", "success")
        )
        found = [row["id"] for row in self.tasks(kind, instance) if row["status"] == status and plan != "absent"]
        return int(found[0 if plan == "oldest" else -1]) if found else 4242

    # -- what must hold --------------------------------------------------------------------------------------------

    def server(self) -> dict[str, Any]:
        """The service's state but for dry runs, and for the mark that one is going on."""
        state = json.loads(json.dumps(self.state))
        state["tasks"] = [row for row in state["tasks"] if row["type"] != "create-dryrun"]
        for instance in state["instances"].values():
            del instance["busy"]
        return state

    def source_of_name(self, task_name: str) -> str:
        """The source that a task was made for: the creates in the journal say under which name they asked for it."""
        for row in self.journal:
            parameters = row["params"]
            if parameters.get("TaskName") == task_name and row["action"] == "CreateReplicationLink":
                return self.source_of(parameters.get("SourceInstanceName"), parameters.get("SourcePort"))
        raise AssertionError(f"no create was sent under the name {task_name}")

    def source_of(self, instance: str | None, port: Any) -> str:
        if instance:
            return instance
        return next(name for name, place in self.rds.sources.items() if str(place["port"]) == str(port))

    def making(self, source: str) -> list[int]:
        """Creates from this source that are going on."""
        rows = self.tasks("create")
        return [row["id"] for row in rows if row["status"] == "running" and self.source_of_name(row["name"]) == source]

    def has_link_to(self, source: str) -> bool:
        link = self.dr["link"]
        return bool(link) and self.source_of(link["source_instance"], link["source_port"]) == source

    def disturbed(self, run: Run) -> bool:
        """Whether a link was ended in a time that the run could not see."""
        return any(end.time >= run.began - run.lag - 0.005 for end in self.ends)

    def ours(self, run: Run, dry_run: str) -> list[dict[str, Any]]:
        """The creates that a run sent."""
        return [
            row
            for row in self.journal[run.first : run.last]
            if row["action"] == "CreateReplicationLink"
            and row["access_key_id"] == OUR_KEY["access_key_id"]
            and row["params"]["DryRun"] == dry_run
        ]

    def judge_form(self, result: dict[str, Any], keys: set[str]) -> None:
        """The same keys in every mode and after a failure, but for warnings; no secret; no crash."""
        shown = set(result) - {"diff"}
        assert shown - {"warnings"} == (keys | FAILURE_KEYS if result.get("failed") else keys)
        text = json.dumps(result, ensure_ascii=False) + json.dumps(result)
        assert not [form for form in SECRETS if form in text]
        if result.get("failed"):
            assert result["error"]["code"] != "Unexpected", result["msg"]
            assert result["error"]["outcome"] == result.get("outcome", result["error"]["outcome"])
        if "diff" in result:
            assert result["changed"]

    def judge_success(self, run: Run, making: list[int]) -> None:
        """What a run reports is so at the service."""
        result, task_id = run.result, run.result["task_id"]
        assert run.outcome in ({"previewed", "unchanged"} if run.check_mode else {"created", "adopted", "unchanged"})
        if run.outcome == "previewed":
            (row,) = [row for row in self.tasks("create-dryrun") if row["id"] == result["plan"]["task_id"]]
            assert self.source_of_name(row["name"]) == run.source
            assert row["status"] == "success" or not run.wait, "no verdict was waited for"
            return
        if self.has_link_to(run.source):
            return
        assert run.check_mode or not run.wait, f"{run.outcome} was reported, but there is no link"
        known = [*making, *self.making(run.source)]
        if run.outcome in ("created", "adopted"):
            known += [row["id"] for row in self.tasks("create") if self.source_of_name(row["name"]) == run.source]
        assert task_id in known, f"{run.outcome} was reported, but neither link nor task is there"

    def judge_world(self) -> None:
        """What holds at any time; also what earlier runs said, since a request may come through late."""
        for row in self.journal:
            if row["access_key_id"] == OUR_KEY["access_key_id"]:
                assert row["params"].get("DryRun", "true") in ("true", "false")
                assert row["unknown_params"] == []
                if row["action"] == "CreateReplicationLink":
                    assert row["params"]["ReplicatorPassword"] == "***"
                else:
                    assert row["action"].startswith("Describe")
        self.judge_links()
        for run in self.runs:
            self.judge_run(run)

    def judge_links(self) -> None:
        """One link at a time: a create comes after the one before it has failed, or its link was ended."""
        creates = self.tasks("create")
        assert sum(row["status"] == "running" for row in creates) <= 1
        for earlier, later in itertools.pairwise(creates):
            ended = any(earlier["id"] < end.task_id < later["id"] for end in self.ends)
            assert earlier["status"] == "failure" or ended

    def judge_run(self, run: Run) -> None:
        sent = self.ours(run, "false")
        committed = [row for row in sent if row["committed"]]
        if run.check_mode:
            assert sent == [], "check mode sent a create"
            assert run.result["changed"] == (run.outcome == "previewed")
            return
        assert self.ours(run, "true") == [], "a dry run was sent outside check mode"
        assert all(row["code"] in HELD_BACK for row in sent[:-1]), "a create was repeated in doubt"
        assert len(committed) <= 1
        if run.outcome in ("not_sent", "refused", "unchanged"):
            assert committed == [], f"{run.outcome}, but a create was carried out"
        if run.outcome == "not_sent":
            assert sent == []
        if run.outcome == "created":
            assert len(committed) == 1
        if committed and run.outcome in ("created", "adopted", "running", "failed"):
            code = run.result["error"]["code"] if run.failed else ""
            assert run.result["changed"] == (code != "PrecheckFailed"), (
                f"{run.outcome}, this run's create was carried out"
            )
        if run.result["changed"]:
            assert sent
        for row in committed:
            self.judge_plan(run, row["params"].get("TaskId"))

    def judge_plan(self, run: Run, plan_id: str | None) -> None:
        """A plan that was applied was one for this link, and newer than the end of the link before."""
        plans = {row["id"]: row for row in self.tasks("create-dryrun")}
        if plan_id is not None:
            assert self.source_of_name(plans[int(plan_id)]["name"]) == run.source
        before = [end for end in self.ends if end.time < run.began - run.lag - 0.005]
        if before:
            assert plan_id is not None and int(plan_id) > before[-1].task_id, "an ended link was made again unasked"

    # -- the end ---------------------------------------------------------------------------------------------------

    def converge(self) -> None:
        """In peace, one more run ends in the link or says why not, and the next one only looks."""
        self.calm()
        self.rds.set_instance(DR, lock_mode="Unlock", broken=False)
        self.rest()
        self.rds.set_instance(DR, status="Running")
        patient = {"wait_timeout": 100.0 * SPEED, "settle_timeout": 10.0 * SPEED}
        had_link, promoted = self.dr["link"], bool(self.ends)
        run = self.run(check_mode=False, source="onprem", wait=patient)
        self.judge_world()
        if run.failed:
            code = run.result["error"]["code"]
            assert code in ("LinkEnded", "OtherSource"), run.result["msg"]
            assert promoted if code == "LinkEnded" else had_link and not self.has_link_to("onprem")
            return
        assert run.outcome == ("unchanged" if had_link else "created")
        again = self.run(check_mode=False, source="onprem", wait=patient)
        assert (again.failed, again.outcome) == (False, "unchanged")
        requests = [row["action"] for row in self.journal[again.first : again.last]]
        assert requests == ["DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"]


def listed(options: dict[str, Any]) -> dict[str, Any]:
    """The options of one link as those of a list with one entry."""
    own = ("dr_instance_id", "task_name", "dry_run_task_id")
    shared = {name: value for name, value in options.items() if name not in own}
    return {**LIST_DEFAULTS, **shared, "links": [{name: options[name] for name in own}]}


def alone(result: dict[str, Any]) -> dict[str, Any]:
    """What the list form says of its one link, as the module of a single link would."""
    (each,) = result["results"]
    kept = {name: result[name] for name in ("endpoint", "credentials", "retries", "warnings", "diff") if name in result}
    assert each["failed"] == bool(result.get("failed")) and each["changed"] == result["changed"]
    shown = {name: value for name, value in each.items() if name != "dr_instance_id" and (name != "failed" or value)}
    return {**shown, **kept}


_push = Fleet._push


def soon(fleet: Fleet[Any], when: float, number: int) -> None:
    """The scheduler's clock is the real one: its pauses are shortened instead."""
    now = time.monotonic()
    _push(fleet, now + (when - now) / SPEED, number)


@functools.cache
def watched(base: type) -> Any:
    """A client that says when it is about to send, again or for the first time, and whose pauses are short."""

    class Watched(base):  # type: ignore[misc]
        def __init__(self, sending: Callable[..., None], *args: Any) -> None:
            endpoint, credentials, limits, ca_path, _sleep, pace = (*args, *(None,) * 6)[:6]
            super().__init__(endpoint, credentials, limits, ca_path, self._pause, pace)
            self._sending = sending

        def _pause(self, seconds: float) -> None:
            self._sending()
            time.sleep(min(seconds / SPEED, 0.002))

        def call(self, action: str, parameters: dict[str, str], **kwargs: Any) -> Any:
            self._sending(action)
            return super().call(action, parameters, **kwargs)

    return Watched


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_history(world: Emulator, shard: int) -> None:
    def history() -> History:
        state = History(world)
        state.in_list = shard % 2 == 1
        return state

    run_histories(history, shard)


def run_histories(history: Callable[[], RuleBasedStateMachine], shard: int) -> None:
    """Draw and run the share of one test: half of the histories are those of each file."""
    run_state_machine_as_test(
        seed(SEED * SHARDS + shard)(history),
        settings=settings(
            max_examples=EXAMPLES // 2 // SHARDS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
