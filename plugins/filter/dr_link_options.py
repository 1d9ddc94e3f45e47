# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter dr_link_options: variables as people, surveys and command lines write them, as options of the modules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dr_link_options
short_description: Convert the variables of the role dr_link to options of the modules
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Converts text to the type of each option (V("false") is false), as C(-e name=value) and surveys of AWX give it.
  - Null and blank mean that a variable is not set. A name that the role does not know is a problem, with a proposal.
  - The result holds passwords. Use it in a variable, not in a fact.
positional: _input
options:
  _input:
    description: All variables whose names begin with C(dr_link_), by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the ids of the links that the variables describe
  ansible.builtin.debug:
    msg: "{{ {'dr_link_dr_instance_id': 'pgm-1', 'dr_link_wait': 'no'} | alicloud.rds.dr_link_options }}"
"""

RETURN = r"""
_value:
  description:
    - The options by name, without the prefix, those not set left out. C(links) has one entry a link, completed by the
      options beside the list. C(problems) lists what is wrong, in sentences; the other keys count only if it is empty.
  type: dict
"""

from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.role import options_of


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"dr_link_options": options_of}
