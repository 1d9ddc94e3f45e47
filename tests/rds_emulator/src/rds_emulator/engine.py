# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the RDS side of the emulator asks of a database engine.

Two engines keep this promise: ``postgres`` (real clusters, real streaming replication) and ``memory`` (the same
answers without PostgreSQL, for large fleets and fast tests). The RDS side (service, tasks) never knows which it has.

Names: a *cluster* is one PostgreSQL, be it an RDS instance or a self-managed source. A *link* is the replication
source -> target. LSNs are PostgreSQL's text form (``0/3000148``). Every method blocks, may be called from any thread,
and raises EngineError with text that a person can read and that holds no password.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# Ways to break a link: new replication connections are refused, the source has removed WAL that the standby needs, the
# DR instance cannot write WAL, the source has stopped, replay is paused (it still streams). See README.md.
BREAKS = ("refused", "wal_removed", "disk_full", "source_gone", "replay_paused")


class EngineError(Exception):
    """An engine could not do what was asked; the text is shown to people."""


def off_loopback(address: str) -> str:
    """Return why a source's address is not dialled, or nothing. No name is looked up: that would ask a server."""
    try:
        if address == "localhost" or ipaddress.ip_address(address).is_loopback:
            return ""
    except ValueError:
        pass
    return f"{address} is unapproachable: the emulator connects to 127.0.0.0/8, ::1 and localhost only"


@dataclass(frozen=True)
class Account:
    """A database role: `attributes` are CREATE ROLE words (LOGIN, REPLICATION, CREATEROLE, SUPERUSER)."""

    name: str
    password: str = field(repr=False)
    attributes: Sequence[str] = ("LOGIN",)
    member_of: Sequence[str] = ()


@dataclass(frozen=True)
class ClusterSpec:
    """One cluster as the seed file (or POST /_emulator/instances, /_emulator/sources) describes it."""

    name: str
    major: int | None = None  # None: the newest PostgreSQL found
    port: int = 0  # 0: any free port
    settings: Mapping[str, str] = field(default_factory=dict)  # postgresql.conf, on top of the engine's defaults
    accounts: Sequence[Account] = ()
    hba: Sequence[str] | None = None  # pg_hba.conf lines instead of the default ones
    sql: Sequence[str] = ()  # statements run once in database postgres, as superuser, after the start
    behaviour: str = "postgres"  # or a port that is no PostgreSQL: refused, silent, ssh, http, blackhole
    memory: Mapping[str, Any] = field(default_factory=dict)  # heeded by the memory engine only; see engines/memory.py


@dataclass(frozen=True)
class SourceLogin:
    """How a target reaches its source: exactly what CreateReplicationLink was given."""

    address: str
    port: int
    account: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Check:
    """One line of a precheck report: `result` is success, warning or error; `note` is empty for success.

    Sections and names are those of the API reference's example of Detail, e.g. section "Check source connectivity",
    name "Check port connectable". A failed login's note holds account:password, as the service's does; whoever shows a
    note elsewhere masks it.
    """

    section: str
    name: str
    result: str
    note: str = ""


@dataclass(frozen=True)
class LinkState:
    """What the engine sees of a target's replication right now.

    `state`: streaming | disconnect | none (not a standby). `lag_bytes` and LSNs are None where they cannot be read.
    `info` has the keys of the documented ReplicationInfo, all texts, "null" for what is unknown; empty if all is.
    """

    state: str
    received_lsn: str | None = None
    replayed_lsn: str | None = None
    lag_bytes: int | None = None
    info: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """A set of clusters on loopback. `host` is what an instance reports as its ConnectionString."""

    host: str

    def create(self, spec: ClusterSpec) -> int:
        """Create and start a cluster (or, for another `behaviour`, a socket that plays it); return its port."""

    def port(self, name: str) -> int:
        """Return the port that cluster `name` listens on; it stays the same for the cluster's life."""

    def major(self, name: str) -> int:
        """Return the major version of cluster `name`."""

    def destroy(self, name: str) -> None:
        """Stop cluster `name` and remove its data; unknown names are ignored."""

    def sql(self, name: str, statement: str, database: str = "postgres") -> list[dict[str, Any]]:
        """Run one statement as superuser and return its rows (empty list if it returns none)."""

    def psql(self, name: str) -> str:
        """Return the command that opens psql as superuser in cluster `name`; empty if there is nothing to open."""

    def precheck(self, target: str, source: SourceLogin, storage_bytes: int, source_is_rds: bool) -> list[Check]:
        """Connect to the source as given, look at both sides, and report every documented check.

        Checks that cannot be made because an earlier one failed (no connection) are left out, as the service does.
        Never raises for a bad source: a bad source is an error Check.
        """

    def base_backup(self, target: str, source: SourceLogin, progress: Callable[[int, int], None]) -> None:
        """Replace the target's data with a base backup of the source; `progress(done_bytes, total_bytes)`.

        A target that is a standby keeps its data when the source cannot be copied now.
        """

    def start_standby(self, target: str) -> None:
        """Start the target as a standby of the source it was copied from; returns when it accepts connections."""

    def wait_streaming(self, target: str, timeout: float) -> None:
        """Return when the target's WAL receiver is streaming; EngineError after `timeout` seconds."""

    def link_state(self, target: str) -> LinkState:
        """Say what replication of `target` does right now, by asking PostgreSQL."""

    def break_link(self, target: str, how: str, lag_bytes: int | None = None, lag_seconds: int | None = None) -> None:
        """Break the streaming link of `target` in one of the BREAKS; returns when link_state() shows it.

        The lag is what an engine without PostgreSQL shows for ``replay_paused``; real ones refuse it.
        """

    def repair_link(self, target: str) -> None:
        """Undo what was broken and can be undone, also after `target` was promoted; the link comes back by itself."""

    def cancel(self, target: str) -> None:
        """Give up a half-made link: the target becomes an empty, running primary again."""

    def promote(self, target: str) -> None:
        """End recovery of the target and return when it accepts writes (pg_is_in_recovery() is false)."""

    def close(self) -> None:
        """Stop every cluster and remove all data. May be called twice."""
