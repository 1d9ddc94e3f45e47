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
from dataclasses import asdict
from typing import Any

from ansible.module_utils.ansible_release import __version__ as ansible_version

from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import profile_region, resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Patience, Tell
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import (
    DEFAULT_PORT,
    Desired,
    ReplicationLinks,
    Result,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check, Subject, parse_report, warned
from ansible_collections.alicloud.rds.plugins.module_utils._dr.probe import check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import Done, Failover, Guards
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    CREATE,
    DRY_RUN,
    Source,
    Task,
    current_link,
    instance_as_result,
    look_at,
    read_tasks,
    task_as_result,
)

_REGION_VARIABLES = ("ALIBABA_CLOUD_REGION_ID", "ALIBABA_CLOUD_REGION", "ALICLOUD_REGION", "ALICLOUD_REGION_ID")
_API_CHECK = ("dry_run", "wait_timeout", "anonymise")
_ENDPOINT_VARIABLE = "ALIBABA_CLOUD_RDS_ENDPOINT"
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Regions:
    """The clients of one task: of its own region, and of those where the other side of a link may be."""

    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str], tell: Tell | None) -> None:
        region = default_region(options, environment)
        self.tell = tell
        self.home = connect({**options, "region_id": region}, environment)
        self._network = options["network"]
        self._is_named = bool(options["endpoint"] or environment.get(_ENDPOINT_VARIABLE))
        self._clients = {region: self.home}

    def __call__(self, region_id: str | None) -> _client.Client:
        """Return the client of a region; an endpoint that was named is used for every region.

        :raises RdsError: InvalidOptions for a region without a known endpoint
        """
        if self._is_named or region_id is None:
            return self.home
        if region_id not in self._clients:
            endpoint = resolve_endpoint(None, region_id, self._network)
            is_home = str(endpoint) == str(self.home.endpoint)
            self._clients[region_id] = self.home if is_home else self.home.at(endpoint)
        return self._clients[region_id]

    def retries(self) -> list[str]:
        """Return why calls were repeated, in all regions."""
        return [text for client in self._every() for text in client.retries]

    def close(self) -> None:
        for client in self._every():
            client.close()

    def _every(self) -> list[_client.Client]:
        return list({id(client): client for client in self._clients.values()}.values())


Operation = Callable[[Mapping[str, Any], Regions, bool], dict[str, Any]]


