# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rds_instances
short_description: RDS instances as hosts
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Finds the RDS instances of one or more regions (C(DescribeDBInstances)) and returns each as a host. The name of a
    host is the id of the instance.
  - The file has to be named V(*alicloud_rds.yml), V(*alicloud_rds.yaml), V(*rds_instances.yml) or
    V(*rds_instances.yaml). An option that does not exist is an error.
  - "Variables of a host, null if the service reports nothing: C(rds_instance_id), C(rds_region_id), C(rds_engine),
    C(rds_engine_version), C(rds_status), C(rds_type), C(rds_category), C(rds_class), C(rds_storage_type),
    C(rds_lock_mode), C(rds_description), C(rds_connection_string), C(rds_network_type), C(rds_zone_id), C(rds_vpc_id),
    C(rds_vswitch_id), C(rds_resource_group_id), C(rds_pay_type), C(rds_create_time), C(rds_expire_time),
    C(rds_master_instance_id), C(rds_guard_instance_id), and the list C(rds_dr_roles)."
  - An instance is in the group C(dr_instance) if the service reports it as a DR instance, and in C(dr_source)
    if it has one. The list of instances may not report it, see O(dr_roles).
  - Nothing else is set, no connection either. Plays over these hosts use C(connection=local).
options:
  plugin:
    description:
      - The name of this plugin.
    type: str
    required: true
    choices: [alicloud.rds.rds_instances]
  regions:
    description:
      - Regions to read. Each is called at its own endpoint, unless O(endpoint) is given, which then answers for all.
      - If not given, the region is O(region_id), or the one in E(ALIBABA_CLOUD_REGION_ID), E(ALIBABA_CLOUD_REGION),
        E(ALICLOUD_REGION) or E(ALICLOUD_REGION_ID).
    type: list
    elements: str
  region_id:
    description:
      - The region to read, if it is one. Not together with O(regions).
    type: str
    aliases: [alicloud_region, region]
  engine:
    description:
      - Engine of the instances.
    type: str
    choices: [PostgreSQL, MySQL, SQLServer, MariaDB]
    default: PostgreSQL
  filters:
    description:
      - Filters of C(DescribeDBInstances), by the names that it has. An instance has to pass all of them.
      - These are V(Category), V(ConnectionMode), V(ConnectionString), V(DBInstanceClass), V(DBInstanceId),
        V(DBInstanceStatus), V(DBInstanceType), V(DedicatedHostGroupId), V(DedicatedHostId), V(EngineVersion),
        V(Expired), V(InstanceNetworkType), V(PayType), V(ResourceGroupId), V(SearchKey), V(Tags), V(VSwitchId),
        V(VpcId) and V(ZoneId). V(Tags) is a dictionary of at most five; one that fits is enough.
    type: dict
    default: {}
  dr_roles:
    description:
      - Whether to read the attributes of each instance (C(DescribeDBInstanceAttribute)), one more call for each. Only
        they report reliably which instances are DR instances or sources.
      - Adds the variables C(rds_dr_source), the source of a DR instance (C(category), C(address), C(port),
        C(region_id), C(instance_name)) or null, and C(rds_dr_instances), the DR instances of a source
        (C(instance_id), C(region_id)).
    type: bool
    default: false
extends_documentation_fragment:
  - alicloud.rds._connection
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
notes:
  - Regions are read side by side. A region that is unknown or fails is left out with a warning, and nothing is cached;
    with O(strict) it makes the inventory fail. If all regions fail, the inventory fails.
  - Connection options may be encrypted with Ansible Vault, and may be templates.
  - Values that the service reports are never templates.
  - Needs the RAM actions C(rds:DescribeDBInstances), and C(rds:DescribeDBInstanceAttribute) with O(dr_roles).
seealso:
  - module: alicloud.rds.replication_link
"""

EXAMPLES = r"""
# dr.rds_instances.yml: the empty instances that are to become DR instances. Then link them to their sources:
#   ansible-playbook alicloud.rds.replication_link -i dr.rds_instances.yml -e dr_link_hosts=all
plugin: alicloud.rds.rds_instances
regions: [cn-shanghai, cn-hangzhou]
filters:
  Tags: {purpose: dr}
compose:
  dr_link_dr_instance_id: rds_instance_id
  dr_link_connection: "{'region_id': rds_region_id}"

---
# fleet.rds_instances.yml: every PostgreSQL instance by state, with the groups dr_instance and dr_source.
plugin: alicloud.rds.rds_instances
regions:
  - cn-shanghai
