# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send once, poll, settle: one mechanism for create, promote and rebuild. Times in seconds, on a monotonic clock.

What waits is a generator that yields the seconds until it wants to go on. `drive` runs one of them to its end; a fleet
can run many side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

FIRST_INTERVAL = 0.2  # a poll then comes after each tenth of the time waited so far, up to wait_interval
LONGEST_SETTLING = 5.0  # between two reads of what a write has left
MOST_FAILED_POLLS = 3  # polls in a row that may fail for a passing reason, each with the client's own retries

Found = TypeVar("Found")
Steps = Generator[float, None, Found]  # yields pauses, returns what was found
Elapsed = Callable[[], float]


class Progress(NamedTuple):
    """What a poll has seen: the stage that an instance is in, and more about it if there is more to say."""

    instance_id: str
    stage: str
    elapsed: float
    timeout: float
    note: str = ""


Report = Callable[[Progress], None]


def stopwatch(clock: Callable[[], float] = time.monotonic) -> Elapsed:
    """Return a function that returns the seconds from now on."""
    started = clock()
    return lambda: clock() - started


def utc_now() -> str:
    """Return the time of this machine's clock, as the service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def drive(steps: Steps[Found], sleep: Callable[[float], None] = time.sleep) -> Found:
    """Run a generator to its end, and sleep when it wants to wait; return what it found."""
    try:
        while True:
            if pause := next(steps):
                sleep(pause)
    except StopIteration as end:
        found: Found = end.value
        return found


class Waiter:
    """The time that an operation has: to wait for a task, and until a write becomes visible."""

    def __init__(
        self,
        wait_timeout: float = 3600,
        wait_interval: float = 30,
        settle_timeout: float = 30,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wait_timeout, self.settle_timeout = wait_timeout, settle_timeout
        self._wait_interval = wait_interval
        self._report = report
        self._clock = clock

    def poll(
        self, attempt: Callable[[float], Found | None], failed: Callable[[RdsError], RdsError]
    ) -> Steps[Found | None]:
        """Return the first result of `attempt` that is not None; None after wait_timeout. The first poll is immediate.

        :param attempt: gets the seconds since the wait began
        :param failed: completes the error of a poll that ends the wait; a few in a row may fail for a passing reason
        """
        yield 0.0  # others may be waiting to be started
        elapsed, failures = self.stopwatch(), 0
        while True:
            found = None
            try:
                found, failures = attempt(elapsed()), 0
            except RdsError as error:
                failures += 1
                if not error.retryable or failures >= MOST_FAILED_POLLS or elapsed() >= self.wait_timeout:
                    raise failed(error) from None
            so_far = elapsed()
            if found is not None or so_far >= self.wait_timeout:
                return found
            yield min(max(FIRST_INTERVAL, so_far / 10), self._wait_interval, self.wait_timeout - so_far)

    def settle(self, attempt: Callable[[], Found | None]) -> Steps[Found | None]:
        """Return the first result of `attempt` that is not None, within settle_timeout. It is tried at once."""
        elapsed, pause = self.stopwatch(), FIRST_INTERVAL
        while True:
            found = attempt()
            if found is not None:
                return found
            remaining = self.settle_timeout - elapsed()
            if remaining <= 0:
                return None
            yield min(pause, remaining)
            pause = min(2 * pause, LONGEST_SETTLING)

    def wait_until_visible(self, read: Callable[[], Found | None]) -> Steps[Found | None]:
        """Return what `read` finds within settle_timeout: answers may lag behind a commit, and reads may fail."""

        def attempt() -> Found | None:
            try:
                return read()
            except RdsError as error:
                if not error.retryable:
                    raise
                return None

        return (yield from self.settle(attempt))

    def recover(
        self, error: RdsError, appeared: Callable[[], Found | None], codes: frozenset[str], doubt: str
    ) -> Steps[Found]:
        """Return what a request that is never repeated has left, after its answer was lost or refused.

        :param appeared: returns what the request, or the same one of a faster run, has set going; None if nothing moves
        :param codes: refusals that another run of the same may have caused
        :param doubt: what a person reads if it stays unknown whether the request was carried out
        :raises RdsError: its outcome is that of the request, about which a failed read afterwards says nothing
        """
        if error.outcome != "unknown" and error.code not in codes:
            raise error
        try:
            found = yield from self.wait_until_visible(appeared)
        except RdsError as failure:
            failure.outcome = error.outcome
            raise
        if found is None:
            error.message += f" {doubt}" if error.outcome == "unknown" else ""
            raise error
        return found

    def report(self, instance_id: str, stage: str, elapsed: float, note: str = "") -> None:
        """Pass on what a poll has seen, to what shows it to a person."""
        if self._report:
            self._report(Progress(instance_id, stage, elapsed, self.wait_timeout, note))

    def stopwatch(self) -> Elapsed:
        """Return a function that returns the seconds from now on."""
        return stopwatch(self._clock)
