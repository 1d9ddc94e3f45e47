# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""One PostgreSQL cluster: its files, its server process, its superuser."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pg8000.native

from ...engine import Account, ClusterSpec, EngineError, SourceLogin
from .guard import delete
from .identity import give_identity
from .install import Install
from .sockets import HOST, Reservation
from .supervisor import Process, Supervisor, tail

SUPERUSER = "postgres"
START_SECONDS = 60.0  # a start takes 20 ms; the limit is for machines that stall
SQL_SECONDS = 60.0
POLL_SECONDS = 0.005
ASK_SECONDS = 0.05  # between questions in SQL: each is a connection, which takes PostgreSQL 10 ms of work
ROLE_WORD = re.compile(r"(NO)?(LOGIN|REPLICATION|CREATEROLE|CREATEDB|SUPERUSER|INHERIT|BYPASSRLS)", re.IGNORECASE)

# Small and quick where nobody can tell (no fsync, few helpers), faithful where replication can.
DEFAULTS = {
    "max_connections": "200",  # a target needs as many as its source, whose default is 100
    "shared_buffers": "8MB",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, so that it goes with it
    "autovacuum": "off",
    "max_logical_replication_workers": "0",
    "fsync": "off",
    "full_page_writes": "on",
    "wal_log_hints": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "wal_keep_size": "256MB",
    "max_wal_size": "256MB",
    "min_wal_size": "16MB",
    "hot_standby": "on",
    "wal_retrieve_retry_interval": "200ms",  # a link comes back this fast
    "wal_receiver_status_interval": "1s",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
DEFAULT_HBA = (
    f"host all all {HOST}/32 scram-sha-256",
    f"host replication all {HOST}/32 scram-sha-256",
)
# A standby refuses to run with less than its primary has; the data directory says what that was.
CARRIED = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}


