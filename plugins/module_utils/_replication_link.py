# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replication link: look, plan, create once, wait. Knows no Ansible and no HTTP.

The API has no ClientToken, so "exactly once" is made here: look first, send one create at the most that may have been
committed, and where its outcome is not known look again instead of repeating. Sources of API behaviour: the pages of
CreateReplicationLink, DescribeReplicationLinkLogs and DescribeDBInstanceAttribute (RDS API 2014-08-15).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from ansible_collections.alicloud.rds.plugins.module_utils._errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._precheck import (
    Check,
    Subject,
    failed,
    other_lines,
    parse_report,
    report_lines,
)
from ansible_collections.alicloud.rds.plugins.module_utils._secrets import printable, scrub

Found = TypeVar("Found")

CREATE, DRY_RUN = "create", "create-dryrun"
PAGE_SIZE = 30  # the documentation's example; limits are not stated
MOST_PAGES = 200
MOST_TASKS = MOST_PAGES * PAGE_SIZE
FIRST_INTERVAL = 0.2  # seconds; a poll then comes after each tenth of the time waited so far, up to wait_interval
MOST_SILENT_POLLS = 3  # polls in a row that may fail for a passing reason, each with the client's own retries
DEFAULT_PORT = 5432

# The service says no because a task or a link is there already: another run may have been faster.
_PERHAPS_ANOTHER_RUN = (
    "MirrorInsExists",
    "IncorrectDBInstanceState",
    "InvalideStatus.Format",
    "OperationDenied.DBInstanceStatus",
    "LockTimeout",
)
_BUSY = ("IncorrectDBInstanceState", "InvalideStatus.Format")
_STREAMING = ("steaming", "streaming")  # the API spells it without r


class Caller(Protocol):
    """What the domain needs of a client."""

    last_request_id: str | None

    def call(self, action: str, parameters: Mapping[str, str], *, repeatable: bool) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Source:
    """The source of a link. None: not given, or not told by the service."""

    category: str | None
    address: str | None = None
    port: int | None = None
    region_id: str | None = None
    instance_name: str | None = None
    account: str | None = None

    def differences(self, other: Source) -> list[str]:
        """Return what is told on both sides and differs. The account is not part of what a source is."""
        return [
            f"{name} {mine!r} is not {theirs!r}"
            for name in ("category", "address", "port", "region_id", "instance_name")
            if (mine := _comparable(getattr(self, name))) is not None
            and (theirs := _comparable(getattr(other, name))) is not None
            and mine != theirs
        ]

    def address_and_port(self) -> tuple[Any, int | None]:
        return _comparable(self.address), self.port


@dataclass(frozen=True)
class Desired:
    """The link that is asked for."""

    dr_instance_id: str
    source: Source
    password: str | None = field(default=None, repr=False)
    task_name: str | None = None
    dry_run_task_id: int | None = None

    @property
    def name(self) -> str:
        """The task name sent: the user's, or one made of DR instance and source alone, so that it is found again."""
        if self.task_name:
            return self.task_name
        identity = [
            self.dr_instance_id,
            *(_comparable(value) for key, value in asdict(self.source).items() if key != "account"),
        ]
        return "ansible-" + hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Task:
    """A row of the task log, without its password. Times are the service's, UTC."""

    task_id: int
    task_name: str | None
    task_type: str | None
    status: str | None = None  # success, failure, running
    stage: str | None = None  # precheck, basebackup, startup, increment
    replication_state: str | None = None  # streaming (however the service spells it), finish, disconnect
    replication_info: str | None = None
    created: str | None = None
    modified: str | None = None
    target_instance_id: str | None = None
    source: Source = Source(None)
    detail: str = ""

    @property
    def is_streaming(self) -> bool:
        """Whether data flows: streaming by its own word, or ended well and not disconnected."""
        if self.replication_state in ("streaming", "disconnect"):
            return self.replication_state == "streaming" and (self.status == "success" or self.stage == "increment")
        return self.status == "success"

    @property
    def is_making(self) -> bool:
        """Whether this task is on its way to a link; catching up is the last part of the way."""
        return self.status == "running" and not self.made_link

    @property
    def made_link(self) -> bool:
        """Whether this task came as far as a link."""
        streamed = self.stage == "increment" and self.replication_state in ("streaming", "disconnect", "finish")
        return self.status == "success" or (self.status == "running" and streamed)


