# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine: clusters by name, and the links between them."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pg8000.native

from ...engine import Check, ClusterSpec, EngineError, LinkState, SourceLogin
from .breaks import BREAKS, repair_source, repair_target
from .cluster import START_SECONDS, SUPERUSER, Cluster, make_template, reason
from .install import Installs
from .precheck import Failed, Session, precheck
from .sockets import HOST, Decoy
from .standby import ANSWER_SECONDS, state, streams
from .supervisor import Supervisor, tail

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PostgresEngine:
    """Real clusters and real streaming replication (the promise is ``Engine``'s).

    Data live in a directory of its own, made under `root` (default: /dev/shm if that has room, else the temp directory)
    and deleted by ``close()``, or by the guard process if we are killed. EngineError when PostgreSQL is missing.
    """

    host = HOST

    def __init__(self, root: Path | None = None) -> None:
        self._supervisor = Supervisor(root)
        try:
            self._supervisor.make_directory(self._supervisor.root / "sockets")
            self._installs = Installs(self._supervisor)
        except EngineError:
            self._supervisor.close()
            raise
        self.root = self._supervisor.root
        self._installing = threading.Lock()  # the first cluster of a major takes a while
        self._lock = threading.Lock()
        self._clusters: dict[str, Cluster | Decoy] = {}
        self._count = 0

    # -- clusters

    def create(self, spec: ClusterSpec) -> int:
        """Create and start a cluster, or the socket that plays one; return its port."""
        with self._lock:
            if spec.name in self._clusters:
                raise EngineError(f"{spec.name} exists already")
            if spec.behaviour != "postgres":
                decoy = self._clusters[spec.name] = Decoy(spec.behaviour, spec.port)
                return decoy.port
            self._count += 1
            home = self.root / f"{self._count}-{re.sub(r'[^A-Za-z0-9-]', '_', spec.name)[:40]}"
        with self._installing:
            install = self._installs.pick(spec.major)
            template = make_template(self._supervisor, install)
        cluster = Cluster(self._supervisor, install, spec, home, template)
        with self._lock:
            taken = self._clusters.setdefault(spec.name, cluster) is not cluster
        if taken:
            cluster.close()
            raise EngineError(f"{spec.name} exists already")
        try:
            with self._changing(cluster):
                cluster.build()
        except BaseException:
            self.destroy(spec.name)
            raise
        return cluster.port

    def port(self, name: str) -> int:
        """Return the port of a cluster or of a socket that plays one."""
        with self._lock:
            if name not in self._clusters:
                raise EngineError(f"no cluster {name}")
            return self._clusters[name].port

    def major(self, name: str) -> int:
        """Return the major version of a cluster."""
        return self._cluster(name).install.major

    def destroy(self, name: str) -> None:
        """Stop a cluster and delete its data, also in the middle of a backup or a start; unknown names are ignored."""
        with self._lock:
            cluster = self._clusters.get(name)
        if isinstance(cluster, Cluster):
            cluster.interrupt()
            with cluster.lock:
                cluster.close()
        elif cluster is not None:
            cluster.close()
        with self._lock:
            if self._clusters.get(name) is cluster:
                self._clusters.pop(name, None)

    def sql(self, name: str, statement: str, database: str = "postgres") -> list[dict[str, Any]]:
        """Run one statement as superuser, whatever pg_hba.conf says, and return its rows."""
        return self._cluster(name).sql(statement, database=database)

    def psql(self, name: str) -> str:
        """Return the command that opens psql as superuser, through the private socket."""
        with self._lock:
            cluster = self._clusters.get(name)
        if not isinstance(cluster, Cluster):
            return ""
        program = shutil.which("psql") or cluster.install.tool("psql")
        return shlex.join([program, "-h", str(self.root / "sockets"), "-p", str(cluster.port), "-U", SUPERUSER])

    def close(self) -> None:
        """Stop everything, delete everything."""
        with self._lock:
            clusters, self._clusters = list(self._clusters.values()), {}
        for cluster in clusters:
            if isinstance(cluster, Cluster):
                cluster.interrupt()
        self._supervisor.close()  # ends every server at once
        for cluster in clusters:
            cluster.close()

    # -- links

    def precheck(self, target: str, source: SourceLogin, storage_bytes: int, source_is_rds: bool) -> list[Check]:
        """Report every documented check of a link from `source` to `target`; takes up to 2 s for each dead end."""
        return precheck(self._cluster(target), source, storage_bytes, source_is_rds)

    def base_backup(self, target: str, source: SourceLogin, progress: Callable[[int, int], None]) -> None:
        """Replace the target's data with a base backup; after a failure the target is stopped until ``cancel()``.

        A whole copy is not given up for a source from which nothing can be copied now.
        """
        cluster = self._cluster(target)

        def report(output: str) -> None:
            if counts := re.findall(r"(\d+)/(\d+) kB", output):
                progress(int(counts[-1][0]) << 10, int(counts[-1][1]) << 10)

        with self._changing(cluster):
            if cluster.copied:
                _check_replication(source)
            conninfo = cluster.conninfo(source)
            if not cluster.stop():
                cluster.stop(signal.SIGQUIT)
            cluster.link, cluster.copied = source, False
            cluster.empty()
            # -X fetch: one connection, and no child process that could outlive the tool.
            arguments = ("-X", "fetch", "--checkpoint=fast", "--no-password", "--no-sync", "--progress")
            cluster.tool("pg_basebackup", "-D", str(cluster.data), "-d", conninfo, *arguments, progress=report)
            # ALTER SYSTEM of the source (its port, its own sources) is not for the target.
            (cluster.data / "postgresql.auto.conf").write_text("")
            size = sum(file.stat().st_size for file in cluster.data.rglob("*") if file.is_file())
            progress(size, size)
            cluster.copied = True

    def start_standby(self, target: str) -> None:
        """Start the target as a standby of the source it was copied from."""
        cluster = self._cluster(target)
        with self._changing(cluster):
            if not cluster.copied:
                raise EngineError(f"{target} is no copy of a source")
            if not cluster.running:
                cluster.start()

    def wait_streaming(self, target: str, timeout: float) -> None:
        """Return when the target's WAL receiver is streaming."""
        cluster = self._cluster(target)
        for _unused in cluster.until(timeout, f"{target} is not streaming after {timeout:g} s"):
            if not cluster.running:
                raise EngineError(f"{target} has stopped: {tail(cluster.log)}")
            with contextlib.suppress(EngineError):
                if streams(cluster):
                    return

    def link_state(self, target: str) -> LinkState:
        """Say what replication of the target does; a target that does not answer but has a source is disconnected."""
        cluster = self._cluster(target)
        login = cluster.link
        try:
            now = state(cluster)
        except EngineError:
            return LinkState("disconnect" if login else "none")
        if now.state == "none":
            return now
        ahead = self._source_lsn(login) or now.received_lsn
        lag = max(0, _bytes(ahead) - _bytes(now.replayed_lsn)) if ahead and now.replayed_lsn else None
        return replace(now, lag_bytes=lag)

    def break_link(self, target: str, how: str, lag_bytes: int | None = None, lag_seconds: int | None = None) -> None:
        """Break a streaming link; what is refused, removed or stopped is so for PostgreSQL, too."""
        if lag_bytes is not None or lag_seconds is not None:
            raise EngineError("lag_bytes and lag_seconds are for the memory engine; here lag is real")
        cluster = self._cluster(target)
        source = self._ours(cluster.link) if cluster.link else None
        if cluster.link is None or source is None:
            raise EngineError(f"{target} follows no cluster of this emulator")
        self.wait_streaming(target, 1.0)  # it may be on its way back
        with self._changing(source, cluster):
            cluster.broken = source, cluster.link.account
            BREAKS[how](source, cluster)

    def repair_link(self, target: str) -> None:
        """Undo what can be undone; WAL that was removed is not there again."""
        cluster = self._cluster(target)
        with self._changing(cluster):
            repair_target(cluster)
        if cluster.broken is None:
            return
        source, account = cluster.broken
        with self._changing(source):
            repair_source(source, account)
        cluster.broken = None

    def cancel(self, target: str) -> None:
        """Give up a half-made link: the target becomes an empty, running primary with the accounts of its spec."""
        cluster = self._cluster(target)
        cluster.interrupt()
        with self._changing(cluster):
            cluster.resume()
            if cluster.link is not None or not cluster.running:
                cluster.build()

    def promote(self, target: str) -> None:
        """End recovery of the target; returns when it accepts writes."""
        cluster = self._cluster(target)
        with self._changing(cluster):
            if not cluster.value("pg_is_in_recovery()"):
                raise EngineError(f"{target} is not a standby")
            cluster.value("pg_promote(false)")
            for _unused in cluster.until(START_SECONDS, f"{target} is still in recovery"):
                if not cluster.value("pg_is_in_recovery()"):
                    break
            # Until a checkpoint on the new timeline, pg_rewind of PostgreSQL 15 sees no difference, and keeps diverged
            # rows.
            cluster.sql("CHECKPOINT")
            cluster.link, cluster.copied = None, False
            cluster.configure()

    def _cluster(self, name: str) -> Cluster:
        with self._lock:
            cluster = self._clusters.get(name)
        if not isinstance(cluster, Cluster):
            raise EngineError(f"no cluster {name}")
        return cluster

    @contextlib.contextmanager
    def _changing(self, *clusters: Cluster) -> Iterator[None]:
        """Hold the locks of clusters; EngineError when one was destroyed while we waited for it."""
        with contextlib.ExitStack() as locks:
            # In one order for all, or two threads lock each other.
            for cluster in sorted(clusters, key=lambda cluster: cluster.port):
                locks.enter_context(cluster.lock)
                if self._cluster(cluster.spec.name) is not cluster or not cluster.home.exists():
                    raise EngineError(f"no cluster {cluster.spec.name}")
            yield

    def _ours(self, login: SourceLogin) -> Cluster | None:
        with self._lock:
            for cluster in self._clusters.values():
                if isinstance(cluster, Cluster) and cluster.port == login.port and login.address in LOOPBACK:
                    return cluster
        return None

    def _source_lsn(self, login: SourceLogin | None) -> str | None:
        """Return how far the source has written, None if it cannot be asked."""
        query = "SELECT pg_current_wal_lsn()::text AS lsn WHERE NOT pg_is_in_recovery()"
        ours = self._ours(login) if login else None
        with contextlib.suppress(EngineError, Failed, pg8000.native.Error, OSError, ValueError, IndexError):
            if ours is not None:
                return str(ours.sql(query, timeout=ANSWER_SECONDS)[0]["lsn"])
            if login is not None:
                with Session(login) as session:
                    return str(session.rows(query)[0]["lsn"])
        return None


def _check_replication(login: SourceLogin) -> None:
    """Raise EngineError unless a standby could stream from there."""
    try:
        with Session(login, replication="true") as session:
            session.rows("IDENTIFY_SYSTEM")
    except pg8000.native.DatabaseError as err:
        raise EngineError(f"no replication from port {login.port} as {login.account}: {reason(err)}") from None
    except (Failed, pg8000.native.InterfaceError, OSError, ValueError):
        raise EngineError(f"no replication from port {login.port}: no answer") from None


def _bytes(lsn: str) -> int:
    """Return an LSN as a number of bytes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)
