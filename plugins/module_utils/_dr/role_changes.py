# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs that end a link, or copy everything again: promote and rebuild. Each is sent once.

No page tells how these tasks are followed: their ids have no rows in the log, and the examples show the id 0. So what
can be observed is watched: DBInstanceStatus, DisasterRecoveryInfo, and the newest row of the log.
Sources: the pages of DeleteReplicationLink and RebuildReplicationLink (RDS API 2014-08-15).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import PERHAPS_ANOTHER_RUN, RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Patience, is_passing
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check, failed
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    Caller,
    Lag,
    as_integer,
    as_text,
    dr_targets,
    lag_of,
    read_tasks,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.topology import Side, Topology, look_from_dr

# No link here any more: it may have been promoted in this moment.
_PERHAPS_ANOTHER_RUN = PERHAPS_ANOTHER_RUN | {"IncorrectDBInstance"}
# The catalogue's remedies for these are about making a link; these verbs need another word.
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
class Done:
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
class Seen:
    """One look while a verb is followed. `state`: before or after it."""

    state: str
    topology: Topology
    story: str

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
    failure: str  # code of the error if it did not take place
    finished: str  # outcome if it did
    parameters: Mapping[str, str]
    look: Callable[[], Seen]


class Failover:
    """The verbs, on DR instances of one region. Check mode is decided here and nowhere else."""

    def __init__(self, client: Caller, patience: Patience, *, check_mode: bool, wait: bool = True) -> None:
        self._client, self._patience = client, patience
        self._check_mode, self._wait = check_mode, wait

    # -- promotion -----------------------------------------------------------------------------------------------------

    def promote(self, dr_instance_id: str, guards: Guards, *, forced: bool) -> Done:
        """End the link of a DR instance and make it a primary of its own (DeleteReplicationLink, PromoteToMaster).

        :param forced: whether it may lose what has not arrived; the source is not asked then, it may be gone
        """
        topology, instance = look_from_dr(self._client, dr_instance_id)

        def look() -> Seen:
            now, _row = look_from_dr(self._client, dr_instance_id)
            return Seen("before" if now.dr_instance else "after", now, str(now))

        verb = _Verb(
            "promotion",
            "DeleteReplicationLink",
            "PromotionFailed",
            "promoted",
            {"DBInstanceId": dr_instance_id, "PromoteToMaster": "true"},
            look,
        )
        if topology.dr_instance is None:
            return self._promoted_before(dr_instance_id, topology, instance)
        joined = self._joined(verb, topology, wait=not forced)
        if joined.state == "after":
            return Done(False, "adopted", topology, joined.topology)
        topology = joined.topology
        target, lag = cast(Side, topology.dr_instance), lag_of(topology.task)
        checks = [] if forced else [*_side_checks(target), *_link_checks(topology, lag, guards)]
        done = Done(True, "previewed", topology, Topology(target, None, "none"), checks, lag)
        if forced:
            behind = f"{lag.bytes} bytes behind" if lag.bytes is not None else "an unknown number of bytes behind"
            done.warnings.append(
                f"Forced: what {topology.primary or 'the source'} committed and {dr_instance_id} has not received is "
                f"lost; the link's state was {topology.state}, {behind}."
            )
        return self._do(verb, done)

    def _promoted_before(self, name: str, topology: Topology, instance: Mapping[str, Any]) -> Done:
        """An instance without a link was promoted from one before, or it is the wrong instance."""
        side = topology.primary
        targets = ", ".join(target for target, _region in dr_targets(instance))
        tasks = read_tasks(self._client, name, CREATE)
        # While the log says that data stream, no link has ended: the instance may not report the one that it has.
        ended = next((task for task in tasks if task.made_link and task.replication_state != "streaming"), None)
        if targets or ended is None:
            why = (
                f"it is the primary of {targets}"
                if targets
                else "it reports no link, and its log shows none that has ended"
            )
            raise RdsError(
                "NotDrInstance",
                f"{name} ({side.status if side else 'not asked'}) is no DR instance, so it cannot be promoted: {why}. "
                "Nothing was sent.",
                context=_context(topology),
            )
        if side and side.is_busy:
            raise RdsError(
                "InstanceBusy", f"{name} has no link any more, but is {side.status}.", context=_context(topology)
            )
        return Done(False, "unchanged", topology, topology, task_id=ended.task_id, task_name=ended.task_name)

    # -- rebuild -------------------------------------------------------------------------------------------------------

    def rebuild(self, dr_instance_id: str, *, confirmed: bool) -> Done:
        """Copy the source again to a DR instance whose link is broken (RebuildReplicationLink), and wait for streaming.

        :param confirmed: whether a link that the log does not call broken, nor streaming, is rebuilt as well
        """
        topology, _instance = look_from_dr(self._client, dr_instance_id)
        was_busy = _target(dr_instance_id, topology).is_busy

        def look() -> Seen:
            nonlocal was_busy
            now, _row = look_from_dr(self._client, dr_instance_id)
            busy = now.dr_instance is not None and now.dr_instance.is_busy
            was_busy = was_busy or busy
            is_there = now.state == "streaming" or (was_busy and now.state == "unknown")
            return Seen("after" if is_there and not busy else "before", now, str(now))

        verb = _Verb(
            "rebuild",
            "RebuildReplicationLink",
            "RebuildFailed",
            "rebuilt",
            {"DBInstanceId": dr_instance_id},
            look,
        )
        if not was_busy and topology.state == "streaming":
            return Done(False, "unchanged", topology, topology)
        joined = self._joined(verb, topology)
        if joined.state == "after":
            return Done(False, "adopted", topology, joined.topology)
        topology = joined.topology
        target = _target(dr_instance_id, topology)
        checks = [
            *_side_checks(target),
            _check(
                "link_broken",
                topology.state == "disconnect" or (confirmed and topology.state == "unknown"),
                f"The link's state is {topology.state}, not disconnect.",
                "Wait for the task that makes it."
                if topology.state == "creating"
                else f"Look at pg_stat_wal_receiver on {dr_instance_id}; if nothing streams, set confirm to its id.",
            ),
        ]
        after = Topology(topology.primary, target, "streaming", topology.source)
        done = self._do(verb, Done(True, "previewed", topology, after, checks))
        if done.outcome in ("rebuilt", "adopted") and done.after.state == "unknown":
            done.warnings.append(f"The task log of {dr_instance_id} does not tell whether data streams again.")
        return done

    # -- sending once, and following -----------------------------------------------------------------------------------

    def _do(self, verb: _Verb, plan: Done) -> Done:
        """Refuse, preview, or send and follow."""
        bad = failed(plan.checks)
        if bad:
            told = " ".join(f"({n}) {check.note} To fix: {check.remedy}" for n, check in enumerate(bad, 1))
            count = f"{len(bad)} of {len(plan.checks)} checks"
            raise RdsError(
                f"{verb.name.capitalize()}Refused",
                f"The {verb.name} was refused, {count}: {told} Nothing was sent. {plan.before}",
                context={**_context(plan.before), "checks": plan.checks, "lag": plan.lag},
            )
        if self._check_mode:
            return plan
        elapsed = self._patience.stopwatch()
        refusal: RdsError | None = None
        try:
            answer = self._client.call(verb.action, verb.parameters, repeatable=False)
            plan.request_id, plan.task_id = as_text(answer.get("RequestId")), as_integer(answer.get("TaskId"))
            plan.task_name = as_text(answer.get("TaskName"))
            plan.outcome = verb.finished
        except RdsError as error:
            refusal = error
            self._recover(verb, error, plan)
            plan.outcome, plan.changed = "adopted", error.outcome == "unknown"
        if not self._wait:
            plan.outcome, plan.after, plan.seconds = "running", plan.before, round(elapsed(), 1)
            return plan
        try:
            seen = self._follow(verb, plan)
        except RdsError as error:
            if refusal is not None and refusal.outcome == "refused" and error.code == verb.failure:
                raise self._told(refusal, error.context["story"], plan.before) from None  # it was not about our verb
            raise
        plan.after, plan.seconds = seen.topology, round(elapsed(), 1)
        return plan

    def _recover(self, verb: _Verb, error: RdsError, plan: Done) -> None:
        """Look for what an unclear request, or a faster run, has set going; raise if nothing moves."""
        unclear = error.outcome == "unknown"
        if not unclear and error.code not in _PERHAPS_ANOTHER_RUN:
            raise self._told(error, str(plan.before), plan.before) from None
        last = str(plan.before)

        def moved() -> Seen | None:
            nonlocal last
            seen = verb.look()
            last = seen.story
            return seen if seen.is_busy or seen.state != "before" else None

        try:
            seen = self._patience.settle(moved)
        except RdsError as failure:
            failure.outcome = error.outcome  # of the request, about which a failed look says nothing
            raise self._told(failure, last, plan.before) from None
        if seen is None and unclear:
            error.message += (
                f" Whether the {verb.name} is under way is not known: nothing moved in "
                f"{self._patience.settle_timeout:g} s. It was not sent again; running the same play again looks first."
            )
        if seen is None:
            raise self._told(error, last, plan.before) from None

    def _follow(self, verb: _Verb, plan: Done) -> Seen:
        """Poll until the verb has taken place; raise if it is over and has not."""
        seen: Seen | None = None
        was_busy, silent = False, 0
        quiet = self._patience.stopwatch()
        for elapsed in self._patience.polls():
            try:
                seen, silent = verb.look(), 0
            except RdsError as error:
                silent += 1
                if not is_passing(error, silent):
                    error.outcome = "running"
                    raise self._told(error, seen.story if seen else str(plan.before), plan.before) from None
                continue
            self._patience.tell(_subject(plan.before), f"{verb.name} ({seen.statuses})", elapsed())
            if seen.is_busy:
                was_busy, quiet = True, self._patience.stopwatch()
            elif seen.state == "after":
                return seen
            elif quiet() >= self._settle:
                raise self._failed(verb, plan, seen, was_busy)
        story = seen.story if seen else str(plan.before)
        raise RdsError(
            "WaitTimeout",
            f"The {verb.name} goes on; it has not ended in wait_timeout ({self._patience.wait_timeout:g} s). {story}",
            outcome="running",
            context=_context(plan.before, seen.topology if seen else None, changed=plan.changed),
        )

    def _failed(self, verb: _Verb, plan: Done, seen: Seen, was_busy: bool) -> RdsError:
        """Return the error of a verb that did not take place; if nobody saw it at work, it may yet come."""
        outcome = "failed" if was_busy else "unknown"
        text = f"The {verb.name} was accepted, and has ended without taking place. {seen.story}"
        if not was_busy:
            text = f"The {verb.name} was accepted, but nothing has shown of it for {self._settle:g} s. {seen.story}"
        context = {**_context(plan.before, seen.topology), "story": seen.story}
        return RdsError(verb.failure, text, outcome=outcome, context=context)

    def _joined(self, verb: _Verb, topology: Topology, wait: bool = True) -> Seen:
        """Wait while something works on the instances, then return what has become of them."""
        now = Seen("before", topology, str(topology))
        if self._check_mode or not (wait and self._wait and now.is_busy):
            return now
        for elapsed in self._patience.polls():
            now = verb.look()
            self._patience.tell(_subject(topology), f"busy before the {verb.name} ({now.statuses})", elapsed())
            if not now.is_busy:
                return now
        return now

    @property
    def _settle(self) -> float:
        return self._patience.settle_timeout

    def _told(self, error: RdsError, story: str, before: Topology) -> RdsError:
        """Complete an error by the state in which each side is, and by advice that fits these verbs."""
        error.message = f"{error.message} {story}"
        error.advice = _ADVICE.get(error.code, error.advice)
        error.context = {**_context(before), **error.context}
        return error


