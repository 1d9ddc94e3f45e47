# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a link as they stand: who is primary, who is the DR instance, does data stream.

The two instances may be in two regions, and a region is asked at its own endpoint. Source: the fields of
DescribeDBInstanceAttribute (RDS API 2014-08-15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ansible_collections.alicloud.rds.plugins.module_utils._reading import (
    CREATE,
    Caller,
    Source,
    Task,
    as_text,
    comparable,
    describe,
    dr_targets,
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


class Regions(Protocol):
    """How to call the service in a region; None is the region that the task names."""

    def __call__(self, region_id: str | None) -> Caller:
        """Return the client of a region."""


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
    """A link as both ends, or one, describe it. `state`: streaming, creating, disconnect, unknown, or none."""

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


def as_side(instance_id: str, instance: Mapping[str, Any], region_id: str | None = None) -> Side:
    """Return an end of a link from its attributes."""
    fields = ("DBInstanceStatus", "EngineVersion", "LockMode", "ConnectionString", "Port")
    return Side(
        instance_id, as_text(instance.get("RegionId")) or region_id, *(as_text(instance.get(n)) for n in fields)
    )


def look_from_dr(regions: Regions, dr_instance_id: str) -> tuple[Topology, dict[str, Any]]:
    """Return the topology as the DR instance tells it, and its raw attributes; `dr_instance` is None without a link.

    The primary is not asked: its region may be down.
    """
    instance = read_instance(regions(None), dr_instance_id)
    source = link_source(instance)
    side = as_side(dr_instance_id, instance)
    if source is None:
        return Topology(side, None, "none"), instance
    task = _newest_task(regions(None), dr_instance_id)
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


def look_both(regions: Regions, first: Side, second: Side) -> tuple[str, Topology, str]:
    """Ask two instances which of them is primary.

    :returns: ``first``, ``second``, or ``unclear`` if they do not agree; the topology; and what each says, in words
    """
    found = [
        (side.instance_id, side.region_id, read_instance(regions(side.region_id), side.instance_id))
        for side in (first, second)
    ]
    sides = [as_side(name, row, region) for name, region, row in found]
    sources = [link_source(row) for _name, _region, row in found]
    word, dr = "unclear", 0 if sources[0] else 1
    if sources[0] is None and is_of(sources[1], first.instance_id):
        word, dr = "first", 1
    elif sources[1] is None and is_of(sources[0], second.instance_id):
        word, dr = "second", 0
    task = _newest_task(regions(sides[dr].region_id), sides[dr].instance_id)
    state = state_of(task) if sources[dr] else "none"
    said = " ".join(what_it_says(name, row) for name, _region, row in found)
    return word, Topology(sides[1 - dr], sides[dr], state, sources[dr], task), said


def _newest_task(client: Caller, dr_instance_id: str) -> Task | None:
    return next(iter(read_tasks(client, dr_instance_id, CREATE)), None)


def is_of(source: Source | None, instance_id: str) -> bool:
    """Say whether an instance with this source replicates from that instance."""
    return source is not None and comparable(source.instance_name) == comparable(instance_id)


def what_it_says(instance_id: str, instance: Mapping[str, Any]) -> str:
    """Return what an instance says about its role, for a person to compare."""
    source, targets = link_source(instance), dr_targets(instance)
    if source:
        return f"{instance_id} says that it is the DR instance of {describe(source)}."
    if targets:
        return f"{instance_id} says that it is the primary of {', '.join(name for name, _region in targets)}."
    return f"{instance_id} says nothing of a link."