class Cluster:
    """A cluster in its own directory. Hold `lock` to change it; asking it (`sql`) needs no lock."""

    def __init__(self, supervisor: Supervisor, install: Install, spec: ClusterSpec, home: Path, template: Path) -> None:
        self.spec = spec
        self.install = install
        self.lock = threading.RLock()
        self.link: SourceLogin | None = None  # what it is to follow, until it is promoted
        self.copied = False  # its data are a whole copy of that
        self.refused: set[str] = set()  # accounts that may not replicate from here
        self.broken: tuple[Cluster, str] | None = None  # source and account of its link that was broken last
        self.home = home
        self.data = home / "data"
        self.log = home / "server.log"
        self._template = template
        self._supervisor = supervisor
        self._reservation = Reservation(spec.port)
        self.port = self._reservation.port
        self._server: Process | None = None
        self._tool: Process | None = None
        self._interrupted = False
        supervisor.make_directory(home)

    @property
    def running(self) -> bool:
        """True while the server process lives."""
        return self._server is not None and self._server.running

    def build(self) -> None:
        """Make it an empty, running primary with the accounts and statements of its spec, whatever it was before."""
        self.stop(signal.SIGQUIT)
        self.link, self.copied = None, False
        self.empty()
        self.tool(shutil.which("cp") or "/bin/cp", "-R", "-p", str(self._template), str(self.data))
        give_identity(self.data)
        self.tool("pg_resetwal", "-f", "-D", str(self.data))
        self.start()
        accounts = (statement for account in self.spec.accounts for statement in _account_sql(account))
        if statements := [*accounts, *self.spec.sql]:
            self.sql(*statements)

    def empty(self) -> None:
        """Delete the data of the stopped cluster."""
        delete(self.data)

    def start(self) -> None:
        """Start the server, as a standby if it has a link; returns when it accepts connections."""
        if self.running:
            raise EngineError(f"{self.spec.name} is running already")
        self.configure()
        if self.link is not None:
            self._supervisor.write(self.data / "standby.signal", "")
        self.log.unlink(missing_ok=True)
        argv = [self.install.tool("postgres"), "-D", str(self.data), "-c", f"config_file={self.home}/postgresql.conf"]
        self._server = self._supervisor.spawn(argv, log=self.log, server=True)
        late = f"{self.spec.name} did not start within {START_SECONDS:g} s"
        for _unused in self.until(START_SECONDS, late, every=POLL_SECONDS):
            if not self._server.running:
                raise EngineError(f"{self.spec.name} did not start: {tail(self.log)}")
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
                # A killed server leaves its file, and a standby is "ready" (to be asked) before it is promoted.
                if len(lines) > 7 and lines[0] == str(self._server.pid) and lines[7].strip() == "ready":
                    return

    def stop(self, how: signal.Signals = signal.SIGINT, timeout: float = 10) -> bool:
        """Stop the server: SIGINT cleanly (standbys get everything first), SIGQUIT at once.

        False when it still runs after `timeout` seconds.
        """
        if self._server is None:
            return True
        self._server.signal(how)
        if how is signal.SIGQUIT:
            self._server.signal(signal.SIGCONT)
            if self._server.wait(timeout) is None:
                self._server.signal(signal.SIGKILL)
        return self._server.wait(timeout) is not None

    def close_wal(self, closed: bool) -> None:
        """Let no file be made where WAL is kept, which comes near to a full disk, or undo it."""
        with contextlib.suppress(FileNotFoundError):
            (self.data / "pg_wal").chmod(0o500 if closed else 0o700)

    def interrupt(self) -> None:
        """Make whatever is under way give up soon, until ``resume()``: its tool is killed, its waiting ends."""
        self._interrupted = True
        tool = self._tool
        if tool is not None:
            tool.signal(signal.SIGKILL)

    def resume(self) -> None:
        """Allow work again after ``interrupt()``; for who holds the lock."""
        self._interrupted = False

    def close(self) -> None:
        """Stop it at once, delete its files and give its port back."""
        self.stop(signal.SIGQUIT)
        delete(self.home)
        self._reservation.close()

    def until(self, timeout: float, failure: str, every: float = ASK_SECONDS) -> Iterator[None]:
        """Yield again and again; EngineError with `failure` after `timeout` seconds, or when interrupted."""
        deadline = time.monotonic() + timeout
        while True:
            if self._interrupted:
                raise EngineError(f"{self.spec.name}: given up on request")
            yield
            if time.monotonic() > deadline:
                raise EngineError(failure)
            time.sleep(every)

    def sql(self, *statements: str, database: str = SUPERUSER, timeout: float = SQL_SECONDS) -> list[dict[str, Any]]:
        """Run statements as superuser through the private socket, and return the rows of the last one.

        EngineError with SQLSTATE and reason. `timeout` is how many seconds the server may be silent.
        """
        socket = f"{self._supervisor.root}/sockets/.s.PGSQL.{self.port}"
        # The server's log must not keep a statement that failed: it may hold a password.
        quiet = {"log_min_error_statement": "panic"}
        try:
            with pg8000.native.Connection(
                SUPERUSER, unix_sock=socket, database=database, ssl_context=False, timeout=timeout, startup_params=quiet
            ) as connection:
                rows = None
                for statement in statements:
                    rows = connection.run(statement)
                names = [column["name"] for column in connection.columns or ()]
                return [dict(zip(names, row, strict=True)) for row in rows or ()]
        except pg8000.native.DatabaseError as err:
            raise EngineError(f"{self.spec.name}: {reason(err)}") from None
        except (pg8000.native.InterfaceError, OSError) as err:
            raise EngineError(f"{self.spec.name} does not answer") from err

    def value(self, expression: str, timeout: float = SQL_SECONDS) -> Any:
        """Return the value of one SQL expression."""
        return self.sql(f"SELECT {expression} AS value", timeout=timeout)[0]["value"]

    def reload(self) -> None:
        """Write the configuration anew and return when new connections follow it."""
        before = self.value("pg_conf_load_time()")
        self.configure()
        self.value("pg_reload_conf()")
        for _unused in self.until(START_SECONDS, f"{self.spec.name} does not reload its configuration"):
            if self.value("pg_conf_load_time()") > before:  # a session's is that of its postmaster
                return

    def tool(self, name: str, *arguments: str, progress: Callable[[str], None] | None = None) -> str:
        """Run one of PostgreSQL's tools to its end and return its output, shown to `progress` as it grows."""
        log = self.home / "tool.log"
        log.unlink(missing_ok=True)
        program = name if name.startswith("/") else self.install.tool(name)
        tool = self._tool = self._supervisor.spawn([program, *arguments], log=log)
        code = None
        try:
            while code is None:
                if self._interrupted:
                    tool.signal(signal.SIGKILL)
                code = tool.wait(0.05)
                if progress is not None:
                    progress(log.read_text(encoding="utf-8", errors="replace"))
        finally:  # `progress` may raise
            self._tool = None
            if code is None:
                tool.signal(signal.SIGKILL)
                tool.wait(10)
        if self._interrupted:
            raise EngineError(f"{self.spec.name}: given up on request")
        if code != 0:
            raise EngineError(f"{self.spec.name}: {name} failed: {tail(log)}")
        return log.read_text(encoding="utf-8", errors="replace")

    def control_data(self) -> dict[str, str]:
        """Return what pg_controldata says, e.g. ``Latest checkpoint location``."""
        lines = self.tool("pg_controldata", "-D", str(self.data)).splitlines()
        return {key.strip(): value.strip() for key, _unused, value in (line.partition(":") for line in lines)}

    def configure(self) -> None:
        """Write postgresql.conf and pg_hba.conf, outside the data, where no base backup can bring another's.

        A standby gets the address of its source, and at least the limits that its source had when it was copied.
        """
        settings = {**DEFAULTS, **({"io_method": "sync"} if self.install.major >= 18 else {}), **self.spec.settings}
        if settings["wal_level"] == "minimal" and "max_wal_senders" not in self.spec.settings:
            settings["max_wal_senders"] = "0"  # PostgreSQL refuses anything else
        (self.home / "passfile").unlink(missing_ok=True)
        if self.link is not None:
            settings["primary_conninfo"] = self.conninfo(self.link)
            known = self.control_data()
            for name, line in CARRIED.items():
                settings[name] = str(max(int(known[line]), int(settings.get(name, "0"))))
        settings |= {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": f"{self._supervisor.root}/sockets",
            "unix_socket_permissions": "0700",
            "hba_file": f"{self.home}/pg_hba.conf",
            "cluster_name": re.sub(r"[^\w.-]", "_", self.spec.name, flags=re.ASCII)[:63],
        }
        lines = [f"{name} = {_conf_value(value)}\n" for name, value in settings.items()]
        self._supervisor.write(self.home / "postgresql.conf", "".join(lines))
        hba = DEFAULT_HBA if self.spec.hba is None else self.spec.hba
        refused = (f"host replication {quote_name(account)} all reject" for account in sorted(self.refused))
        first = (f"local all {SUPERUSER} trust", *refused)
        lines = [f"{line}\n" for line in (*first, *hba)]
        self._supervisor.write(self.home / "pg_hba.conf", "".join(lines))

    def conninfo(self, login: SourceLogin) -> str:
        """Return libpq's connection string for a source; the password goes to a file of ours beside the data."""
        passfile = self.home / "passfile"
        self._supervisor.write(passfile, "*:*:*:*:" + re.sub(r"([\\:])", r"\\\1", login.password) + "\n")
        parts = {
            "host": login.address,
            "port": str(login.port),
            "user": login.account,
            "passfile": str(passfile),
            "application_name": self.spec.name,
            "connect_timeout": "5",
        }
        return " ".join(f"{key}={_conninfo_value(value)}" for key, value in parts.items())


