# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that ask PostgreSQL, and of the role: apart, since a module compiles what it imports."""

from __future__ import annotations

from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import (
    ENTRY,
    LINK_OPTIONS,
    MODULE_CONNECTION,
    REPLICATION_LINK,
    WAITING,
)

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
        "links": {"type": "list", "elements": "dict", "options": ENTRY},
        **{name: ENTRY[name] for name in _SOURCE},
        "postgres": POSTGRES,
        "skip_checks": {"type": "list", "elements": "str", "default": []},
        "max_lag_bytes": {"type": "int", "default": 16 * 1024 * 1024},
        "canary_table": {"type": "str", "default": "dr_link_canary"},
        "canary_timeout": {"type": "float", "default": 10.0},
        "settle_timeout": {"type": "float", "default": 0.0},
        "concurrency": {"type": "int", "default": 8},
        **MODULE_CONNECTION,
    },
    "required_one_of": [("dr_instance_id", "links")],
    "mutually_exclusive": [("dr_instance_id", "links")],
    "supports_check_mode": True,
}

_REPORTED: dict[str, Any] = {
    "rpo_target": {"type": "float"},
    "rto_target": {"type": "float"},
    "report_dir": {"type": "path"},
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
        **_REPORTED,
        **WAITING,
        **MODULE_CONNECTION,
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
        **{name: ENTRY[name] for name in _SOURCE},
        "postgres": {**POSTGRES, "required": True},
        **MODULE_CONNECTION,
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
        **_REPORTED,
        **WAITING,
        **MODULE_CONNECTION,
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
        **MODULE_CONNECTION,
    },
    "required_if": REPLICATION_LINK["required_if"],
    "supports_check_mode": True,
}

# The variables of the role, without their prefix.
DR_LINK: dict[str, Any] = {
    **{name: {**REPLICATION_LINK["argument_spec"][name], "required": False} for name in LINK_OPTIONS},
    "links": {"type": "list", "elements": "dict", "default": [], "options": ENTRY},
    "partial": {"type": "bool", "default": False},
    "connection": MODULE_CONNECTION["connection"],
    "postgres": {"type": "dict", "options": {**_POSTGRES, "instances": {"type": "dict"}}},
    **_REPORTED,
    "metrics_file": {"type": "path"},
    "drill_metrics_file": {"type": "path"},
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
    **{name: {"type": "path"} for name in ("before_promote", "after_promote", "on_failure")},
    "rebuild_confirm": {"type": "str"},
}
