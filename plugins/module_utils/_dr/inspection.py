# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a link: the service and both PostgreSQL servers are asked, and a row is followed across. In steps."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import quoted_table
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import (
    LOCK,
    Login,
    PostgresError,
    Session,
    application_name,
    ask,
    quoted,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import (
    MAINTENANCE,
    Canary,
    End,
    Problem,
    Seen,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    Caller,
    DrInstanceState,
    Source,
    as_integer,
    as_text,
    lag_of,
    read_instance,
    read_state,
)

SOURCE = "source"  # the key of a source that is no RDS instance
_UNKNOWN = Source(None)
_PAUSE = 0.1  # seconds between two reads of the canary row


@dataclass(frozen=True)
class Logins:
    """How to log in at the servers of a link. Where a server is, the service reports, unless `sides` says otherwise."""

    parameters: Mapping[str, Any] | None = field(default=None, repr=False)  # libpq's names; None: nobody is asked
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # by key, the same and host, port
    database: str = MAINTENANCE
    canary_table: str = "dr_link_canary"

    def of(self, end: End) -> Login | None:
        """Return the login at one end, None if nobody is to be asked, or it is not known where."""
        own = dict(self.sides.get(end.key, {}))
        database = own.pop("database", None) or self.database
        for name in ("host", "port"):
            own.pop(name, None)
        if not end.host or (self.parameters is None and not own):
            return None
        return Login(end.host, end.port or 5432, {**(self.parameters or {}), **own}, database)

    def place(self, end: End) -> End:
        """Return an end where the caller says that it is."""
        own = {name: value for name, value in self.sides.get(end.key, {}).items() if name in ("host", "port")}
        return replace(end, **own, is_elsewhere=True) if own else end


@dataclass(frozen=True)
class Look:
    """What to look at. `source`: what the caller knows about the source of a link that may have gone."""

    dr_instance_id: str
    logins: Logins
    source: Source = _UNKNOWN
    follow_row: bool = False
    patience: float = 10.0  # seconds until the row must be seen at the standby
    run: str = ""  # of the failover that this look is a part of


def look(client: Caller, at: Callable[[str | None], Caller], question: Look) -> Steps[Seen]:
    """Ask all, and return what was seen. A server that does not answer is part of what is seen, and no error.

    :param at: returns the client of a region
    :raises RdsError: if the instance that is named cannot be read
    """
    yield 0.0
    state = read_state(client, question.dr_instance_id)
    seen = sides_of(state, at, question)
    sessions: dict[str, Session] = {}
    try:
        # The standby first: what the primary writes in between makes the lag appear larger, never smaller.
        standby = asked(seen.standby, question.logins, sessions)
        primary = asked(seen.primary, question.logins, sessions) if seen.primary else None
        seen = replace(seen, standby=standby, primary=primary)
        if question.follow_row and seen.link_state != "none" and seen.primary and _can_follow(seen):
            row = f"verify-{uuid.uuid4().hex}"
            canary = yield from _followed(row, sessions[seen.primary.key], sessions[seen.standby.key], question)
            seen = replace(seen, canary=canary)
    finally:
        for session in sessions.values():
            session.close()
    return seen


def sides_of(state: DrInstanceState, at: Callable[[str | None], Caller], question: Look) -> Seen:
    """Return both ends of a link as the service reports them. Without a link, the source of the one that has ended."""
    source, logins = state.source, question.logins
    if source is None and state.ended is not None and not state.dr_instances:
        known = question.source if question.source.address or question.source.instance_name else state.ended.source
        source = known
    return Seen(
        dr_instance_id=state.instance_id,
        link_state=state.link_state,
        standby=logins.place(end_of(state.instance_id, state.instance)),
        primary=logins.place(source_end(source, at)) if source else None,
        account=state.source.account if state.source else None,
        primary_of=state.primary_of,
        canary_table=logins.canary_table,
        reported_lag_bytes=lag_of(state.task).bytes,
    )


def source_end(source: Source, at: Callable[[str | None], Caller]) -> End:
    """Return the end that is the source. Its region may be down: that is for the checks to say."""
    if not source.instance_name:
        return End(SOURCE, f"the source {source.address}:{source.port}", source.address, source.port)
    try:
        return end_of(source.instance_name, read_instance(at(source.region_id), source.instance_name))
    except RdsError as error:
        unread = f"{source.instance_name} could not be read: {error.message}"
        return End(
            source.instance_name, source.instance_name, source.address, source.port, source.region_id, unread=unread
        )


def end_of(name: str, instance: Mapping[str, Any]) -> End:
    """Return an instance, as the service has described it, as one end of a link."""
    text = {key: as_text(instance.get(key)) for key in ("ConnectionString", "RegionId", "DBInstanceStatus", "LockMode")}
    port = as_integer(instance.get("Port"))
    return End(name, name, text["ConnectionString"], port, text["RegionId"], text["DBInstanceStatus"], text["LockMode"])


def asked(end: End, logins: Logins, sessions: dict[str, Session]) -> End:
    """Return an end with the facts of its PostgreSQL, or with the reason why there are none.

    :param sessions: gets the session, by the key of the end
    """
    login = logins.of(end)
    if login is None:
        return replace(
            end, problem=Problem("not_asked", "no login is given" if end.host else "its address is not known")
        )
    try:
        sessions[end.key], facts = ask(login, quoted_table(logins.canary_table))
    except PostgresError as error:
        return replace(end, problem=_problem(error))
    return replace(end, facts=facts)


def _can_follow(seen: Seen) -> bool:
    """Whether a row could get from the primary to the standby at all."""
    if seen.primary is None or seen.primary.facts is None or seen.standby.facts is None:
        return False
    primary, standby = seen.primary.facts, seen.standby.facts
    receiver = standby["receiver"] or {}
    return (
        not primary["standby"]
        and standby["standby"]
        and not standby["paused"]
        and receiver.get("status") == "streaming"
        and bool(primary["canary"])
    )


def _followed(row: str, primary: Session, standby: Session, question: Look) -> Steps[Canary | None]:
    """Write a row at the primary and wait until it is read at the standby. Rows of earlier days are deleted."""
    names = {"table": question.logins.canary_table}
    canary = Canary(patience=question.patience)
    try:
        if primary.value(_FAILOVER, {"own": application_name(question.run)}):
            return None  # its last byte is being looked for, and a row of ours would be one more
        primary.run(quoted(_WRITE, **names), {"row": row})
    except PostgresError as error:
        return replace(canary, write_problem=_problem(error))
    canary, started = replace(canary, written=True), time.monotonic()
    problem = None
    while problem is None:
        try:
            if standby.value(quoted(_READ, **names), {"row": row}):
                canary = replace(canary, seconds=round(time.monotonic() - started, 3))
                break
        except PostgresError as error:
            problem = _problem(error)
        if time.monotonic() - started >= question.patience:
            break
        yield _PAUSE
    with suppress(PostgresError):  # the account may be allowed to add rows only
        primary.run(quoted(_PRUNE, **names))
    return replace(canary, read_problem=problem)


def _problem(error: PostgresError) -> Problem:
    return Problem(error.kind, error.text, error.sqlstate)


_FAILOVER = (
    "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' "
    f"AND l.granted AND l.classid = {LOCK} AND a.datname = current_database() AND a.application_name <> %(own)s"
)
_WRITE = "INSERT INTO {table} (id) VALUES (%(row)s)"
_READ = "SELECT count(*) FROM {table} WHERE id = %(row)s"
_PRUNE = "DELETE FROM {table} WHERE id LIKE 'verify-%%' AND written_at < clock_timestamp() - interval '1 day'"
