# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_links: many links in one task."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients, effective, waiter_of
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK, link_steps
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import check_options, refuse
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import as_rds_error, failure
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import (
    REPLICATION_LINK,
    REPLICATION_LINKS,
    validated_by,
)
from ansible_collections.alicloud.rds.plugins.module_utils._api.client import Client
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.pace import Pace
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet import Fleet, FleetCaller

_OPEN = ("planned", "creating")  # states of a link in which a run has something to do
_WORST = ("unknown", "running", "failed", "refused", "not_sent")
_ONE = ArgumentSpecValidator(**validated_by(REPLICATION_LINK))


def ensure_links(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Bring all links about that the options describe, or preview them; each ends with a result of its own."""
    entries = [_planned(options, entry_of(options, link)) for link in options["links"]]
    _refuse_wrong(entries, options)
    names = [entry["dr_instance_id"] for entry in entries]
    pools = Pools(clients, Pace("CreateReplicationLink", options["creates_per_second"]))
    fleet: Fleet[dict[str, Any]] = Fleet(options["concurrency"], clients.report, _word(options, check_mode))
    try:
        callers = [FleetCaller(pools.of(entry), fleet) for entry in entries]
        jobs = [
            link_steps(entry, caller, waiter_of(entry, fleet.progress_of(entry["dr_instance_id"])), check_mode)
            for entry, caller in zip(entries, callers, strict=True)
        ]
        ended = fleet.run(names, jobs)
    finally:
        pools.close()
    results = [_result(*each) for each in zip(entries, callers, ended, strict=True)]
    return _summary(results)


def entry_of(options: Mapping[str, Any], link: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one link: its own, else those beside the list."""
    own = {name: value for name, value in link.items() if value is not None}
    rest = {name: value for name, value in options.items() if name not in ("links", "plans", "connection")}
    return effective({"task_name": None, "dry_run_task_id": None, **rest, **own})


def _planned(options: Mapping[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    plan = (options["plans"] or {}).get(entry["dr_instance_id"])
    return {**entry, "dry_run_task_id": plan} if plan is not None and entry["dry_run_task_id"] is None else entry


def _refuse_wrong(entries: Sequence[dict[str, Any]], options: Mapping[str, Any]) -> None:
    """Refuse wrong entries, all of them at once, before anything is sent."""
    names = [str(entry["dr_instance_id"]) for entry in entries]
    problems = twice(names)
    unknown = sorted(set(options["plans"] or {}) - set(names))
    problems += [f"plans names {', '.join(unknown)}, and links does not"] * bool(unknown)
    for name, entry in zip(names, entries, strict=True):
        # `connection` is in the other options by now, where what it leaves out counts.
        known = REPLICATION_LINK["argument_spec"].keys() - {"connection"}
        given = {key: value for key, value in entry.items() if key in known and value is not None}
        validation = _ONE.validate(given)
        entry.update({key: value for key, value in validation.validated_parameters.items() if key in known})
        wrong = [text.rstrip(".") for text in validation.error_messages]
        try:
            if not wrong:
                check_options(entry, entry)
        except RdsError as error:
            wrong = [error.message.removesuffix(". Nothing was sent.")]
        problems += [f"{name}: {text}" for text in wrong]
    refuse(problems)


def twice(names: Sequence[str]) -> list[str]:
    """Return which ids are in a list more than once, in sentences."""
    return [f"links names {name} {count} times" for name, count in Counter(names).items() if count > 1]


def _result(entry: dict[str, Any], caller: FleetCaller, ended: dict[str, Any] | BaseException) -> dict[str, Any]:
    """Return what the module of a single link would, without what all links share."""
    base = {"dr_instance_id": entry["dr_instance_id"], **LINK.empty, "failed": False}
    if not isinstance(ended, BaseException):
        if ended["outcome"] == "unchanged":  # every night, for each link: only what is worth reading
            ended["checks"] = [check for check in ended["checks"] if check["result"] != "success"]
        return {**base, **ended}
    return {**base, **failure(as_rds_error(ended), entry, caller.last_request_id)}


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of the task; raise it if a link failed, with a line for each."""
    changed = {each["dr_instance_id"]: each.pop("_diff") for each in results if "_diff" in each}
    warnings = [text for each in results for text in each.pop("warnings", [])]
    bad = [each for each in results if each["failed"]]
    good = [each for each in results if not each["failed"]]
    plans = {each["dr_instance_id"]: each["plan"] for each in good if each["outcome"] == "previewed"}
    summary: dict[str, Any] = {
        "changed": any(each["changed"] for each in results),
        "outcomes": dict(Counter(each["outcome"] for each in results)),
        "plans": {name: plan["task_id"] for name, plan in plans.items() if not plan["ended_link_task_id"]},
        "ended": {name: plan["task_id"] for name, plan in plans.items() if plan["ended_link_task_id"]},
        "pending": [each["dr_instance_id"] for each in good if each["link"]["state"] in _OPEN],
        "results": results,
        **({"warnings": warnings} if warnings else {}),
    }
    if bad:
        outcome = next(word for word in (*_WORST, "failed") if any(each["outcome"] == word for each in bad))
        raise links_failed("LinksFailed", bad, outcome, summary)
    if changed:
        after = {name: diff["after"] for name, diff in changed.items()}
        summary["_diff"] = {"before_header": "no link", "after_header": "links", "before": {}, "after": after}
    return summary


def links_failed(code: str, bad: Sequence[Mapping[str, Any]], outcome: str, summary: dict[str, Any]) -> RdsError:
    """Return the error of a task in which some links failed, with a line for each of these."""
    lines = "\n".join(f"{each['dr_instance_id']}: {each['msg']}" for each in bad)
    text = f"{len(bad)} of {len(summary['results'])} links failed.\n{lines}\n"
    return RdsError(code, text, outcome=outcome, context=summary)


def _word(options: Mapping[str, Any], check_mode: bool) -> str:
    return "previewed" if check_mode else "streaming" if options["wait"] else "started"


@dataclass
class Pools:
    """A client for each thread, of each set of connection options that the entries have."""

    clients: Clients
    pace: Pace | None = None
    _pools: dict[str, Callable[[], Client]] = field(default_factory=dict)
    _homes: list[Clients] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, entry: Mapping[str, Any], region_id: str | None = None) -> Callable[[], Client]:
        """Return what gives a thread its client for an entry, or for another region with the entry's options.

        :raises RdsError: InvalidOptions for a region without a known endpoint
        """
        key = json.dumps([entry.get("connection") or {}, region_id], sort_keys=True)
        with self._lock:
            if key not in self._pools:
                home = self.clients
                if entry.get("connection") or region_id:
                    home = Clients({**entry, "region_id": region_id or entry["region_id"]}, home.environment, None)
                    self._homes.append(home)
                self._pools[key] = self._pool(home)
            return self._pools[key]

    def _pool(self, home: Clients) -> Callable[[], Client]:
        local, make = threading.local(), home.home.for_threads(self.pace)

        def client() -> Client:
            if not hasattr(local, "client"):
                local.client = make()
                self.clients.also(local.client)
            own: Client = local.client
            return own

        return client

    def close(self) -> None:
        for home in self._homes:
            home.close()


LINKS = Operation(
    REPLICATION_LINKS,
    ensure_links,
    {"changed": False, "outcomes": {}, "plans": {}, "ended": {}, "pending": [], "results": []},
)
