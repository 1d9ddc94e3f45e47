# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promote and rebuild: guards, one request, and what has become of it.

No page says how these tasks are followed: their ids have no rows in the log, and the examples show the id 0. So what
can be observed is watched: DBInstanceStatus, DisasterRecoveryInfo, and the state of the link.
Sources: the pages of DeleteReplicationLink and RebuildReplicationLink (RDS API 2014-08-15).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import PERHAPS_ANOTHER_RUN, RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps, Waiter
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check, failed, listed
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    Caller,
    DrInstanceState,
    Lag,
    as_integer,
    as_text,
    lag_of,
    read_instance,
    read_state,
    read_tasks,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.topology import Side, Topology, side_of, topology_of

# No link here any more: it may have been promoted in this moment.
_PERHAPS_ANOTHER_RUN = PERHAPS_ANOTHER_RUN | {"IncorrectDBInstance"}
# The catalogue's remedies for these are about creating a link; these verbs need another word.
_ADVICE = {
    "IncorrectDBInstance": "The service finds no link on this instance: read both sides before anything else.",
    "IncorrectDBInstanceState": "Wait until both instances are Running and no other task works on them; run again.",
    "InvalideStatus.Format": "Wait until both instances are Running and no other task works on them; run again.",
    "IncorrectDBInstanceLockMode": "Unlock the instance (expired, or disk full?), then run again.",
    "IncorrectDBInstanceType": "The service does not offer this for an instance of this type.",
    "InvalidDBInstanceName.NotFound": "Check the instance id, and the region or endpoint that was asked.",
    "InvalidDBInstanceId.NotFound": "Check the instance id, and the region or endpoint that was asked.",
    "InvalidUserOperatorPermission": "Grant the RAM action of this operation on the instance.",
}
_SECTION = "Before anything is sent"


@dataclass(frozen=True)
class Guards:
    """What must hold before a planned promotion is sent."""

    max_lag_bytes: int
    measured_lag_bytes: int | None = None  # by somebody who asked PostgreSQL


@dataclass
class RoleChangeResult:
    """What a verb did and found. `outcome`: unchanged, previewed, promoted, rebuilt, adopted, running."""

    changed: bool
    outcome: str
    before: Topology
    after: Topology
    checks: list[Check] = field(default_factory=list)
    lag: Lag = field(default_factory=Lag)
    seconds: float | None = None  # from the request to the end of the wait
    request_id: str | None = None
    task_id: int | None = None
    task_name: str | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Observation:
    """What one poll of a verb has seen."""

    has_happened: bool  # it was seen to happen
    topology: Topology
    fits: bool = False  # all is as it has to be afterwards, but it may have been so before

    @property
    def is_busy(self) -> bool:
        return any(side.is_busy for side in self._sides)

    @property
    def statuses(self) -> str:
        """Say what each side does."""
        return ", ".join(f"{side.instance_id} {side.status}" for side in self._sides if side.status)

    @property
    def _sides(self) -> list[Side]:
        return [side for side in (self.topology.dr_instance, self.topology.primary) if side is not None]


@dataclass(frozen=True)
class _Verb:
    """What has to be known about a verb to send it once and to follow it."""

    name: str  # as it is said to people
    action: str
    finished: str  # outcome if it took place
    subject: str
    parameters: Mapping[str, str]
    observe: Callable[[], Observation]


