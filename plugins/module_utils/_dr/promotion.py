# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a promotion is asked for, and what has become of it so far, as its report has it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.fence import Fence
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.record import LEFT_OUT, Record
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import RoleChangeResult
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import Seen


@dataclass(frozen=True)
class Order:
    """What is asked for. Times in seconds."""

    question: Look
    forced: bool
    fence: bool = False
    method: str = "database"
    max_lag_bytes: int = 0
    lag_timeout: float = 60
    proof_timeout: float = 60
    skip_checks: tuple[str, ...] = ()
    expect: str | None = None  # the digest of an approved preview
    rpo_target: float | None = None
    rto_target: float | None = None
    check_mode: bool = False


@dataclass
class Failover:
    """What has happened so far. `said`: sentences about what each side is, as it was read back."""

    seen: Seen
    checks: list[Check]
    record: Record
    fence: Fence | None = None
    fence_state: str = "none"  # none, up, down, unknown
    change: RoleChangeResult | None = None
    lost: int | None = None  # transactions that began at the old primary after the fence; None: not known
    loss: str | None = None  # what is known of data that was lost, in a sentence
    is_lossless: bool = False  # the last byte was replayed, and the old primary is fenced and has begun nothing since
    said: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def event(self, what: str) -> None:
        """Note what has happened, and keep the report."""
        self.record.event(what, **self._known())

    def end(self, outcome: str, message: str | None = None) -> None:
        """Note how it has ended, and keep the report."""
        self.record.end(outcome, message, **self._known())

    def _known(self) -> dict[str, Any]:
        source, change = self.seen.primary, self.change
        return {
            "source": source.place() if source else None,
            "checks": {"before": [check._asdict() for check in self.checks]},
            "digest": self.digest,
            "loss": self.loss,
            "rpo": {"seconds": 0.0, "rows": 0} if self.is_lossless else None,
            "rto": self._recovery(),
            "said": [*self.warnings, *self.said],
            "remaining": self._remaining() if self.is_promoted else None,
            "task_ids": {"promotion": change.task_id} if change else {},
            "request_id": change.request_id if change else None,
        }

    def _remaining(self) -> str:
        end = self.seen.standby
        return (
            f"Send the clients to {end.name} ({end.host}:{end.port}), and take its link out of the nightly playbook. "
            "It has no standby until a new link is created: playbook alicloud.rds.reprotect."
        )

    def _recovery(self) -> dict[str, Any] | None:
        """Return how long it took from the request, or from the fence, to the first row; None before that row."""
        at = {row["event"]: row["seconds"] for row in self.record.report["events"]}
        if "request sent" not in at or "first row acknowledged" not in at:
            return None
        sent, first = at["request sent"], at["first row acknowledged"]
        return {
            "total": round(first - sent, 3),
            "out_of_recovery": round(at["out of recovery"] - sent, 3),
            "first_write": round(first - at["out of recovery"], 3),
            "service_running": self.change.seconds if self.change else None,
            "no_writes": round(first - at["fence up"], 3) if "fence up" in at else None,
            "leaves_out": LEFT_OUT,
        }

    @property
    def run(self) -> str:
        """The id of this run, as the report and the fence have it."""
        return str(self.record.report["run"])

    @property
    def is_promoted(self) -> bool:
        return self.change is not None and self.change.outcome in ("promoted", "adopted")

    @property
    def digest(self) -> str:
        """What an approval is for: who is what, and how each check ended."""
        ends = [end.key if end else None for end in (self.seen.primary, self.seen.standby)]
        told = [self.seen.link_state, ends, [(check.id, check.result) for check in self.checks if check.id != "canary"]]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
