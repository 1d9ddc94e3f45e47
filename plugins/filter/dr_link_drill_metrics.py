# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter dr_link_drill_metrics: what a drill has measured, as Prometheus reads it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dr_link_drill_metrics
short_description: Write the last drill as metrics for Prometheus
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Returns the text format of Prometheus, for the textfile collector of the node exporter.
positional: _input
options:
  _input:
    description: RV(alicloud.rds.replication_link_drill#module:report) of M(alicloud.rds.replication_link_drill).
    type: dict
    required: true
  now:
    description: The end of the drill, in seconds since 1970.
    type: float
    required: true
"""

EXAMPLES = r"""
- name: Show metrics
  ansible.builtin.debug:
    msg: "{{ dr_link_operation.report | alicloud.rds.dr_link_drill_metrics(now().timestamp()) }}"
"""

RETURN = r"""
_value:
  description: The metrics, one a line.
  type: str
"""

from typing import Any

from ansible_collections.alicloud.rds.plugins.plugin_utils._reports import drill_metrics


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"dr_link_drill_metrics": drill_metrics}
