# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence at an old primary: put up with its record, proved by its effect, taken down to what was there before.

Method `database` shuts every user database (ALLOW_CONNECTIONS false), in one transaction with the record; it travels to
the standby, where it is opened after the promotion. Method `system` is ALTER SYSTEM, which has holes (`HOLES`). Method
`hook` is the user's own; here it is recorded and proved. The record's primary key excludes a second run.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import (
    WRITABLE,
    databases_to_shut,
    fence_methods,
    people,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Logins
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import (
    LOCK,
    Login,
    PostgresError,
    Session,
    application_name,
    literal,
    quoted,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Seen

HOLES = (
    "method system stops transactions that begin without saying READ WRITE: a client may still say "
    "SET default_transaction_read_only = off, or BEGIN READ WRITE"
)
_UNIQUE = "23505"
_HOOK_READS = 8  # empty reads in a row that prove somebody else's fence: a pool logs in again within a second or two
_APART = 0.25  # seconds between two reads that must both be empty
_SETTING = "default_transaction_read_only"


@dataclass(frozen=True)
class Fence:
    """A fence as its record has it. `originals`: what each database, or the setting, was before."""

    run: str
    dr_instance_id: str
    method: str
    originals: Mapping[str, Any]
    system_identifier: str
    timeline: int
    since: str = ""

    @classmethod
    def wanted(cls, run: str, dr_instance_id: str, method: str, facts: Mapping[str, Any]) -> Fence:
        """Return a fence that is not up yet, at the primary that reports these facts."""
        return cls(run, dr_instance_id, method, {}, facts["system_identifier"], facts["timeline"])

    def __str__(self) -> str:
        return f"a fence for {self.dr_instance_id} (method {self.method}, run {self.run}, since {self.since})"


@dataclass(frozen=True)
class Effect:
    """What a server reports about a fence. Empty lists and tuples: it holds."""

    is_set: bool  # databases are shut, or the server is read-only
    sessions: Sequence[Mapping[str, Any]] = ()
    prepared: Sequence[str] = ()
    open_databases: Sequence[str] = field(default=())

    @property
    def holds(self) -> bool:
        return self.is_set and not self.sessions and not self.prepared


def login_at(logins: Logins, end: End) -> tuple[Login, str]:
    """Return the login at one end, and the database that was asked there.

    :raises PostgresError: if no login is given
    """
    login = logins.of(end)
    if login is None:
        raise PostgresError("not_asked", f"no login for {end.name} is given")
    return login, (end.facts or {}).get("database") or login.database


def session_at(logins: Logins, end: End, what: str) -> Session:
    """Return a direct session at one end.

    :param what: what needs it, for the message
    :raises RdsError: PoolerAnswers
    """
    session = Session(*login_at(logins, end))
    if session.is_direct:
        return session
    session.close()
    where = f"{session.login.host}:{session.login.port}"
    raise RdsError("PoolerAnswers", f"A pooler answers at {where}: {what} needs a direct session.")


def lock(session: Session, run: str) -> None:
    """Take the advisory lock of all runs for as long as this session lasts.

    :raises RdsError: AnotherRun, with who holds it
    """
    if session.value(f"SELECT pg_try_advisory_lock({LOCK}, 1)"):
        session.run(f"SET application_name = {literal(application_name(run))}")
        return
    holders = people(session.rows(_HOLDERS))
    text = f"Another run is at work at {session.login.host}:{session.login.port}: {holders or 'it has just ended'}."
    raise RdsError("AnotherRun", text)


def read_record(session: Session) -> Fence | None:
    """Return the fence that the maintenance database records, None if there is none."""
    rows = session.rows(RECORD)
    return Fence(**rows[0]) if rows else None


def put_up(session: Session, facts: Mapping[str, Any], wanted: Fence) -> Fence:
    """Record a fence and set it, and return it as it is recorded. Sessions are left to `end_sessions`.

    :raises RdsError: FenceExists if one is recorded already
    :raises PostgresError: with kind `unclear` if it may be up
    """
    names = databases_to_shut(facts) if wanted.method != "system" else []
    originals: dict[str, Any] = dict.fromkeys(names, True)
    if wanted.method == "system":
        session.run(f"RESET {_SETTING}")
        rows = session.rows(f"SELECT setting, sourcefile FROM pg_settings WHERE name = '{_SETTING}'")
        own = str(rows[0]["sourcefile"] or "").endswith("postgresql.auto.conf")
        originals = {_SETTING: rows[0]["setting"] if own else None}
    session.run(WRITABLE)
    values = {**asdict(wanted), "originals": json.dumps(originals)}
    try:
        with session.transaction():
            session.run(_INSERT, values)
            for name in names if wanted.method == "database" else ():
                session.run(quoted("ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name))
    except PostgresError as error:
        if error.sqlstate != _UNIQUE:
            raise
        text = f"There is already {read_record(session)}. To take it down: playbook alicloud.rds.unfence."
        raise RdsError("FenceExists", text) from None
    if wanted.method == "system":
        _alter_system(session, "on")
        session.run("UPDATE public.dr_link_fence SET since = clock_timestamp()")  # older sessions may still write
    fence = read_record(session)
    if fence is None:
        raise PostgresError("unclear", "the record of the fence is gone")
    return fence


def effect(session: Session, fence: Fence) -> Effect:
    """Read what a fence does now: its settings, and the sessions and prepared transactions that it leaves."""
    shut = list(fence.originals) if fence.method != "system" else None
    before = fence.since if fence.method == "system" else None
    sessions = session.rows(_SESSIONS, {"names": shut, "before": before})
    prepared = [row["gid"] for row in session.rows(_PREPARED, {"names": shut})]
    if fence.method == "database":
        names = [row["datname"] for row in session.rows(_OPEN, {"names": shut})]
        return Effect(not names, sessions, prepared, names)
    if fence.method == "system":
        return Effect(_reads_only(session), sessions, prepared)
    return Effect(True, sessions, prepared)


def end_sessions(session: Session, fence: Fence, timeout: float) -> Effect:
    """End the sessions that a fence shuts out, one a statement, until two reads in a row are empty.

    :raises RdsError: FenceFailed if a session cannot be ended, or a transaction is prepared
    """
    deadline, empty = time.monotonic() + timeout, 0
    while True:
        found = effect(session, fence)
        if not found.is_set or found.prepared:
            break
        if not found.sessions:
            empty += 1
            if empty == (_HOOK_READS if fence.method == "hook" else 2):
                return found
        else:
            empty = 0
            for each in found.sessions:
                _terminate(session, each)
            if time.monotonic() > deadline:
                break
        time.sleep(_APART)
    raise RdsError("FenceFailed", f"The fence does not hold: {describe(found)}.")


def describe(found: Effect) -> str:
    """Return what is wrong with a fence, as a part of a sentence."""
    parts = [f"sessions remain: {people(found.sessions)}"] if found.sessions else []
    parts += [f"prepared transactions: {', '.join(found.prepared)}"] if found.prepared else []
    parts += [f"databases accept connections: {', '.join(found.open_databases)}"] if found.open_databases else []
    return "; ".join(parts) or ("it holds" if found.is_set else "the server is not read-only")


def take_down(session: Session, fence: Fence) -> None:
    """Restore what was there before a fence, delete its record, and read both back.

    :raises RdsError: FenceFailed if something is not as it was
    :raises PostgresError: with kind `unclear` if it may still be up
    """
    session.run(WRITABLE)
    if fence.method == "system" and _SETTING in fence.originals:
        _alter_system(session, fence.originals[_SETTING])
    with session.transaction():
        for name in fence.originals if fence.method == "database" else ():
            session.run(quoted("ALTER DATABASE {name} ALLOW_CONNECTIONS true", name=name))
        session.run("DELETE FROM dr_link_fence WHERE run = %(run)s", {"run": fence.run})
    shut = session.rows(_SHUT, {"names": list(fence.originals)}) if fence.method == "database" else []
    if shut or read_record(session) is not None:
        raise RdsError("FenceFailed", f"The fence was not taken down: {', '.join(row['datname'] for row in shut)}.")


def take_down_own(session: Session, run: str) -> None:
    """Take down the fence of one run, if it is on record, in a session of its own: this one may have been closed."""
    with Session(session.login, session.database) as fresh:
        record = read_record(fresh)
        if record is not None and record.run == run:
            take_down(fresh, record)


def _terminate(session: Session, each: Mapping[str, Any]) -> None:
    try:
        session.value("SELECT pg_terminate_backend(%(pid)s)", {"pid": each["pid"]})
    except PostgresError as error:
        text = f"The fence does not hold: {people([each])} cannot be ended: {error.text}"
        raise RdsError("FenceFailed", f"{text.rstrip('.')}.") from None


def _alter_system(session: Session, value: str | None) -> None:
    """Set the server's own default, or reset it, and wait until new sessions have it."""
    statement = f"ALTER SYSTEM SET {_SETTING} = {literal(value)}" if value else f"ALTER SYSTEM RESET {_SETTING}"
    session.run(statement)
    session.value("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while value and _reads_only(session) != (value == "on"):
        if time.monotonic() > deadline:
            raise RdsError("FenceFailed", f"{_SETTING} is not {value} after a reload.")
        time.sleep(_APART)


def _reads_only(session: Session) -> bool:
    """Whether a new session is read-only: the value that a session began with does not change in it."""
    with Session(session.login, session.database) as fresh:
        return bool(fresh.value(f"SELECT current_setting('{_SETTING}') = 'on'"))


@dataclass
class FenceResult:
    """What a fence is now, as it was read back. `outcome`: unchanged, fenced, unfenced, previewed."""

    changed: bool
    outcome: str
    state: str
    before: str
    fence: Fence | None
    said: list[str]


class Fencer:
    """Puts up or takes down the fence of one link, apart from a promotion."""

    def __init__(self, seen: Seen, logins: Logins, check_mode: bool, timeout: float) -> None:
        self._seen, self._logins, self._check_mode, self._timeout = seen, logins, check_mode, timeout

    def up(self, method: str) -> FenceResult:
        """Put up a fence at the primary.

        :raises RdsError: FenceFailed with what prevents it, FenceExists, or AnotherRun
        """
        end = self._seen.primary
        if end is None or end.facts is None or end.facts["standby"]:
            raise RdsError("FenceFailed", f"{end.name if end else 'The source'} does not answer as a primary.")
        if obstacles := fence_methods(end.facts)[method]:
            raise RdsError("FenceFailed", f"A fence of method {method} does not work: {'; '.join(obstacles)}.")
        run = uuid.uuid4().hex[:12]
        wanted = Fence.wanted(run, self._seen.dr_instance_id, method, end.facts)
        if self._check_mode:
            names = ", ".join(databases_to_shut(end.facts))
            text = f"{end.name} would be fenced" + (
                f": {names} would accept no connections." if method == "database" else "."
            )
            return FenceResult(True, "previewed", "up", "none", wanted, [text])
        with session_at(self._logins, end, "a fence") as session:
            lock(session, run)
            try:
                fence = put_up(session, end.facts, wanted)
                end_sessions(session, fence, self._timeout)
            except BaseException as error:
                if getattr(error, "code", "") != "FenceExists":  # another one's
                    take_down_own(session, run)
                raise
        return FenceResult(True, "fenced", "up", "none", fence, [f"{end.name} is fenced: no session is left."])

    def down(self) -> FenceResult:
        """Take down the fence that a record has: at a promoted instance, else at the source.

        :raises RdsError: StandbyPromoted for an old primary whose standby was promoted
        """
        for end in (self._seen.standby, self._seen.primary):
            if end is not None and end.facts and end.facts["fence"] and not end.facts["standby"]:
                if end is self._seen.primary:
                    self._refuse_old(end)
                return self._down(end)
        return FenceResult(
            False, "unchanged", "none", "none", None, ["No fence is recorded at a primary that answers."]
        )

    def _down(self, end: End) -> FenceResult:
        with session_at(self._logins, end, "a fence") as session:
            fence = read_record(session)
            if self._check_mode or fence is None:
                return FenceResult(
                    True, "previewed", "none", "up", fence, [f"The fence at {end.name} would be taken down."]
                )
            lock(session, fence.run)
            take_down(session, fence)
        return FenceResult(
            True, "unfenced", "none", "up", fence, [f"{end.name} accepts connections as before its fence."]
        )

    def _refuse_old(self, old: End) -> None:
        """Refuse to open an old primary while the instance that was its standby is a primary, or may be one."""
        new = self._seen.standby
        facts, own = new.facts, old.facts or {}
        same = facts is not None and facts["system_identifier"] == own["system_identifier"]
        if facts is not None and not facts["standby"] and same:
            why = f"{new.name} was promoted (timeline {facts['timeline']}, {old.name} is on {own['timeline']})"
        elif self._seen.link_state == "none":
            why = f"{new.name} has no link any more, and PostgreSQL there does not report that it is a standby"
        else:
            return
        text = f"{old.name} stays fenced: {why}. Opened, there would be two primaries."
        raise RdsError("StandbyPromoted", text)


RECORD = """
SELECT run, dr_instance_id, method, originals, system_identifier, timeline,
  to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS "UTC"') AS since
FROM public.dr_link_fence
"""
_INSERT = """
INSERT INTO public.dr_link_fence (id, run, dr_instance_id, method, originals, system_identifier, timeline)
VALUES (1, %(run)s, %(dr_instance_id)s, %(method)s, %(originals)s, %(system_identifier)s, %(timeline)s)
"""
_HOLDERS = f"""
SELECT a.pid, a.usename AS "user", a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = {LOCK} AND l.granted AND a.pid <> pg_backend_pid()
"""
_SESSIONS = """
SELECT pid, usename AS "user", application_name AS name FROM pg_stat_activity
WHERE datname IS NOT NULL AND pid <> pg_backend_pid() AND application_name NOT LIKE 'alicloud.rds%%'
  AND backend_type <> 'walsender' AND backend_type <> 'autovacuum worker'
  AND (%(names)s::text[] IS NULL OR datname = ANY (%(names)s))
  AND (%(before)s::timestamptz IS NULL OR backend_start < %(before)s::timestamptz)
"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE %(names)s::text[] IS NULL OR database = ANY (%(names)s)"
_OPEN = "SELECT datname FROM pg_database WHERE datallowconn AND datname = ANY (%(names)s)"
_SHUT = "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname = ANY (%(names)s)"
