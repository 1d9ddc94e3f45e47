# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many waits side by side: starts all, polls all from one place, finishes each. Knows no Ansible and no HTTP."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Found, Progress, Report, Steps
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Caller

_LOOK = 0.1  # seconds between two looks of the main thread, which is the one that signals interrupt
_NEWS = 5.0  # seconds between two lines of progress


class FleetCaller:
    """The service as one link of a fleet calls it: with the client of whichever thread takes its next step."""

    def __init__(self, client: Callable[[], Caller], fleet: Fleet[Any]) -> None:
        self._client, self._fleet = client, fleet
        self.last_request_id: str | None = None

    def call(self, action: str, parameters: Mapping[str, str], *, repeatable: bool) -> dict[str, Any]:
        """Call an operation, unless the fleet was stopped."""
        if self._fleet.is_stopped:
            raise _stopped()
        client = self._client()
        client.last_request_id = None
        try:
            return client.call(action, parameters, repeatable=repeatable)
        finally:
            self.last_request_id = client.last_request_id or self.last_request_id


class Fleet(Generic[Found]):
    """A scheduler of generators in a few threads. What one of them raises is its own result."""

    def __init__(
        self, concurrency: int, report: Report | None = None, what: str = "finished", at_once: int | None = None
    ) -> None:
        """Prepare.

        :param concurrency: threads, each with a client of its own
        :param what: what a finished one is called in the line of progress
        :param at_once: how many may have begun and not ended, for those that hold something while they wait
        """
        self._concurrency, self._report, self._what, self._at_once = concurrency, report, what, at_once
        self._stages: dict[str, str] = {}
        self._turn = threading.Condition()
        self._due: list[tuple[float, int, int]] = []  # (when, order, which)
        self._order = 0
        self._later: Iterator[int] = iter(())  # those that have not begun
        self._results: dict[int, Found | BaseException] = {}
        self.is_stopped = False

    def stop(self) -> None:
        """Let `run` end at once with what has ended by now, and nothing more be sent. For another thread."""
        with self._turn:
            self.is_stopped = True
            self._turn.notify_all()

    def progress_of(self, instance_id: str) -> Report:
        """Return what one generator reports its stages to."""

        def report(progress: Progress) -> None:
            self._stages[instance_id] = progress.stage

        return report

    def run(self, names: Sequence[str], jobs: Sequence[Steps[Found]]) -> list[Found | BaseException]:
        """Run all to their ends and return their results in order.

        Whatever interrupts the main thread ends it at once; what was started is left to the next run.
        """
        self._jobs, self._later = jobs, iter(range(len(jobs)))
        for number in islice(self._later, self._at_once):
            self._push(0.0, number)
        threads = [threading.Thread(target=self._work, daemon=True) for _n in range(min(self._concurrency, len(jobs)))]
        started = shown = time.monotonic()
        try:
            for thread in threads:
                thread.start()
            with self._turn:
                while len(self._results) < len(jobs) and not self.is_stopped:
                    self._turn.wait(_LOOK)
                    now = time.monotonic()
                    if self._report and now - shown >= _NEWS:
                        shown = now
                        self._report(Progress("", self._line(names), now - started, 0.0))
        finally:
            self.stop()
        return [self._results.get(number, _stopped()) for number in range(len(jobs))]

    def _work(self) -> None:
        while (number := self._next()) is not None:
            try:
                pause = next(self._jobs[number])
            except StopIteration as end:
                self._finish(number, end.value)
            except BaseException as error:  # it belongs to this generator, and the others go on
                self._finish(number, error)
            else:
                with self._turn:
                    self._push(time.monotonic() + pause, number)
                    self._turn.notify()

    def _next(self) -> int | None:
        """Wait for the next generator that is due; None when there is nothing more to do."""
        with self._turn:
            while True:
                if self.is_stopped or len(self._results) == len(self._jobs):
                    return None
                remaining = self._due[0][0] - time.monotonic() if self._due else None
                if remaining is not None and remaining <= 0:
                    return heapq.heappop(self._due)[2]
                self._turn.wait(remaining)

    def _push(self, when: float, number: int) -> None:
        self._order += 1
        heapq.heappush(self._due, (when, self._order, number))

    def _finish(self, number: int, result: Found | BaseException) -> None:
        with self._turn:
            self._results[number] = result
            for following in islice(self._later, 1):
                self._push(0.0, following)
            self._turn.notify_all()

    def _line(self, names: Sequence[str]) -> str:
        """Return for example `212 of 300 streaming, 80 in basebackup, 8 failed`."""
        failed = sum(isinstance(result, BaseException) for result in self._results.values())
        waiting = [self._stages.get(name, "line") for number, name in enumerate(names) if number not in self._results]
        parts = [f"{len(self._results) - failed} of {len(names)} {self._what}"]
        parts += [f"{count} in {stage}" for stage, count in Counter(waiting).most_common()]
        return ", ".join(parts + [f"{failed} failed"] * bool(failed))


def _stopped() -> RdsError:
    return RdsError("Interrupted", "The task was ended from outside. Nothing more was sent.")
