# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module, in the form that AnsibleModule and ArgumentSpecValidator take."""

from __future__ import annotations

from typing import Any

CONNECTION: dict[str, Any] = {
    "region_id": {"type": "str", "aliases": ["alicloud_region", "region"]},
    "endpoint": {"type": "str"},
    "network": {"type": "str", "choices": ["public", "vpc"], "default": "public"},
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
    "connect_timeout": {"type": "float", "default": 5.0},
    "read_timeout": {"type": "float", "default": 10.0},
    "request_timeout": {"type": "float", "default": 30.0},
    "max_retries": {"type": "int", "default": 5},
}

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
        **CONNECTION,
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

REPLICATION_LINK_INFO: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "task_type": {"type": "str", "choices": ["create", "create-dryrun"]},
        "task_id": {"type": "int"},
        "task_name": {"type": "str"},
        **CONNECTION,
    },
    "supports_check_mode": True,
}

REPLICATION_LINK_PROMOTION: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "mode": {"type": "str", "choices": ["planned", "forced"], "required": True},
        "confirm": {"type": "str"},
        "max_lag_bytes": {"type": "int", "default": 0},
        "measured_lag_bytes": {"type": "int"},
        **_WAITING,
        **CONNECTION,
    },
    "required_if": [("mode", "forced", ("confirm",))],
    "supports_check_mode": True,
}

REPLICATION_LINK_REBUILD: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "confirm": {"type": "str"},
        **_WAITING,
        **CONNECTION,
    },
    "supports_check_mode": True,
}

API_CHECK: dict[str, Any] = {
    "argument_spec": {
        "dr_instance_id": {"type": "str", "required": True},
        "source_instance_name": {"type": "str"},
        "source_instance_region_id": {"type": "str"},
        "dry_run": {"type": "bool", "default": False},
        "source_address": {"type": "str"},
        "source_port": {"type": "int"},
        "replicator_account": {"type": "str"},
        "replicator_password": {"type": "str", "no_log": True},
        "wait_timeout": {"type": "float", "default": 600.0},
        "anonymise": {"type": "bool", "default": True},
        **CONNECTION,
    },
    "required_together": [
        ("replicator_account", "replicator_password"),
        ("source_instance_name", "source_instance_region_id"),
    ],
    "required_if": [
        ("dry_run", True, ("replicator_account",)),
        ("dry_run", True, ("source_address", "source_instance_name"), True),
    ],
    "supports_check_mode": True,
}
