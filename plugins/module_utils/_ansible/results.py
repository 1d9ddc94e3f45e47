# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the values of the domain look like in a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Task, task_as_result


def task_fields(task: Task | None, checks: list[Check], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a result that describe a task and its checks."""
    return {
        "task_id": task.task_id if task else None,
        "task_name": task.task_name if task else None,
        "task": task_as_result(task, [options.get("replicator_password") or ""]),
        "checks": checks_as_result(checks),
    }


def checks_as_result(checks: list[Check]) -> list[dict[str, str]]:
    """Return checks as playbooks see them."""
    return [check._asdict() for check in checks]
