# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with options that no specification can express, found before anything is sent."""

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