def run(
    operation: Operation,
    parameters: Mapping[str, Any],
    *,
    check_mode: bool,
    diff: bool,
    environment: Mapping[str, str] | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Run one operation and return a module result; never raises.

    :param operation: one of those below, the operation of a module
    :param parameters: validated options; empty text counts as not given
    :param environment: where credentials, region and endpoint are looked up; the process's by default
    :param tell: is told what each poll of a wait has seen
    """
    environment = os.environ if environment is None else environment
    options = _effective(parameters)
    base: dict[str, Any] = {**_EMPTY[operation.__name__], "endpoint": None, "credentials": None, "retries": []}
    regions = None
    try:
        _check_options(parameters, options)
        regions = Regions(options, environment, tell)
        base["endpoint"] = str(regions.home.endpoint)
        keys = regions.home.credentials
        base["credentials"] = {"source": keys.source, "access_key_id": keys.access_key_id}
        result = {**base, **operation(options, regions, check_mode)}
        before_and_after = result.pop("_diff", None)
        if diff and before_and_after:
            result["diff"] = before_and_after
    except RdsError as error:
        result = {**base, **_failure(error, options, regions)}
    except Exception as error:  # its text may quote a URL, and the URL holds the password
        result = {**base, **_failure(_unexpected(error), options, regions)}
    finally:
        if regions:
            regions.close()
    result["retries"] = regions.retries() if regions else []
    return result


def ensure_link(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link."""
    links = ReplicationLinks(regions.home, check_mode=check_mode, wait=options["wait"], **_patience(options, regions))
    result = links.ensure(_desired(options))
    fields = _fields(result, options)
    if result.changed:
        link = {key: value for key, value in (result.link or {}).items() if key not in ("state", "lag")}
        fields["_diff"] = {"before_header": "no link", "after_header": "link", "before": {}, "after": link}
    return fields


def read_link(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link_info: reads only."""
    name, client = options["dr_instance_id"], regions.home
    look = look_at(client, name)
    types = [options["task_type"]] if options["task_type"] else [CREATE, DRY_RUN]
    filters = (options["task_id"], options["task_name"])
    tasks: list[Task] = []
    for task_type in types:
        known = task_type == CREATE and not any(filters)
        tasks += look.tasks if known else read_tasks(client, name, task_type, *filters)
    return {
        "changed": False,
        "check_mode": check_mode,
        "request_id": client.last_request_id,
        "instance": instance_as_result(look.instance),
        "link": current_link(name, look),
        "tasks": [
            {
                **(task_as_result(task) or {}),
                "checks": _checks(parse_report(task.detail, Subject(task.source.account or "", name))),
            }
            for task in sorted(tasks, key=Task.age, reverse=True)
        ],
    }


def promote(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link_promotion."""
    guards = Guards(max_lag_bytes=options["max_lag_bytes"], measured_lag_bytes=options["measured_lag_bytes"])
    failover = _failover(options, regions, check_mode)
    return _done(failover.promote(options["dr_instance_id"], guards, forced=options["mode"] == "forced"))


def rebuild(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> dict[str, Any]:
    """The operation of module replication_link_rebuild."""
    failover = _failover(options, regions, check_mode)
    return _done(failover.rebuild(options["dr_instance_id"], confirmed=options["confirm"] is not None))


def check_api(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> dict[str, Any]:
    """The operation of module api_check: reads, and one dry run if it is asked for, whichever mode it is run in."""
    category = "aliyunRDS" if options["source_instance_name"] else "other"
    desired = _desired({**options, "source_category": category, "task_name": None, "dry_run_task_id": None})
    versions = {"ansible-core": ansible_version, "requests": _client.requests.__version__}
    known, error = check(regions, desired, versions, **{name: options[name] for name in _API_CHECK})
    known = {"request_id": regions.home.last_request_id, **known}
    if error:
        error.context = known
        raise error
    return known


def _failover(options: Mapping[str, Any], regions: Regions, check_mode: bool) -> Failover:
    patience = Patience(**_patience(options, regions))
    return Failover(regions.home, patience, check_mode=check_mode, wait=options["wait"])


def _patience(options: Mapping[str, Any], regions: Regions) -> dict[str, Any]:
    names = ("wait_timeout", "wait_interval", "settle_timeout")
    return {**{name: options[name] for name in names}, "tell": regions.tell}


def _done(done: Done) -> dict[str, Any]:
    before, after = done.before.as_result(), done.after.as_result()
    result = {
        "changed": done.changed,
        "outcome": done.outcome,
        "request_id": done.request_id,
        "task_id": done.task_id,
        "task_name": done.task_name,
        "topology": {"before": before, "after": after},
        "checks": _checks(done.checks),
        "lag": asdict(done.lag),
        "seconds": done.seconds,
        **({"warnings": done.warnings} if done.warnings else {}),
    }
    if done.changed:
        result["_diff"] = {"before": _roles(before), "after": _roles(after)}
    return result


def _roles(topology: Mapping[str, Any]) -> dict[str, Any]:
    """Return who is what, without the rest."""
    return {name: side.get("instance_id") if isinstance(side, dict) else side for name, side in topology.items()}


_VERB: dict[str, Any] = {
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
_EMPTY: dict[str, dict[str, Any]] = {
    "promote": _VERB,
    "rebuild": _VERB,
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
    "check_api": {"changed": False, "request_id": None, "findings": [], "report": None},
    "read_link": {
        "changed": False,
        "check_mode": None,
        "request_id": None,
        "instance": None,
        "link": None,
        "tasks": [],
    },
}


def default_region(options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """Return the region that the options name, or else the environment, or the profile."""
    named = next((environment[name] for name in _REGION_VARIABLES if environment.get(name)), None)
    return options["region_id"] or named or profile_region(options, environment)


def connect(options: Mapping[str, Any], environment: Mapping[str, str]) -> _client.Client:
    """Return a client for the endpoint, with the credentials, that options and environment lead to.

    :param options: all connection options, None where not given
    :raises RdsError: InvalidOptions, or what `resolve_endpoint` and `resolve_credentials` raise
    """
    _refuse(_number_problems(options))
    region = default_region(options, environment)
    endpoint = resolve_endpoint(options["endpoint"] or environment.get(_ENDPOINT_VARIABLE), region, options["network"])
    provider = resolve_credentials(options, environment)
    if not _client.HAS_REQUESTS:
        raise RdsError("MissingLibrary", f"The Python library requests is missing for {sys.executable}.")
    if options["ca_path"] and not os.path.exists(options["ca_path"]):
        raise RdsError("InvalidOptions", f"ca_path {options['ca_path']!r} does not exist.")
    names = ("connect_timeout", "read_timeout", "request_timeout", "max_retries")
    limits = _client.Limits(**{name: options[name] for name in names})
    return _client.Client(endpoint, provider, limits, options["ca_path"])


def _effective(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task. What is set in `connection` wins; empty text counts as not given."""
    given = {name: value for name, value in (parameters.get("connection") or {}).items() if value not in (None, "")}
    return {name: None if value == "" else value for name, value in {**parameters, **given}.items()}


def _check_options(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse what could only fail later, before anything is sent. Values of secret options are not shown."""
    problems = []
    for name in ("dr_instance_id", "source_instance_name"):
        if options.get(name) and not _IDENTIFIER.fullmatch(options[name]):
            problems.append(f"{name} {options[name]!r} is not an instance id (letters, digits and hyphens)")
    name = options["dr_instance_id"]
    if not name:
        problems.append("dr_instance_id is empty")
    if options.get("confirm") and options["confirm"] != name:
        problems.append(f"confirm {options['confirm']!r} is not the id in dr_instance_id ({name!r})")
    if options.get("mode") == "forced" and not options["confirm"]:
        problems.append(f"mode=forced loses what has not arrived: set confirm to {name!r}")
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
    not_negative = ("wait_timeout", "settle_timeout", "max_retries")
    for name in (*not_negative, "max_lag_bytes", "measured_lag_bytes"):
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


def _failure(error: RdsError, options: Mapping[str, Any], regions: Regions | None) -> dict[str, Any]:
    """Return a failed result: one message for a person, one object for a playbook, and what is known all the same."""
    known = dict(error.context)
    if "task" in known:
        known.update(_task_fields(known["task"], known.get("checks") or [], options))
    elif "checks" in known:
        known.update(checks=_checks(known["checks"]), lag=asdict(known["lag"]))
    known.pop("story", None)
    return {
        **known,
        "failed": True,
        "msg": explain(error),
        "outcome": error.outcome,
        "request_id": error.request_id or (regions.home.last_request_id if regions else None),
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
