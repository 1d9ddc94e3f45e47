# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test failover on a spare instance. The production link is read and never operated, and nothing is fenced."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import quoted_text
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import (
    Logins,
    Look,
    asked,
    end_of,
    look,
    source_end,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import Desired, ReplicationLinks
from ansible_collections.alicloud.rds.plugins.module_utils._dr.measurement import (
    FirstWrite,
    Sampler,
    Writer,
    exposure,
    survivors,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import PostgresError, Session, quoted
from ansible_collections.alicloud.rds.plugins.module_utils._dr.record import LEFT_OUT, Keep, Record
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import Guards, RoleChanges
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Caller, read_instance, read_state
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import checks

INTERVAL = 0.1  # seconds between two samples
_PROOF = 60.0  # seconds for the spare to take a row after the service calls it promoted
_KEPT = ("system_identifier", "read_only", "synchronous_standby_names", "sizes", "databases", "role_settings")


@dataclass(frozen=True)
class DrillOrder:
    """What is asked for. `production`: the DR instance that is left alone. Times in seconds."""

    desired: Desired  # the link onto the spare
    logins: Logins
    production: str | None = None
    rate: float = 10.0
    duration: float = 10.0
    queries: Sequence[Mapping[str, Any]] = ()
    rpo_target: float | None = None
    rto_target: float | None = None
    check_mode: bool = False


@dataclass
class Services:
    """What a drill calls: the service by region, what creates links and what changes roles, in check mode or not."""

    client: Caller
    at: Callable[[str | None], Caller]
    links: Callable[[bool], ReplicationLinks]
    changes: RoleChanges


class Drill:
    """One drill. `record` holds its report, which is kept at every event."""

    def __init__(self, services: Services, order: DrillOrder, keep: Keep, **known: Any) -> None:
        self.services, self.order = services, order
        run = uuid.uuid4().hex[:12]
        self._prefix = f"drill-{run}-"
        self.record = Record(
            keep,
            kind="drill",
            run=run,
            instance=order.desired.dr_instance_id,
            production=order.production,
            targets={"rpo_seconds": order.rpo_target, "rto_seconds": order.rto_target},
            samples=[],
            **known,
        )
        self.report = self.record.report
        self._event, self._end, self._elapsed = self.record.event, self.record.end, self.record.elapsed

    def run(self) -> dict[str, Any]:
        """Carry it out and return the report.

        :raises RdsError: with the report in its context
        """
        self._event("started")
        try:
            self._carry_out()
        except (RdsError, PostgresError) as error:
            if self.report["ended"] is None:
                self._end("failed", (getattr(error, "message", None) or str(error)).rstrip("."))
            if isinstance(error, RdsError):
                error.context = {"report": self.report}
                raise
            raise RdsError("DrillFailed", f"{error}.", outcome="failed", context={"report": self.report}) from None
        except BaseException:
            self._end("failed", "The run was ended from outside.")
            raise
        return self.report

    def _carry_out(self) -> None:
        before = self._source()
        self._refuse(before)
        self.report["source"] = before.place()
        self.report["checks"] = {"before": self._production(), "after": []}
        self._event("production verified" if self.order.production else "source read")
        plan = drive(self.services.links(True).ensure(self.order.desired))
        self.report["task_ids"] = {"dry run": plan.plan["task_id"] if plan.plan else None}
        self._event("link of the spare previewed")
        if self.order.check_mode:
            self._end("previewed")
            return
        desired = replace(self.order.desired, dry_run_task_id=self.report["task_ids"]["dry run"])
        made = drive(self.services.links(False).ensure(desired))
        self.report["task_ids"]["create"] = made.task.task_id if made.task else None
        self._remains(
            "is linked to the source. To end that: playbook alicloud.rds.promote with its id, then release it"
        )
        self._event("spare streams")
        try:
            self._measure(before)
        finally:
            self._clean_up(before)
        self._judge()

    # -- before --------------------------------------------------------------------------------------------------------

    def _source(self) -> End:
        """Return the source with its facts."""
        end = self.order.logins.place(source_end(self.order.desired.source, self.services.at))
        sessions: dict[str, Session] = {}
        try:
            end = asked(end, self.order.logins, sessions)
        finally:
            for session in sessions.values():
                session.close()
        if end.facts is None or end.facts["standby"]:
            why = end.problem.text if end.problem else "it is a standby itself"
            raise RdsError("DrillRefused", f"{end.name} cannot be asked as a primary: {why}. Nothing was changed.")
        return end

    def _refuse(self, source: End) -> None:
        """Refuse a spare that is not one, and a source whose copy would do harm."""
        spare, facts = self.order.desired.dr_instance_id, source.facts or {}
        state = read_state(self.services.client, spare)
        problems = []
        if spare in (self.order.production, source.key):
            problems.append(f"{spare} is not a spare: production uses it")
        if self.order.production:
            production = end_of(self.order.production, read_instance(self.services.client, self.order.production))
            own = end_of(spare, state.instance)
            if own.host and (own.host, own.port) == (production.host, production.port):
                problems.append(f"{spare} has the endpoint of {self.order.production}")
        if state.source is not None:
            problems.append(
                f"{spare} has a link already: end it (playbook alicloud.rds.promote) and use another instance"
            )
        names = ", ".join(row["name"] for row in facts["subscriptions"] or [])
        if names:
            problems.append(f"subscriptions are enabled at {source.name} ({names}): they would start on the copy")
        if problems:
            raise RdsError("DrillRefused", f"{'; '.join(problems)}. Nothing was changed.")

    def _production(self) -> list[dict[str, Any]]:
        """Return the checks of the production link, which is read and no more."""
        if self.order.production is None:
            return []
        seen = drive(look(self.services.client, self.services.at, Look(self.order.production, self.order.logins)))
        return [check._asdict() for check in checks(seen)]

    # -- the failover --------------------------------------------------------------------------------------------------

    def _measure(self, source: End) -> None:
        """Write at the source, sample, promote the spare, and time its first write."""
        logins, table, spare = self.order.logins, self.order.logins.canary_table, self._spare()
        login, own = logins.of(source), logins.of(spare)
        if login is None or own is None:
            raise RdsError("DrillRefused", "No login for the source or the spare is given.")
        writer = Writer(login, table, self._prefix, self.order.rate, self._elapsed)
        sampler = Sampler(own, writer.written, INTERVAL, self._elapsed)
        first = FirstWrite(own, table, f"promote-{self._prefix}", self._elapsed)
        try:
            writer.start()
            sampler.start()
            self._event("writer started")
            time.sleep(self.order.duration)
            sampler.stop()
            self.report["samples"], self.report["rpo"] = sampler.samples, exposure(sampler.samples, INTERVAL)
            cut = self._elapsed()
            self._event("promotion requested")
            first.start()
            change = drive(self.services.changes.promote(spare.key, Guards(2**63), forced=True))
            running = self._elapsed()
            self._remains("is a primary of its own. It costs money until it is released")
            self._event(f"spare {change.outcome}")
            first.join(_PROOF)
        finally:
            for each in (writer, sampler, first):
                if each.is_alive():
                    each.stop()
        if first.acknowledged is None or first.out_of_recovery is None:
            raise RdsError("DrillFailed", f"{spare.key} was promoted, and did not take a row.", outcome="failed")
        self._event("first row acknowledged")
        queries = self._ask(own)
        self.report["rto"] = {
            "out_of_recovery": round(first.out_of_recovery - cut, 3),
            "first_write": round(first.acknowledged - first.out_of_recovery, 3),
            "queries": queries,
            "service_running": round(running - cut, 3),
            "total": round(first.acknowledged - cut, 3),
            "leaves_out": LEFT_OUT,
        }
        self._compare(own, writer, cut)

    def _spare(self) -> End:
        name = self.order.desired.dr_instance_id
        return self.order.logins.place(end_of(name, read_instance(self.services.client, name)))

    def _ask(self, login: Any) -> float:
        """Run the user's queries on the copy, and return the seconds that they took."""
        begun = self._elapsed()
        self.report["queries"] = [_asked(login, query) for query in self.order.queries]
        if self.order.queries:
            self._event("queries asked")
        return round(self._elapsed() - begun, 3)

    def _compare(self, login: Any, writer: Writer, cut: float) -> None:
        """Compare the rows that the spare has with those that were acknowledged."""
        with Session(login) as session:
            kept = survivors(session, self.order.logins.canary_table, self._prefix)
        times = writer.written.times
        before = sum(moment <= cut for moment in times)
        self.report["writer"] = {
            "rate": self.order.rate,
            "acknowledged": before,
            "survived": len(kept),
            "lost_before_cut": max(0, before - len(kept)),
            "is_prefix": kept == list(range(1, len(kept) + 1)),
            "rows": [{"seconds": round(moment, 3), "where": "source"} for moment in times[-500:]],
        }

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _clean_up(self, before: End) -> None:
        """Delete the drill's rows at the source, and see that it is as it was."""
        said = self.report.setdefault("said", [])
        try:
            login = self.order.logins.of(before)
            if login is not None:
                with Session(login) as session:
                    names = {"table": self.order.logins.canary_table}
                    like = {"like": f"{self._prefix}%"}
                    session.run(quoted("DELETE FROM {table} WHERE id LIKE %(like)s", **names), like)
                    left = session.value(quoted("SELECT count(*) FROM {table} WHERE id LIKE %(like)s", **names), like)
                    said.append(f"{left} rows of the drill are left at {before.name}.")
            after = self._source()
        except (RdsError, PostgresError) as error:
            said.append(f"Whether {before.name} is as before is not known: {error}.")
            return
        old, new = before.facts or {}, after.facts or {}
        changed = [name for name in _KEPT if old[name] != new[name]]
        left = {slot["name"] for slot in new["slots"] or []} - {slot["name"] for slot in old["slots"] or []}
        drops = " ".join(f"SELECT pg_drop_replication_slot({quoted_text(name)});" for name in sorted(left))
        said += [f"Changed at {before.name} meanwhile: {', '.join(changed)}."] * bool(changed)
        said += [f"The spare has left slots at {before.name}. When it is no standby any more, there: {drops}"] * bool(
            left
        )
        said += [f"{before.name} is as before: same settings, no slot of the spare."] * (not changed and not left)
        self.report["checks"]["after"] = self._production()
        self._event("cleaned up")

    def _judge(self) -> None:
        """Compare with the targets, and end the report."""
        report, wrong = self.report, []
        if not report["writer"]["is_prefix"]:
            wrong.append("rows are missing in the middle: the copy is corrupt")
        for name, target in (("rpo", self.order.rpo_target), ("rto", self.order.rto_target)):
            measured = report[name]["seconds" if name == "rpo" else "total"]
            if target is not None and (measured is None or measured > target):
                wrong.append(f"{name.upper()} of {measured} s is over the target of {target:g} s")
        failed = [query["sql"] for query in report.get("queries", []) if not query["passed"]]
        wrong += [f"{len(failed)} of {len(report['queries'])} queries did not return what was expected"] * bool(failed)
        self._end("failed" if wrong else "passed", "; ".join(wrong) or None)
        if wrong:
            text = f"The drill has run to its end, and: {'; '.join(wrong)}."
            raise RdsError("DrillFailed", text, outcome="failed", context={"report": report})

    def _remains(self, state: str) -> None:
        self.report["remaining"] = f"The spare {self.order.desired.dr_instance_id} {state}."


def _asked(login: Any, query: Mapping[str, Any]) -> dict[str, Any]:
    """Run one query of the user, read-only, and compare the first column of its first row with what is expected."""
    try:
        with Session(login, query.get("database")) as session:
            session.run("SET default_transaction_read_only = on")
            got = str(session.value(query["sql"]))
    except PostgresError as error:
        got = f"error: {error.text}"
    expect = str(query["expect"])
    return {"sql": query["sql"], "expect": expect, "got": got, "passed": got == expect}
