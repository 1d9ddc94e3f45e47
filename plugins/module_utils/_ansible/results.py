# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What values and errors of the domain look like in a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
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


def failure(error: RdsError, options: Mapping[str, Any], last_request_id: str | None) -> dict[str, Any]:
    """Return a failed result: one message for a person, one object for a playbook, and what is known all the same."""
    known = dict(error.context)
    if "task" in known:
        known.update(task_fields(known["task"], known.get("checks") or [], options))
    elif "checks" in known:
        known.update(checks=checks_as_result(known["checks"]), lag=known["lag"]._asdict())
    return {
        **known,
        "failed": True,
        "msg": explain(error),
        "outcome": error.outcome,
        "request_id": error.request_id or last_request_id,
        "error": error.as_result(),
    }


def explain(problem: Exception) -> str:
    """Return what a person reads about a failure: what happened, what to do, and what to quote to support."""
    error = as_rds_error(problem)
    facts = [error.code]
    if error.http_status:
        facts.append(f"HTTP {error.http_status}")
    if error.request_id:
        facts.append(f"request id {error.request_id}")
    # Behind a list, the remedy has a line of its own.
    space = "" if error.message.endswith("\n") else " " if error.message.endswith((".", "!", "?", ":")) else ". "
    return f"{error.message}{space}{error.remedy} [{', '.join(facts)}]"


def as_rds_error(error: BaseException, wrote: bool = True) -> RdsError:
    """Return an error as it is; else one for what nobody foresaw, or for the task's time-out, raised in the middle.

    :param wrote: whether a request had left that may have changed something
    """
    if isinstance(error, RdsError):
        return error
    if isinstance(error, Exception):
        return RdsError("Unexpected", f"Unexpected {_where(error)}.", outcome="unknown")
    text = f"The task was ended from outside ({type(error).__name__}). "
    text += "What has become of the request that was sent is not known." if wrote else "Nothing was changed."
    return RdsError("Interrupted", text, outcome="unknown" if wrote else "not_sent")


def _where(error: BaseException) -> str:
    """Name class and place of an exception, without its text."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
