# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look at a link has seen: both ends, what their PostgreSQL reports, and a row that was followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAINTENANCE = "dr_link"  # the database that holds canary and fence record, and is never fenced


@dataclass(frozen=True)
class Problem:
    """Why a server could not be asked: `kind` and `sqlstate` as in PostgresError, `text` in the server's words."""

    kind: str
    text: str
    sqlstate: str | None = None


@dataclass(frozen=True)
class End:
    """One end of a link: the service's attributes, and the facts of its PostgreSQL. What is None was not read."""

    key: str  # its name in `postgres.instances`: the instance id, or "source"
    name: str  # as it is said to people: the instance id, or "the source 10.0.0.1:5432"
    host: str | None = None
    port: int | None = None
    region_id: str | None = None
    status: str | None = None
    lock_mode: str | None = None
    is_elsewhere: bool = False  # whether host or port are the user's, not the service's
    facts: Mapping[str, Any] | None = None  # what postgres.facts_of returns
    problem: Problem | None = None  # why there are no facts
    unread: str = ""  # why the service's attributes could not be read, in a sentence

    def place(self) -> dict[str, Any]:
        """Return what a report says of where it is."""
        where = {"name": self.name, "host": self.host, "port": self.port, "region": self.region_id}
        return {**where, "postgresql": (self.facts or {}).get("version")}


@dataclass(frozen=True)
class Canary:
    """What became of a row that was written at the primary and looked for at the standby."""

    seconds: float | None = None  # until it was seen; None: it was not seen within `patience`
    patience: float = 10.0
    written: bool = False
    write_problem: Problem | None = None  # the writer's message
    read_problem: Problem | None = None  # the reader's message


@dataclass(frozen=True)
class Seen:
    """One look at a link. `standby` is always the instance that was named; without a link, it is that alone."""

    dr_instance_id: str
    link_state: str  # none, creating, streaming, disconnect, unknown: THE link state
    standby: End
    primary: End | None = None  # without a link: the source of the link that has ended, if it is known
    account: str | None = None  # the replication account of the link
    primary_of: str = ""  # the DR instances that it reports as its own
    canary: Canary | None = None  # None: not tried (check mode, skipped, or a side does not answer)
    canary_table: str = "dr_link_canary"
    reported_lag_bytes: int | None = None  # as the service reports it
