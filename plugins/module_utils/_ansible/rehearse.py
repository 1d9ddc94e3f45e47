# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link_drill."""

from __future__ import annotations

import getpass
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import desired_link
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import refuse
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_DRILL
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.drill import Drill, DrillOrder, Services
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import ReplicationLinks
from ansible_collections.alicloud.rds.plugins.module_utils._dr.report import html, markdown
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import RoleChanges


def drill(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Rehearse a failover on a spare instance, and write the report at every event."""
    folder = options["report_dir"]
    if folder and not os.path.isdir(folder):
        refuse([f"report_dir {folder!r} is not an existing directory"])
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
    done = Drill(services, order, lambda report: _keep(report, folder))
    done.report |= {
        "who": f"{getpass.getuser()}@{platform.node()}",
        "versions": {"python": platform.python_version()},
        "samples": [],
    }
    try:
        report = done.run()
    except RdsError as error:
        error.context |= _fields(done.report, folder)
        raise
    return {**_fields(report, folder), "outcome": report["outcome"]}


def _fields(report: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    is_linked = "create" in (report.get("task_ids") or {})
    is_preview = report["outcome"] == "previewed"
    return {"changed": is_linked or is_preview, "report": report, "report_file": _file(report, folder, "html")}


def _keep(report: Mapping[str, Any], folder: str | None) -> None:
    """Write the report in all forms, each whole or not at all."""
    if folder is None:
        return
    texts = {"json": json.dumps(report, indent=1) + "\n", "md": markdown(report), "html": html(report)}
    for form, text in texts.items():
        path = Path(_file(report, folder, form) or "")
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as draft:
            draft.write(text)
        os.chmod(draft.name, 0o644)
        os.replace(draft.name, path)


def _file(report: Mapping[str, Any], folder: str | None, form: str) -> str | None:
    return os.path.join(folder, f"{report['kind']}-{report['instance']}-{report['run']}.{form}") if folder else None


DRILL = Operation(
    REPLICATION_LINK_DRILL, drill, {"changed": False, "outcome": None, "report": None, "report_file": None}
)
