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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import PERHAPS_ANOTHER_RUN, RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Patience, is_passing
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import (
    Check,
    Subject,
    failed,
    parse_report,
    report_lines,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    DRY_RUN,
    Caller,
    Look,
    Source,
    Task,
    as_integer,
    as_text,
    behind,
    comparable,
    describe,
    link_as_result,
    link_source,
    look_at,
    read_instance,
    read_tasks,
    unreadable,
)

DEFAULT_PORT = 5432

# A link is there already: another run may have been faster.
_PERHAPS_ANOTHER_RUN = PERHAPS_ANOTHER_RUN | {"MirrorInsExists"}
_BUSY = ("IncorrectDBInstanceState", "InvalideStatus.Format")


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
            *map(comparable, self.source.place().values()),
        ]
        return "ansible-" + hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


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
        **patience: Any,
    ) -> None:
        self._client = client
        self._dry_run = check_mode
        self._task_type = DRY_RUN if check_mode else CREATE
        self._wait_started = wait
        self._wait_found = wait and not check_mode
        self._patience = Patience(**patience)

    # -- the main job ------------------------------------------------------------------------------------------------

    def ensure(self, desired: Desired) -> Result:
        """Bring the link about, or preview it. Present and equal: nothing is sent.

        :raises RdsError: its `outcome` says what is known about the state, its `context` holds what was seen
        """
        look = look_at(self._client, desired.dr_instance_id)
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
            look.instance = read_instance(self._client, desired.dr_instance_id)
            look.link_source = link_source(look.instance)
            if look.link_source is None and newest.status == "running":
                look.link_source = self._patience.settle(
                    lambda: link_source(read_instance(self._client, desired.dr_instance_id))
                )
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
        result.link = link_as_result(desired.dr_instance_id, actual, task)
        return result

    def _refuse_unfit(self, look: Look, desired: Desired) -> None:
        """Refuse an instance that cannot become a DR instance, before anything is sent."""
        name, instance = desired.dr_instance_id, look.instance
        engine, kind, lock = (as_text(instance.get(key)) for key in ("Engine", "DBInstanceType", "LockMode"))
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
        status = as_text(instance.get("DBInstanceStatus"))
        if status not in (None, "Running"):
            raise RdsError("InstanceBusy", f"{name} is {status}, not Running. Nothing was sent.")

    def _usable_plan(self, desired: Desired) -> Task:
        """Return the dry run that dry_run_task_id names, if it is a plan for exactly this link."""
        task_id = desired.dry_run_task_id
        tasks = read_tasks(self._client, desired.dr_instance_id, DRY_RUN, task_id)
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
        if newest is not None and newest.status == "failure" and newest.age() > plan.age():
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
        if ended is None or (plan is not None and plan.age() > ended.age()):
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
            task_id = as_integer(answer.get("TaskId"))
            if task_id is None:
                raise unreadable("CreateReplicationLink", "no TaskId in its answer", "unknown")
        except RdsError as error:
            return self._adopt(self._recover(error, look, desired, result), desired, result)
        result.request_id = as_text(answer.get("RequestId"))
        result.db_instance_id = as_text(answer.get("DBInstanceId")) or desired.dr_instance_id
        name = as_text(answer.get("TaskName")) or desired.name
        task = Task(task_id, name, self._task_type, target_instance_id=desired.dr_instance_id, source=desired.source)
        if self._wait_started:
            task = self._wait_for(desired, self._task_type, task_id, result)
        return self._finish(result, desired, task, ended)

    def _finish(self, result: Result, desired: Desired, task: Task, ended: Task | None) -> Result:
        result.task = task
        result.checks = self._checks(desired, task)
        if self._dry_run:
            result.plan = _plan(task, ended)
        result.link = link_as_result(desired.dr_instance_id, desired.source, task)
        return result

    def _create_when_free(self, before: Look, desired: Desired) -> dict[str, Any] | Look:
        """Create; give an instance on which something else works the settle time to become free, or a link to appear.

        A refusal because of the instance's state did nothing, so sending it again makes no second one.
        """
        refusal: RdsError | None = None
        for elapsed in self._patience.settling():
            try:
                return self._create(desired)
            except RdsError as error:
                if error.code not in _BUSY or error.outcome != "refused" or elapsed() >= self._patience.settle_timeout:
                    raise
                refusal = error
            if found := self._appeared(before, desired):
                return found
            if self._dry_run and (same := self._running_dry_run(desired)):
                return {"TaskId": same.task_id, "TaskName": same.task_name, "RequestId": self._client.last_request_id}
        raise cast(RdsError, refusal)

    def _running_dry_run(self, desired: Desired) -> Task | None:
        """Return a dry run of this very link that is under way: another run's, or ours, its reply lost."""
        tasks = read_tasks(self._client, desired.dr_instance_id, DRY_RUN)
        alike = (task for task in tasks if task.status == "running" and not desired.source.differences(task.source))
        return next(alike, None)

    def _appeared(self, before: Look, desired: Desired) -> Look | None:
        """Look whether a link or a task of one has come since `before`."""
        look = look_at(self._client, desired.dr_instance_id)
        is_new = look.newest is not None and all(look.newest.task_id != task.task_id for task in before.tasks)
        return look if look.link_source or is_new else None

    def _recover(self, error: RdsError, before: Look, desired: Desired, result: Result) -> Look:
        """Look for what an unclear create, or a faster run, has left; raise if nothing turns up in the settle time."""
        unclear = error.outcome == "unknown"
        if self._dry_run or not (unclear or error.code in _PERHAPS_ANOTHER_RUN):
            raise error
        try:
            look = self._patience.settle(lambda: self._appeared(before, desired))
        except RdsError as failure:
            failure.outcome = error.outcome  # of the create, about which a failed look says nothing
            raise
        if look is None and unclear:
            raise RdsError(
                error.code,
                f"{error.message} Whether the link of {desired.dr_instance_id} is being created is not known: neither "
                f"its task log nor the instance showed a new task in {self._patience.settle_timeout:g} s. The create "
                "was not repeated; running the same play again looks first, and adopts what it finds.",
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

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait_for(self, desired: Desired, task_type: str, task_id: int, result: Result) -> Task:
        """Poll a task until data streams (create) or the verdict is there (dry run); the first look is immediate."""
        task: Task | None = None
        unseen = Task(task_id, None, task_type, target_instance_id=desired.dr_instance_id, source=desired.source)
        silent = 0
        for elapsed in self._patience.polls():
            try:
                rows = read_tasks(self._client, desired.dr_instance_id, task_type, task_id)
                task, silent = next((row for row in rows if row.task_id == task_id), task), 0
            except RdsError as error:
                silent += 1
                if not is_passing(error, silent):
                    error.outcome = "running"
                    error.context.update(task=task or unseen, timeline=result.timeline, plan=result.plan)
                    error.context["changed"] = result.changed and not self._dry_run
                    raise
            if task is not None:
                _note_stage(result.timeline, task, elapsed())
                self._patience.tell(desired.dr_instance_id, task.stage or "accepted", elapsed(), behind(task))
                if task.status == "failure":
                    raise self._task_failed(desired, task, result, "TaskFailed")
                if task.status == "success" if task_type == DRY_RUN else task.is_streaming:
                    return task
        raise self._timed_out(desired, task or unseen, result)

    def _timed_out(self, desired: Desired, task: Task, result: Result) -> RdsError:
        where = f"at stage {task.stage}, status {task.status}" if task.status else "not in the task log yet"
        return RdsError(
            "WaitTimeout",
            f"Task {task.task_id} of {desired.dr_instance_id} was {where} after "
            f"wait_timeout ({self._patience.wait_timeout:g} s). It goes on; the same play resumes the wait.",
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


def _refuse_other(desired: Desired, actual: Source, task: Task | None, what_happened: str, outcome: str) -> None:
    """Raise OtherSource unless the link's source is the one asked for."""
    differences = desired.source.differences(actual)
    if differences:
        raise RdsError(
            "OtherSource",
            f"{desired.dr_instance_id} already replicates from another source: {'; '.join(differences)} "
            f"(asked for {describe(desired.source)}, it has {describe(actual)}). {what_happened}",
            outcome=outcome,
            context={"link": link_as_result(desired.dr_instance_id, actual, task), "task": task},
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


def _own_endpoint(instance: Mapping[str, Any]) -> tuple[Any, int | None]:
    return comparable(as_text(instance.get("ConnectionString"))), as_integer(instance.get("Port"))
