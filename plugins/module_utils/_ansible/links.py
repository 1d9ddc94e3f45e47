# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import task_fields
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps, Waiter, drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import (
    DEFAULT_PORT,
    Desired,
    LinkResult,
    ReplicationLinks,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import warned
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Caller, Source


def ensure_link(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Bring the link about that the options describe, or preview it."""
    return drive(link_steps(options, clients.home, waiter_of(options, clients.report), check_mode))


def link_steps(options: Mapping[str, Any], caller: Caller, waiter: Waiter, check_mode: bool) -> Steps[dict[str, Any]]:
    """Do the same in steps, for one link among others."""
    links = ReplicationLinks(caller, waiter, check_mode=check_mode, wait=options["wait"])
    result = yield from links.ensure(desired_link(options))
    fields = _fields(result, options)
    if result.changed:
        link = {key: value for key, value in (result.link or {}).items() if key not in ("state", "lag")}
        fields["_diff"] = {"before_header": "no link", "after_header": "link", "before": {}, "after": link}
    return fields


def desired_link(options: Mapping[str, Any]) -> Desired:
    """Return the link that options describe."""
    address, port = options["source_address"], options["source_port"]
    return Desired(
        dr_instance_id=options["dr_instance_id"],
        source=Source(
            category=options["source_category"],
            address=address,
            port=DEFAULT_PORT if address and port is None else port,
            region_id=options["source_instance_region_id"],
            instance_name=options["source_instance_name"],
            account=options["replicator_account"],
        ),
        password=options["replicator_password"],
        task_name=options["task_name"],
        dry_run_task_id=options["dry_run_task_id"],
    )


def _fields(result: LinkResult, options: Mapping[str, Any]) -> dict[str, Any]:
    name = options["dr_instance_id"]
    warnings = [f"{name}: {check.check}: {check.note} {check.remedy}" for check in warned(result.checks)]
    all_warnings = [*result.warnings, *warnings]
    return {
        "changed": result.changed,
        "outcome": result.outcome,
        "request_id": result.request_id,
        "db_instance_id": result.db_instance_id,
        "plan": result.plan,
        "timeline": result.timeline,
        "link": result.link,
        **({"warnings": all_warnings} if all_warnings else {}),
        **task_fields(result.task, result.checks, options),
    }


LINK = Operation(
    REPLICATION_LINK,
    ensure_link,
    {
        "changed": False,
        "outcome": None,
        "request_id": None,
        "db_instance_id": None,
        "task_id": None,
        "task_name": None,
        "task": None,
        "plan": None,
        "checks": [],
        "timeline": [],
        "link": None,
    },
)
