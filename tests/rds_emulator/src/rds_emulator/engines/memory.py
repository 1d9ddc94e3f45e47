# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""An engine without PostgreSQL: the same answers from a table, for fast tests and fleets of thousands.

Nothing listens on its ports; a source is "reached" by looking up its port. A cluster's `memory` properties say what
PostgreSQL would otherwise know (see PROPERTIES). It has no SQL.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ..engine import Account, Check, ClusterSpec, EngineError, LinkState, SourceLogin, off_loopback

PROPERTIES: dict[str, Any] = {
    "stage_seconds": 0.0,  # how long precheck, base backup, start and catch-up each take
    "size_gb": 0.1,  # what the cluster's data need
    "databases": [],  # names; a target that has any is not empty
    "extensions": [],  # names that the service does not support
    "glibc_differs": False,
    "logical_slots": 0,
    "triggers": False,  # True: some that the service refuses
    "user_functions": False,
}
_NEWEST = 18
_SETTINGS = {"wal_level": "replica", "wal_keep_size": "1024", "max_wal_senders": "10", "max_connections": "100"}
_LOCAL = ("127.0.0.1", "localhost")
_WRITTEN = 0x3000148  # bytes of WAL that every cluster has written
_RESERVED = {"alicloud_rds_admin", "aurora", "replicator"}


@dataclass
class _Cluster:
    spec: ClusterSpec
    port: int
    settings: dict[str, str]
    databases: list[str]
    accounts: Sequence[Account]
    source: SourceLogin | None = None  # what it was copied from
    standby: bool = False
    broken: bool = False
    broken_link: tuple[_Cluster, str] | None = None  # source and account of the link that was broken last
    wound: str = ""  # what is wrong here: wal_removed, disk_full, replay_paused
    lag: tuple[int, int] = (0, 0)  # bytes and seconds, while replay is paused
    # what is wrong with it as a source:
    gone: bool = False
    refused: set[str] = field(default_factory=set)  # accounts

    def property(self, name: str) -> Any:
        return self.spec.memory.get(name, PROPERTIES[name])


