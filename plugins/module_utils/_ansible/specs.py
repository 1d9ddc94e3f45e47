# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module, as AnsibleModule and ArgumentSpecValidator take them, and what a spec cannot express."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

_POSITIVE = {  # and their units, for the message
    **dict.fromkeys(("connect_timeout", "read_timeout", "request_timeout", "wait_interval", "interval"), " seconds"),
    **dict.fromkeys(("concurrency", "creates_per_second", "reads_per_second", "rate", "duration"), ""),
}
_NOT_NEGATIVE = (
    "wait_timeout",
    "settle_timeout",
    "canary_timeout",
    "silent_after",
    "lag_for",
    "max_retries",
    "max_lag_bytes",
    "measured_lag_bytes",
)
_TABLE = re.compile(r"([a-z_][a-z0-9_]*[.])?[a-z_][a-z0-9_]*")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_CONNECTION: dict[str, Any] = {
    "region_id": {"type": "str", "aliases": ["alicloud_region", "region"]},
    "endpoint": {"type": "str"},
    "network": {"type": "str", "choices": ["public", "vpc"]},
    # not secret: it names the key, and logs of the service hold it
    "access_key_id": {"type": "str", "aliases": ["alicloud_access_key", "access_key"]},
    "access_key_secret": {
        "type": "str",
        "no_log": True,
        "aliases": ["alicloud_secret_key", "secret_access_key", "secret_key"],
    },
    "security_token": {"type": "str", "no_log": True, "aliases": ["alicloud_security_token"]},
    "ecs_role_name": {"type": "str", "aliases": ["role_name"]},
    "profile": {"type": "str"},
    "profile_file": {"type": "path", "aliases": ["shared_credentials_file"]},
    "role_arn": {"type": "str", "aliases": ["alicloud_assume_role_arn", "assume_role_arn"]},
    "role_session_name": {"type": "str", "aliases": ["alicloud_assume_role_session_name", "assume_role_session_name"]},
    "role_session_expiration": {
        "type": "int",
        "aliases": ["alicloud_assume_role_session_expiration", "assume_role_session_expiration"],
    },
    "external_id": {"type": "str"},
    "ca_path": {"type": "path"},
    "connect_timeout": {"type": "float"},
    "read_timeout": {"type": "float"},
    "request_timeout": {"type": "float"},
    "max_retries": {"type": "int"},
}
_DEFAULTS: dict[str, Any] = {
    "network": "public",
    "connect_timeout": 5.0,
    "read_timeout": 10.0,
    "request_timeout": 30.0,
    "max_retries": 5,
}

CONNECTION: dict[str, Any] = {
    name: {**rule, "default": _DEFAULTS[name]} if name in _DEFAULTS else rule for name, rule in _CONNECTION.items()
}
# As one dictionary the same options have no defaults, so that only what is set there wins over what stands beside it.
_MODULE_CONNECTION: dict[str, Any] = {"connection": {"type": "dict", "options": _CONNECTION}, **CONNECTION}

_WAITING: dict[str, Any] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "float", "default": 3600.0},
    "wait_interval": {"type": "float", "default": 30.0},
    "settle_timeout": {"type": "float", "default": 30.0},
}

REPLICATION_LINK: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "source_category": {"type": "str", "choices": ["other", "aliyunRDS"], "default": "other"},
        "source_address": {"type": "str"},
        "source_port": {"type": "int"},
        "source_instance_region_id": {"type": "str"},
        "source_instance_name": {"type": "str"},
        "replicator_account": {"type": "str"},
        "replicator_password": {"type": "str", "no_log": True},
        "task_name": {"type": "str"},
        "dry_run_task_id": {"type": "int"},
        **_WAITING,
        **_MODULE_CONNECTION,
    },
    "required_together": [
        ("replicator_account", "replicator_password"),
        ("source_instance_name", "source_instance_region_id"),
    ],
    "required_if": [
        ("source_category", "other", ("source_address",)),
        ("source_category", "aliyunRDS", ("source_instance_name", "source_instance_region_id")),
    ],
    "supports_check_mode": True,
}

# What may differ from link to link.
LINK_OPTIONS = tuple(
    name for name in REPLICATION_LINK["argument_spec"] if name not in ("settle_timeout", *_MODULE_CONNECTION)
)
_OF_ONE_LINK = ("dr_instance_id", "task_name", "dry_run_task_id")
# An entry has no defaults: what it leaves out is taken from the options beside the list.
_ENTRY: dict[str, Any] = {
    **{
        name: {key: value for key, value in REPLICATION_LINK["argument_spec"][name].items() if key != "default"}
        for name in LINK_OPTIONS
    },
    "connection": _MODULE_CONNECTION["connection"],
}

REPLICATION_LINKS: dict[str, Any] = {
    "argument_spec": {
        "links": {"type": "list", "elements": "dict", "required": True, "options": _ENTRY},
        "plans": {"type": "dict"},
        "concurrency": {"type": "int", "default": 8},
        "creates_per_second": {"type": "float", "default": 9.5},
        **{name: rule for name, rule in REPLICATION_LINK["argument_spec"].items() if name not in _OF_ONE_LINK},
    },
    "supports_check_mode": True,
}

