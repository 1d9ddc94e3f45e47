# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module api_check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.ansible_release import __version__ as ansible_version

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import desired_link
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import API_CHECK as SPEC
from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.module_utils._dr.probe import check


def check_api(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Read, and send one dry run if it is asked for, whichever mode the task is run in."""
    category = "aliyunRDS" if options["source_instance_name"] else "other"
    desired = desired_link({**options, "source_category": category, "task_name": None, "dry_run_task_id": None})
    versions = {"ansible-core": ansible_version, "requests": _transport.requests.__version__}
    names = ("dry_run", "wait_timeout", "anonymise")
    known, error = check(clients, desired, versions, **{name: options[name] for name in names})
    known = {"request_id": clients.home.last_request_id, **known}
    if error:
        error.context = known
        raise error
    return known


API_CHECK = Operation(SPEC, check_api, {"changed": False, "request_id": None, "findings": [], "report": None})
