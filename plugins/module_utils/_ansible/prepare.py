# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_source: prepares the source of a link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_SOURCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of, source_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import source_end
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import PostgresError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import Problem
from ansible_collections.alicloud.rds.plugins.module_utils._dr.source import Preparation, Step, prepare
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import remedy_for, said


def prepare_source(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Create at a source what a link and its operation need, and return what is there now."""
    logins = logins_of(options)
    end = logins.place(source_end(source_of(options), clients))
    login = logins.of(end)
    if login is None:
        text = f"where {end.name} is, or how to log in there, is not known: set postgres. Nothing was sent."
        raise RdsError("InvalidOptions", text)
    operator = (logins.parameters or {}).get("user")
    wanted = Preparation(
        replicator=options["replicator_account"],
        replicator_password=options["replicator_password"],
        operator=operator if operator != login.parameters.get("user") else None,
        operator_password=(logins.parameters or {}).get("password"),
        canary_table=options["canary_table"],
        database=logins.database,
        fence=options["fence"],
    )
    steps: list[Step] = []
    try:
        for step in prepare(login, wanted, check_mode):
            steps.append(step)
    except PostgresError as error:
        problem = Problem(error.kind, error.text, error.sqlstate)
        text = f"{end.name} {said(end, problem)} {remedy_for(end, problem, is_primary=False)}"
        context = {"steps": [asdict(step) for step in steps]}
        outcome = "unknown" if steps and not check_mode else "not_sent"
        raise RdsError("SourceUnprepared", text, outcome=outcome, context=context) from None
    return _fields(steps, end.name)


def _fields(steps: list[Step], name: str) -> dict[str, Any]:
    changed = [step for step in steps if step.state in ("created", "missing")]
    refused = [step for step in steps if step.state == "refused"]
    result: dict[str, Any] = {
        "changed": bool(changed),
        "outcome": "prepared" if changed else "unchanged",
        "steps": [asdict(step) for step in steps],
        "_diff": {"before": "", "after": "".join(f"{step.what}\n" for step in changed)},
    }
    if refused:
        lines = "\n".join(
            f"{step.what}: {step.message}\n  in database {step.database}: {step.statement};" for step in refused
        )
        text = f"{len(refused)} of {len(steps)} could not be created at {name}. Have this run there:\n{lines}\n"
        raise RdsError("SourceUnprepared", text, outcome="failed", context=result)
    return result


SOURCE = Operation(REPLICATION_SOURCE, prepare_source, {"changed": False, "outcome": None, "steps": []})