class RoleChanges:
    """The verbs, on DR instances of one region. Check mode is decided here and nowhere else."""

    def __init__(self, client: Caller, waiter: Waiter, *, check_mode: bool, wait: bool = True) -> None:
        self._client, self._waiter = client, waiter
        self._check_mode, self._wait = check_mode, wait

    # -- promotion -----------------------------------------------------------------------------------------------------

    def promote(self, dr_instance_id: str, guards: Guards, *, forced: bool) -> Steps[RoleChangeResult]:
        """End the link of a DR instance and make it a primary of its own (DeleteReplicationLink, PromoteToMaster).

        :param forced: whether it may lose what has not arrived; it needs the DR instance's attributes and nothing else
        """

        def observe() -> Observation:
            now = self._read(dr_instance_id, forced)
            return Observation(now.source is None, topology_of(now))

        parameters = {"DBInstanceId": dr_instance_id, "PromoteToMaster": "true"}
        verb = _Verb("promotion", "DeleteReplicationLink", "promoted", dr_instance_id, parameters, observe)
        state = self._read(dr_instance_id, forced)
        if state.source is None:
            return self._promoted_before(read_state(self._client, dr_instance_id) if forced else state)
        before = topology_of(state)
        if state.is_busy and not forced and (joined := (yield from self._join(verb, before))):
            if joined.has_happened:
                return RoleChangeResult(False, "adopted", before, joined.topology)
            state = self._read(dr_instance_id, forced)
        before, lag = topology_of(state), lag_of(state.task)
        checks = [] if forced else [*_side_checks(side_of(state)), *_link_checks(before, lag, guards)]
        after = Topology(side_of(state), None, "none")
        result = RoleChangeResult(True, "previewed", before, after, checks, lag)
        if forced:
            missing = f"{lag.bytes} bytes behind" if lag.bytes is not None else "an unknown number of bytes behind"
            result.warnings.append(
                f"Forced: what {before.primary or 'the source'} committed and {dr_instance_id} has not received is "
                f"lost; the link's state was {before.link_state}, {missing}."
            )
        return (yield from self._change(verb, result))

    def _read(self, name: str, forced: bool) -> DrInstanceState:
        """Read instance and log; a forced promotion goes on without the log."""
        instance = read_instance(self._client, name)
        try:
            tasks = read_tasks(self._client, name, CREATE)
        except RdsError:
            if not forced:
                raise
            tasks = []
        return DrInstanceState(name, instance, tasks)

    def _promoted_before(self, state: DrInstanceState) -> RoleChangeResult:
        """An instance without a link was promoted from one before, or it is the wrong instance."""
        side, topology, ended = side_of(state), topology_of(state), state.ended
        why = None
        if state.primary_of:
            why = f"it is the primary of {state.primary_of}"
        elif ended is None or ended.replication_state == "streaming":
            why = "it reports no link, and its log shows none that has ended"
        if why or ended is None:
            raise RdsError(
                "NotDrInstance",
                f"{state.instance_id} ({side.status}) is no DR instance, so it cannot be promoted: {why}. "
                "Nothing was sent.",
                context=_context(topology),
            )
        if side.is_busy:
            text = f"{state.instance_id} has no link any more, but is {side.status}."
            raise RdsError("InstanceBusy", text, context=_context(topology))
        return RoleChangeResult(
            False, "unchanged", topology, topology, task_id=ended.task_id, task_name=ended.task_name
        )

    # -- rebuild -------------------------------------------------------------------------------------------------------

    def rebuild(self, dr_instance_id: str, *, confirmed: bool) -> Steps[RoleChangeResult]:
        """Copy the source again to a DR instance whose link is broken (RebuildReplicationLink), and wait for streaming.

        :param confirmed: whether a link that the log does not call broken is rebuilt as well
        """
        was_busy = False

        def observe() -> Observation:
            nonlocal was_busy
            now = read_state(self._client, dr_instance_id)
            is_busy = now.source is not None and now.is_busy
            was_busy = was_busy or is_busy
            fits = not is_busy and now.link_state in ("streaming", "unknown")
            came = now.link_state == "streaming" and before.link_state != "streaming"
            return Observation(fits and (was_busy or came), topology_of(now), fits and now.link_state == "streaming")

        parameters = {"DBInstanceId": dr_instance_id}
        verb = _Verb("rebuild", "RebuildReplicationLink", "rebuilt", dr_instance_id, parameters, observe)
        before = _linked(topology_of(read_state(self._client, dr_instance_id)), dr_instance_id)
        was_busy = before.dr_instance is not None and before.dr_instance.is_busy
        if was_busy:
            if joined := (yield from self._join(verb, before)):
                if joined.has_happened:
                    return RoleChangeResult(False, "adopted", before, joined.topology)
                before = _linked(joined.topology, dr_instance_id)
        elif before.link_state == "streaming" and not confirmed:
            return RoleChangeResult(False, "unchanged", before, before)
        side = before.dr_instance or Side(dr_instance_id)
        checks = [*_side_checks(side), _broken_check(dr_instance_id, before.link_state, confirmed)]
        was_busy = False
        after = Topology(before.primary, side, "streaming", before.source)
        result = yield from self._change(verb, RoleChangeResult(True, "previewed", before, after, checks))
        if result.outcome in ("rebuilt", "adopted") and result.after.link_state == "unknown":
            result.warnings.append(f"The task log of {dr_instance_id} does not report whether data streams again.")
        return result

    # -- sending once, and following -----------------------------------------------------------------------------------

    def _change(self, verb: _Verb, plan: RoleChangeResult) -> Steps[RoleChangeResult]:
        """Refuse, preview, or send and follow."""
        _refuse_failed(verb, plan)
        if self._check_mode:
            return plan
        elapsed = self._waiter.stopwatch()
        refusal: RdsError | None = None
        try:
            answer = self._client.call(verb.action, verb.parameters, repeatable=False)
            plan.request_id, plan.task_id = as_text(answer.get("RequestId")), as_integer(answer.get("TaskId"))
            plan.task_name = as_text(answer.get("TaskName"))
            plan.outcome = verb.finished
        except RdsError as error:
            refusal = error
            yield from self._recover(verb, error, plan)
            plan.outcome, plan.changed = "adopted", error.outcome == "unknown"
        if not self._wait:
            plan.outcome, plan.after, plan.seconds = "running", plan.before, round(elapsed(), 1)
            return plan
        seen = yield from self._follow(verb, plan, refusal)
        plan.after, plan.seconds = seen.topology, round(elapsed(), 1)
        return plan

    def _recover(self, verb: _Verb, error: RdsError, plan: RoleChangeResult) -> Steps[Observation]:
        """Observe what an unclear request, or a faster run, has set going; raise if nothing moves."""
        latest = plan.before

        def moved() -> Observation | None:
            nonlocal latest
            seen = verb.observe()
            latest = seen.topology
            return seen if seen.is_busy or seen.has_happened else None

        doubt = (
            f"Whether the {verb.name} is under way is not known: nothing moved in {self._waiter.settle_timeout:g} s. "
            "It was not sent again; running the same play again reads first."
        )
        try:
            return (yield from self._waiter.recover(error, moved, _PERHAPS_ANOTHER_RUN, doubt))
        except RdsError as failure:
            raise _completed(failure, latest, plan.before) from None

    def _follow(self, verb: _Verb, plan: RoleChangeResult, refusal: RdsError | None) -> Steps[Observation]:
        """Poll until the verb has taken place; raise if it is over and has not."""
        latest, was_busy, quiet = plan.before, False, self._waiter.stopwatch()

        def attempt(elapsed: float) -> Observation | None:
            nonlocal latest, was_busy, quiet
            seen = verb.observe()
            latest = seen.topology
            self._waiter.report(verb.subject, f"{verb.name} ({seen.statuses})", elapsed)
            if seen.is_busy:
                was_busy, quiet = True, self._waiter.stopwatch()
                return None
            return seen if seen.has_happened or quiet() >= self._waiter.settle_timeout else None

        seen = yield from self._waiter.poll(attempt, lambda error: _still_running(error, latest, plan))
        if seen is None:
            limit = f"wait_timeout ({self._waiter.wait_timeout:g} s)"
            text = f"The {verb.name} goes on; it has not ended in {limit}. {latest}"
            context = _context(plan.before, latest, changed=plan.changed)
            raise RdsError("WaitTimeout", text, outcome="running", context=context)
        if not seen.has_happened and seen.fits and refusal is None:
            plan.warnings.append(f"The {verb.name} was accepted, and the link streams; nothing was seen in between.")
        elif not seen.has_happened:
            if refusal is not None and refusal.outcome == "refused":
                raise _completed(refusal, latest, plan.before)  # what was at work was not our verb
            raise self._failed(verb, plan, seen, was_busy)
        return seen

    def _failed(self, verb: _Verb, plan: RoleChangeResult, seen: Observation, was_busy: bool) -> RdsError:
        """Return the error of a verb that did not take place; if nobody saw it at work, it may yet come."""
        text = f"The {verb.name} was accepted, and has ended without taking place. {seen.topology}"
        if not was_busy:
            shown = f"nothing has shown of it for {self._waiter.settle_timeout:g} s"
            text = f"The {verb.name} was accepted, but {shown}. {seen.topology}"
        code = f"{verb.name.capitalize()}Failed"
        outcome = "failed" if was_busy else "unknown"
        return RdsError(code, text, outcome=outcome, context=_context(plan.before, seen.topology))

    def _join(self, verb: _Verb, before: Topology) -> Steps[Observation | None]:
        """Wait while something works on a busy instance, and return what has become of it; None where nothing waits."""
        if self._check_mode or not self._wait:
            return None
        latest = Observation(False, before)

        def attempt(elapsed: float) -> Observation | None:
            nonlocal latest
            latest = verb.observe()
            self._waiter.report(verb.subject, f"busy before the {verb.name} ({latest.statuses})", elapsed)
            return None if latest.is_busy else latest

        def failed_poll(error: RdsError) -> RdsError:
            error.outcome = "not_sent"
            return _completed(error, latest.topology, before)

        return (yield from self._waiter.poll(attempt, failed_poll)) or latest


