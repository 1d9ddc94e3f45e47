# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of the modules that change roles, or copy everything again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import refuse
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_PROMOTION
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.report_files import ReportFiles, who_and_with_what
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import checks_as_result
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK_REBUILD
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.failover import Promoter
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fence import HOLES
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.promotion import Failover, Order
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import Guards, RoleChangeResult, RoleChanges
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Lag
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import lag_bytes


def promote(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Make a DR instance a primary of its own; with `postgres`, both servers are asked and the result is proved."""
    if options["postgres"] is None:
        refuse(["fence needs postgres: how to log in at both servers"] * options["fence"])
        guards = Guards(max_lag_bytes=options["max_lag_bytes"], measured_lag_bytes=options["measured_lag_bytes"])
        changes, forced = _role_changes(options, clients, check_mode), options["mode"] == "forced"
        fields = _fields(drive(changes.promote(options["dr_instance_id"], guards, forced=forced)))
        if options["report_dir"]:
            fields.setdefault("warnings", []).append("No report is written: report_dir needs postgres.")
        return fields
    files = ReportFiles(options["report_dir"])
    question = Look(options["dr_instance_id"], logins_of(options), follow_row=not check_mode)
    order = Order(
        question=question,
        forced=options["mode"] == "forced",
        fence=options["fence"],
        method=options["fence_method"],
        max_lag_bytes=options["max_lag_bytes"],
        lag_timeout=options["lag_timeout"],
        skip_checks=tuple(options["skip_checks"]),
        expect=options["expect"],
        rpo_target=options["rpo_target"],
        rto_target=options["rto_target"],
        check_mode=check_mode,
    )

    def changes_of(check_mode: bool) -> RoleChanges:
        return _role_changes(options, clients, check_mode)

    promoter = Promoter(
        clients.home, clients, changes_of, clients.has_written, order, files.keep, **who_and_with_what()
    )
    try:
        done = promoter.run()
    except RdsError as error:
        failover = error.context.pop("failover", None)
        if failover is not None:
            checks = {"checks": failover.checks, "lag": Lag(lag_bytes(failover.seen))}
            error.context = {**_failover(failover, files), **error.context, **checks}
        raise
    return {**(_fields(done.change) if done.change else {}), **_failover(done, files)}


def _failover(done: Failover, files: ReportFiles) -> dict[str, Any]:
    """Return the keys of a result that are about PostgreSQL."""
    fence = {"state": done.fence_state, "method": done.fence.method if done.fence else None}
    fence["holes"] = HOLES if fence["method"] == "system" else None
    change = done.change
    return {
        "changed": bool(change and change.changed) or done.fence_state in ("up", "unknown"),
        "run": done.run,
        "checks": checks_as_result(done.checks),
        "digest": done.digest,
        "events": done.record.report["events"],
        "report": done.record.report,
        "report_file": files.page(done.record.report),
        "fence": fence,
        "said": done.said,
        "transactions_after_fence": done.lost,
        "warnings": [*(change.warnings if change else []), *done.warnings, *filter(None, [files.problem])],
    }


def rebuild(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Copy the source to a DR instance again."""
    changes, confirmed = _role_changes(options, clients, check_mode), options["confirm"] is not None
    return _fields(drive(changes.rebuild(options["dr_instance_id"], confirmed=confirmed)))


def _role_changes(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> RoleChanges:
    return RoleChanges(clients.home, waiter_of(options, clients.report), check_mode=check_mode, wait=options["wait"])


def _fields(done: RoleChangeResult) -> dict[str, Any]:
    before, after = done.before.as_result(), done.after.as_result()
    result = {
        "changed": done.changed,
        "outcome": done.outcome,
        "request_id": done.request_id,
        "task_id": done.task_id,
        "task_name": done.task_name,
        "topology": {"before": before, "after": after},
        "checks": checks_as_result(done.checks),
        "lag": done.lag._asdict(),
        "seconds": done.seconds,
        **({"warnings": done.warnings} if done.warnings else {}),
    }
    if done.changed:
        result["_diff"] = {"before": _roles(before), "after": _roles(after)}
    return result


def _roles(topology: Mapping[str, Any]) -> dict[str, Any]:
    """Return which instance has which role, without the rest."""
    return {name: side.get("instance_id") if isinstance(side, dict) else side for name, side in topology.items()}


_FAILOVER: dict[str, Any] = {
    "run": None,
    "digest": None,
    "events": [],
    "report": None,
    "report_file": None,
    "fence": None,
    "said": [],
    "transactions_after_fence": None,
}
_EMPTY: dict[str, Any] = {
    "changed": False,
    "outcome": None,
    "request_id": None,
    "task_id": None,
    "task_name": None,
    "topology": None,
    "checks": [],
    "lag": {"bytes": None, "seconds": None},
    "seconds": None,
}
PROMOTION = Operation(REPLICATION_LINK_PROMOTION, promote, {**_EMPTY, **_FAILOVER})
REBUILD = Operation(REPLICATION_LINK_REBUILD, rebuild, _EMPTY)
