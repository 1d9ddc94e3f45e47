# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long, and how often, one looks for something to happen. All times in seconds, on a monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

FIRST_INTERVAL = 0.2  # a poll then comes after each tenth of the time waited so far, up to wait_interval
LONGEST_SETTLING = 5.0  # between two looks for what a write has left
MOST_SILENT_POLLS = 3  # polls in a row that may fail for a passing reason, each with the client's own retries

Found = TypeVar("Found")
Elapsed = Callable[[], float]


@dataclass(frozen=True)
class Progress:
    """What a wait has just seen: the stage that an instance is in, and more about it if there is more to say."""

    instance_id: str
    stage: str
    elapsed: float
    timeout: float
    note: str = ""


Tell = Callable[[Progress], None]


class Patience:
    """The time that an operation has: to wait for a task, and to find out what a write has left."""

    def __init__(
        self,
        wait_timeout: float = 3600,
        wait_interval: float = 30,
        settle_timeout: float = 30,
        tell: Tell | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wait_timeout, self.settle_timeout = wait_timeout, settle_timeout
        self._wait_interval = wait_interval
        self._tell = tell
        self._sleep, self._clock = sleep, clock

    def polls(self) -> Iterator[Elapsed]:
        """Yield, at once and then less and less often, how to read the time waited so far; end at `wait_timeout`."""
        elapsed = self.stopwatch()
        while True:
            yield elapsed
            so_far = elapsed()
            if so_far >= self.wait_timeout:
                return
            pause = min(max(FIRST_INTERVAL, so_far / 10), self._wait_interval)
            self._sleep(min(pause, self.wait_timeout - so_far))

    def settling(self) -> Iterator[Elapsed]:
        """Yield like `polls`, for the settle time: answers may lag behind a commit."""
        elapsed = self.stopwatch()
        pause = FIRST_INTERVAL
        while True:
            yield elapsed
            remaining = self.settle_timeout - elapsed()
            if remaining <= 0:
                return
            self._sleep(min(pause, remaining))
            pause = min(2 * pause, LONGEST_SETTLING)

    def settle(self, attempt: Callable[[], Found | None]) -> Found | None:
        """Return the first true result of `attempt` in the settle time, else None."""
        for _unused in self.settling():
            try:
                if found := attempt():
                    return found
            except RdsError as error:
                if not error.retryable:
                    raise
        return None

    def tell(self, instance_id: str, stage: str, elapsed: float, note: str = "") -> None:
        """Pass on what a poll has seen, to somebody who shows it to a person."""
        if self._tell:
            self._tell(Progress(instance_id, stage, elapsed, self.wait_timeout, note))

    def stopwatch(self) -> Elapsed:
        """Return a function that tells the seconds from now on."""
        started = self._clock()
        return lambda: self._clock() - started


def is_passing(error: RdsError, silent: int) -> bool:
    """Say whether a wait goes on after a poll that failed, the `silent`-th in a row."""
    return error.retryable and silent < MOST_SILENT_POLLS