def make_template(supervisor: Supervisor, install: Install) -> Path:
    """Return the data directory that clusters of one major version are copied from, made on first use."""
    template = supervisor.root / f"template{install.major}"
    if not template.exists():
        new = supervisor.make_directory(supervisor.root / f"template{install.major}.new")
        # No locale: the C library's version cannot matter. 1 MB segments: a cluster takes half the space.
        how = ("-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions", "--wal-segsize=1")
        argv = [install.tool("initdb"), "-D", str(new), "-U", SUPERUSER, *how]
        supervisor.run(argv, log=supervisor.root / f"initdb{install.major}.log")
        new.rename(template)
    return template


def reason(err: pg8000.native.DatabaseError) -> str:
    """Return ``SQLSTATE: message`` of what the server said."""
    said = err.args[0] if err.args and isinstance(err.args[0], dict) else {}
    return f"{said.get('C', '?????')}: {said.get('M', err)}"


def _account_sql(account: Account) -> Iterator[str]:
    for word in account.attributes:
        if not ROLE_WORD.fullmatch(word):
            raise EngineError(f"account {account.name}: {word!r} is no role attribute")
    name = quote_name(account.name)
    verb = "ALTER" if account.name == SUPERUSER else "CREATE"
    yield f"{verb} ROLE {name} {' '.join(account.attributes)} PASSWORD {quote(account.password)}"
    for group in account.member_of:
        yield f"GRANT {quote_name(group)} TO {name}"


def quote(text: str) -> str:
    """Return an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _conf_value(value: str) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def _conninfo_value(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
