# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run while it goes on: handed on at every event, so that it exists after the run was killed, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import stopwatch, utc_now

Keep = Callable[[Mapping[str, Any]], None]
LEFT_OUT = "detection, decision, DNS, poolers, restart of applications"  # of a recovery time that is measured here


class Record:
    """What `keep` gets at every event is `report`. Times are of the runner's monotonic clock, in seconds."""

    def __init__(self, keep: Keep, **known: Any) -> None:
        self.elapsed = stopwatch()
        self._keep = keep
        self.report: dict[str, Any] = {
            "started": utc_now(),
            "ended": None,
            "outcome": "running",
            "message": None,
            "events": [],
            **known,
        }

    def event(self, what: str, **known: Any) -> None:
        """Note what has happened, and what is known since."""
        row = {"event": what, "at": utc_now(), "seconds": round(self.elapsed(), 3)}
        self.report["events"].append(row)
        self.report |= {"stopped_at": what, **known}
        self._keep(self.report)

    def end(self, outcome: str, message: str | None = None, **known: Any) -> None:
        """Note how it has ended."""
        self.report |= {"outcome": outcome, "message": message, "ended": utc_now(), **known}
        self._keep(self.report)
