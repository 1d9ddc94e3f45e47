# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A promotion with both PostgreSQL servers asked: checks, lock, fence with proof, last byte, promote once, prove.

Nothing is said that was not read back. Whatever stops it before the request has left takes the fence down again; after
that the fence stays up, and the outcome is `unknown` until the servers have been read.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr import fence as fences
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import fence_methods, position
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import PostgresError, Session, quoted
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import failed, listed
from ansible_collections.alicloud.rds.plugins.module_utils._dr.promotion import Failover, Order
from ansible_collections.alicloud.rds.plugins.module_utils._dr.record import Keep, Record
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import (
    Guards,
    RoleChanges,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Caller
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import checks, lag_bytes

_PAUSE = 0.2  # seconds between two reads of a position
_ANY = 2**63  # as a limit of a lag that is proved otherwise


class Promoter:
    """Carries out one order. `changes` sends the one request; `preview` is the same in check mode."""

    def __init__(
        self,
        client: Caller,
        at: Callable[[str | None], Caller],
        changes: Callable[[bool], RoleChanges],
        has_written: Callable[[], bool],
        order: Order,
        keep: Keep,
        **known: Any,
    ) -> None:
        """Prepare.

        :param at: returns the client of a region
        :param changes: returns what sends the request, for check mode or not
        :param has_written: whether a request has left that may have changed something
        :param keep: gets the report at every event
        :param known: what else the report is to say
        """
        self._client, self._at, self._order, self._keep, self._known = client, at, order, keep, known
        self._changes, self._preview, self._has_written = changes(False), changes(True), has_written
        self._sessions: list[Session] = []
        self._both: tuple[Session, Session] | None = None  # at primary and standby, locked

    def run(self) -> Failover:
        """Carry it out and return what has happened.

        :raises RdsError: with what has happened in its context, under `failover`
        """
        order, record = self._order, self._record()
        seen: Seen = drive(look(self._client, self._at, replace(order.question, follow_row=False)))
        done = Failover(seen, checks(seen, skip=order.skip_checks), record)
        try:
            self._carry_out(done)
            done.end(done.change.outcome if done.change else "unknown")
        except RdsError as error:
            if done.is_promoted:
                error.outcome = "unknown"
                error.message = f"The service has promoted {seen.dr_instance_id}, but: {error.message}"
            error.context = {**error.context, "failover": done}
            done.end(error.outcome, error.message)
            raise
        except PostgresError as error:
            outcome = "unknown" if self._has_written() else "not_sent"
            text = f"{error.text.rstrip('.')}. {' '.join(done.said)}"
            done.end(outcome, text)
            raise RdsError("PostgresRefused", text, outcome=outcome, context={"failover": done}) from None
        except BaseException:
            done.end("unknown" if self._has_written() else "not_sent", "The run was ended from outside.")
            raise
        finally:
            for session in self._sessions:
                session.close()
        return done

    def _record(self) -> Record:
        order = self._order
        return Record(
            self._keep,
            kind="promotion",
            mode="forced" if order.forced else "planned",
            run=uuid.uuid4().hex[:12],
            instance=order.question.dr_instance_id,
            targets={"rpo_seconds": order.rpo_target, "rto_seconds": order.rto_target},
            **self._known,
        )

    def _carry_out(self, done: Failover) -> None:
        order, name = self._order, self._order.question.dr_instance_id
        if done.seen.link_state == "none":  # promoted before, or the wrong instance: the service's own words
            done.change = drive(self._preview.promote(name, Guards(_ANY), forced=order.forced))
            return
        done.event("checked")
        if not order.forced:
            ends = [end for end in (done.seen.primary, done.seen.standby) if end and end.facts]
            if len(ends) == 2 and not order.check_mode:  # before anything else is judged: another run may be at work
                self._both = self._session(ends[0]), self._session(ends[1])
                for session in self._both:
                    fences.lock(session, done.run)
                again = replace(order.question, run=done.run)  # and only now a row is written
                done.seen = drive(look(self._client, self._at, again))
                done.checks = checks(done.seen, skip=order.skip_checks)
            self._refuse(done)
        if order.expect is not None and order.expect != done.digest:
            text = f"What was approved ({order.expect}) is not what is there now ({done.digest}): preview again."
            raise RdsError("PreviewOutdated", text)
        guards = Guards(_ANY, measured_lag_bytes=lag_bytes(done.seen))
        done.change = drive(self._preview.promote(name, guards, forced=order.forced))
        if order.check_mode or done.change.outcome != "previewed":
            return
        done.change = None
        if order.forced:
            self._forced(done, name)
        else:
            self._planned(done, name, guards)

    def _refuse(self, done: Failover) -> None:
        """Refuse a planned promotion that the servers are not fit for."""
        bad = [(f"{check.id}: {check.note}", check.remedy) for check in failed(done.checks)]
        primary = done.seen.primary
        if self._order.fence and primary and primary.facts and not primary.facts["standby"]:
            obstacles = fence_methods(primary.facts)[self._order.method]
            bad += [(f"fence_possible: method {self._order.method}: {'; '.join(obstacles)}.", "")] * bool(obstacles)
            prepared = primary.facts["prepared"] or []
            gids = ", ".join(row["gid"] for row in prepared)
            bad += [(f"prepared_transactions: {gids}", "Finish them before a fence.")] * bool(prepared)
        if bad:
            raise RdsError("PromotionRefused", f"The promotion was refused:{listed(bad)}Nothing was changed.")

    # -- planned -------------------------------------------------------------------------------------------------------

    def _planned(self, done: Failover, name: str, guards: Guards) -> None:
        if self._both is None:
            raise RdsError("PromotionRefused", "A planned promotion needs both servers. Nothing was changed.")
        primary, standby = self._both
        try:
            if self._order.fence:
                self._put_up(done, primary)
            xmax = self._catch_up(done, primary, standby)
            done.event("request sent")
            done.change = drive(self._changes.promote(name, guards, forced=False))
        except BaseException as error:
            self._undo(done, primary, error)
            raise
        done.event(done.change.outcome)
        if done.is_promoted:
            self._prove(done)
            self._look_back(done, xmax)

    def _put_up(self, done: Failover, primary: Session) -> None:
        facts = (done.seen.primary.facts if done.seen.primary else None) or {}
        wanted = fences.Fence.wanted(done.run, done.seen.dr_instance_id, self._order.method, facts)
        done.fence_state = "unknown"
        try:
            done.fence = wanted
            done.fence = fences.put_up(primary, facts, wanted)
        except RdsError as error:
            if error.code == "FenceExists":  # another one's
                done.fence, done.fence_state = None, "none"
            raise
        done.fence_state = "up"
        done.event("fence up")
        fences.end_sessions(primary, done.fence, self._order.lag_timeout)
        done.event("sessions ended")

    def _catch_up(self, done: Failover, primary: Session, standby: Session) -> int:
        """Wait until the standby has replayed a flushed marker, and see that nothing has changed; return the xmax."""
        deadline = time.monotonic() + self._order.lag_timeout
        allowed = 0 if self._order.fence else self._order.max_lag_bytes
        while True:
            primary.run("SELECT pg_logical_emit_message(true, 'alicloud.rds', %(run)s)", {"run": done.run})
            target = int(primary.value("SELECT pg_current_wal_flush_lsn() - '0/0'"))
            missing = self._replayed(standby, target, deadline)
            written = int(primary.value("SELECT pg_current_wal_flush_lsn() - '0/0'"))
            if missing == 0 and (done.fence or written - target <= allowed):
                break
            if missing > allowed or time.monotonic() > deadline:
                text = f"{done.seen.standby.name} did not catch up: {missing or written - target} bytes are missing."
                advice = "" if done.fence else " Stop what writes to the primary, or set the fence."
                raise RdsError("StandbyLags", f"{text}{advice}")
            if missing:
                break
        behind = missing or (0 if done.fence else written - target)
        if behind:
            done.loss = f"Up to {behind} bytes of WAL, which max_lag_bytes allows."
        done.event("standby is within max_lag_bytes" if behind else "last byte replayed")
        if done.fence:
            found = fences.effect(primary, done.fence)
            if not found.holds or fences.read_record(primary) != done.fence:
                raise RdsError("FenceFailed", f"The fence does not hold: {fences.describe(found)}.")
        return int(primary.value(_XMAX))

    def _replayed(self, standby: Session, target: int, deadline: float) -> int:
        """Wait until a position is replayed, and return how many bytes are missing at the deadline."""
        while True:
            at = int(standby.value("SELECT pg_last_wal_replay_lsn() - '0/0'") or 0)
            if at >= target or time.monotonic() > deadline:
                return max(0, target - at)
            time.sleep(_PAUSE)

    def _undo(self, done: Failover, primary: Session, error: BaseException) -> None:
        """Take the fence down, unless the change may have begun; say what was read back."""
        name = done.seen.primary.name if done.seen.primary else "the old primary"
        may_have_begun = self._has_written() and getattr(error, "outcome", "unknown") not in ("not_sent", "refused")
        if done.fence is None:
            return
        if may_have_begun:
            done.said.append(
                f"The fence is still up at {name}, since the promotion may have begun. Read both sides: playbook "
                "alicloud.rds.verify. If the old primary is to accept writes again: playbook alicloud.rds.unfence."
            )
        else:
            try:
                fences.take_down_own(primary, done.run)
                done.fence_state = "down"
                done.event("fence down")
                done.said.append(f"The fence was taken down: {name} accepts connections as before.")
            except (RdsError, PostgresError) as problem:
                done.fence_state = "unknown"
                done.said.append(
                    f"Whether the fence at {name} is down is not known ({problem}): playbook alicloud.rds.verify."
                )
        if isinstance(error, RdsError):
            error.message = f"{error.message} {' '.join(done.said)}"

    # -- forced --------------------------------------------------------------------------------------------------------

    def _forced(self, done: Failover, name: str) -> None:
        self._say_loss(done)
        done.event("request sent")
        done.change = drive(self._changes.promote(name, Guards(_ANY), forced=True))
        done.event(done.change.outcome)
        if done.is_promoted:
            self._prove(done)
        old = done.seen.primary
        if old and old.facts and not old.facts["standby"]:
            done.warnings.append(
                f"{old.name} answered as a primary a moment ago: there may be two. Keep all clients away from it, and "
                "stop it."
            )

    def _say_loss(self, done: Failover) -> None:
        """Say what may be lost: what the standby has not received, whether it has replayed it or not."""
        primary, standby = (end.facts if end else None for end in (done.seen.primary, done.seen.standby))
        name = done.seen.primary.name if done.seen.primary else "the source"
        if not standby:
            text = f"{done.seen.standby.name} does not answer, so what it has received is not known."
        elif not primary or primary["standby"]:
            text = (
                f"{done.seen.standby.name} has received WAL up to {standby['received'] or standby['lsn']}; {name} does "
                "not answer as a primary, so what it committed after that is lost, and how much is not known."
            )
        else:
            got = standby["received_position"] or standby["position"] or 0
            missing = max(0, position(primary) - got)
            text = (
                f"{missing} bytes of WAL at {name} were not received by {done.seen.standby.name} when both were asked."
            )
        done.loss = text
        done.warnings.append(f"Forced: {text}")

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _prove(self, done: Failover) -> None:
        """See that the new primary is one, open what its fence has shut, and have it acknowledge a row."""
        end, deadline = done.seen.standby, time.monotonic() + self._order.proof_timeout
        if end.problem and end.problem.kind == "not_asked":
            done.warnings.append(f"Whether {end.name} accepts writes was not read: no login is given.")
            return
        while True:
            try:
                session = self._session(end)
                if not session.value("SELECT pg_is_in_recovery()"):
                    break
                problem = "it is still in recovery"
                session.close()
            except PostgresError as error:
                problem = error.text
            if time.monotonic() > deadline:
                text = f"PostgreSQL there does not report it: {problem}. Do not send clients to it yet."
                raise RdsError("PromotionUnproved", text, outcome="unknown")
            time.sleep(_PAUSE)
        done.event("out of recovery")
        self._open(done, session)
        self._acknowledge(done, session)

    def _open(self, done: Failover, session: Session) -> None:
        """Open the new primary from the record that it has got from the old one."""
        if not session.value("SELECT to_regclass('public.dr_link_fence') IS NOT NULL"):
            return
        record = fences.read_record(session)
        if record is not None and record.method == "database":
            fences.take_down(session, record)
            done.event("new primary opened")
        elif record is not None:
            session.run("DELETE FROM public.dr_link_fence")

    def _acknowledge(self, done: Failover, session: Session) -> None:
        end, row = done.seen.standby, f"promote-{uuid.uuid4().hex}"
        timeline = session.value("SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int")
        text = f"{end.name} is a primary of its own ({end.host}:{end.port}, timeline {timeline})"
        table = self._order.question.logins.canary_table
        try:
            session.run(quoted("INSERT INTO {table} (id) VALUES (%(row)s)", table=table), {"row": row})
        except PostgresError as error:
            done.warnings.append(f"No row was written at {end.name} as a proof: {error.text}")
            done.said.append(f"{text}.")
            return
        done.event("first row acknowledged")
        done.said.append(f"{text}, and has acknowledged a row.")

    def _look_back(self, done: Failover, xmax: int) -> None:
        """See whether transactions began at the old primary after the last look at it, and whether it is still shut."""
        old = done.seen.primary
        if old is None:
            return
        try:
            with Session(*fences.login_at(self._order.question.logins, old)) as session:
                later = int(session.value(_XMAX)) - xmax
                found = fences.effect(session, done.fence) if done.fence else None
        except PostgresError as error:
            done.said.append(f"{old.name} does not answer any more: {error.text}.")
            done.loss = done.loss or f"Nothing up to the last byte that was read; {old.name} does not answer since."
            return
        done.lost = later
        if found is not None:
            state = "is fenced and stays so" if found.is_set else f"is NOT fenced: {fences.describe(found)}"
            done.said.append(f"{old.name} {state}.")
        else:
            done.said.append(f"Nothing keeps {old.name} from accepting writes: stop it, or keep all clients away.")
        if later:
            text = (
                f"{later} transactions began at {old.name} after the last byte was read: their rows may be there only."
            )
            done.loss = text
            if done.fence:
                text = f"{text} Autovacuum begins some, too. {' '.join(done.said)}"
                raise RdsError("TransactionsAfterFence", text, outcome="unknown")
            done.warnings.append(text)
        elif done.loss is None:
            done.is_lossless = found is not None and found.is_set
            done.loss = _NOTHING if done.is_lossless else f"Nothing until {old.name} was read last. It is not fenced."

    def _session(self, end: End) -> Session:
        session = fences.session_at(self._order.question.logins, end, "a promotion")
        self._sessions.append(session)
        return session


_NOTHING = "Nothing: the last byte was replayed, and no transaction began at the old primary, which is fenced."
_XMAX = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