class MemoryEngine:
    """Keeps the Engine contract; see engine.py for what each method promises."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._clusters: dict[str, _Cluster] = {}
        self._by_port: dict[int, _Cluster] = {}
        self._ports = itertools.count(20001)
        self._closed = threading.Event()

    def create(self, spec: ClusterSpec) -> int:
        with self._lock:
            if spec.name in self._clusters:
                raise EngineError(f"cluster {spec.name} exists already")
            if spec.port in self._by_port:
                raise EngineError(f"port {spec.port} is used by another cluster")
            port = spec.port or next(port for port in self._ports if port not in self._by_port)
            settings = {**_SETTINGS, **spec.settings}
            databases = [*spec.memory.get("databases", ())]
            cluster = _Cluster(spec, port, settings, databases, spec.accounts)
            self._clusters[spec.name] = self._by_port[port] = cluster
            return port

    def port(self, name: str) -> int:
        return self._get(name).port

    def major(self, name: str) -> int:
        return self._get(name).spec.major or _NEWEST

    def destroy(self, name: str) -> None:
        with self._lock:
            if cluster := self._clusters.pop(name, None):
                del self._by_port[cluster.port]

    def sql(self, name: str, statement: str, database: str = "postgres") -> list[dict[str, Any]]:
        raise EngineError("the memory engine has no SQL; start the emulator with --engine postgres")

    def psql(self, name: str) -> str:
        return ""

    def precheck(self, target: str, source: SourceLogin, storage_bytes: int, source_is_rds: bool) -> list[Check]:
        here = self._get(target)
        self._pause(here)
        report = _Report()
        if here.standby or here.databases:
            names = ", ".join(here.databases) or "postgres"
            report.error("rds empty", "Check rds databases", f"database {names} exists")
        else:
            report.ok("rds empty", "Check rds databases")
        there = self._connect(source, report)
        if there is not None:
            self._compare(here, there, source.account, source_is_rds, storage_bytes, report)
        return report.checks

    def _connect(self, source: SourceLogin, report: _Report) -> _Cluster | None:
        """Report the connectivity checks; return the source if all later checks can be made."""
        section = "source connectivity"
        there = self._find(source)
        if refused := off_loopback(source.address):
            report.error(section, "Check ip connectable", refused)
            return None
        report.ok(section, "Check ip connectable")
        if there is None or there.gone or there.spec.behaviour in ("refused", "blackhole"):
            report.error(section, "Check port connectable", f"{source.port} is unapproachable")
            return None
        report.ok(section, "Check port connectable")
        where = f"{source.address}:{source.port}"
        if there.spec.behaviour != "postgres":
            note = "is not a PostgreSQL server" if there.spec.behaviour == "ssh" else "did not answer within 2 s"
            report.error(section, "Check database connectable", f"{where} {note}")
            return None
        account = _login(there, source)
        if account is None:
            cause = f'28P01: password authentication failed for user "{source.account}"'
            note = f"cannot connect to source database by {source.account}:{source.password} ({cause})"
            report.error(section, "Check database connectable", note)
            return None
        report.ok(section, "Check database connectable")
        root = "SUPERUSER" in account.attributes
        for word, granted in (
            ("replication", "REPLICATION" in account.attributes),
            ("createrole", "CREATEROLE" in account.attributes),
            ("monitor", "pg_monitor" in account.member_of),
        ):
            note = "" if root or granted else f"{source.account} has no {word} privilege"
            report.add(section, f"Check account {word} privilege", "error" if note else "success", note)
        return there

    def _compare(
        self, here: _Cluster, there: _Cluster, account: str, is_rds: bool, storage_bytes: int, report: _Report
    ) -> None:
        theirs, ours = (cluster.spec.major or _NEWEST for cluster in (there, here))
        different = f"source major version is {theirs}, rds major version is {ours}" if theirs != ours else ""
        report.judge("source version", "Check major version consistent", different)
        glibc = "source glibc version is not compatible with rds pg" if there.property("glibc_differs") else ""
        report.judge("source glibc version", "Check source glibc version compatible", glibc, "warning")
        size, room = there.property("size_gb"), storage_bytes / 2**30 * 0.8
        large = f"source needs {size} GB, rds has room for {room:g} GB" if size > room else ""
        report.judge("disk size", "Check disk size enough", large)
        keep = "" if _number(there.settings["wal_keep_size"]) else "wal_keep_size is 0"
        report.judge("wal keep size", "Check wal keep size large enough", keep)
        limit = here.spec.settings.get("max_connections", "200")  # an instance has room for a source's default of 100
        wanted = there.settings["max_connections"]
        over = f"max_connections {wanted} > {limit}" if _number(wanted) > _number(limit) else ""
        report.judge("spec params", "Check if spec params too large", over)
        if not is_rds:
            taken = ", ".join(sorted(_RESERVED & {account.name for account in there.accounts}))
            report.judge("rds user", "Check rds user", taken and f"reserved roles exist: {taken}")
        unknown = ", ".join(there.property("extensions"))
        report.judge("extensions", "Check extensions compatible", unknown and f"not supported: {unknown}")
        slots = there.property("logical_slots")
        note = f"{slots} logical replication slots are not copied" if slots else ""
        report.judge("logical replication slots", "Check logical replication slots", note, "warning")
        for name in ("triggers", "user functions"):
            bad = f"incompatible {name} exist" if there.property(name.replace(" ", "_")) else ""
            report.judge(name, f"Check {name} compatible", bad)
        trouble = ""
        if there is here:
            trouble = "the source is the instance itself"
        elif there.standby:
            trouble = "the source is a standby"
        elif account in there.refused:
            trouble = f"no replication connection (28000: pg_hba.conf rejects {account})"
        elif there.settings["wal_level"] == "minimal":
            trouble = "wal_level is minimal"
        elif not _number(there.settings["max_wal_senders"]):
            trouble = "max_wal_senders is 0"
        report.judge("replication", "Check replication", trouble)

    def base_backup(self, target: str, source: SourceLogin, progress: Callable[[int, int], None]) -> None:
        here = self._get(target)
        self._pause(here)
        there = self._upstream(source)
        if there is None:
            raise EngineError(f"cannot copy from {source.address}:{source.port}")
        progress(1, 1)
        here.source, here.wound = source, ""
        here.databases = ["postgres"]
        here.accounts = there.accounts  # a physical copy has the source's roles

    def start_standby(self, target: str) -> None:
        here = self._get(target)
        self._pause(here)
        here.standby = True

    def wait_streaming(self, target: str, timeout: float) -> None:
        self._pause(self._get(target))
        if self.link_state(target).state != "streaming":
            raise EngineError("the source is not streaming")

    def link_state(self, target: str) -> LinkState:
        here = self._get(target)
        if not here.standby or here.source is None:
            return LinkState("none")
        broken = here.broken or here.wound in ("wal_removed", "disk_full") or self._upstream(here.source) is None
        size, seconds = here.lag if here.wound == "replay_paused" else (0, 0)
        received, replayed = _lsn(_WRITTEN + size), _lsn(_WRITTEN)
        info = _info(here, here.source, "null" if broken else "streaming", received, replayed, seconds)
        return LinkState("disconnect" if broken else "streaming", received, replayed, None if broken else size, info)

    def set_broken(self, target: str, broken: bool) -> None:
        """Let the link of `target` be disconnected, or whole again."""
        self._get(target).broken = broken

    def break_link(self, target: str, how: str, lag_bytes: int | None = None, lag_seconds: int | None = None) -> None:
        here = self._get(target)
        with self._lock:
            there = self._upstream(here.source) if here.source else None
            if here.source is None or there is None or self.link_state(target).state != "streaming":
                raise EngineError(f"{target} is not streaming")
            here.broken_link = there, here.source.account
            if how == "refused":
                there.refused.add(here.source.account)
            elif how == "source_gone":
                there.gone = True
            else:
                here.wound = how
                here.lag = (1 << 20 if lag_bytes is None else lag_bytes, 60 if lag_seconds is None else lag_seconds)

    def repair_link(self, target: str) -> None:
        here = self._get(target)
        with self._lock:
            if here.wound != "wal_removed":
                here.wound = ""
            if here.broken_link is not None:
                there, account = here.broken_link
                there.gone = False
                there.refused.discard(account)
                here.broken_link = None

    def cancel(self, target: str) -> None:
        here = self._get(target)
        here.standby, here.source, here.databases, here.broken, here.wound = False, None, [], False, ""
        here.accounts = here.spec.accounts

    def promote(self, target: str) -> None:
        here = self._get(target)
        self._pause(here)
        if not here.standby:
            raise EngineError(f"{target} is no standby")
        if here.wound == "disk_full":
            raise EngineError(f"{target} cannot write WAL")
        here.standby, here.source, here.broken, here.wound = False, None, False, ""

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self._clusters.clear()
            self._by_port.clear()

    def _get(self, name: str) -> _Cluster:
        try:
            return self._clusters[name]
        except KeyError:
            raise EngineError(f"no cluster is called {name}") from None

    def _find(self, source: SourceLogin) -> _Cluster | None:
        return self._by_port.get(source.port) if source.address in _LOCAL else None

    def _upstream(self, source: SourceLogin) -> _Cluster | None:
        """The cluster that `source` logs in to, if it can be replicated from."""
        there = self._find(source)
        if there is None or there.spec.behaviour != "postgres" or _login(there, source) is None:
            return None
        return None if there.gone or source.account in there.refused else there

    def _pause(self, cluster: _Cluster) -> None:
        if seconds := cluster.property("stage_seconds"):
            self._closed.wait(seconds)


class _Report:
    """Collects checks."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def add(self, section: str, name: str, result: str, note: str) -> None:
        self.checks.append(Check(f"Check {section}", name, result, note))

    def ok(self, section: str, name: str) -> None:
        self.add(section, name, "success", "")

    def error(self, section: str, name: str, note: str) -> None:
        """Report what ends the report: later checks need this one."""
        self.add(section, name, "error", note)

    def judge(self, section: str, name: str, note: str, level: str = "error") -> None:
        self.add(section, name, level if note else "success", note)


