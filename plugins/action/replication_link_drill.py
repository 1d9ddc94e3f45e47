# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs alicloud.rds.replication_link_drill in the playbook's process; the module of this name documents it."""

from __future__ import annotations

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.rehearse import DRILL
from ansible_collections.alicloud.rds.plugins.plugin_utils._action import OperationAction


class ActionModule(OperationAction):
    operation = DRILL
