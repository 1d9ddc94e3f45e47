# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state behind the endpoint: instances, sources and tasks under one lock.

Everything that changes state does so in `with store.change():`. Reads go through `store.view()`, which, while a `lag`
fault is active, is an older copy: the real service's read replicas are eventually consistent too.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

from .models import Instance, Source, Task


@dataclass(frozen=True)
class View:
    """What a reader sees: live objects, or copies of how they were."""

    instances: dict[str, Instance]
    tasks: list[Task]


@dataclass
class Store:
    """All state of one emulator between two resets."""

    instances: dict[str, Instance] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)  # oldest first
    lock: threading.RLock = field(default_factory=threading.RLock)
    idle: threading.Condition = field(default_factory=threading.Condition)  # notified when a task ends
    lag: float = 0.0  # seconds that reads are behind
    _history: list[tuple[float, View]] = field(default_factory=list)
    _task_ids: Iterator[int] = field(default_factory=lambda: itertools.count(564532302))

    def next_task_id(self) -> int:
        """Return a task id larger than every earlier one."""
        return next(self._task_ids)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock for one change of state, which later reads see at once or after the lag."""
        with self.lock:
            yield
            if self.lag:
                self._history.append((time.monotonic(), self._copy()))

    def set_lag(self, seconds: float) -> None:
        """Let reads be `seconds` behind from now on; 0 ends it."""
        with self.lock:
            if seconds == self.lag:
                return
            self.lag = seconds
            self._history = [(0.0, self._copy())] if seconds else []

    def view(self) -> View:
        """Return the state as a reader sees it. Hold the lock while using it: without lag the objects are live."""
        with self.lock:
            if not self.lag:
                return View(self.instances, self.tasks)
            horizon = time.monotonic() - self.lag
            while len(self._history) > 1 and self._history[1][0] <= horizon:
                del self._history[0]
            return self._history[0][1]

    def _copy(self) -> View:
        return View({key: copy(item) for key, item in self.instances.items()}, [copy(task) for task in self.tasks])
