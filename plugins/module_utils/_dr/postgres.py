# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions at the PostgreSQL servers of a link, and what these report. The only file that imports psycopg.

Verdicts rest on SQLSTATE and errno, never on words: a server answers in its own language. Every statement has a
deadline on this side, since no time-out of the server ends a wait for a synchronous standby. Times in seconds.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import printable, scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import MAINTENANCE

try:
    import psycopg
    from psycopg import pq, sql
    from psycopg.adapt import Loader
    from psycopg.conninfo import make_conninfo
    from psycopg.rows import dict_row
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

    class _Text(Loader):
        """Text as text, whatever its bytes are: the name of a role has the encoding of the session that has made it."""

        def load(self, data: Any) -> str:
            return bytes(data).decode("utf-8", "replace")


LOCK = 7231  # class of the advisory lock that a failover holds in that database, at each side
CONNECT = 5.0
STATEMENT = 30.0
_LONGEST = 300  # characters of a server's message
_KINDS = {
    "28P01": "login",
    "28000": "login",
    "3D000": "database",
    "42501": "login",  # no CONNECT privilege on the database
    "53300": "full",
    "57P03": "starting",
    "55000": "closed",  # a database that does not accept connections
}
_SQLSTATE = re.compile(rb'\tErrorResponse\t S "[^"]*"(?: V "[^"]*")? C "([0-9A-Z]{5})"')
_AUTHENTICATION = b"\tAuthentication"
_SETTINGS = (
    "SET synchronous_commit = local; SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds}; "
    "SET idle_in_transaction_session_timeout = 60000; SET search_path = public"
)


@dataclass(frozen=True)
class Login:
    """Where a server is, and how to log in. `parameters`: libpq's own names; what is left out, libpq decides."""

    host: str
    port: int
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    database: str = MAINTENANCE

    @property
    def password(self) -> str:
        return str(self.parameters.get("password") or "")

    def conninfo(self, database: str) -> dict[str, Any]:
        """Return the parameters of a connection. A password in plain text is refused where libpq can (16 or newer)."""
        given = {"require_auth": "!password"} if pq.version() >= 160000 else {}
        fixed = {"client_encoding": "UTF8", "application_name": "alicloud.rds", "tcp_user_timeout": 30000}
        timeout = {"connect_timeout": int(CONNECT)}
        return {
            **timeout,
            **given,
            **self.parameters,
            **fixed,
            "host": self.host,
            "port": self.port,
            "dbname": database,
        }

    @property
    def may_send_password_plainly(self) -> bool:
        """Whether a password would be given in plain text to a server that is not proved to be ours."""
        is_proved = self.parameters.get("sslmode") == "verify-full"
        return bool(self.password) and pq.version() < 160000 and not is_proved


