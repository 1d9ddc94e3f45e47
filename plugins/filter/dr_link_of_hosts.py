# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter dr_link_of_hosts: each host of a play is a link."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dr_link_of_hosts
short_description: Collect the links that the variables of hosts describe
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Converts the C(dr_link_*) variables of each host, as P(alicloud.rds.dr_link_options#filter) does, to one list of
    links, so that a play over many hosts creates all of them in one task.
  - The result holds passwords. Use it in a variable, not in a fact.
positional: _input, hosts
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of hosts, such as C(ansible_play_batch).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Count the links of this play
  ansible.builtin.debug:
    msg: "{{ (hostvars | alicloud.rds.dr_link_of_hosts(ansible_play_batch)).links | length }}"
"""

RETURN = r"""
_value:
  description:
    - The keys C(links), with C(connection) in an entry whose host has C(dr_link_connection), and C(problems), which
      lists what is wrong, in sentences that begin with the name of the host.
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.role import NAMES, links_problems, options_of


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"dr_link_of_hosts": dr_link_of_hosts}


def dr_link_of_hosts(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Return `links` and `problems` of hosts."""
    links: list[dict[str, Any]] = []
    problems: list[str] = []
    for host in hosts:
        variables = hostvars[host]
        options = options_of({name: variables[name] for name in NAMES if name in variables})
        own = options.get("links", [])
        missing = [] if own or options["problems"] else ["dr_link_dr_instance_id is not set."]
        problems += [f"{host}: {text}" for text in (*options["problems"], *missing)]
        connection = {"connection": options["connection"]} if options.get("connection") else {}
        links += [{**connection, **link} for link in own]
    return {"links": links, "problems": problems + links_problems(links)}
