# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link_info: reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import checks_as_result
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK_INFO
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, parse_report
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    DRY_RUN,
    Task,
    current_link,
    instance_as_result,
    read_state,
    read_tasks,
    task_as_result,
)


def read_link(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Read the link of an instance and the tasks in its log."""
    name, client = options["dr_instance_id"], clients.home
    state = read_state(client, name)
    types = [options["task_type"]] if options["task_type"] else [CREATE, DRY_RUN]
    filters = (options["task_id"], options["task_name"])
    tasks: list[Task] = []
    for task_type in types:
        known = task_type == CREATE and not any(filters)
        tasks += state.tasks if known else read_tasks(client, name, task_type, *filters)
    return {
        "changed": False,
        "check_mode": check_mode,
        "request_id": client.last_request_id,
        "instance": instance_as_result(state.instance),
        "dr_instances": [{"instance_id": name, "region_id": region} for name, region in state.dr_instances],
        "link": current_link(state),
        "tasks": [
            {
                **(task_as_result(task) or {}),
                "checks": checks_as_result(parse_report(task.detail, Subject(task.source.account or "", name))),
            }
            for task in sorted(tasks, key=Task.age, reverse=True)
        ],
    }


INFO = Operation(
    REPLICATION_LINK_INFO,
    read_link,
    {
        "changed": False,
        "check_mode": None,
        "request_id": None,
        "instance": None,
        "dr_instances": [],
        "link": None,
        "tasks": [],
    },
)
