# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps calls of one operation below the service's own limit, and slows down while it throttles all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LONGEST = 1.0  # seconds between two calls, however often the service throttles, unless a slower pace is configured
_WINDOW = 1.0  # seconds: what is throttled in one of them is throttled for one reason


class Pace:
    """One rate for all threads. Two controllers on one account share the service's limit, so it gives way."""

    def __init__(
        self,
        action: str | None,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._action = action
        self._least = self._interval = 1 / per_second
        self._next = 0.0
        self._slowed = -_WINDOW  # when it gave way last
        self._lock = threading.Lock()
        self._clock, self._sleep = clock, sleep

    def before(self, action: str) -> None:
        """Wait until the next call of the operation may be sent; other operations are not held up."""
        if self._action not in (None, action):
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._interval
            self._interval = max(self._least, self._interval * 0.95)
        self._sleep(turn - now)

    def held_back(self, action: str) -> None:
        """Note that the service has throttled a call: the next ones come half as often, and slowly faster again."""
        if self._action not in (None, action):
            return
        with self._lock:
            now = self._clock()
            if now - self._slowed >= _WINDOW:
                self._slowed = now
                self._interval = max(self._least, min(2 * self._interval, _LONGEST))
                self._next = max(self._next, now + self._interval)
