# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link_fence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_FENCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of, source_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fence import HOLES, Fencer, FenceResult
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Look, look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import PostgresError


def fence(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Put up a fence at the source of a link, or take it down from its record."""
    name, logins = options["dr_instance_id"], logins_of({**options, "canary_table": "dr_link_canary"})
    seen = drive(look(clients.home, clients, Look(name, logins, source_of(options))))
    fencer = Fencer(seen, logins, check_mode, options["timeout"])
    try:
        done = fencer.up(options["method"]) if options["state"] == "up" else fencer.down()
    except PostgresError as error:
        outcome = "unknown" if error.kind in ("unclear", "no_answer") else "failed"
        text = f"{error.text.rstrip('.')}. What the servers have: playbook alicloud.rds.verify."
        raise RdsError("PostgresRefused", text, outcome=outcome) from None
    return _fields(done)


def _fields(done: FenceResult) -> dict[str, Any]:
    return {
        "changed": done.changed,
        "outcome": done.outcome,
        "fence": {
            "state": done.state,
            "method": done.fence.method if done.fence else None,
            "run": done.fence.run if done.fence else None,
            "since": done.fence.since if done.fence else None,
            "originals": dict(done.fence.originals) if done.fence else {},
            "holes": HOLES if done.fence and done.fence.method == "system" else None,
        },
        "said": done.said,
        "_diff": {"before": f"fence: {done.before}\n", "after": f"fence: {done.state}\n"},
    }


FENCE = Operation(REPLICATION_LINK_FENCE, fence, {"changed": False, "outcome": None, "fence": None, "said": []})
