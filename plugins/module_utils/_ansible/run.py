# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to its result. Never raises, and knows no AnsibleModule but in `run_module`.

A result has the same keys in check mode, after a change, and after a failure; what is not known is null or empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, effective
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import check_options
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import as_rds_error, failure
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Report


class Operation(NamedTuple):
    """What a module does: its specification, its function, and the keys of a result about which nothing is known."""

    spec: dict[str, Any]
    function: Callable[[Mapping[str, Any], Clients, bool], dict[str, Any]]
    empty: dict[str, Any]


def run_module(module: Any, operation: Operation) -> None:
    """Run an operation with the options of an AnsibleModule, and end the process with its result."""
    result = run(operation, module.params, check_mode=module.check_mode, diff=module._diff)
    result = hidden(result) if module.no_log else result
    for warning in result.pop("warnings", []):
        module.warn(warning)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


def hidden(result: dict[str, Any]) -> dict[str, Any]:
    """Mark the entries of `results`, which Ansible shows as those of a loop, also where the task says no_log."""
    marked = [{**each, "_ansible_no_log": True} for each in result.get("results", [])]
    return {**result, "results": marked} if marked else result


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
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # its text may quote a URL, and the URL holds the password
        known = as_rds_error(error, wrote=clients is not None and clients.has_written())
        result = {**base, **failure(known, options, clients.home.last_request_id if clients else None)}
    finally:
        if clients:
            clients.close()
    result["retries"] = clients.retries() if clients else []
    return result
