# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to break a link, done to PostgreSQL itself; whoever calls holds the locks of both clusters."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable

from ...engine import EngineError
from .cluster import Cluster, quote
from .standby import ANSWER_SECONDS, streams

SEEN_SECONDS = 30.0  # for the effect to be there; it takes fractions of a second
MAX_SEGMENTS = 300  # more than max_wal_size lets a standby keep for later


def refused(source: Cluster, target: Cluster) -> None:
    """Refuse replication to the account of the link, and end what it has."""
    assert target.link is not None
    source.refused.add(target.link.account)
    source.reload()
    _end_senders(source, target.link.account)
    _until_disconnected(target)


def wal_removed(source: Cluster, target: Cluster) -> None:
    """While the standby is down, let the source go on and lose the WAL in between."""
    if not target.stop():
        target.stop(signal.SIGQUIT)
    try:
        for _unused in range(2):  # one is begun, and one more in case that was on its border
            _next_segment(source)
        source.sql("CHECKPOINT")
        # Deleted here, because wal_keep_size, slots and ALTER SYSTEM may keep PostgreSQL from it.
        needed = source.sql("SELECT redo_wal_file AS name FROM pg_control_checkpoint()")[0]["name"]
        for file in (source.data / "pg_wal").iterdir():
            if re.fullmatch("[0-9A-F]{24}", file.name) and file.name[8:] < needed[8:]:
                file.unlink(missing_ok=True)
    finally:
        target.start()
    for _again in target.until(SEEN_SECONDS, f"{target.spec.name} does not miss the WAL that was removed"):
        if "has already been removed" in target.log.read_text(encoding="utf-8", errors="replace"):
            break
    _until_disconnected(target)


def disk_full(source: Cluster, target: Cluster) -> None:
    """Let no file be made where the standby keeps its WAL, and let it need one."""
    target.close_wal(True)
    for _unused in range(MAX_SEGMENTS):  # it may have some segments left
        _next_segment(source)
        sent = source.value("pg_current_wal_lsn()::text")
        for _again in target.until(SEEN_SECONDS, f"{target.spec.name} neither receives WAL nor fails"):
            if not streams(target):
                return
            if target.value(f"pg_last_wal_receive_lsn() >= '{sent}'", ANSWER_SECONDS):
                break
    raise EngineError(f"{target.spec.name} still has room for WAL")


def source_gone(source: Cluster, target: Cluster) -> None:
    """Stop the source as a power cut would."""
    source.stop(signal.SIGQUIT)
    _until_disconnected(target)


def replay_paused(source: Cluster, target: Cluster) -> None:
    """Let the standby receive, but not replay."""
    target.sql("SELECT pg_wal_replay_pause()")
    for _unused in target.until(SEEN_SECONDS, f"{target.spec.name} does not pause"):
        if target.value("pg_get_wal_replay_pause_state()") == "paused":
            return


BREAKS: dict[str, Callable[[Cluster, Cluster], None]] = {
    breaks.__name__: breaks for breaks in (refused, wal_removed, disk_full, source_gone, replay_paused)
}


def repair_target(target: Cluster) -> None:
    """Undo what was done to the standby, which may have ended of it, or been promoted since."""
    target.close_wal(False)
    if target.copied:
        try:
            target.value("pg_is_in_recovery()", ANSWER_SECONDS)
        except EngineError:
            target.stop(signal.SIGQUIT)
            target.start()
    with contextlib.suppress(EngineError):  # a primary replays nothing
        target.sql("SELECT pg_wal_replay_resume()")


def repair_source(source: Cluster, account: str) -> None:
    """Undo what was done to the source."""
    source.refused.discard(account)
    if source.running:
        source.reload()
    else:
        source.start()


def _next_segment(source: Cluster) -> None:
    """Let the source write into another WAL file; nothing happens when it has not written into this one."""
    written = "SELECT pg_logical_emit_message(true, 'rds-emulator', 'next')"  # to the disk: it is a commit
    source.sql("SELECT pg_switch_wal()", written)


def _end_senders(source: Cluster, account: str) -> None:
    source.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE usename = {quote(account)}")


def _until_disconnected(target: Cluster) -> None:
    for _unused in target.until(SEEN_SECONDS, f"{target.spec.name} still streams"):
        if not streams(target):
            return