REPLICATION_LINK_INFO: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "task_type": {"type": "str", "choices": ["create", "create-dryrun"]},
        "task_id": {"type": "int"},
        "task_name": {"type": "str"},
        **_MODULE_CONNECTION,
    },
    "supports_check_mode": True,
}

REPLICATION_LINK_REBUILD: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "confirm": {"type": "str"},
        **_WAITING,
        **_MODULE_CONNECTION,
    },
    "supports_check_mode": True,
}

API_CHECK: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "source_instance_name": {"type": "str"},
        "source_instance_region_id": {"type": "str"},
        **_MODULE_CONNECTION,
    },
    "required_together": [("source_instance_name", "source_instance_region_id")],
    "supports_check_mode": True,
}

_POSTGRES: dict[str, Any] = {
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_db": {"type": "str"},
    "ssl_mode": {
        "type": "str",
        "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
        "aliases": ["sslmode"],
    },
    "ca_cert": {"type": "path", "aliases": ["sslrootcert"]},
    "ssl_cert": {"type": "path", "aliases": ["sslcert"]},
    "ssl_key": {"type": "path", "aliases": ["sslkey"]},
    "require_auth": {"type": "str"},
}
# One side of a link may be reached otherwise than the API reports, and by another login.
POSTGRES_INSTANCE: dict[str, Any] = {"host": {"type": "str"}, "port": {"type": "int"}, **_POSTGRES}
_SIDE: dict[str, Any] = {"name": {"type": "str", "required": True}, **POSTGRES_INSTANCE}
POSTGRES: dict[str, Any] = {
    "type": "dict",
    "options": {**_POSTGRES, "instances": {"type": "list", "elements": "dict", "options": _SIDE}},
}

_SOURCE = ("source_category", "source_address", "source_port", "source_instance_region_id", "source_instance_name")
REPLICATION_LINK_VERIFY: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str"},
        "links": {"type": "list", "elements": "dict", "options": _ENTRY},
        **{name: _ENTRY[name] for name in _SOURCE},
        "postgres": POSTGRES,
        "skip_checks": {"type": "list", "elements": "str", "default": []},
        "max_lag_bytes": {"type": "int", "default": 16 * 1024 * 1024},
        "canary_table": {"type": "str", "default": "dr_link_canary"},
        "canary_timeout": {"type": "float", "default": 10.0},
        "settle_timeout": {"type": "float", "default": 0.0},
        "concurrency": {"type": "int", "default": 8},
        **_MODULE_CONNECTION,
    },
    "required_one_of": [("dr_instance_id", "links")],
    "mutually_exclusive": [("dr_instance_id", "links")],
    "supports_check_mode": True,
}

REPLICATION_LINK_PROMOTION: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "mode": {"type": "str", "choices": ["planned", "forced"], "required": True},
        "confirm": {"type": "str"},
        "max_lag_bytes": {"type": "int", "default": 0},
        "measured_lag_bytes": {"type": "int"},
        "postgres": POSTGRES,
        "fence": {"type": "bool", "default": False},
        "fence_method": {"type": "str", "choices": ["database", "system", "hook"], "default": "database"},
        "lag_timeout": {"type": "float", "default": 60.0},
        "skip_checks": {"type": "list", "elements": "str", "default": []},
        "canary_table": {"type": "str", "default": "dr_link_canary"},
        "expect": {"type": "str"},
        **_WAITING,
        **_MODULE_CONNECTION,
    },
    "required_if": [("mode", "forced", ("confirm",))],
    "supports_check_mode": True,
}

REPLICATION_LINK_FENCE: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["up", "down"], "required": True},
        "method": {"type": "str", "choices": ["database", "system", "hook"], "default": "database"},
        "timeout": {"type": "float", "default": 60.0},
        **{name: _ENTRY[name] for name in _SOURCE},
        "postgres": {**POSTGRES, "required": True},
        **_MODULE_CONNECTION,
    },
    "supports_check_mode": True,
}

_QUERY: dict[str, Any] = {
    "sql": {"type": "str", "required": True},
    "expect": {"type": "str", "required": True},
    "database": {"type": "str"},
}
REPLICATION_LINK_DRILL: dict[str, Any] = {
    "argument_spec": {
        "spare_instance_id": {"type": "str", "required": True},
        "spare_region_id": {"type": "str"},
        "dr_instance_id": {"type": "str"},
        **{name: REPLICATION_LINK["argument_spec"][name] for name in _SOURCE},
        "replicator_account": {"type": "str", "required": True},
        "replicator_password": {"type": "str", "no_log": True, "required": True},
        "postgres": {**POSTGRES, "required": True},
        "canary_table": {"type": "str", "default": "dr_link_canary"},
        "rate": {"type": "float", "default": 10.0},
        "duration": {"type": "float", "default": 10.0},
        "queries": {"type": "list", "elements": "dict", "default": [], "options": _QUERY},
        "rpo_target": {"type": "float"},
        "rto_target": {"type": "float"},
        "report_dir": {"type": "path"},
        **_WAITING,
        **_MODULE_CONNECTION,
    },
    "required_if": REPLICATION_LINK["required_if"],
    "supports_check_mode": True,
}

