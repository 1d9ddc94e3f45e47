# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules, as AnsibleModule and ArgumentSpecValidator take them; `postgres_specs` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
MODULE_CONNECTION: dict[str, Any] = {"connection": {"type": "dict", "options": _CONNECTION}, **CONNECTION}

WAITING: dict[str, Any] = {
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
        **WAITING,
        **MODULE_CONNECTION,
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
    name for name in REPLICATION_LINK["argument_spec"] if name not in ("settle_timeout", *MODULE_CONNECTION)
)
_OF_ONE_LINK = ("dr_instance_id", "task_name", "dry_run_task_id")
# An entry has no defaults: what it leaves out is taken from the options beside the list.
ENTRY: dict[str, Any] = {
    **{
        name: {key: value for key, value in REPLICATION_LINK["argument_spec"][name].items() if key != "default"}
        for name in LINK_OPTIONS
    },
    "connection": MODULE_CONNECTION["connection"],
}

REPLICATION_LINKS: dict[str, Any] = {
    "argument_spec": {
        "links": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
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
        **MODULE_CONNECTION,
    },
    "supports_check_mode": True,
}

REPLICATION_LINK_REBUILD: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "confirm": {"type": "str"},
        **WAITING,
        **MODULE_CONNECTION,
    },
    "supports_check_mode": True,
}

API_CHECK: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "source_instance_name": {"type": "str"},
        "source_instance_region_id": {"type": "str"},
        **MODULE_CONNECTION,
    },
    "required_together": [("source_instance_name", "source_instance_region_id")],
    "supports_check_mode": True,
}


def validated_by(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a specification that validates options, as ArgumentSpecValidator takes it."""
    names = ("argument_spec", "mutually_exclusive", "required_together", "required_one_of", "required_if")
    return {name: spec[name] for name in names if name in spec}