# -- guards ------------------------------------------------------------------------------------------------------------


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
    """Return what is known about the stream of data, against what was asked."""
    remedy = (
        "Rebuild the link, or repair what broke it: see pg_stat_wal_receiver at the DR instance."
        if topology.state == "disconnect"
        else "The log does not tell: stop all writes, compare the LSNs of both sides, then use mode=forced."
        if topology.state == "unknown"
        else "Wait until the link streams."
    )
    known = [lag_bytes for lag_bytes in (lag.bytes, guards.measured_lag_bytes) if lag_bytes is not None]
    return [
        _check(
            "link_streaming",
            topology.state == "streaming",
            f"Data does not stream: the link's state is {topology.state}.",
            remedy,
        ),
        _lag_check(max(known, default=None), guards.max_lag_bytes),
    ]


def _lag_check(lag: int | None, most: int) -> Check:
    if lag is None:
        remedy = "Measure it by LSN at both sides (the role's verify does), and give it as measured_lag_bytes."
        return _check("lag_bytes", False, "The service does not tell the lag in bytes.", remedy)
    note = f"The DR instance is {lag} bytes behind, more than {most}."
    return _check("lag_bytes", lag <= most, note, "Let it catch up: stop writes, look for slow replay.")


def _target(name: str, topology: Topology) -> Side:
    """Return the DR instance of a link that has to be there."""
    if topology.dr_instance is None:
        raise RdsError("NotLinked", f"{name} has no link. {topology} Nothing was sent.", context=_context(topology))
    return topology.dr_instance


def _subject(topology: Topology) -> str:
    side = topology.dr_instance or topology.primary
    return side.instance_id if side else ""


def _context(before: Topology, after: Topology | None = None, changed: bool = False) -> dict[str, Any]:
    return {"topology": {"before": before.as_result(), "after": (after or before).as_result()}, "changed": changed}