profile: auditor
dr_roles: true
keyed_groups:
  - key: rds_status | lower
    prefix: status
groups:
  locked: rds_lock_mode != 'Unlock'
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/rds_instances
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ansible.template
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import connect, default_region
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import explain
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import CONNECTION
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.instances import listing, read_instances

if hasattr(ansible.template, "trust_as_template"):
    _untrusted = dict  # text is a template only if it is marked as one
else:  # ansible-core 2.18: any text is, if it is not marked
    from ansible.utils.unsafe_proxy import wrap_var as _untrusted

_CONCURRENCY = 8  # regions that are read at once
_ENDINGS = tuple(f"{name}.{ending}" for name in ("alicloud_rds", "rds_instances") for ending in ("yml", "yaml"))


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "alicloud.rds.rds_instances"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(_ENDINGS)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        try:
            aliases = {alias for option in CONNECTION.values() for alias in option.get("aliases", ())}
            unknown = sorted(str(name) for name in config if not self.has_option(name) and name not in aliases)
            if unknown:
                raise RdsError("InvalidOptions", f"There is no option {', '.join(unknown)}. Nothing was sent.")
            hosts = self._hosts(path, cache)
        except AnsibleError:
            raise
        except Exception as error:  # its text may quote a secret
            message = explain(error)
            category = f" ({error.category})" if isinstance(error, RdsError) else ""
            raise AnsibleParserError(f"alicloud.rds.rds_instances: {message}{category}") from None
        for host in hosts:
            self._add(host)

    def _hosts(self, path: str, cache: bool) -> list[dict[str, Any]]:
        """Return the variables of each host, from the cache if it may be used and has them."""
        options = {name: self._plain(name) for name in CONNECTION}
        regions = self._regions(options)
        parameters = listing(self._plain("engine"), self._plain("filters") or {})
        if not self.get_option("cache"):
            return self._read(options, regions, parameters)[0]
        secret = ("access_key_secret", "security_token")
        asked = [{name: options[name] for name in options if name not in secret}, regions, parameters]
        asked.append(self.get_option("dr_roles"))
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        key = f"{self.get_cache_key(path)}_{digest}"  # other options, another list
        if cache:
            try:
                return list(self._cache[key]["hosts"])
            except KeyError:
                pass
        hosts, is_whole = self._read(options, regions, parameters)
        if is_whole:
            self._cache[key] = {"hosts": hosts}
        return hosts

    def _regions(self, options: dict[str, Any]) -> list[str]:
        regions = self._plain("regions")
        if regions and options["region_id"]:
            raise RdsError("InvalidOptions", "regions and region_id are both given: keep one.")
        found = regions or [default_region(options, os.environ)]
        if not all(found):
            raise RdsError("InvalidOptions", "regions is missing: set it, or export ALIBABA_CLOUD_REGION_ID.")
        return list(dict.fromkeys(found))

    def _read(
        self, options: dict[str, Any], regions: list[str], parameters: dict[str, str]
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the hosts of all regions, read side by side, and whether none failed; a region that fails is named."""
        dr_roles = self.get_option("dr_roles")

        def read(region: str) -> list[dict[str, Any]] | Exception:
            try:
                client = connect({**options, "region_id": region}, os.environ)
                try:
                    return read_instances(client, region, parameters, dr_roles)
                finally:
                    client.close()
            except Exception as error:  # its text may quote a secret: it is shown by `explain` alone
                return error

        with ThreadPoolExecutor(min(len(regions), _CONCURRENCY)) as pool:
            found = list(pool.map(read, regions))
        failed = [error for error in found if isinstance(error, Exception)]
        if failed and (self.get_option("strict") or len(failed) == len(regions)):
            raise failed[0]
        for region, error in zip(regions, found, strict=True):
            if isinstance(error, Exception):
                self.display.warning(f"alicloud.rds.rds_instances: region {region} is left out: {explain(error)}")
        return [host for hosts in found if not isinstance(hosts, Exception) for host in hosts], not failed

    def _plain(self, name: str) -> Any:
        """Return an option, templates and vault resolved, as plain values: Ansible's own carry tags."""
        value = self.get_option(name)
        plain = json.loads(json.dumps(self.templar.template(value), default=str))
        return None if plain == "" else plain

    def _add(self, host: dict[str, Any]) -> None:
        variables = _untrusted(host)
        name = self.inventory.add_host(host["rds_instance_id"])
        for variable, value in variables.items():
            self.inventory.set_variable(name, variable, value)
        for role in host["rds_dr_roles"]:
            self.inventory.add_child(self.inventory.add_group(role), name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict)
