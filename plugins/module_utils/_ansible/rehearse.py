# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link_drill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import desired_link
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_DRILL
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.report_files import ReportFiles, who_and_with_what
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.drill import Drill, DrillOrder, Services
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import ReplicationLinks
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import RoleChanges


def drill(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Rehearse a failover on a spare instance, and write the report at every event."""
    files = ReportFiles(options["report_dir"])
    spare = {**options, "dr_instance_id": options["spare_instance_id"], "task_name": None, "dry_run_task_id": None}
    order = DrillOrder(
        desired=desired_link(spare),
        logins=logins_of(options),
        production=options["dr_instance_id"],
        rate=options["rate"],
        duration=options["duration"],
        queries=options["queries"],
        rpo_target=options["rpo_target"],
        rto_target=options["rto_target"],
        check_mode=check_mode,
    )
    client, waiter = clients(options["spare_region_id"]), waiter_of(options, clients.report)
    services = Services(
        client=client,
        at=clients,
        links=lambda dry: ReplicationLinks(client, waiter, check_mode=dry),
        changes=RoleChanges(client, waiter, check_mode=False),
    )
    done = Drill(services, order, files.keep, **who_and_with_what())
    try:
        report = done.run()
    except RdsError as error:
        error.context |= _fields(done.report, files)
        raise
    return {**_fields(report, files), "outcome": report["outcome"]}


def _fields(report: Mapping[str, Any], files: ReportFiles) -> dict[str, Any]:
    is_linked = "create" in (report.get("task_ids") or {})
    is_preview = report["outcome"] == "previewed"
    return {
        "changed": is_linked or is_preview,
        "report": report,
        "report_file": files.page(report),
        "warnings": [files.problem] * bool(files.problem),
    }


DRILL = Operation(
    REPLICATION_LINK_DRILL, drill, {"changed": False, "outcome": None, "report": None, "report_file": None}
)
