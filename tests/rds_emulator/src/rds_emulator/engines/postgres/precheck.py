# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dry run: connect to the source as given, look at both sides, report every documented check.

Sections, names and levels are those of the service's feasibility report; ``Check replication`` is ours, because the
service would fail there too, only later. A check that needs what an earlier one found missing is left out, so that one
cause is reported once.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pg8000.native
from scramp import ScramException

from ...engine import Check, EngineError, SourceLogin, off_loopback
from .cluster import Cluster, quote, reason

CONNECT_SECONDS = 2.0  # for connection and login, each as a whole: a drip of bytes does not prolong it
STATEMENT_SECONDS = 2.0
DISK_SHARE = 0.8
SMALL_WAL_KEEP_MB = 128
RESERVED_ROLES = ("alicloud_rds_admin", "aurora", "replicator")
SSL_REQUEST = struct.pack("!II", 8, 80877103)

Row = dict[str, Any]


class Failed(Exception):
    """A check failed; the text is its note."""


class Session:
    """A connection to the source as the account of the link."""

    def __init__(self, login: SourceLogin, database: str = "postgres", replication: str | None = None) -> None:
        stream = socket.create_connection((login.address, login.port), CONNECT_SECONDS)
        with contextlib.ExitStack() as undo:
            undo.callback(stream.close)
            with _deadline(stream):
                stream = _negotiate(stream)
                self._connection = pg8000.native.Connection(
                    login.account,
                    password=login.password,
                    database=database,
                    replication=replication,
                    sock=stream,
                    ssl_context=False,
                    application_name="precheck",
                    startup_params={"statement_timeout": str(int(STATEMENT_SECONDS * 1000))},
                )
            undo.pop_all()
        # For statements the server's own limit comes first; this one is for a server that has stopped answering.
        stream.settimeout(2 * STATEMENT_SECONDS)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(pg8000.native.InterfaceError, OSError):
            self._connection.close()

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of a statement; Failed when it fails or takes too long."""
        try:
            rows = self._connection.run(statement)
        except pg8000.native.DatabaseError as err:
            raise Failed(f"sql command execution failed or timed out ({reason(err)})") from None
        except (pg8000.native.InterfaceError, OSError):
            raise Failed("sql command execution failed or timed out (no answer)") from None
        names = [column["name"] for column in self._connection.columns or ()]
        return [dict(zip(names, row, strict=True)) for row in rows or ()]

    def setting(self, name: str) -> int:
        """Return a numeric setting, in its own unit."""
        return int(self.rows(f"SELECT setting FROM pg_settings WHERE name = {quote(name)}")[0]["setting"])


class Precheck:
    """One dry run; `checks` is its report."""

    def __init__(self, target: Cluster, login: SourceLogin, storage_bytes: int, source_is_rds: bool) -> None:
        self.target = target
        self.login = login
        self.storage_bytes = storage_bytes
        self.source_is_rds = source_is_rds
        self.checks: list[Check] = []
        self._stack = contextlib.ExitStack()

    def run(self) -> list[Check]:
        """Make every check that can be made and return the report."""
        with self._stack:
            self._check("Check rds empty", "Check rds databases", self._target_is_empty)
            connectivity = "Check source connectivity"
            for name, check in (
                ("Check ip connectable", self._resolve),
                ("Check port connectable", self._reach),
                ("Check database connectable", self._log_in),
            ):
                if not self._check(connectivity, name, check):
                    return self.checks
            may_replicate = self._check(connectivity, "Check account replication privilege", self._may_replicate)
            self._check(connectivity, "Check account createrole privilege", self._may_create_roles)
            self._check(connectivity, "Check account monitor privilege", self._may_monitor)
            self._check("Check source version", "Check major version consistent", self._major)
            self._check("Check source glibc version", "Check source glibc version compatible", self._glibc)
            self._check("Check disk size", "Check disk size enough", self._disk)
            self._check("Check wal keep size", "Check wal keep size large enough", self._wal_keep)
            self._check("Check spec params", "Check if spec params too large", self._spec_params)
            if not self.source_is_rds:
                self._check("Check rds user", "Check rds user", self._reserved_roles)
            self._check("Check extensions", "Check extensions compatible", self._extensions)
            self._check("Check logical replication slots", "Check logical replication slots", self._logical_slots)
            self._check("Check triggers", "Check triggers compatible", self._triggers)
            self._check("Check user functions", "Check user functions compatible", self._functions)
            if may_replicate:
                self._check("Check replication", "Check replication", self._replication)
        return self.checks

    def _check(self, section: str, name: str, check: Callable[[], str | None]) -> bool:
        """Report a check: Failed is an error, a returned text a warning. True unless it is an error."""
        try:
            warning = check()
        except Failed as err:
            self.checks.append(Check(section, name, "error", str(err)))
            return False
        self.checks.append(Check(section, name, "warning" if warning else "success", warning or ""))
        return True

    def _target_is_empty(self) -> None:
        databases = self._ours(
            "SELECT datname AS name FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        )
        tables = self._ours(
            "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f', 'm')"
            " AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND relname <> 'ha_health_check' LIMIT 1"
        )
        if self._ours("SELECT pg_is_in_recovery() AS standby")[0]["standby"]:
            raise Failed("the instance is a standby already")
        if databases:
            raise Failed(f"database {databases[0]['name']} exists")
        if tables:
            raise Failed("postgres not empty, check if any table exists")

    # -- connectivity

    def _resolve(self) -> None:
        if refused := off_loopback(self.login.address):
            raise Failed(refused)

    def _reach(self) -> None:
        try:
            socket.create_connection((self.login.address, self.login.port), CONNECT_SECONDS).close()
        except (OSError, OverflowError):
            raise Failed(f"{self.login.port} is unapproachable") from None

    def _log_in(self) -> None:
        where = f"{self.login.address}:{self.login.port}"
        try:
            self.source = self._stack.enter_context(Session(self.login))
        except pg8000.native.DatabaseError as err:
            # The service shows the password here, so this does: whoever shows a report has to take it out.
            account = f"{self.login.account}:{self.login.password}"
            raise Failed(f"cannot connect to source database by {account} ({reason(err)})") from None
        except (pg8000.native.InterfaceError, OSError):
            raise Failed(f"{where} did not answer (limit {CONNECT_SECONDS:g} s)") from None
        except (KeyError, ValueError, struct.error, ScramException):  # what the driver makes of nonsense
            raise Failed(f"{where} is not a PostgreSQL server") from None

    def _may_replicate(self) -> None:
        if not self._role()["rolreplication"]:
            raise Failed(f"{self.login.account} has no REPLICATION privilege")

    def _may_create_roles(self) -> None:
        if not self._role()["rolcreaterole"]:
            raise Failed(f"{self.login.account} has no CREATEROLE privilege")

    def _may_monitor(self) -> None:
        if not self._role()["monitor"]:
            raise Failed(f"{self.login.account} is not a member of pg_monitor")

    def _role(self) -> Row:
        return self.source.rows(
            "SELECT rolsuper OR rolreplication AS rolreplication, rolsuper OR rolcreaterole AS rolcreaterole,"
            " pg_has_role(oid, 'pg_monitor', 'MEMBER') AS monitor FROM pg_roles WHERE rolname = current_user"
        )[0]

    # -- what the source is

    def _major(self) -> None:
        major, ours = self.source.setting("server_version_num") // 10000, self.target.install.major
        if major != ours:
            raise Failed(f"source major version is {major}, rds major version is {ours}")

    def _glibc(self) -> str | None:
        # The C library's version is that of its collations, on which every index of text depends.
        query = "SELECT DISTINCT pg_collation_actual_version(oid) AS version FROM pg_collation WHERE collprovider = 'c'"
        versions = {row["version"] for row in self.source.rows(query)} - {None}
        ours = {row["version"] for row in self._ours(query)} - {None}
        return "source glibc version is not compatible with rds pg" if versions and ours and versions != ours else None

    def _disk(self) -> None:
        size = int(self.source.rows("SELECT sum(pg_database_size(oid))::bigint AS size FROM pg_database")[0]["size"])
        if size > self.storage_bytes * DISK_SHARE:
            raise Failed(
                f"source data of {size >> 20} MB exceed 80% of the rds storage of {self.storage_bytes >> 20} MB"
            )

    def _wal_keep(self) -> str | None:
        megabytes = self.source.setting("wal_keep_size")
        if megabytes == 0:
            raise Failed("wal_keep_size is 0")
        return f"wal_keep_size of {megabytes} MB is small" if megabytes < SMALL_WAL_KEEP_MB else None

    def _spec_params(self) -> None:
        low = []
        for name in ("max_connections", "max_prepared_transactions"):
            wanted = self.source.setting(name)
            have = int(self._ours(f"SELECT setting FROM pg_settings WHERE name = {quote(name)}")[0]["setting"])
            if have < wanted:
                low.append(f"{name} is {wanted} at the source, {have} at rds")
        if low:
            raise Failed("; ".join(low))

    def _reserved_roles(self) -> None:
        names = ", ".join(map(quote, RESERVED_ROLES))
        found = self.source.rows(f"SELECT rolname FROM pg_roles WHERE rolname IN ({names}) ORDER BY 1")
        if found:
            raise Failed(f"the source has {', '.join(row['rolname'] for row in found)}, a name that rds uses")

    def _extensions(self) -> str | None:
        ours = {
            row["name"]: row["v"]
            for row in self._ours("SELECT name, default_version AS v FROM pg_available_extensions")
        }
        errors, warnings = [], []
        for row in self._everywhere("SELECT extname AS name, extversion AS version FROM pg_extension"):
            name, have = f"{row['name']} {row['version']}", ours.get(row["name"])
            if have is None:
                errors.append(f"{name} is not supported by rds")
            elif _version(row["version"]) > _version(have):
                errors.append(f"{name} is newer than {have} of rds")
            elif _version(row["version"]) < _version(have):
                warnings.append(f"{name} is older than {have} of rds")
        if errors:
            raise Failed("; ".join(errors))
        return "; ".join(warnings)

    def _logical_slots(self) -> str | None:
        slots = self.source.rows("SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1")
        return f"logical slots are not copied: {', '.join(row['slot_name'] for row in slots)}" if slots else None

    # The levels of the next two are not documented; an error is for what a managed instance cannot run.

    def _triggers(self) -> None:
        found = self._everywhere("SELECT evtname AS name FROM pg_event_trigger WHERE evtenabled <> 'D'")
        if found:
            raise Failed(f"event triggers: {', '.join(row['name'] for row in found)}")

    def _functions(self) -> None:
        found = self._everywhere(
            "SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_language l ON l.oid = prolang"
            " WHERE lanname = 'c' AND p.oid >= 16384"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        )
        if found:
            raise Failed(f"functions in C: {', '.join(row['name'] for row in found)}")

    def _replication(self) -> None:
        query = "extract(epoch FROM pg_postmaster_start_time())::text AS started"
        source = self.source.rows(
            f"SELECT pg_is_in_recovery() AS standby, current_setting('wal_level') AS wal_level, {query}"
        )[0]
        if source["standby"]:
            raise Failed("the source is a standby")
        if source["wal_level"] == "minimal":
            raise Failed("wal_level of the source is minimal")
        try:
            with Session(self.login, replication="true") as session:
                identifier = str(session.rows("IDENTIFY_SYSTEM")[0]["systemid"])
        except pg8000.native.DatabaseError as err:
            raise Failed(f"no replication connection ({reason(err)})") from None
        except (pg8000.native.InterfaceError, OSError):
            raise Failed("no replication connection (no answer)") from None
        # A copy keeps its source's identifier for ever; with the same start as well it is the same server.
        own = self._ours(f"SELECT system_identifier::text AS id, {query} FROM pg_control_system()")[0]
        if (identifier, source["started"]) == (own["id"], own["started"]):
            raise Failed("the source is the instance itself")

    def _everywhere(self, statement: str) -> list[Row]:
        """Run a statement in every database of the source."""
        found: list[Row] = []
        for row in self.source.rows(
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
        ):
            try:
                with Session(self.login, row["datname"]) as session:
                    found += session.rows(statement)
            except pg8000.native.DatabaseError as err:
                raise Failed(f"cannot connect to database {row['datname']} ({reason(err)})") from None
            except (pg8000.native.InterfaceError, OSError):
                raise Failed(f"cannot connect to database {row['datname']} (no answer)") from None
        return found

    def _ours(self, statement: str) -> list[Row]:
        """Run a statement at the target."""
        try:
            return self.target.sql(statement, timeout=2 * STATEMENT_SECONDS)
        except EngineError as err:
            raise Failed(f"the instance does not answer ({err})") from None


def _negotiate(stream: socket.socket) -> socket.socket:
    """Ask for TLS as libpq does, take what is offered, and find out whether this is PostgreSQL at all."""
    stream.sendall(SSL_REQUEST)
    answer = stream.recv(64)
    if answer == b"S":  # exactly: an SSH banner begins with the same letter
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(stream)
    if not answer:
        raise ConnectionError
    if answer != b"N":
        raise ValueError
    return stream


@contextlib.contextmanager
def _deadline(stream: socket.socket) -> Iterator[None]:
    """Cut the connection after CONNECT_SECONDS, however its bytes drip."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(CONNECT_SECONDS, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _version(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


def precheck(target: Cluster, login: SourceLogin, storage_bytes: int, source_is_rds: bool) -> list[Check]:
    """Return the report of a dry run; a bad source is an error in it, never an exception."""
    return Precheck(target, login, storage_bytes, source_is_rds).run()