class PostgresError(Exception):
    """A server that could not be asked, or that refused.

    `kind`: refused or timeout (by TCP), name, network, no_answer, not_postgresql, tls, login, auth_method, database,
    full, starting, closed, rejected, passing, options, unproved, library, or statement.
    `sqlstate`: None where the server gave none.
    """

    def __init__(self, kind: str, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.kind, self.text, self.sqlstate = kind, text, sqlstate

    @property
    def is_silent(self) -> bool:
        """Whether nothing at all answers there: the only sign that a server may be lost."""
        return self.kind in ("refused", "timeout")


class Session:
    """One session at one server, outside of transactions. Not for use by two threads at once."""

    def __init__(self, login: Login, database: str | None = None) -> None:
        """Log in.

        :raises PostgresError: with the reason
        """
        if not HAS_PSYCOPG:
            raise PostgresError("library", "the Python library psycopg is missing")
        self.login, self.database = login, database or login.database
        if login.may_send_password_plainly:
            text = f"libpq {pq.version() // 10000} would send the password in plain text to any server that asks for it"
            raise PostgresError("unproved", text)
        try:
            self._connection = psycopg.connect(**login.conninfo(self.database), autocommit=True, prepare_threshold=None)
        except (psycopg.Error, OSError, ValueError) as error:
            raise _why(login, self.database, error) from None
        self._connection.add_notice_handler(lambda _notice: None)
        for kind in ("text", "name", "varchar"):
            self._connection.adapters.register_loader(kind, _Text)
        if self._connection.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII":
            self.run("SET client_encoding = 'SQL_ASCII'")  # else the server refuses to send what is no UTF-8
        self.run(_SETTINGS.format(milliseconds=int(STATEMENT * 900)))
        # Behind a pooler the next statement may go to another server process.
        self.is_direct = self.value("SELECT pg_backend_pid()") == self._connection.pgconn.backend_pid

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def version(self) -> int:
        return int(self._connection.info.server_version)

    def run(self, statement: Any, values: Mapping[str, Any] | None = None, deadline: float = STATEMENT) -> str:
        """Run a statement and return its command tag, for example ``INSERT 0 1``.

        :raises PostgresError: kind ``statement`` with its SQLSTATE, or ``no_answer`` after the deadline: then whether
            it took place is not known
        """
        with self._deadline(deadline):
            return self._connection.execute(statement, values).statusmessage or ""

    def rows(
        self, query: Any, values: Mapping[str, Any] | None = None, deadline: float = STATEMENT
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows. Raises as `run` does."""
        with self._deadline(deadline):
            return self._connection.cursor(row_factory=dict_row).execute(query, values).fetchall()

    def value(self, query: Any, values: Mapping[str, Any] | None = None, deadline: float = STATEMENT) -> Any:
        """Return the first column of the first row, None without a row. Raises as `run` does."""
        found = self.rows(query, values, deadline)
        return next(iter(found[0].values())) if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run what is inside as one transaction. It is believed to be committed only if the server has said COMMIT.

        :raises PostgresError: kind ``unclear`` if the answer to COMMIT is missing, or is another one
        """
        self.run("BEGIN")
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        try:
            tag = self.run("COMMIT")
        except PostgresError as error:
            raise PostgresError(
                "unclear", f"whether COMMIT took place is not known: {error.text}", error.sqlstate
            ) from None
        if tag != "COMMIT":
            raise PostgresError("unclear", f"the server answered COMMIT with {tag}")

    def _rollback(self) -> None:
        try:
            self.run("ROLLBACK")
        except PostgresError:
            self.close()  # the server rolls back what is not committed

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """End a wait for the server by closing the socket: what a hung server, or a dead line, never does itself."""
        late = threading.Event()
        timer = threading.Timer(seconds, _shut, (self._connection, late))
        timer.daemon = True
        timer.start()
        try:
            yield
        except psycopg.Error as error:
            if late.is_set():
                raise PostgresError("no_answer", f"no answer within {seconds:g} s") from None
            kind = "statement" if error.sqlstate else "no_answer"
            raise PostgresError(kind, _words(error, self.login), error.sqlstate) from None
        finally:
            timer.cancel()


def facts_of(session: Session, canary: str) -> dict[str, Any]:
    """Return what a server reports about itself and the link, as `FACTS` names it, and `clock`: seconds it is ahead.

    :param canary: name of the canary table, quoted as it must be
    """
    alter_system = "has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM')"
    query = FACTS.replace("@ALTER_SYSTEM@", alter_system if session.version >= 150000 else "NULL::boolean")
    before = time.time()
    facts: dict[str, Any] = json.loads(session.value(query, {"canary": canary}))
    after = time.time()
    facts["clock"] = facts.pop("now") - (before + after) / 2
    facts["clock_error"] = (after - before) / 2
    facts["direct"] = session.is_direct
    rows = session.rows(_FENCE) if facts["fence_table"] else []
    facts["fence"] = rows[0] if rows else None
    facts["database"] = session.database
    if not facts["standby"]:
        facts["oldest_wal"] = _oldest_wal(session)
        facts["contents"] = {name: _contents(session, name) for name in facts["open_databases"]}
    return facts


def _oldest_wal(session: Session) -> str | None:
    """Return the name of the oldest WAL file, None for an account that may not see it."""
    try:
        name: str | None = session.value("SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
        return name
    except PostgresError:
        return None


def _contents(session: Session, database: str) -> dict[str, Any] | str:
    """Return what only a session in a database can see, or the reason why there is none."""
    is_here = database == session.database
    try:
        with nullcontext(session) if is_here else Session(session.login, database) as inside:
            found: dict[str, Any] = json.loads(inside.value(CONTENTS))
            return found
    except PostgresError as error:
        return error.text


def ask(login: Login, canary: str) -> tuple[Session, dict[str, Any]]:
    """Log in to the maintenance database, or if there is none yet to `postgres`, and return session and facts.

    :raises PostgresError: with the reason
    """
    try:
        session = Session(login)
    except PostgresError as error:
        if login.database != MAINTENANCE or error.kind not in ("database", "rejected"):
            raise
        try:
            session = Session(login, "postgres")
        except PostgresError:
            raise error from None
    try:
        return session, facts_of(session, canary)
    except BaseException:
        session.close()
        raise


def application_name(run: str) -> str:
    """Return the name by which the sessions of a failover are known at the servers."""
    return f"alicloud.rds {run}"[:63]


def literal(text: str) -> str:
    """Return text quoted for SQL."""
    return sql.quote(text)


def encrypted(password: str, user: str) -> str:
    """Return a password as the server keeps it, so that neither the wire nor the server's log holds it."""
    attempt = pq.PGconn.connect_start(b"host=127.0.0.1 port=1 connect_timeout=1")
    try:
        return attempt.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    finally:
        attempt.finish()


def quoted(statement: str, **names: str) -> Any:
    """Return a statement with the names in it quoted: ``ALTER DATABASE {name} ...``. `table` may have its schema."""
    parts = {key: name.split(".") if key == "table" else [name] for key, name in names.items()}
    return sql.SQL(statement).format(**{key: sql.Identifier(*names) for key, names in parts.items()})


def _shut(connection: Any, late: threading.Event) -> None:
    late.set()
    try:
        copy = socket.socket(fileno=os.dup(connection.fileno()))
    except (psycopg.Error, OSError):
        return  # it has ended in this moment
    with copy:
        copy.shutdown(socket.SHUT_RDWR)


def _words(error: BaseException, login: Login) -> str:
    """Return what the server says as one line without secrets: for people, nothing is decided by it."""
    diagnostic = getattr(error, "diag", None)
    text = (diagnostic.message_primary if diagnostic else None) or str(error)
    one_line = " ".join(scrub(printable(text), [login.password]).split())
    return one_line.rpartition(" failed: ")[2][:_LONGEST]


def _why(login: Login, database: str, error: BaseException) -> PostgresError:
    """Find out why a login failed: by TCP first, then by the protocol."""
    where = f"{login.host}:{login.port}"
    try:
        socket.create_connection((login.host, login.port), CONNECT).close()
    except (socket.gaierror, UnicodeError):  # a label that is empty or too long
        return PostgresError("name", f"the name {login.host} is not known here")
    except ConnectionRefusedError:
        return PostgresError("refused", f"{where} refuses connections")
    except TimeoutError:
        return PostgresError("timeout", f"no connection to {where} within {CONNECT:g} s")
    except (OSError, OverflowError) as problem:
        return PostgresError(
            "network", f"no connection to {where}: {getattr(problem, 'strerror', None) or type(problem).__name__}"
        )
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return PostgresError("no_answer", f"{where} takes connections, but does not answer within {CONNECT:g} s")
    return _by_protocol(login, database, error)


def _by_protocol(login: Login, database: str, error: BaseException) -> PostgresError:
    """Log in once more, and read the SQLSTATE of the refusal, which libpq (18 or newer) shows in its trace only."""
    words, parameters = _words(error, login), login.conninfo(database)
    try:
        attempt = pq.PGconn.connect_start(make_conninfo(**parameters).encode())
    except (psycopg.Error, ValueError) as problem:
        return PostgresError("options", _words(problem, login))
    try:
        if attempt.status == pq.ConnStatus.BAD:
            return PostgresError("options", words)  # nothing was sent
        trace = _traced(attempt)
        if attempt.status == pq.ConnStatus.OK:
            return PostgresError("passing", f"{words} A moment later it let us in.")
        found = _SQLSTATE.search(trace)
        if found:
            state = found[1].decode()
            return PostgresError(_KINDS.get(state, "rejected"), words, state)
        if attempt.needs_password:
            return PostgresError("login", "it asks for a password, and none is given")
        if b"SSLResponse" in trace and login.parameters.get("sslmode") not in (None, "disable", "allow", "prefer"):
            return PostgresError("tls", words)
        if _AUTHENTICATION in trace:
            return PostgresError("auth_method", words)
        if attempt.used_password or not trace:
            return PostgresError("rejected", words)
        return PostgresError("auth_method" if _authenticates(parameters) else "not_postgresql", words)
    finally:
        attempt.finish()


def _authenticates(parameters: Mapping[str, Any]) -> bool:
    """Whether a server asks for any authentication. What require_auth refuses, libpq does not trace: try without it."""
    anonymous = {**parameters, "password": "", "passfile": "/nonexistent"}
    anonymous.pop("require_auth", None)
    attempt = pq.PGconn.connect_start(make_conninfo(**anonymous).encode())
    try:
        return _AUTHENTICATION in _traced(attempt) or bool(attempt.needs_password)
    finally:
        attempt.finish()


def _traced(attempt: Any) -> bytes:
    """Bring a connection attempt to its end, and return what was said. The trace may hold a password: it stays here."""
    if not hasattr(os, "memfd_create"):
        return b""
    deadline = time.monotonic() + CONNECT
    with open(os.memfd_create("trace"), "rb") as said:
        is_traced = False
        while attempt.status != pq.ConnStatus.BAD and time.monotonic() < deadline:
            polled = attempt.connect_poll()
            if polled in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
                break
            if not is_traced:
                attempt.trace(os.dup(said.fileno()))  # libpq never closes it
                is_traced = True
            writes = [attempt.socket] if polled == pq.PollingStatus.WRITING else []
            select.select([attempt.socket], writes, [], max(0.0, deadline - time.monotonic()))
        if is_traced:
            attempt.untrace()
        said.seek(0)
        return said.read()


# What one server knows about itself and the link, as one JSON text. Columns that not every release has are read by name
# out of the row as JSON. Positions are bytes from the beginning of the WAL.
FACTS = """
SELECT json_build_object(
  'now', extract(epoch FROM clock_timestamp()),
  'version', current_setting('server_version'),
  'version_num', current_setting('server_version_num')::int,
  'encoding', current_setting('server_encoding'),
  'user', current_user,
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'monitor', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  'signal', pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),
  'alter_system', @ALTER_SYSTEM@,
  'reload', has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'),
  'allow_alter_system', coalesce(current_setting('allow_alter_system', true), 'on')::boolean,
  'standby', here.standby,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', CASE WHEN here.standby THEN (SELECT timeline_id FROM pg_control_checkpoint())
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'lsn', CASE WHEN here.standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text,
  'position', CASE WHEN here.standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn,
  'received', CASE WHEN here.standby THEN pg_last_wal_receive_lsn() END::text,
  'received_position', CASE WHEN here.standby THEN pg_last_wal_receive_lsn() - '0/0'::pg_lsn END,
  'block_size', current_setting('wal_block_size')::int,
  'segment_size', pg_size_bytes(current_setting('wal_segment_size')),
  'replayed_at', to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
  'paused', CASE WHEN here.standby THEN pg_is_wal_replay_paused() END,
  'read_only', (SELECT setting = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'),
  'read_only_source', (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'),
  'sizes', (SELECT json_object_agg(name, setting::int) FROM pg_settings WHERE name IN ('max_connections',
    'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')),
  'synchronous_standby_names', current_setting('synchronous_standby_names'),
  'synchronous_commit', (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
  'senders', (SELECT json_agg(json_build_object('pid', pid, 'user', usename, 'name', application_name, 'state', state,
    'sync', sync_state, 'address', client_addr)) FROM pg_stat_replication),
  'receiver', (SELECT json_build_object('status', status, 'host', to_jsonb(r) ->> 'sender_host',
    'port', (to_jsonb(r) ->> 'sender_port')::int, 'slot', slot_name,
    'user', substring(conninfo FROM '(?:^| )user=([^ ]+)'),
    'silent', extract(epoch FROM clock_timestamp() - last_msg_receipt_time)) FROM pg_stat_wal_receiver r),
  'slots', (SELECT json_agg(json_build_object('name', slot_name, 'type', slot_type, 'active', active,
    'pid', active_pid, 'synced', to_jsonb(s) -> 'synced', 'status', to_jsonb(s) ->> 'wal_status',
    'held', CASE WHEN here.standby OR restart_lsn IS NULL THEN NULL ELSE pg_current_wal_lsn() - restart_lsn END))
    FROM pg_replication_slots s),
  'long_transactions', (SELECT json_agg(json_build_object('pid', pid, 'user', usename, 'name', application_name,
    'seconds', extract(epoch FROM clock_timestamp() - xact_start)::int)) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND xact_start < clock_timestamp() - interval '5 minutes'),
  'prepared', (SELECT json_agg(json_build_object('gid', gid, 'database', database, 'owner', owner))
    FROM pg_prepared_xacts),
  'superuser_sessions', (SELECT json_agg(json_build_object('pid', a.pid, 'user', a.usename, 'name', a.application_name))
    FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = a.usename
    WHERE a.backend_type = 'client backend' AND r.rolsuper AND a.pid <> pg_backend_pid() AND a.datname IS NOT NULL),
  'startup_waits', (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'
    AND (wait_event LIKE 'RecoveryConflict%%' OR wait_event_type = 'Lock')),
  'blockers', (SELECT json_agg(json_build_object('pid', b.pid, 'user', b.usename, 'name', b.application_name))
    FROM pg_stat_activity s, pg_stat_activity b
    WHERE s.backend_type = 'startup' AND b.pid = ANY (pg_blocking_pids(s.pid))),
  'readers', (SELECT json_agg(json_build_object('pid', pid, 'user', usename, 'name', application_name))
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND here.standby AND xact_start IS NOT NULL
    AND pid <> pg_backend_pid()),
  'role_settings', (SELECT json_agg(json_build_object('role', r.rolname, 'database', d.datname, 'setting', c.setting))
    FROM pg_db_role_setting g CROSS JOIN unnest(g.setconfig) AS c(setting) LEFT JOIN pg_roles r ON r.oid = g.setrole
    LEFT JOIN pg_database d ON d.oid = g.setdatabase WHERE c.setting LIKE 'default_transaction_read_only=%%'),
  'subscriptions', (SELECT json_agg(json_build_object('name', subname, 'database', d.datname))
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE subenabled),
  'databases', (SELECT json_agg(json_build_object('name', datname, 'open', datallowconn, 'limit', datconnlimit,
    'owner', rolname, 'of_superuser', rolsuper, 'mine', pg_has_role(current_user, datdba, 'USAGE'),
    'template', datistemplate)) FROM pg_database JOIN pg_roles r ON r.oid = datdba),
  'open_databases', (SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE datallowconn AND NOT datistemplate
    AND has_database_privilege(datname, 'CONNECT')),
  'canary', (SELECT json_build_object('persistence', relpersistence, 'row_security', relrowsecurity,
    'insert', has_table_privilege(oid, 'INSERT'), 'select', has_table_privilege(oid, 'SELECT'))
    FROM pg_class WHERE oid = to_regclass(%(canary)s)),
  'xmax', CASE WHEN NOT here.standby THEN pg_snapshot_xmax(pg_current_snapshot())::text END,
  'fence_table', to_regclass('public.dr_link_fence') IS NOT NULL
)::text
FROM (SELECT pg_is_in_recovery() AS standby) AS here
"""

_FENCE = """
SELECT run, dr_instance_id, method, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
FROM public.dr_link_fence
"""
# What is seen from inside a database only.
CONTENTS = """
SELECT json_build_object(
  'unlogged', count(*) FILTER (WHERE c.relpersistence = 'u'),
  'tables', count(*) FILTER (WHERE NOT c.relname LIKE 'dr\\_link\\_%')
)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""
