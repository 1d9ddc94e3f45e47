# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of the modules that change roles, or copy everything again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import checks_as_result
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import (
    REPLICATION_LINK_PROMOTION,
    REPLICATION_LINK_REBUILD,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import Guards, RoleChangeResult, RoleChanges


def promote(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Make a DR instance a primary of its own."""
    guards = Guards(max_lag_bytes=options["max_lag_bytes"], measured_lag_bytes=options["measured_lag_bytes"])
    changes, forced = _role_changes(options, clients, check_mode), options["mode"] == "forced"
    return _fields(drive(changes.promote(options["dr_instance_id"], guards, forced=forced)))


def rebuild(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Copy the source to a DR instance again."""
    changes, confirmed = _role_changes(options, clients, check_mode), options["confirm"] is not None
    return _fields(drive(changes.rebuild(options["dr_instance_id"], confirmed=confirmed)))


def _role_changes(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> RoleChanges:
    return RoleChanges(clients.home, waiter_of(options, clients.report), check_mode=check_mode, wait=options["wait"])


def _fields(done: RoleChangeResult) -> dict[str, Any]:
    before, after = done.before.as_result(), done.after.as_result()
    result = {
        "changed": done.changed,
        "outcome": done.outcome,
        "request_id": done.request_id,
        "task_id": done.task_id,
        "task_name": done.task_name,
        "topology": {"before": before, "after": after},
        "checks": checks_as_result(done.checks),
        "lag": asdict(done.lag),
        "seconds": done.seconds,
        **({"warnings": done.warnings} if done.warnings else {}),
    }
    if done.changed:
        result["_diff"] = {"before": _roles(before), "after": _roles(after)}
    return result


def _roles(topology: Mapping[str, Any]) -> dict[str, Any]:
    """Return which instance has which role, without the rest."""
    return {name: side.get("instance_id") if isinstance(side, dict) else side for name, side in topology.items()}


_EMPTY: dict[str, Any] = {
    "changed": False,
    "outcome": None,
    "request_id": None,
    "task_id": None,
    "task_name": None,
    "topology": None,
    "checks": [],
    "lag": {"bytes": None, "seconds": None},
    "seconds": None,
}
PROMOTION = Operation(REPLICATION_LINK_PROMOTION, promote, _EMPTY)
REBUILD = Operation(REPLICATION_LINK_REBUILD, rebuild, _EMPTY)