def _login(there: _Cluster, source: SourceLogin) -> Account | None:
    """Return the account that the source's login opens, or None."""
    for account in there.accounts:
        if account.name == source.account and account.password == source.password and "LOGIN" in account.attributes:
            return account
    return None


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _info(here: _Cluster, source: SourceLogin, status: str, received: str, replayed: str, lag: int) -> dict[str, str]:
    """Return what the postgres engine would tell (standby.py there), as if something had been written just now."""
    now = datetime.now(timezone.utc)
    told = {
        "Status": status,
        "ReceiveStartLsn": _lsn(_WRITTEN & -(1 << 20)),
        "ReceiveStartTli": "1",
        "ReceivedLsn": received,
        "ReceivedTli": "1",
        "LastMsgSendTime": str(now),
        "LastMsgReceiptTime": str(now),
        "LatestEndLsn": received,
        "LatestEndTime": str(now),
        "Conninfo": f"user={source.account} password=******** host={source.address} port={source.port}"
        f" application_name={here.spec.name}",
    }
    if status != "streaming":  # PostgreSQL knows these only while there is a receiver
        told = {name: value if name == "ReceivedLsn" else "null" for name, value in told.items()}
    return told | {
        "ReplayLsn": replayed,
        "ReplayTimestamp": str(now - timedelta(seconds=lag)),
        "ReplayLag": str(lag),
        "IsSlave": "true",
        "Synced": str(status == "streaming" and received == replayed).lower(),
    }


def _number(text: str) -> int:
    """Read the digits that a setting starts with: 64MB is 64."""
    digits = "".join(itertools.takewhile(str.isdigit, str(text).strip()))
    return int(digits or 0)
