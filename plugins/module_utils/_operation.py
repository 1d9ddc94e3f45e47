# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to its result. Knows Ansible's words (changed, failed, diff, warnings), not AnsibleModule.

A result has the same keys in check mode, after a change, and after a failure; what is not known is null or empty.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils import _client
from ansible_collections.alicloud.rds.plugins.module_utils._credentials import resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._precheck import Check, Subject, parse_report, warned
from ansible_collections.alicloud.rds.plugins.module_utils._replication_link import (
    CREATE,
    DEFAULT_PORT,
    DRY_RUN,
    Desired,
    ReplicationLinks,
    Result,
    Source,
    Task,
    current_link,
    instance_as_result,
    task_as_result,
)

_REGION_VARIABLES = ("ALIBABA_CLOUD_REGION_ID", "ALIBABA_CLOUD_REGION", "ALICLOUD_REGION", "ALICLOUD_REGION_ID")
_ENDPOINT_VARIABLE = "ALIBABA_CLOUD_RDS_ENDPOINT"
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Operation = Callable[[Mapping[str, Any], _client.Client, bool], dict[str, Any]]


def run(
    operation: Operation,
    parameters: Mapping[str, Any],
    *,
    check_mode: bool,
    diff: bool,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run one operation and return a module result; never raises.

    :param operation: `ensure_link` or `read_link`
    :param parameters: validated options; empty text counts as not given
    :param environment: where credentials, region and endpoint are looked up; the process's by default
    """
    environment = os.environ if environment is None else environment
    options = {name: None if value == "" else value for name, value in parameters.items()}
    base: dict[str, Any] = {**_EMPTY[operation.__name__], "endpoint": None, "credentials": None, "retries": []}
    client = None
    try:
        _check_options(parameters, options)
        client = connect(options, environment)
        base["endpoint"] = str(client.endpoint)
        keys = client.credentials
        base["credentials"] = {"source": keys.source, "access_key_id": keys.access_key_id}
        result = {**base, **operation(options, client, check_mode)}
        before_and_after = result.pop("_diff", None)
        if diff and before_and_after:
            result["diff"] = before_and_after
    except RdsError as error:
        result = {**base, **_failure(error, options, client)}
    except Exception as error:  # its text may quote a URL, and the URL holds the password
        result = {**base, **_failure(_unexpected(error), options, client)}
    finally:
        if client:
            client.close()
    result["retries"] = client.retries if client else []
    return result


def ensure_link(options: Mapping[str, Any], client: _client.Client, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link."""
    waiting = ("wait", "wait_timeout", "wait_interval", "settle_timeout")
    links = ReplicationLinks(client, check_mode=check_mode, **{name: options[name] for name in waiting})
    result = links.ensure(_desired(options))
    fields = _fields(result, options)
    if result.changed:
        link = {key: value for key, value in (result.link or {}).items() if key != "state"}
        fields["_diff"] = {"before_header": "no link", "after_header": "link", "before": {}, "after": link}
    return fields


def read_link(options: Mapping[str, Any], client: _client.Client, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link_info: reads only."""
    name = options["dr_instance_id"]
    links = ReplicationLinks(client, check_mode=check_mode)
    look = links.look(name)
    types = [options["task_type"]] if options["task_type"] else [CREATE, DRY_RUN]
    filters = (options["task_id"], options["task_name"])
    tasks: list[Task] = []
    for task_type in types:
        known = task_type == CREATE and not any(filters)
        tasks += look.tasks if known else links.tasks(name, task_type, *filters)
    return {
        "changed": False,
        "request_id": client.last_request_id,
        "instance": instance_as_result(look.instance),
        "link": current_link(name, look),
        "tasks": [
            {
                **(task_as_result(task) or {}),
                "checks": _checks(parse_report(task.detail, Subject(task.source.account or "", name))),
            }
            for task in sorted(tasks, key=lambda task: task.task_id, reverse=True)
        ],
    }


_EMPTY: dict[str, dict[str, Any]] = {
    "ensure_link": {
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
    "read_link": {"changed": False, "request_id": None, "instance": None, "link": None, "tasks": []},
}


def default_region(environment: Mapping[str, str]) -> str | None:
    """Return the region that the environment names."""
    return next((environment[name] for name in _REGION_VARIABLES if environment.get(name)), None)


def connect(options: Mapping[str, Any], environment: Mapping[str, str]) -> _client.Client:
    """Return a client for the endpoint, with the credentials, that options and environment lead to.

    :param options: all connection options, None where not given
    :raises RdsError: InvalidOptions, or what `resolve_endpoint` and `resolve_credentials` raise
    """
    _refuse(_number_problems(options))
    region = options["region_id"] or default_region(environment)
    endpoint = resolve_endpoint(options["endpoint"] or environment.get(_ENDPOINT_VARIABLE), region, options["network"])
    provider = resolve_credentials(options, environment)
    if not _client.HAS_REQUESTS:
        raise RdsError("MissingLibrary", f"The Python library requests is missing for {sys.executable}.")
    if options["ca_path"] and not os.path.exists(options["ca_path"]):
        raise RdsError("InvalidOptions", f"ca_path {options['ca_path']!r} does not exist.")
    names = ("connect_timeout", "read_timeout", "request_timeout", "max_retries")
    limits = _client.Limits(**{name: options[name] for name in names})
    return _client.Client(endpoint, provider, limits, options["ca_path"])


def _check_options(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse what could only fail later, before anything is sent. Values of secret options are not shown."""
    problems = []
    for name in ("dr_instance_id", "source_instance_name"):
        if options.get(name) and not _IDENTIFIER.fullmatch(options[name]):
            problems.append(f"{name} {options[name]!r} is not an instance id (letters, digits and hyphens)")
    if not options["dr_instance_id"]:
        problems.append("dr_instance_id is empty")
    if given.get("replicator_password") == "":
        problems.append("replicator_password is empty")
    if options.get("replicator_password") and not options.get("replicator_account"):
        problems.append("replicator_account is empty")
    problems += _address_problems(options.get("source_address"))
    if options.get("source_category") == "other" and not options["source_address"]:
        problems.append("source_address is empty; for an RDS source set source_category=aliyunRDS")
    if options.get("source_category") == "aliyunRDS" and not (
        options["source_instance_name"] and options["source_instance_region_id"]
    ):
        problems.append("source_instance_name or source_instance_region_id is empty")
    port = options.get("source_port")
    if port is not None and not 1 <= port <= 65535:
        problems.append(f"source_port {port} is not between 1 and 65535")
    for name in ("dry_run_task_id", "task_id"):
        if options.get(name) is not None and options[name] < 1:
            problems.append(f"{name} {options[name]} is not a task id")
    _refuse(problems + _number_problems(options))


def _number_problems(options: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in ("connect_timeout", "read_timeout", "request_timeout", "wait_interval"):
        if options.get(name) is not None and not options[name] > 0:
            problems.append(f"{name} {options[name]:g} must be greater than 0 seconds")
    for name in ("wait_timeout", "settle_timeout", "max_retries"):
        if options.get(name) is not None and not options[name] >= 0:
            problems.append(f"{name} {options[name]:g} must not be negative")
    return problems


def _refuse(problems: list[str]) -> None:
    if problems:
        raise RdsError("InvalidOptions", f"{'; '.join(problems)}. Nothing was sent.")


def _address_problems(address: str | None) -> list[str]:
    if not address:
        return []
    try:
        ipaddress.ip_address(address)
        return []
    except ValueError:
        pass
    if re.search(r":\d+$", address):
        return [f"source_address {address!r} holds a port: put it into source_port"]
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", address):
        return ["source_address is not a host name or an IP address"]  # not shown: a URL there may hold a password
    return []


def _desired(options: Mapping[str, Any]) -> Desired:
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


def _fields(result: Result, options: Mapping[str, Any]) -> dict[str, Any]:
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
        **_task_fields(result.task, result.checks, options),
    }


def _task_fields(task: Task | None, checks: list[Check], options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task_id": task.task_id if task else None,
        "task_name": task.task_name if task else None,
        "task": task_as_result(task, [options.get("replicator_password") or ""]),
        "checks": _checks(checks),
    }


def _checks(checks: list[Check]) -> list[dict[str, str]]:
    return [check._asdict() for check in checks]


def _failure(error: RdsError, options: Mapping[str, Any], client: _client.Client | None) -> dict[str, Any]:
    """Return a failed result: one message for a person, one object for a playbook, and what is known all the same."""
    known = dict(error.context)
    if "task" in known:
        known.update(_task_fields(known["task"], known.get("checks") or [], options))
    return {
        **known,
        "failed": True,
        "msg": explain(error),
        "outcome": error.outcome,
        "request_id": error.request_id or (client.last_request_id if client else None),
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


def _unexpected(error: Exception) -> RdsError:
    return RdsError("Unexpected", f"Unexpected {_where(error)}.", outcome="unknown")


def _where(error: Exception) -> str:
    """Name class and place of an exception, without its text."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
