# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The RDS instances of a region, as variables of hosts. Knows no Ansible and no HTTP.

Sources: the pages of DescribeDBInstances and DescribeDBInstanceAttribute (RDS API 2014-08-15).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    MOST_PAGES,
    Caller,
    as_text,
    dr_targets,
    link_source,
    pages,
    read_instance,
    unreadable,
)

FILTERS = frozenset(
    {
        "Category",
        "ConnectionMode",
        "ConnectionString",
        "DBInstanceClass",
        "DBInstanceId",
        "DBInstanceStatus",
        "DBInstanceType",
        "DedicatedHostGroupId",
        "DedicatedHostId",
        "EngineVersion",
        "Expired",
        "InstanceNetworkType",
        "PayType",
        "ResourceGroupId",
        "SearchKey",
        "Tags",
        "VSwitchId",
        "VpcId",
        "ZoneId",
    }
)
PAGE_SIZE = 100  # the most that the page permits
READINGS = 3  # of a list that changes while it is read

_FIELDS = {
    "rds_engine": "Engine",
    "rds_engine_version": "EngineVersion",
    "rds_status": "DBInstanceStatus",
    "rds_type": "DBInstanceType",
    "rds_category": "Category",
    "rds_class": "DBInstanceClass",
    "rds_storage_type": "DBInstanceStorageType",
    "rds_lock_mode": "LockMode",
    "rds_description": "DBInstanceDescription",
    "rds_connection_string": "ConnectionString",
    "rds_network_type": "InstanceNetworkType",
    "rds_zone_id": "ZoneId",
    "rds_vpc_id": "VpcId",
    "rds_vswitch_id": "VSwitchId",
    "rds_resource_group_id": "ResourceGroupId",
    "rds_pay_type": "PayType",
    "rds_create_time": "CreateTime",
    "rds_expire_time": "ExpireTime",
    "rds_master_instance_id": "MasterInstanceId",
    "rds_guard_instance_id": "GuardDBInstanceId",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_NO_HOST = frozenset({"all", "localhost", "ungrouped"})  # these mean something to Ansible


def listing(engine: str, filters: Mapping[str, Any]) -> dict[str, str]:
    """Return filters as the wire has them.

    :raises RdsError: InvalidOptions for a name that DescribeDBInstances does not have, or a value that is no text
    """
    unknown = sorted(str(name) for name in filters if name not in FILTERS)
    if unknown:
        text = f"filters has {', '.join(unknown)}; DescribeDBInstances filters by {', '.join(sorted(FILTERS))}."
        raise RdsError("InvalidOptions", text)
    return {"Engine": engine, **{name: _wire(name, value) for name, value in filters.items()}}


def read_instances(
    client: Caller, region_id: str, parameters: Mapping[str, str], dr_roles: bool = False
) -> list[dict[str, Any]]:
    """Return the variables of each instance; `rds_dr_roles` lists ``dr_instance`` or ``dr_source``.

    :param parameters: of `listing`
    :param dr_roles: whether to read each instance's attributes as well, a call for each
    """
    try:
        rows = _rows(client, {**parameters, "RegionId": region_id, "InstanceLevel": "1", "PageSize": str(PAGE_SIZE)})
        found = [_variables(name, region_id, row) for name, row in rows.items()]
        return [host for host in found if not dr_roles or _add_roles(client, host)]
    except RdsError as error:
        raise replace(error, message=f"{region_id}: {error.message}") from None


def _rows(client: Caller, parameters: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the rows of all pages. An instance that goes moves the next pages, so a list that changes is read anew."""
    told, sent = 0, 0
    for _unused in range(READINGS):
        rows, totals = _reading(client, parameters)
        told, sent = max(totals, default=0), len(rows)
        if len(totals) < 2 and sent >= told:
            return rows
    text = f"the service reported {told} instances and sent {sent}, after {READINGS} readings of its list."
    raise RdsError("ListIncomplete", text)


def _reading(client: Caller, parameters: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], set[int]]:
    """Return the rows by instance id, and each total that a page told."""
    found: dict[str, dict[str, Any]] = {}
    totals: set[int] = set()
    for answer in pages(client, "DescribeDBInstances", parameters):
        items = answer.get("Items")
        rows = items.get("DBInstance") if isinstance(items, dict) else None
        if not isinstance(rows, list):
            raise unreadable("DescribeDBInstances", "no list of instances in its answer")
        before = len(found)
        for row in rows:
            name = _instance_id(row)
            found[name] = {key: row.get(key) for key in _FIELDS.values()}
        total = answer.get("TotalRecordCount")
        if isinstance(total, int) and not isinstance(total, bool):
            totals.add(total)
            last = len(found) >= total
        else:
            last = len(rows) < PAGE_SIZE
        if last or len(found) == before:
            return found, totals
    raise RdsError("InvalidOptions", f"More than {MOST_PAGES * PAGE_SIZE} instances: set filters.")


def _variables(name: str, region_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    host: dict[str, Any] = {"rds_instance_id": name, "rds_region_id": region_id}
    host.update({variable: as_text(row.get(key)) for variable, key in _FIELDS.items()})
    host["rds_dr_roles"] = _roles(host["rds_type"] == "Guard", host["rds_guard_instance_id"])
    return host


def _add_roles(client: Caller, host: dict[str, Any]) -> bool:
    """Add what the attributes of an instance tell of its role; False if the instance is gone by now."""
    try:
        instance = read_instance(client, host["rds_instance_id"])
    except RdsError as error:
        if error.code in ("InvalidDBInstanceName.NotFound", "InvalidDBInstanceId.NotFound"):
            return False
        raise
    source, targets = link_source(instance), dr_targets(instance)
    host["rds_guard_instance_id"] = as_text(instance.get("GuardDBInstanceId")) or host["rds_guard_instance_id"]
    host["rds_dr_source"] = source.place() if source else None
    host["rds_dr_instances"] = [{"instance_id": name, "region_id": region} for name, region in targets]
    is_source = host["rds_guard_instance_id"] or targets
    host["rds_dr_roles"] = _roles(host["rds_type"] == "Guard" or source, is_source)
    return True


def _roles(is_dr_instance: Any, is_source: Any) -> list[str]:
    return [role for role, is_it in (("dr_instance", is_dr_instance), ("dr_source", is_source)) if is_it]


def _instance_id(row: Any, action: str = "DescribeDBInstances") -> str:
    name = row.get("DBInstanceId") if isinstance(row, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _NO_HOST:
        raise unreadable(action, "an instance without a usable id in its answer")
    return name


def _wire(name: str, value: Any) -> str:
    if name == "Tags" and isinstance(value, Mapping):
        return json.dumps({str(key): str(text) for key, text in value.items()}, ensure_ascii=False)
    if value in (None, "") or not isinstance(value, (str, int, float)):
        raise RdsError("InvalidOptions", f"filters: {name} is empty, or neither text nor a number.")
    return str(value)
