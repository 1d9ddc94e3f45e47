# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a link as one of them reports it, for whoever changes their roles. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    DrInstanceState,
    Source,
    as_text,
    describe,
    is_busy,
)

_STATES = {
    "streaming": "data streams",
    "creating": "the link is being created",
    "disconnect": "the link is broken",
    "unknown": "the log does not report whether data streams",
    "none": "no link is reported",
}


class Side(NamedTuple):
    """One end of a link. What is None was not read, or not reported."""

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
        return is_busy(self.status)

    def __str__(self) -> str:
        parts = ", ".join(part for part in (self.region_id, self.status or "not asked") if part)
        return f"{self.instance_id} ({parts})"


class Topology(NamedTuple):
    """A link as one end reports it. `link_state` is that of `DrInstanceState`."""

    primary: Side | None  # None: a source that is no RDS instance
    dr_instance: Side | None  # None: there is no link (any more)
    link_state: str
    source: Source | None = None

    def as_result(self) -> dict[str, Any]:
        """Return it as playbooks see it."""
        sides = {name: getattr(self, name) for name in ("primary", "dr_instance")}
        return {
            **{name: side._asdict() if side else None for name, side in sides.items()},
            "link_state": self.link_state,
        }

    def __str__(self) -> str:
        """Say what each end is, in a sentence for somebody who has to act on it."""
        if self.dr_instance is None:
            return f"Now: {self.primary} reports no link."
        primary = self.primary or (describe(self.source) if self.source else "an unknown source")
        return f"Now: {primary} is primary; {self.dr_instance} is its DR instance; {_STATES[self.link_state]}."


def side_of(state: DrInstanceState) -> Side:
    """Return the instance itself, as one end of a link."""
    names = ("RegionId", "DBInstanceStatus", "EngineVersion", "LockMode", "ConnectionString", "Port")
    return Side(state.instance_id, *(as_text(state.instance.get(name)) for name in names))


def topology_of(state: DrInstanceState) -> Topology:
    """Return both ends of the link, as this one reports them."""
    side, source = side_of(state), state.source
    if source is None:
        return Topology(side, None, "none")
    primary = Side(source.instance_name, source.region_id) if source.instance_name else None
    return Topology(primary, side, state.link_state, source)
