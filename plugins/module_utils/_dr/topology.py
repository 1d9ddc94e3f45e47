# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A link as its DR instance describes it: who is primary, who is the DR instance, does data stream.

The primary is not asked: its region may be down. Source: the fields of DescribeDBInstanceAttribute (RDS API
2014-08-15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    Caller,
    Source,
    Task,
    as_text,
    describe,
    link_source,
    read_instance,
    read_tasks,
)

_STATES = {
    "streaming": "data streams",
    "creating": "the link is being made",
    "disconnect": "the link is broken",
    "unknown": "the log does not tell whether data streams",
    "none": "no link is told",
}


@dataclass(frozen=True)
class Side:
    """One end of a link. What is None was not read, or not told."""

    instance_id: str
    region_id: str | None = None
    status: str | None = None
    engine_version: str | None = None
    lock_mode: str | None = None
    connection_string: str | None = None
    port: str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something works on the instance, or it is not up."""
        return self.status not in (None, "Running")

    def __str__(self) -> str:
        told = ", ".join(part for part in (self.region_id, self.status or "not asked") if part)
        return f"{self.instance_id} ({told})"


@dataclass(frozen=True)
class Topology:
    """A link as one end describes it. `state`: streaming, creating, disconnect, unknown, or none."""

    primary: Side | None  # None: a source that is no RDS instance
    dr_instance: Side | None  # None: there is no link (any more)
    state: str
    source: Source | None = None
    task: Task | None = None  # the newest of the DR instance

    def as_result(self) -> dict[str, Any]:
        """Return it as playbooks see it."""
        sides = {name: getattr(self, name) for name in ("primary", "dr_instance")}
        return {**{name: asdict(side) if side else None for name, side in sides.items()}, "link_state": self.state}

    def __str__(self) -> str:
        """Say who is what, in a sentence or two for somebody who has to act on it."""
        if self.dr_instance is None:
            return f"Now: {self.primary} is a primary without a DR instance."
        primary = self.primary or (describe(self.source) if self.source else "an unknown source")
        return f"Now: {primary} is primary; {self.dr_instance} is its DR instance; {_STATES[self.state]}."


def as_side(instance_id: str, instance: Mapping[str, Any]) -> Side:
    """Return an end of a link from its attributes."""
    fields = ("RegionId", "DBInstanceStatus", "EngineVersion", "LockMode", "ConnectionString", "Port")
    return Side(instance_id, *(as_text(instance.get(name)) for name in fields))


def look_from_dr(client: Caller, dr_instance_id: str) -> tuple[Topology, dict[str, Any]]:
    """Return the topology as the DR instance tells it, and its raw attributes; `dr_instance` is None without a link."""
    instance = read_instance(client, dr_instance_id)
    source = link_source(instance)
    side = as_side(dr_instance_id, instance)
    if source is None:
        return Topology(side, None, "none"), instance
    task = next(iter(read_tasks(client, dr_instance_id, CREATE)), None)
    primary = Side(source.instance_name, source.region_id) if source.instance_name else None
    return Topology(primary, side, state_of(task), source, task), instance


def state_of(task: Task | None) -> str:
    """Return the state of a link by the newest row of its DR instance's log; a row that ended long ago may not tell."""
    if task is None or task.replication_state == "finish":
        return "unknown"
    if task.is_streaming:
        return "streaming" if task.replication_state else "unknown"
    if task.replication_state == "disconnect" or task.status == "failure":
        return "disconnect"
    return "creating"
