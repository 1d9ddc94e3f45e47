# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares a source PostgreSQL for a link: accounts, maintenance database, and their rights. Reads before it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import quoted_name, quoted_table
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import (
    Login,
    PostgresError,
    Session,
    encrypted,
    literal,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import MAINTENANCE

_NOT_THERE = ("42704", "42P01")  # undefined_object, undefined_table: in check mode what nobody has created
_PASSWORD = "<password>"  # no SQL, so that nobody sets it by mistake


@dataclass(frozen=True)
class Preparation:
    """What a source is prepared for. `operator`: who verifies and fences; None if that is whoever prepares."""

    replicator: str
    replicator_password: str = field(repr=False)
    operator: str | None = None
    operator_password: str | None = field(default=None, repr=False)
    canary_table: str = "dr_link_canary"
    database: str = MAINTENANCE
    fence: bool = False


@dataclass(frozen=True)
class Step:
    """One thing that a source must have. `state`: present, created, missing (check mode) or refused."""

    what: str
    state: str
    database: str  # where the statement is run
    statement: str  # for whoever may run it; without passwords
    message: str = ""


@dataclass(frozen=True)
class _Wanted:
    what: str
    missing: str  # a query whose value is true if this is missing
    statement: str
    secret: str = ""  # what the statement ends with, and nobody is shown
    database: str = "postgres"
    is_needed: Callable[[Session], bool] | None = None

    def step(self, state: str, message: str = "") -> Step:
        shown = self.statement + (_PASSWORD if self.secret else "")
        return Step(self.what, state, self.database, shown, message)


def prepare(login: Login, wanted: Preparation, check_mode: bool) -> Iterator[Step]:
    """Give a source what it lacks, and yield a step for each thing. What the server refuses is left to others.

    :raises PostgresError: if the server cannot be asked, or no longer answers
    """
    sessions = {"postgres": Session(login, "postgres")}
    try:
        for item in _wanted(sessions["postgres"], wanted):
            if item.database not in sessions:
                try:
                    sessions[item.database] = Session(login, item.database)
                except PostgresError as error:
                    if error.kind not in ("database", "rejected"):
                        raise
                    yield item.step("missing" if check_mode else "refused", error.text)
                    continue
            yield from _done(sessions[item.database], item, check_mode)
    finally:
        for session in sessions.values():
            session.close()


def _done(session: Session, item: _Wanted, check_mode: bool) -> Iterator[Step]:
    try:
        if item.is_needed and not item.is_needed(session):
            return
        is_missing = session.value(item.missing)
        if is_missing and not check_mode:
            session.run(item.statement + item.secret)
        yield item.step("present" if not is_missing else "missing" if check_mode else "created")
    except PostgresError as error:
        if error.kind != "statement":
            raise
        yield item.step("missing" if check_mode and error.sqlstate in _NOT_THERE else "refused", error.text)


def _wanted(session: Session, wanted: Preparation) -> Iterator[_Wanted]:
    login = session.login
    yield from _account(login, wanted.replicator, wanted.replicator_password, "LOGIN REPLICATION CREATEROLE")
    if wanted.operator:
        yield from _account(login, wanted.operator, wanted.operator_password or "", "LOGIN")
    database = wanted.database
    missing = f"SELECT count(*) = 0 FROM pg_database WHERE datname = {literal(database)}"
    yield _Wanted(f"database {database}", missing, f"CREATE DATABASE {quoted_name(database)}")
    for table, columns in ((wanted.canary_table, CANARY), ("dr_link_fence", FENCE)):
        missing = f"SELECT to_regclass({literal(quoted_table(table))}) IS NULL"
        statement = f"CREATE TABLE {quoted_table(table)} ({columns})"
        yield _Wanted(f"table {table}", missing, statement, database=database)
        if wanted.operator:
            rights = "SELECT, INSERT, UPDATE, DELETE" if table == "dr_link_fence" else "SELECT, INSERT, DELETE"
            has = " AND ".join(
                f"has_table_privilege({literal(wanted.operator)}, {literal(quoted_table(table))}, {literal(right)})"
                for right in rights.split(", ")
            )
            grant = f"GRANT {rights} ON {quoted_table(table)} TO {quoted_name(wanted.operator)}"
            yield _Wanted(f"rights on table {table}", f"SELECT NOT ({has})", grant, database=database)
    if wanted.fence:
        yield from _fence_rights(session, wanted)


def _account(login: Login, name: str, password: str, attributes: str) -> Iterator[_Wanted]:
    """Yield what an account needs. Its password is set if the account is new, or the server refuses it."""
    role, text = quoted_name(name), literal(name)
    exists = f"SELECT count(*) = 1 FROM pg_roles WHERE rolname = {text}"
    secret = literal(encrypted(password, name))
    yield _Wanted(f"account {name}", f"SELECT NOT ({exists})", f"CREATE ROLE {role} {attributes} PASSWORD ", secret)
    columns = {"LOGIN": "rolcanlogin", "REPLICATION": "rolreplication", "CREATEROLE": "rolcreaterole"}
    has = " AND ".join(columns[word] for word in attributes.split())
    lacks = f"SELECT NOT ({exists} AND {has})"
    statement = f"ALTER ROLE {role} {attributes}"
    yield _Wanted(f"attributes of account {name}", lacks, statement, is_needed=lambda session: session.value(exists))
    if password:
        other = replace(login, parameters={**login.parameters, "user": name, "password": password})
        yield _Wanted(
            f"password of account {name}",
            "SELECT true",
            f"ALTER ROLE {role} PASSWORD ",
            secret,
            is_needed=lambda session: session.value(exists) and _is_wrong(other),
        )
    lacks = f"SELECT NOT pg_has_role({text}, 'pg_monitor', 'MEMBER')"
    yield _Wanted(f"membership of {name} in pg_monitor", lacks, f"GRANT pg_monitor TO {role}")


def _is_wrong(login: Login) -> bool:
    """Whether the server refuses just this password: 28P01 and nothing else."""
    try:
        Session(login, "postgres").close()
    except PostgresError as error:
        return error.sqlstate == "28P01"
    return False


def _fence_rights(session: Session, wanted: Preparation) -> Iterator[_Wanted]:
    """Yield what the operator needs to shut the user databases, and to end sessions in them.

    Nobody is made a member of a superuser: verify names the databases that belong to one.
    """
    who = wanted.operator or str(session.login.parameters.get("user", ""))
    lacks = f"SELECT NOT pg_has_role({literal(who)}, 'pg_signal_backend', 'MEMBER')"
    yield _Wanted(f"membership of {who} in pg_signal_backend", lacks, f"GRANT pg_signal_backend TO {quoted_name(who)}")
    owners: list[dict[str, Any]] = []
    with suppress(PostgresError):
        owners = session.rows(
            "SELECT DISTINCT rolname AS name FROM pg_database JOIN pg_roles r ON r.oid = datdba "
            f"WHERE NOT datistemplate AND NOT rolsuper AND datname NOT IN ('postgres', {literal(wanted.database)})"
        )
    for owner in owners:
        name = owner["name"]
        lacks = f"SELECT NOT pg_has_role({literal(who)}, {literal(name)}, 'USAGE')"
        yield _Wanted(f"membership of {who} in {name}", lacks, f"GRANT {quoted_name(name)} TO {quoted_name(who)}")


CANARY = "id text PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT clock_timestamp()"
FENCE = (
    "id integer PRIMARY KEY CHECK (id = 1), run text NOT NULL, since timestamptz NOT NULL DEFAULT clock_timestamp(), "
    "dr_instance_id text NOT NULL, method text NOT NULL, originals jsonb NOT NULL, system_identifier text NOT NULL, "
    "timeline integer NOT NULL"
)