# -- guards ------------------------------------------------------------------------------------------------------------


def _refuse_failed(verb: _Verb, plan: RoleChangeResult) -> None:
    bad = failed(plan.checks)
    if bad:
        raise RdsError(
            f"{verb.name.capitalize()}Refused",
            f"The {verb.name} was refused, {len(bad)} of {len(plan.checks)} checks:"
            f"{listed((check.note, check.remedy) for check in bad)}{plan.before}",
            context={**_context(plan.before), "checks": plan.checks, "lag": plan.lag},
        )


def _check(check_id: str, is_good: bool, note: str, remedy: str) -> Check:
    words = check_id.replace("_", " ")
    return Check(check_id, _SECTION, words, *(("success", "", "") if is_good else ("error", note, remedy)))


def _side_checks(side: Side) -> list[Check]:
    return [
        _check(
            "dr_instance_running",
            not side.is_busy,
            f"{side.instance_id} is {side.status}, not Running.",
            "Wait until nothing works on it, or start it; run again.",
        ),
        _check(
            "dr_instance_unlocked",
            side.lock_mode in (None, "Unlock"),
            f"{side.instance_id} is locked ({side.lock_mode}).",
            "Unlock it: renew it if it has expired, enlarge its storage if the disk is full.",
        ),
    ]


