# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What arrived, in order, so that a test can say "exactly one create arrived". It never holds a secret."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from .models import MASK, timestamp

_SECRET = re.compile(r"password|secret|securitytoken|signature$", re.IGNORECASE)


class Journal:
    """The last 100,000 API requests. `committed` says whether a write was carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._sequence = 0
        self._counts: Counter[str] = Counter()

    def arrived(self, action: str, arguments: Mapping[str, str], access_key_id: str) -> dict[str, Any]:
        """Note a request before anything is done with it; the entry is completed later."""
        with self._lock:
            self._sequence += 1
            entry = {
                "seq": self._sequence,
                "time": timestamp(),
                "action": action,
                "params": masked(arguments),
                "access_key_id": access_key_id,
                "http_status": None,  # stays so when no answer was sent
                "code": "",
                "committed": False,
                "fault": None,
                "unknown_params": [],
            }
            self._entries.append(entry)
            self._counts[action] += 1
            return entry

    def entries(self, action: str | None = None) -> list[dict[str, Any]]:
        """Return the entries, oldest first."""
        with self._lock:
            return [dict(entry) for entry in self._entries if action in (None, "", entry["action"])]

    def report(self) -> dict[str, Any]:
        """Count the requests since the start, by action and by error code."""
        with self._lock:
            codes = Counter(str(entry["code"]) for entry in self._entries if entry["code"])
            return {"total": self._sequence, "actions": dict(self._counts), "codes": dict(codes)}

    def clear(self) -> None:
        """Forget all entries and counts; sequence numbers go on."""
        with self._lock:
            self._entries.clear()
            self._counts.clear()


def masked(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return parameters with every secret replaced, also where a client put it into another parameter."""
    secrets = [value for name, value in arguments.items() if _SECRET.search(name) and len(value) > 3]
    shown = {}
    for name, value in arguments.items():
        hide = bool(_SECRET.search(name)) or any(secret in value for secret in secrets)
        shown[name] = MASK if hide else value
    return shown
