# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to its result. Never raises, and knows no AnsibleModule but in `run_module`.

A result has the same keys in check mode, after a change, and after a failure; what is not known is null or empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import (
    Clients,
    effective,
)
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import checks_as_result, task_fields
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import check_options
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Report


@dataclass(frozen=True)
class Operation:
    """What a module does: its specification, its function, and the keys of a result about which nothing is known."""

    spec: dict[str, Any]
    function: Callable[[Mapping[str, Any], Clients, bool], dict[str, Any]]
    empty: dict[str, Any]


def run_module(module: Any, operation: Operation) -> None:
    """Run an operation with the options of an AnsibleModule, and end the process with its result."""
    result = run(operation, module.params, check_mode=module.check_mode, diff=module._diff)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


def run(
    operation: Operation,
    parameters: Mapping[str, Any],
    *,
    check_mode: bool,
    diff: bool,
    environment: Mapping[str, str] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Run one operation and return a module result; never raises.

    :param operation: what the module does
    :param parameters: validated options; empty text counts as not given
    :param environment: where credentials, region and endpoint are looked up; the process's by default
    :param report: gets what each poll of a wait has seen
    """
    environment = os.environ if environment is None else environment
    options = effective(parameters)
    base: dict[str, Any] = {**operation.empty, "endpoint": None, "credentials": None, "retries": []}
    clients = None
    try:
        check_options(parameters, options)
        clients = Clients(options, environment, report)
        base["endpoint"] = str(clients.home.endpoint)
        keys = clients.home.credentials
        base["credentials"] = {"source": keys.source, "access_key_id": keys.access_key_id}
        result = {**base, **operation.function(options, clients, check_mode)}
        before_and_after = result.pop("_diff", None)
        if diff and before_and_after:
            result["diff"] = before_and_after
    except RdsError as error:
        result = {**base, **_failure(error, options, clients)}
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # its text may quote a URL, and the URL holds the password
        result = {**base, **_failure(_unexpected(error, clients), options, clients)}
    finally:
        if clients:
            clients.close()
    result["retries"] = clients.retries() if clients else []
    return result


def _failure(error: RdsError, options: Mapping[str, Any], clients: Clients | None) -> dict[str, Any]:
    """Return a failed result: one message for a person, one object for a playbook, and what is known all the same."""
    known = dict(error.context)
    if "task" in known:
        known.update(task_fields(known["task"], known.get("checks") or [], options))
    elif "checks" in known:
        known.update(checks=checks_as_result(known["checks"]), lag=asdict(known["lag"]))
    known.pop("story", None)
    return {
        **known,
        "failed": True,
        "msg": explain(error),
        "outcome": error.outcome,
        "request_id": error.request_id or (clients.home.last_request_id if clients else None),
        "error": error.as_result(),
    }


def explain(error: Exception) -> str:
    """Return what a person reads about a failure: what happened, what to do, and what to quote to support."""
    if not isinstance(error, RdsError):
        error = _unexpected(error)
    told = [error.code]
    if error.http_status:
        told.append(f"HTTP {error.http_status}")
    if error.request_id:
        told.append(f"request id {error.request_id}")
    return f"{error.message} {error.remedy} [{', '.join(told)}]"


def _unexpected(error: BaseException, clients: Clients | None = None) -> RdsError:
    """Return the error for what nobody foresaw, or for the time-out of the task, which Ansible raises in the middle."""
    if isinstance(error, Exception):
        return RdsError("Unexpected", f"Unexpected {_where(error)}.", outcome="unknown")
    wrote = clients is not None and clients.has_written()
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
