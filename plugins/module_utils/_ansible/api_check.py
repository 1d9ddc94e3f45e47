# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module api_check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import API_CHECK as SPEC
from ansible_collections.alicloud.rds.plugins.module_utils._dr.probe import probe


def check_api(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Read, whichever mode the task is run in."""
    names = ("dr_instance_id", "source_instance_name", "source_instance_region_id")
    known, error = probe(clients, *(options[name] for name in names))
    known = {"request_id": clients.home.last_request_id, **known}
    if error:
        error.context = known
        raise error
    return known


API_CHECK = Operation(SPEC, check_api, {"changed": False, "request_id": None, "answers": {}, "report": None})
