# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replication link: read, plan, create once (`creation`), wait. Knows no Ansible and no HTTP.

Sources of API behaviour: the pages of CreateReplicationLink, DescribeReplicationLinkLogs and
DescribeDBInstanceAttribute (RDS API 2014-08-15).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps, Waiter
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import (
    Check,
    Subject,
    failed,
    listed,
    parse_report,
    report_lines,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    DRY_RUN,
    Caller,
    DrInstanceState,
    Source,
    Task,
    as_text,
    behind,
    comparable,
    describe,
    link_as_result,
    read_instance,
    read_state,
    read_tasks,
)

if TYPE_CHECKING:
    from ansible_collections.alicloud.rds.plugins.module_utils._dr.creation import Creation

DEFAULT_PORT = 5432


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
class LinkResult:
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

    def __init__(self, client: Caller, waiter: Waiter, *, check_mode: bool, wait: bool = True) -> None:
        self._client, self._waiter = client, waiter
        self._dry_run = check_mode
        self._task_type = DRY_RUN if check_mode else CREATE
        self._wait_started = wait
        self._wait_found = wait and not check_mode

    # -- the main job ------------------------------------------------------------------------------------------------

    def ensure(self, desired: Desired) -> Steps[LinkResult]:
        """Bring the link about, or preview it. Existing and equal: nothing is sent.

        :raises RdsError: its `outcome` says what is known about the state, its `context` holds what was seen
        """
        state = read_state(self._client, desired.dr_instance_id)
        if (yield from self._exists(state, desired)):
            return (yield from self._found(state, desired, LinkResult(changed=False, outcome="unchanged")))
        plan = self._usable_plan(desired) if desired.dry_run_task_id is not None else None
        _reject_primary(state)
        if plan is not None and self._dry_run:
            return (yield from self._follow_plan(plan, state, desired))
        if plan is not None:
            self._reject_used_plan(plan, state, desired)
        creation = self._creation(state, desired)
        creation.reject_unfit_instance()
        result = LinkResult(
            changed=True, outcome="previewed" if self._dry_run else "created", plan=_plan(plan) if plan else None
        )
        ended = self._reject_ended_link(state, plan, result)
        if state.newest is not None and state.newest.status == "failure":
            error = self._task_failed(desired, state.newest, result, "TaskFailed")
            result.warnings.append(f"An earlier attempt failed. {error.message}")
        return (yield from self._start(creation, state, desired, result, ended))

    def _exists(self, state: DrInstanceState, desired: Desired) -> Steps[bool]:
        """Say whether the link, or a task that creates it, exists. Rows of ended tasks prove nothing."""
        newest = state.newest
        if state.source is None and newest is not None and newest.reached_streaming:
            # The instance was read first, so the link may have come in between; else the row is a left-over.
            state.update(read_instance(self._client, state.instance_id))
            if state.source is None and newest.status == "running":

                def visible() -> Source | None:
                    state.update(read_instance(self._client, state.instance_id))
                    return state.source

                yield from self._waiter.wait_until_visible(visible)
        actual = state.source or (state.task.source if state.task else None)
        if actual is not None:
            _reject_other_source(desired, actual, state, "Nothing was sent.", "not_sent")
        return actual is not None

    def _found(self, state: DrInstanceState, desired: Desired, result: LinkResult) -> Steps[LinkResult]:
        """Report an existing link; wait for its task if that still runs."""
        task = state.task if state.source else state.newest
        if task is not None and task.is_in_progress and self._wait_found:
            task = yield from self._wait_for(desired, CREATE, task.task_id, result)
        if task is not None and task.status == "failure":
            error = self._task_failed(desired, task, result, "LinkBroken" if state.source else "TaskFailed")
            if state.source is None or task.stage == "increment":
                raise error
            # A task that ended earlier has made no link, so this one has no row.
            result.warnings.append(f"{error.message} A link exists all the same; its state is not reported.")
        actual = state.source or (task.source if task else desired.source)
        if desired.source.account and actual.account and desired.source.account != actual.account:
            result.warnings.append(
                f"The link uses the replication account {actual.account!r}, not {desired.source.account!r}; "
                "an account cannot be changed in place."
            )
        link_state = task.link_state if task else state.link_state
        if link_state == "disconnect":
            result.warnings.append(f"The link of {desired.dr_instance_id} exists, but is disconnected from its source.")
        result.request_id = self._client.last_request_id
        result.db_instance_id = desired.dr_instance_id
        result.task = task
        result.checks = self._checks(desired, task)
        result.link = link_as_result(desired.dr_instance_id, actual, link_state, task)
        return result

    def _usable_plan(self, desired: Desired) -> Task:
        """Return the dry run that dry_run_task_id names, if it is a plan for exactly this link."""
        task_id = desired.dry_run_task_id
        tasks = read_tasks(self._client, desired.dr_instance_id, DRY_RUN, task_id)
        task = next((task for task in tasks if task.task_id == task_id), None)
        if task is None:
            reason = f"{desired.dr_instance_id} has no dry run with this id"
        elif task.status != "success" and not self._dry_run:
            reason = f"that dry run's status is {task.status}, not success"
        elif differences := desired.source.differences(task.source):
            reason = f"it checked another source: {'; '.join(differences)}"
        else:
            return task
        raise RdsError("PlanUnusable", f"dry_run_task_id {task_id} cannot be applied: {reason}. Nothing was sent.")

    def _reject_used_plan(self, plan: Task, state: DrInstanceState, desired: Desired) -> None:
        """A plan is applied once: if a task of its name and source failed after it, that report is the answer."""
        for task in state.tasks:
            is_its_own = task.task_name in (desired.name, plan.task_name) and not plan.source.differences(task.source)
            if task.status == "failure" and task.age() > plan.age() and is_its_own:
                raise self._task_failed(desired, task, LinkResult(False, "unchanged", plan=_plan(plan)), "TaskFailed")

    def _follow_plan(self, plan: Task, state: DrInstanceState, desired: Desired) -> Steps[LinkResult]:
        """Report on a dry run that was started before, instead of making another one."""
        result = LinkResult(changed=True, outcome="previewed", request_id=self._client.last_request_id)
        result.db_instance_id = desired.dr_instance_id
        ended = self._reject_ended_link(state, None, result)
        if self._wait_started or plan.status == "failure":
            plan = yield from self._wait_for(desired, DRY_RUN, plan.task_id, result)
        return self._finish(result, desired, plan, ended)

    def _reject_ended_link(self, state: DrInstanceState, plan: Task | None, result: LinkResult) -> Task | None:
        """A link that was made and is gone was ended by somebody: promoted, most likely. It is not recreated unasked.

        A plan that is newer than that link was approved in its knowledge, and a preview changes nothing: it reports
        the ended task, which is returned.
        """
        ended = state.ended
        if ended is None or (plan is not None and plan.age() > ended.age()):
            return None
        story = (
            f"{state.instance_id} had a link (task {ended.task_id} of {ended.created}) and reports none now: it was "
            "promoted, or its link was deleted."
        )
        if not self._dry_run:
            raise RdsError(
                "LinkEnded",
                f"{story} The link is not recreated automatically. Nothing was sent.",
                context={"task": ended},
            )
        result.warnings.append(f"{story} To link it again, apply this plan by its id (dry_run_task_id).")
        return ended

    # -- creating ----------------------------------------------------------------------------------------------------

    def _creation(self, before: DrInstanceState, desired: Desired) -> Creation:
        """Prepare the create, or dry run: the only place where DryRun is set."""
        # Loaded where it is needed: a module compiles all that it imports, every time.
        from ansible_collections.alicloud.rds.plugins.module_utils._dr.creation import Creation

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
        return Creation(self._client, self._waiter, before, source, given)

    def _start(
        self, creation: Creation, state: DrInstanceState, desired: Desired, result: LinkResult, ended: Task | None
    ) -> Steps[LinkResult]:
        """Create, or dry-run, and wait."""
        answer, result.changed = yield from creation.start()
        if isinstance(answer, DrInstanceState):
            result.outcome = "adopted"
            return (yield from self._adopt(answer, desired, result, state))
        task_id = answer["TaskId"]
        result.request_id = as_text(answer.get("RequestId"))
        result.db_instance_id = as_text(answer.get("DBInstanceId")) or desired.dr_instance_id
        name = as_text(answer.get("TaskName")) or desired.name
        task = Task(task_id, name, self._task_type, target_instance_id=desired.dr_instance_id, source=desired.source)
        if self._wait_started:
            task = yield from self._wait_for(desired, self._task_type, task_id, result)
        return self._finish(result, desired, task, ended)

    def _finish(self, result: LinkResult, desired: Desired, task: Task, ended: Task | None) -> LinkResult:
        result.task = task
        result.checks = self._checks(desired, task)
        if self._dry_run:
            result.plan = _plan(task, ended)
        link_state = "planned" if self._dry_run else task.link_state
        result.link = link_as_result(desired.dr_instance_id, desired.source, link_state, task)
        return result

    def _adopt(
        self, state: DrInstanceState, desired: Desired, result: LinkResult, before: DrInstanceState
    ) -> Steps[LinkResult]:
        """Take what appeared since the first read, if it is the link asked for."""
        actual = state.source or (state.newest.source if state.newest else desired.source)
        what_happened, outcome = "Another run was faster; nothing was changed.", "refused"
        known = {task.task_id for task in before.tasks}
        own = any(task.task_id not in known and not desired.source.differences(task.source) for task in state.tasks)
        if result.changed and (own or state.source is None):  # its answer was lost, and its task may have failed since
            what_happened, outcome = "Whether the create of this run was carried out is not known.", "unknown"
        _reject_other_source(desired, actual, state, what_happened, outcome)
        return (yield from self._found(state, desired, result))

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait_for(self, desired: Desired, task_type: str, task_id: int, result: LinkResult) -> Steps[Task]:
        """Poll a task until data streams (create) or the verdict is known (dry run); the first poll is immediate."""
        name = desired.dr_instance_id
        latest = Task(task_id, None, task_type, target_instance_id=name, source=desired.source)

        def attempt(elapsed: float) -> Task | None:
            nonlocal latest
            rows = read_tasks(self._client, name, task_type, task_id)
            latest = next((row for row in rows if row.task_id == task_id), latest)
            if latest.status is None:
                return None
            _note_stage(result.timeline, latest, elapsed)
            self._waiter.report(name, latest.stage or "accepted", elapsed, behind(latest))
            if latest.status == "failure":
                return latest
            return latest if (latest.status == "success" if task_type == DRY_RUN else latest.is_over) else None

        def failed_poll(error: RdsError) -> RdsError:
            error.outcome = "running"
            error.context.update(task=latest, timeline=result.timeline, plan=result.plan)
            error.context["changed"] = result.changed and not self._dry_run
            return error

        task = yield from self._waiter.poll(attempt, failed_poll)
        if task is None:
            raise self._timed_out(desired, latest, result)
        if task.status == "failure":
            raise self._task_failed(desired, task, result, "TaskFailed")
        return task

    def _timed_out(self, desired: Desired, task: Task, result: LinkResult) -> RdsError:
        where = f"at stage {task.stage}, status {task.status}" if task.status else "not in the task log yet"
        return RdsError(
            "WaitTimeout",
            f"Task {task.task_id} of {desired.dr_instance_id} was {where} after "
            f"wait_timeout ({self._waiter.wait_timeout:g} s). It goes on; the same play resumes the wait.",
            outcome="running",
            context={
                "task": task,
                "checks": self._checks(desired, task),
                "timeline": result.timeline,
                "plan": result.plan,
                "changed": result.changed and not self._dry_run,
            },
        )

    def _task_failed(self, desired: Desired, task: Task, result: LinkResult, code: str) -> RdsError:
        """Return the error of a failed task: each failed check with its remedy, or the end of its report."""
        checks = self._checks(desired, task)
        bad = failed(checks)
        if bad and task.stage in (None, "precheck"):
            code = "PrecheckFailed"
            text = f"The precheck of {desired.dr_instance_id} (task {task.task_id}) failed, "
            text += f"{len(bad)} of {len(checks)} checks:"
            text += listed((f"{check.check}: {check.note or 'failed'}", check.remedy) for check in bad)
        else:
            report = report_lines(scrub(task.detail, [desired.password or ""]))
            text = f"Task {task.task_id} of {desired.dr_instance_id} failed at stage {task.stage}: "
            text += " / ".join(report[-3:]) if report else "the service gave no report."
        context: dict[str, Any] = {"task": task, "checks": checks, "timeline": result.timeline, "plan": result.plan}
        # A create that fails before it copies leaves the instance as it was.
        context["changed"] = result.changed and not self._dry_run and not task.failed_before_copying
        request_id = result.request_id or self._client.last_request_id
        return RdsError(code, text, outcome="failed", context=context, request_id=request_id)

    def _checks(self, desired: Desired, task: Task | None) -> list[Check]:
        subject = Subject(desired.source.account or "", desired.dr_instance_id)
        return parse_report(task.detail, subject, [desired.password or ""]) if task else []


# -- guards ------------------------------------------------------------------------------------------------------------


def _reject_primary(state: DrInstanceState) -> None:
    """Refuse an instance that has DR instances of its own: it is a live primary, most likely a promoted one."""
    if state.primary_of:
        raise RdsError(
            "InstanceIsPrimary",
            f"{state.instance_id} has no link: it is the primary of {state.primary_of}. Nothing was sent.",
        )


def _reject_other_source(
    desired: Desired, actual: Source, state: DrInstanceState, what_happened: str, outcome: str
) -> None:
    """Raise OtherSource unless the link's source is the one asked for."""
    differences = desired.source.differences(actual)
    if differences:
        link = link_as_result(desired.dr_instance_id, actual, state.link_state, state.task)
        raise RdsError(
            "OtherSource",
            f"{desired.dr_instance_id} already replicates from another source: {'; '.join(differences)} "
            f"(asked for {describe(desired.source)}, it has {describe(actual)}). {what_happened}",
            outcome=outcome,
            context={"link": link, "task": state.newest},
        )


def _plan(task: Task, ended: Task | None = None) -> dict[str, Any]:
    """Return a plan as playbooks see it; `ended_link_task_id` names the task of a link that existed and was ended."""
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