def _link_checks(topology: Topology, lag: Lag, guards: Guards) -> list[Check]:
    """Return what is known about the stream of data, against what was asked.

    Whoever has measured the lag at both PostgreSQL servers knows more about the stream than a log that does not say.
    """
    remedies = {
        "disconnect": "Rebuild the link, or repair what broke it: see pg_stat_wal_receiver at the DR instance.",
        "unknown": "The log does not report it: compare the LSNs of both sides, and give what is missing as "
        "measured_lag_bytes (the role does).",
    }
    is_measured = topology.link_state == "unknown" and guards.measured_lag_bytes is not None
    known = [lag_bytes for lag_bytes in (lag.bytes, guards.measured_lag_bytes) if lag_bytes is not None]
    return [
        _check(
            "link_streaming",
            topology.link_state == "streaming" or is_measured,
            f"Data does not stream: the link's state is {topology.link_state}.",
            remedies.get(topology.link_state, "Wait until the link streams."),
        ),
        _lag_check(max(known, default=None), guards.max_lag_bytes),
    ]


def _lag_check(lag: int | None, most: int) -> Check:
    if lag is None:
        remedy = "Set postgres (in the role dr_link_postgres), so that both servers are asked; or measure it, and give "
        remedy += "it as measured_lag_bytes."
        return _check("lag_bytes", False, "The service does not report the lag in bytes.", remedy)
    note = f"The DR instance is {lag} bytes behind, more than {most}."
    return _check("lag_bytes", lag <= most, note, "Let it catch up: stop writes, and check why replay is slow.")


def _broken_check(dr_instance_id: str, link_state: str, confirmed: bool) -> Check:
    remedy = f"Ask pg_stat_wal_receiver on {dr_instance_id}; if nothing streams, set confirm to its id."
    if link_state == "creating":
        remedy = "Wait for the task that creates it."
    is_good = link_state == "disconnect" or (confirmed and link_state != "creating")
    return _check("link_broken", is_good, f"The link's state is {link_state}, not disconnect.", remedy)


def _linked(topology: Topology, name: str) -> Topology:
    """Return the topology of a link that has to exist."""
    if topology.dr_instance is None:
        raise RdsError("NotLinked", f"{name} has no link. {topology} Nothing was sent.", context=_context(topology))
    return topology


# -- errors ------------------------------------------------------------------------------------------------------------


def _completed(error: RdsError, latest: Topology, before: Topology) -> RdsError:
    """Complete an error by the state in which each side is, and by advice that fits these verbs."""
    error.message = f"{error.message} {latest}"
    error.advice = _ADVICE.get(error.code, error.advice)
    error.context = {**_context(before), **error.context}
    return error


def _still_running(error: RdsError, latest: Topology, plan: RoleChangeResult) -> RdsError:
    error.outcome = "running"
    error.context.update(_context(plan.before, latest, changed=plan.changed))
    return _completed(error, latest, plan.before)


def _context(before: Topology, after: Topology | None = None, changed: bool = False) -> dict[str, Any]:
    return {"topology": {"before": before.as_result(), "after": (after or before).as_result()}, "changed": changed}