@dataclass
class Look:
    """What the service says about a DR instance at one moment."""

    instance: dict[str, Any]
    link_source: Source | None  # from DisasterRecoveryInfo
    tasks: list[Task]  # of type create, newest first

    @property
    def newest(self) -> Task | None:
        return self.tasks[0] if self.tasks else None


@dataclass
class Result:
    """What `ensure` did and found. `outcome`: unchanged, created, adopted (somebody's create was found), previewed."""

    changed: bool
    outcome: str
    request_id: str | None = None
    db_instance_id: str | None = None
    task: Task | None = None
    plan: dict[str, Any] | None = None
    checks: list[Check] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    link: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)


class ReplicationLinks:
    """The links of one account and region, as Ansible's check mode sees or changes them.

    Check mode is decided here and nowhere else: the one create becomes a dry run, and its verdict is waited for.
    """

    def __init__(
        self,
        client: Caller,
        *,
        check_mode: bool,
        wait: bool = True,
        wait_timeout: float = 3600,
        wait_interval: float = 30,
        settle_timeout: float = 30,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._dry_run = check_mode
        self._task_type = DRY_RUN if check_mode else CREATE
        self._wait_started = wait
        self._wait_found = wait and not check_mode
        self._wait_timeout, self._wait_interval, self._settle_timeout = wait_timeout, wait_interval, settle_timeout
        self._sleep, self._clock = sleep, clock

    # -- looking -----------------------------------------------------------------------------------------------------

    def look(self, dr_instance_id: str) -> Look:
        """Read instance and task log: two calls where the log has one page."""
        instance = self.instance(dr_instance_id)
        return Look(instance, _link_source(instance), self.tasks(dr_instance_id, CREATE))

    def instance(self, instance_id: str) -> dict[str, Any]:
        """Return the attributes of an instance (DescribeDBInstanceAttribute), raw: may hold secrets."""
        answer = self._read("DescribeDBInstanceAttribute", {"DBInstanceId": instance_id})
        items = answer.get("Items")
        rows = items.get("DBInstanceAttribute") if isinstance(items, dict) else None
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
            raise _unreadable("DescribeDBInstanceAttribute", "no instance in its answer")
        return rows[0]

    def tasks(
        self, dr_instance_id: str, task_type: str, task_id: int | None = None, task_name: str | None = None
    ) -> list[Task]:
        """Return the rows of the task log, newest first, from all pages (DescribeReplicationLinkLogs)."""
        parameters = {"DBInstanceId": dr_instance_id, "TaskType": task_type, "PageSize": str(PAGE_SIZE)}
        if task_id is not None:
            parameters["TaskId"] = str(task_id)
        if task_name is not None:
            parameters["TaskName"] = task_name
        found: dict[int, Task] = {}
        seen = 0
        for page in range(1, MOST_PAGES + 1):
            answer = self._read("DescribeReplicationLinkLogs", {**parameters, "PageNumber": str(page)})
            rows = answer.get("Items")
            if not isinstance(rows, list):
                raise _unreadable("DescribeReplicationLinkLogs", "no list of tasks in its answer")
            total = _integer(answer.get("TotalSize"))
            seen += len(rows)
            before = len(found)
            found.update((task.task_id, task) for task in map(_task, rows))
            if (
                len(found) == before
                or len(found) >= MOST_TASKS
                or (total is not None and seen >= total)
                or (total is None and len(rows) < PAGE_SIZE)
            ):
                break
        return sorted(found.values(), key=lambda task: task.task_id, reverse=True)

    def _read(self, action: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Call an operation that changes nothing, whatever becomes of its answer."""
        try:
            return self._client.call(action, parameters, repeatable=True)
        except RdsError as error:
            if error.outcome == "unknown":
                error.outcome = "not_sent"
            raise

    # -- the main job ------------------------------------------------------------------------------------------------

    def ensure(self, desired: Desired) -> Result:
        """Bring the link about, or preview it. Present and equal: nothing is sent.

        :raises RdsError: its `outcome` says what is known about the state, its `context` holds what was seen
        """
        look = self.look(desired.dr_instance_id)
        if self._is_present(look, desired):
            return self._found(look, desired, Result(changed=False, outcome="unchanged"))
        plan = self._usable_plan(desired) if desired.dry_run_task_id is not None else None
        if plan is not None and self._dry_run:
            return self._follow_plan(plan, look, desired)
        if plan is not None:
            self._refuse_spent(plan, look, desired)
        self._refuse_unfit(look, desired)
        result = Result(
            changed=True, outcome="previewed" if self._dry_run else "created", plan=_plan(plan) if plan else None
        )
        ended = self._refuse_ended(look, plan, result)
        if look.newest is not None and look.newest.status == "failure":
            error = self._task_failed(desired, look.newest, result, "TaskFailed")
            result.warnings.append(f"An earlier attempt failed. {error.message}")
        return self._start(look, desired, result, ended)

    def _is_present(self, look: Look, desired: Desired) -> bool:
        """Say whether the link, or a task that makes it, is there. Rows of ended tasks prove nothing."""
        newest = look.newest
        if look.link_source is None and newest is not None and newest.made_link:
            # The instance was read first, so the link may have come in between; else the row is a left-over.
            look.instance = self.instance(desired.dr_instance_id)
            look.link_source = _link_source(look.instance)
            if look.link_source is None and newest.status == "running":
                look.link_source = self._settle(lambda: _link_source(self.instance(desired.dr_instance_id)))
        actual = look.link_source or (newest.source if newest is not None and newest.is_making else None)
        if actual is not None:
            _refuse_other(desired, actual, newest, "Nothing was sent.", "not_sent")
        return actual is not None

    def _found(self, look: Look, desired: Desired, result: Result) -> Result:
        """Report a link that is there; wait for its task if that still runs."""
        task = look.newest
        if task is not None and task.is_making and self._wait_found:
            task = self._wait_for(desired, CREATE, task.task_id, result)
        if task is not None and task.status == "failure":
            raise self._task_failed(desired, task, result, "LinkBroken" if look.link_source else "TaskFailed")
        actual = look.link_source or (task.source if task else desired.source)
        if desired.source.account and actual.account and desired.source.account != actual.account:
            result.warnings.append(
                f"The link uses the replication account {actual.account!r}, not {desired.source.account!r}; "
                "an account cannot be changed in place."
            )
        if task is not None and task.replication_state == "disconnect":
            result.warnings.append(f"The link of {desired.dr_instance_id} exists, but is disconnected from its source.")
        result.request_id = self._client.last_request_id
        result.db_instance_id = desired.dr_instance_id
        result.task = task
        result.checks = self._checks(desired, task)
        result.link = _link(desired.dr_instance_id, actual, task)
        return result

    def _refuse_unfit(self, look: Look, desired: Desired) -> None:
        """Refuse an instance that cannot become a DR instance, before anything is sent."""
        name, instance = desired.dr_instance_id, look.instance
        engine, kind, lock = (_text(instance.get(key)) for key in ("Engine", "DBInstanceType", "LockMode"))
        reason = None
        if engine and engine.lower() != "postgresql":
            reason = f"its engine is {engine}, not PostgreSQL"
        elif kind in ("Readonly", "Temp"):
            reason = f"it is a {kind} instance, not a primary one"
        elif lock and lock != "Unlock":
            reason = f"it is locked ({lock})"
        elif name == desired.source.instance_name:
            reason = "it is the source itself (source_instance_name)"
        elif desired.source.address and desired.source.address_and_port() == _own_endpoint(instance):
            reason = "source_address and source_port are its own endpoint"
        if reason:
            raise RdsError("InstanceUnfit", f"{name} cannot become the DR instance: {reason}. Nothing was sent.")
        status = _text(instance.get("DBInstanceStatus"))
        if status not in (None, "Running"):
            raise RdsError("InstanceBusy", f"{name} is {status}, not Running. Nothing was sent.")

    def _usable_plan(self, desired: Desired) -> Task:
        """Return the dry run that dry_run_task_id names, if it is a plan for exactly this link."""
        task_id = desired.dry_run_task_id
        tasks = self.tasks(desired.dr_instance_id, DRY_RUN, task_id)
        task = next((task for task in tasks if task.task_id == task_id), None)
        if task is None:
            reason = f"{desired.dr_instance_id} has no dry run with this id"
        elif task.task_type not in (None, DRY_RUN):
            reason = f"it is a task of type {task.task_type}"
        elif task.status != "success" and not self._dry_run:
            reason = f"that dry run's status is {task.status}, not success"
        elif task.target_instance_id not in (None, desired.dr_instance_id):
            reason = f"it was made for {task.target_instance_id}"
        elif differences := desired.source.differences(task.source):
            reason = f"it checked another source: {'; '.join(differences)}"
        else:
            return task
        raise RdsError("PlanUnusable", f"dry_run_task_id {task_id} cannot be applied: {reason}. Nothing was sent.")

    def _refuse_spent(self, plan: Task, look: Look, desired: Desired) -> None:
        """A plan is applied once: if the task that did so failed, its report is the answer."""
        newest = look.newest
        if newest is not None and newest.status == "failure" and newest.task_id > plan.task_id:
            raise self._task_failed(desired, newest, Result(False, "unchanged", plan=_plan(plan)), "TaskFailed")

    def _follow_plan(self, plan: Task, look: Look, desired: Desired) -> Result:
        """Report on a dry run that was started before, instead of making another one."""
        result = Result(changed=True, outcome="previewed", request_id=self._client.last_request_id)
        result.db_instance_id = desired.dr_instance_id
        ended = self._refuse_ended(look, None, result)
        if self._wait_started or plan.status == "failure":
            plan = self._wait_for(desired, DRY_RUN, plan.task_id, result)
        return self._finish(result, desired, plan, ended)

    def _refuse_ended(self, look: Look, plan: Task | None, result: Result) -> Task | None:
        """A link that was made and is gone was ended by somebody: promoted, most likely. It is not made again unasked.

        A plan that is newer than that link was approved in its knowledge, and a preview changes nothing: it is told of
        the ended task, which is returned.
        """
        ended = next((task for task in look.tasks if task.made_link), None)
        if ended is None or (plan is not None and plan.task_id > ended.task_id):
            return None
        story = (
            f"{ended.target_instance_id or 'The instance'} had a link (task {ended.task_id} of {ended.created}) "
            "and has none now: it was promoted, or its link was deleted."
        )
        if not self._dry_run:
            raise RdsError(
                "LinkEnded", f"{story} It is not linked again unasked. Nothing was sent.", context={"task": ended}
            )
        result.warnings.append(f"{story} To link it again, apply this plan by its id (dry_run_task_id).")
        return ended

    # -- creating ----------------------------------------------------------------------------------------------------

    def _create(self, desired: Desired) -> dict[str, Any]:
        """Send CreateReplicationLink: the only place that does, and the only place where DryRun is set."""
        source = desired.source
        parameters = {
            "DBInstanceId": desired.dr_instance_id,
            "DryRun": "true" if self._dry_run else "false",
            "SourceAddress": source.address,
            "SourcePort": source.port,
            "ReplicatorAccount": source.account,
            "ReplicatorPassword": desired.password,
            "TaskId": None if self._dry_run else desired.dry_run_task_id,
            "SourceCategory": source.category,
            "SourceInstanceRegionId": source.region_id,
            "SourceInstanceName": source.instance_name,
            "TaskName": desired.name,
        }
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        return self._client.call("CreateReplicationLink", given, repeatable=self._dry_run)

    def _start(self, look: Look, desired: Desired, result: Result, ended: Task | None) -> Result:
        """Create, or dry-run, and wait; where the outcome is not clear, look again instead of repeating."""
        try:
            answer = self._create_when_free(look, desired)
            if isinstance(answer, Look):
                return self._adopt(answer, desired, Result(changed=False, outcome="adopted"))
            task_id = _integer(answer.get("TaskId"))
            if task_id is None:
                raise _unreadable("CreateReplicationLink", "no TaskId in its answer")
        except RdsError as error:
            return self._adopt(self._recover(error, look, desired, result), desired, result)
        result.request_id = _text(answer.get("RequestId"))
        result.db_instance_id = _text(answer.get("DBInstanceId")) or desired.dr_instance_id
        name = _text(answer.get("TaskName")) or desired.name
        task = Task(task_id, name, self._task_type, target_instance_id=desired.dr_instance_id, source=desired.source)
        if self._wait_started:
            task = self._wait_for(desired, self._task_type, task_id, result)
        return self._finish(result, desired, task, ended)

    def _finish(self, result: Result, desired: Desired, task: Task, ended: Task | None) -> Result:
        result.task = task
        result.checks = self._checks(desired, task)
        if self._dry_run:
            result.plan = _plan(task, ended)
        result.link = _link(desired.dr_instance_id, desired.source, task)
        return result

    def _create_when_free(self, before: Look, desired: Desired) -> dict[str, Any] | Look:
        """Create; give an instance on which something else works the settle time to become free, or a link to appear.

        A refusal because of the instance's state did nothing, so sending it again makes no second one.
        """
        deadline = self._clock() + self._settle_timeout
        pause = FIRST_INTERVAL
        while True:
            try:
                return self._create(desired)
            except RdsError as error:
                if error.code not in _BUSY or error.outcome != "refused" or self._clock() >= deadline:
                    raise
            if found := self._appeared(before, desired):
                return found
            if self._dry_run and (same := self._running_dry_run(desired)):
                return {"TaskId": same.task_id, "TaskName": same.task_name, "RequestId": self._client.last_request_id}
            self._sleep(min(pause, max(0.0, deadline - self._clock())))
            pause = min(2 * pause, 5.0)

    def _running_dry_run(self, desired: Desired) -> Task | None:
        """Return a dry run of this very link that is under way: another run's, or ours, its reply lost."""
        tasks = self.tasks(desired.dr_instance_id, DRY_RUN)
        alike = (task for task in tasks if task.status == "running" and not desired.source.differences(task.source))
        return next(alike, None)

    def _appeared(self, before: Look, desired: Desired) -> Look | None:
        """Look whether a link or a task of one has come since `before`."""
        look = self.look(desired.dr_instance_id)
        is_new = look.newest is not None and all(look.newest.task_id != task.task_id for task in before.tasks)
        return look if look.link_source or is_new else None

    def _recover(self, error: RdsError, before: Look, desired: Desired, result: Result) -> Look:
        """Look for what an unclear create, or a faster run, has left; raise if nothing turns up in the settle time."""
        unclear = error.outcome == "unknown"
        if self._dry_run or not (unclear or error.code in _PERHAPS_ANOTHER_RUN):
            raise error
        try:
            look = self._settle(lambda: self._appeared(before, desired))
        except RdsError as failure:
            failure.outcome = error.outcome  # of the create, about which a failed look says nothing
            raise
        if look is None and unclear:
            raise RdsError(
                error.code,
                f"{error.message} Whether the link of {desired.dr_instance_id} is being created is not known: neither "
                f"its task log nor the instance showed a new task in {self._settle_timeout:g} s. The create was not "
                "repeated; running the same play again looks first, and adopts what it finds.",
                http_status=error.http_status,
                request_id=error.request_id,
                outcome="unknown",
            ) from None
        if look is None:
            raise error
        result.outcome, result.changed = "adopted", unclear
        return look

    def _adopt(self, look: Look, desired: Desired, result: Result) -> Result:
        """Take what appeared since the first look, if it is the link asked for."""
        actual = look.link_source or (look.newest.source if look.newest else desired.source)
        _refuse_other(desired, actual, look.newest, "Another run was faster; nothing was changed.", "refused")
        return self._found(look, desired, result)

    def _settle(self, attempt: Callable[[], Found | None]) -> Found | None:
        """Return the first true result of `attempt` in the settle time, else None: answers may lag behind a commit."""
        deadline = self._clock() + self._settle_timeout
        pause = FIRST_INTERVAL
        while True:
            try:
                found = attempt()
            except RdsError as error:
                if not error.retryable:
                    raise
                found = None
            remaining = deadline - self._clock()
            if found or remaining <= 0:
                return found or None
            self._sleep(min(pause, remaining))
            pause = min(2 * pause, 5.0)

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait_for(self, desired: Desired, task_type: str, task_id: int, result: Result) -> Task:
        """Poll a task until data streams (create) or the verdict is there (dry run); the first look is immediate."""
        started = self._clock()
        task: Task | None = None
        unseen = Task(task_id, None, task_type, target_instance_id=desired.dr_instance_id, source=desired.source)
        silent = 0
        while True:
            try:
                rows = self.tasks(desired.dr_instance_id, task_type, task_id)
                task, silent = next((row for row in rows if row.task_id == task_id), task), 0
            except RdsError as error:
                silent += 1
                if not error.retryable or silent >= MOST_SILENT_POLLS:
                    error.outcome = "running"
                    error.context.update(task=task or unseen, timeline=result.timeline, plan=result.plan)
                    error.context["changed"] = result.changed and not self._dry_run
                    raise
            elapsed = self._clock() - started
            if task is not None:
                _note_stage(result.timeline, task, elapsed)
                if task.status == "failure":
                    raise self._task_failed(desired, task, result, "TaskFailed")
                if task.status == "success" if task_type == DRY_RUN else task.is_streaming:
                    return task
            if elapsed >= self._wait_timeout:
                raise self._timed_out(desired, task or unseen, result)
            pause = min(max(FIRST_INTERVAL, elapsed / 10), self._wait_interval)
            self._sleep(min(pause, self._wait_timeout - elapsed))

    def _timed_out(self, desired: Desired, task: Task, result: Result) -> RdsError:
        where = f"at stage {task.stage}, status {task.status}" if task.status else "not in the task log yet"
        return RdsError(
            "WaitTimeout",
            f"Task {task.task_id} of {desired.dr_instance_id} was {where} after "
            f"wait_timeout ({self._wait_timeout:g} s). It goes on; running the same play again resumes the wait.",
            outcome="running",
            context={
                "task": task,
                "checks": self._checks(desired, task),
                "timeline": result.timeline,
                "plan": result.plan,
                "changed": result.changed and not self._dry_run,
            },
        )

    def _task_failed(self, desired: Desired, task: Task, result: Result, code: str) -> RdsError:
        """Return the error of a failed task: each failed check with its remedy, or the end of its report."""
        checks = self._checks(desired, task)
        bad = failed(checks)
        if bad and task.stage in (None, "precheck"):
            code = "PrecheckFailed"
            text = f"The precheck of {desired.dr_instance_id} (task {task.task_id}) failed, "
            text += f"{len(bad)} of {len(checks)} checks: "
            text += " ".join(
                f"({n}) {c.check}: {c.note.rstrip('.') or 'failed'}. To fix: {c.remedy}" for n, c in enumerate(bad, 1)
            )
        else:
            report = report_lines(scrub(task.detail, [desired.password or ""]))
            text = f"Task {task.task_id} of {desired.dr_instance_id} failed at stage {task.stage}: "
            text += " / ".join(report[-3:]) if report else "the service gave no report."
        context = {"task": task, "checks": checks, "timeline": result.timeline, "plan": result.plan}
        context["changed"] = result.changed and not self._dry_run
        return RdsError(code, text, outcome="failed", context=context)

    def _checks(self, desired: Desired, task: Task | None) -> list[Check]:
        subject = Subject(desired.source.account or "", desired.dr_instance_id)
        return parse_report(task.detail, subject, [desired.password or ""]) if task else []


# -- reading answers: allow-lists, since rows hold passwords -----------------------------------------------------------


def task_as_result(task: Task | None, secrets: Iterable[str] = ()) -> dict[str, Any] | None:
    """Return a task as playbooks see it; `detail` is what its report says beside the checks, without secrets."""
    if task is None:
        return None
    row = asdict(task)
    source = row.pop("source")
    row.update({f"source_{key}": value for key, value in source.items() if key != "account"})
    row["replicator_account"] = source["account"]
    row["detail"] = other_lines(scrub(task.detail, secrets))
    row["replication_info"] = scrub(task.replication_info, secrets) if task.replication_info else None
    return row


def instance_as_result(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an instance that matter for DR; anything else the service sends is left out."""
    return {name: _text(instance.get(key)) for name, key in _INSTANCE_FIELDS.items()}


def current_link(dr_instance_id: str, look: Look) -> dict[str, Any] | None:
    """Return the link that the instance reports, None if it reports none."""
    return _link(dr_instance_id, look.link_source, look.newest) if look.link_source else None


_INSTANCE_FIELDS = {
    "db_instance_id": "DBInstanceId",
    "engine": "Engine",
    "engine_version": "EngineVersion",
    "status": "DBInstanceStatus",
    "type": "DBInstanceType",
    "category": "Category",
    "lock_mode": "LockMode",
    "region_id": "RegionId",
    "connection_string": "ConnectionString",
    "port": "Port",
    "description": "DBInstanceDescription",
}


def _task(row: Any) -> Task:
    task_id = _integer(row.get("TaskId")) if isinstance(row, dict) else None
    if task_id is None:
        raise _unreadable("DescribeReplicationLinkLogs", "a task without an id in its answer")
    state = _text(row.get("ReplicationState"))
    return Task(
        task_id=task_id,
        task_name=_text(row.get("TaskName")),
        task_type=_text(row.get("TaskType")),
        status=_text(row.get("TaskStatus")),
        stage=_text(row.get("TaskStage")),
        replication_state="streaming" if state in _STREAMING else state,
        replication_info=_text(row.get("ReplicationInfo")),
        created=_text(row.get("GmtCreated")),
        modified=_text(row.get("GmtModified")),
        target_instance_id=_text(row.get("TargetInstanceId")),
        source=Source(
            category=_text(row.get("SourceCategory")),
            address=_text(row.get("SourceAddress")),
            port=_integer(row.get("SourcePort")),
            account=_text(row.get("ReplicatorAccount")),
        ),
        detail=_text(row.get("Detail")) or "",
    )


def _link_source(instance: Mapping[str, Any]) -> Source | None:
    """Read DisasterRecoveryInfo, a string that holds JSON; None if the instance is no DR instance."""
    text = _text(instance.get("DisasterRecoveryInfo"))
    try:
        told = json.loads(text) if text else None
    except (ValueError, RecursionError):
        raise _unreadable("DescribeDBInstanceAttribute", "DisasterRecoveryInfo is not JSON") from None
    if not told:
        return None
    if not isinstance(told, dict):
        raise _unreadable("DescribeDBInstanceAttribute", "DisasterRecoveryInfo is not an object")
    return Source(
        category=_text(told.get("sourceCategory")),
        address=_text(told.get("sourceAddress")),
        port=_integer(told.get("sourcePort")),
        region_id=_text(told.get("sourceInstanceRegionId")),
        instance_name=_text(told.get("sourceInstanceName")),
        account=_text(told.get("replicatorAccount")),
    )


def _link(dr_instance_id: str, source: Source, task: Task | None) -> dict[str, Any]:
    """Return the link as playbooks see it. `state`: planned, creating, streaming, disconnect or unknown."""
    if task is None:
        state = "unknown"
    elif task.task_type == DRY_RUN:
        state = "planned"
    elif task.is_streaming:
        state = "streaming"
    else:
        state = "disconnect" if task.replication_state == "disconnect" else "creating"
    return {
        "dr_instance_id": dr_instance_id,
        "state": state,
        "source_category": source.category,
        "source_address": source.address,
        "source_port": source.port,
        "source_instance_region_id": source.region_id,
        "source_instance_name": source.instance_name,
        "replicator_account": source.account,
    }


def _refuse_other(desired: Desired, actual: Source, task: Task | None, what_happened: str, outcome: str) -> None:
    """Raise OtherSource unless the link's source is the one asked for."""
    differences = desired.source.differences(actual)
    if differences:
        raise RdsError(
            "OtherSource",
            f"{desired.dr_instance_id} already replicates from another source: {'; '.join(differences)} "
            f"(asked for {_describe(desired.source)}, it has {_describe(actual)}). {what_happened}",
            outcome=outcome,
            context={"link": _link(desired.dr_instance_id, actual, task), "task": task},
        )


def _plan(task: Task, ended: Task | None = None) -> dict[str, Any]:
    """Return a plan as playbooks see it; `ended_link_task_id` tells of a link that was there and was ended."""
    return {
        "task_id": task.task_id,
        "task_name": task.task_name,
        "status": task.status,
        "created": task.created,
        "ended_link_task_id": ended.task_id if ended else None,
    }


def _note_stage(timeline: list[dict[str, Any]], task: Task, elapsed: float) -> None:
    """Keep when each stage was first seen and how long it was seen, in seconds since the wait began."""
    if not timeline or timeline[-1]["stage"] != task.stage:
        timeline.append({"stage": task.stage, "seen_after": round(elapsed, 1), "seconds": 0.0})
    timeline[-1]["seconds"] = round(elapsed - timeline[-1]["seen_after"], 1)


def _describe(source: Source) -> str:
    where = f"{source.address}:{source.port}" if source.address else ""
    instance = f"instance {source.instance_name} in {source.region_id}" if source.instance_name else ""
    return " of ".join(part for part in (where, instance) if part) or f"a source of category {source.category}"


def _own_endpoint(instance: Mapping[str, Any]) -> tuple[Any, int | None]:
    return _comparable(_text(instance.get("ConnectionString"))), _integer(instance.get("Port"))


def _comparable(value: Any) -> Any:
    """Names of hosts and instances do not differ by case or a final dot; empty is not told."""
    return value.strip().rstrip(".").lower() or None if isinstance(value, str) else value


def _text(value: Any) -> str | None:
    return printable(value) or None if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    """Read a number that may come as text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unreadable(action: str, what: str) -> RdsError:
    return RdsError(
        "ReplyUnreadable",
        f"The service answered {action} in a form that cannot be read: {what}.",
        outcome="unknown" if action == "CreateReplicationLink" else "not_sent",
    )