REPLICATION_SOURCE: dict[str, Any] = {
    "argument_spec": {
        **{name: REPLICATION_LINK["argument_spec"][name] for name in _SOURCE},
        "replicator_account": {"type": "str", "required": True},
        "replicator_password": {"type": "str", "no_log": True, "required": True},
        "postgres": {**POSTGRES, "required": True},
        "canary_table": {"type": "str", "default": "dr_link_canary"},
        "fence": {"type": "bool", "default": False},
        **_MODULE_CONNECTION,
    },
    "required_if": REPLICATION_LINK["required_if"],
    "supports_check_mode": True,
}

# The variables of the role, without their prefix.
DR_LINK: dict[str, Any] = {
    **{name: {**REPLICATION_LINK["argument_spec"][name], "required": False} for name in LINK_OPTIONS},
    "links": {"type": "list", "elements": "dict", "default": [], "options": _ENTRY},
    "partial": {"type": "bool", "default": False},
    "connection": _MODULE_CONNECTION["connection"],
    "postgres": {"type": "dict", "options": {**_POSTGRES, "instances": {"type": "dict"}}},
    "report_dir": {"type": "path"},
    "metrics_file": {"type": "path"},
    "skip_checks": {"type": "list", "elements": "str", "default": []},
    "max_lag_bytes": {"type": "int"},
    "lag_timeout": {"type": "float", "default": 60.0},
    "canary_table": {"type": "str", "default": "dr_link_canary"},
    "canary_timeout": {"type": "float"},
    "fence": {"type": "bool", "default": False},
    "fence_method": {"type": "str", "choices": ["database", "system", "hook"], "default": "database"},
    "expect": {"type": "str"},
    "promote_mode": {"type": "str", "choices": ["planned", "forced"]},
    "promote_confirm": {"type": "str"},
    "spare_instance_id": {"type": "str"},
    "spare_region_id": {"type": "str"},
    "drill_instance_id": {"type": "str"},
    "drill_region_id": {"type": "str"},
    "drill_queries": {"type": "list", "elements": "dict", "default": [], "options": _QUERY},
    "drill_rate": {"type": "float", "default": 10.0},
    "drill_duration": {"type": "float", "default": 10.0},
    "rpo_target": {"type": "float"},
    "rto_target": {"type": "float"},
    **{name: {"type": "path"} for name in ("before_promote", "after_promote", "on_failure")},
    "rebuild_confirm": {"type": "str"},
}


def validated_by(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a specification that validates options, as ArgumentSpecValidator takes it."""
    names = ("argument_spec", "mutually_exclusive", "required_together", "required_one_of", "required_if")
    return {name: spec[name] for name in names if name in spec}


def check_options(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse what could only fail later, before anything is sent. Values of secret options are not shown."""
    problems: list[str] = []
    table = options.get("canary_table")
    if table is not None and not _TABLE.fullmatch(table):
        problems.append(f"canary_table {table!r} is not a table's name in small letters, with or without its schema")
    if options.get("links") is not None:  # each entry is checked by itself
        refuse(problems + number_problems(options))
        return
    for name in ("dr_instance_id", "source_instance_name", "spare_instance_id"):
        if options.get(name) and not _IDENTIFIER.fullmatch(options[name]):
            problems.append(f"{name} {options[name]!r} is not an instance id (letters, digits and hyphens)")
    given_id = options.get("dr_instance_id")
    if not given_id and "dr_instance_id" in options and "spare_instance_id" not in options:
        problems.append("dr_instance_id is empty")
    if options.get("confirm") and options["confirm"] != given_id:
        problems.append(f"confirm {options['confirm']!r} is not the id in dr_instance_id ({given_id!r})")
    if options.get("mode") == "forced" and not options["confirm"]:
        problems.append(f"mode=forced loses what has not arrived: set confirm to {given_id!r}")
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
    refuse(problems + number_problems(options))


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


def number_problems(options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the numbers among the options, in sentences."""
    problems = []
    for name, unit in _POSITIVE.items():
        if options.get(name) is not None and not options[name] > 0:
            problems.append(f"{name} {options[name]:g} must be greater than 0{unit}")
    for name in _NOT_NEGATIVE:
        if options.get(name) is not None and not options[name] >= 0:
            problems.append(f"{name} {options[name]:g} must not be negative")
    return problems


def refuse(problems: list[str]) -> None:
    """Raise InvalidOptions if there are problems."""
    if problems:
        raise RdsError("InvalidOptions", f"{'; '.join(problems)}. Nothing was sent.")
