# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a failover would cost: a writer at the source, exposure at the standby, and the first write afterwards.

One monotonic clock, that of the machine that runs this. RPO is exposure: rows that were acknowledged at the source and
not yet received by the standby, in rows and seconds, sampled before the promotion. Times in seconds since the start.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import Login, PostgresError, Session, quoted

_INSERT = "INSERT INTO {table} (id) VALUES (%(row)s)"
_MOST_SAMPLES = 2000


@dataclass
class Written:
    """The rows of a writer, in order: when each was acknowledged, and a position in the WAL behind it."""

    times: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    problem: str = ""  # why it has stopped by itself

    def exposed(self, received: int, now: float) -> tuple[int, float]:
        """Return how many acknowledged rows a standby has not received, and the age of the oldest of them."""
        times, positions = self.times, self.positions[: len(self.times)]
        first = bisect.bisect_right(positions, received)
        return len(positions) - first, now - times[first] if first < len(positions) else 0.0


class Background(threading.Thread):
    """Something that goes on until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""
        self._over.set()
        self.join(10)


class Writer(Background):
    """Writes rows through one connection, at a fixed rate, as long as it is let."""

    def __init__(self, login: Login, table: str, prefix: str, rate: float, elapsed: Callable[[], float]) -> None:
        """Prepare.

        :param prefix: of the ids of the rows, which end with a number of seven digits
        :param rate: rows a second
        :raises PostgresError: if the login is refused
        """
        super().__init__()
        self.written = Written()
        self._session = Session(login)
        self._table, self._prefix, self._rate, self._elapsed = table, prefix, rate, elapsed

    def run(self) -> None:
        number = 0
        try:
            while not self._over.wait(1 / self._rate):
                number += 1
                self._session.run(quoted(_INSERT, table=self._table), {"row": f"{self._prefix}{number:07d}"})
                now = self._elapsed()
                self.written.positions.append(int(self._session.value("SELECT pg_current_wal_insert_lsn() - '0/0'")))
                self.written.times.append(now)
        except PostgresError as error:
            self.written.problem = error.text
        finally:
            self._session.close()


class Sampler(Background):
    """Reads how far the standby is, and what would be lost now."""

    def __init__(self, login: Login, written: Written, interval: float, elapsed: Callable[[], float]) -> None:
        super().__init__()
        self.samples: list[dict[str, Any]] = []
        self._session = Session(login)
        self._written, self._interval, self._elapsed = written, interval, elapsed

    def run(self) -> None:
        try:
            while not self._over.wait(self._interval) and len(self.samples) < _MOST_SAMPLES:
                row = list(self._session.rows(_POSITIONS)[0].values())
                now, received, replayed = self._elapsed(), int(row[0] or 0), int(row[1] or 0)
                rows, seconds = self._written.exposed(received, now)
                newest = self._written.positions[-1] if self._written.positions else replayed
                self.samples.append(
                    {
                        "seconds": round(now, 3),
                        "lag_bytes": max(0, newest - replayed),
                        "exposed_rows": rows,
                        "exposed_seconds": round(seconds, 3),
                    }
                )
        except PostgresError:
            pass  # a promotion may end this session
        finally:
            self._session.close()


class FirstWrite(Background):
    """Waits until a promoted instance is out of recovery and acknowledges a row, each time on a new login."""

    def __init__(self, login: Login, table: str, row: str, elapsed: Callable[[], float]) -> None:
        super().__init__()
        self.out_of_recovery: float | None = None
        self.acknowledged: float | None = None
        self._login, self._table, self._row, self._elapsed = login, table, row, elapsed

    def run(self) -> None:
        while not self._over.wait(0.05):
            try:
                with Session(self._login) as session:
                    if session.value("SELECT pg_is_in_recovery()"):
                        continue
                    self.out_of_recovery = self.out_of_recovery or self._elapsed()
                    session.run(quoted(_INSERT, table=self._table), {"row": self._row})
                    self.acknowledged = self._elapsed()
                    return
            except PostgresError:
                continue


def exposure(samples: Sequence[dict[str, Any]], interval: float) -> dict[str, Any]:
    """Return the RPO that samples show: maximum, median and 95th percentile of the exposure, and its resolution."""
    seconds = sorted(sample["exposed_seconds"] for sample in samples)
    if not seconds:
        return {"rows": None, "seconds": None, "p50": None, "p95": None, "resolution": interval}
    return {
        "rows": max(sample["exposed_rows"] for sample in samples),
        "seconds": seconds[-1],
        "p50": seconds[len(seconds) // 2],
        "p95": seconds[min(len(seconds) - 1, int(len(seconds) * 0.95))],
        "resolution": interval,
    }


def survivors(session: Session, table: str, prefix: str) -> list[int]:
    """Return the numbers of the rows of a writer that an instance has, in order."""
    rows = session.rows(
        quoted("SELECT id FROM {table} WHERE id LIKE %(like)s ORDER BY id", table=table), {"like": f"{prefix}%"}
    )
    return [int(row["id"][len(prefix) :]) for row in rows]


_POSITIONS = (
    "SELECT coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0' AS received, "
    "pg_last_wal_replay_lsn() - '0/0' AS replayed"
)
