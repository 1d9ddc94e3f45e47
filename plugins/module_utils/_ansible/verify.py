# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation of module replication_link_verify: one link or many, both sides asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import Pools, entry_of, links_failed, twice
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import refuse
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_VERIFY
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import (
    as_rds_error,
    checks_as_result,
    failure,
)
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet import Fleet, FleetCaller
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Logins, Look, look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import failed, listed, warned
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import MAINTENANCE, End, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import Source
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import CHECK_IDS, checks, lag_bytes

_LIBPQ = {
    "login_user": "user",
    "login_password": "password",
    "ssl_mode": "sslmode",
    "ca_cert": "sslrootcert",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
    "require_auth": "require_auth",
    "login_db": "database",
    "host": "host",
    "port": "port",
}
_PAUSE = 1.0  # seconds between two looks
_LINKS = 4  # at work for each thread: most wait for their row, and each holds sessions, maybe all at one source
_EMPTY: dict[str, Any] = {
    "changed": False,
    "outcome": None,
    "request_id": None,
    "checks": [],
    "skipped_checks": [],
    "topology": None,
    "lag_bytes": None,
    "lsn": None,
    "canary_seconds": None,
}


def verify(options: Mapping[str, Any], clients: Clients, check_mode: bool) -> dict[str, Any]:
    """Look at one link, or at many, and return the checks of each. Fails if a check of any has failed."""
    entries = [entry_of(options, link) for link in ([{}] if options["links"] is None else options["links"])]
    names = [entry["dr_instance_id"] for entry in entries]
    wrong = ", ".join(name for name in options["skip_checks"] if name not in CHECK_IDS)
    refuse(
        twice(names)
        + [f"skip_checks names what is no check: {wrong}. The checks are {', '.join(CHECK_IDS)}"] * bool(wrong)
    )
    pools = Pools(clients)
    at_once = _LINKS * options["concurrency"]
    fleet: Fleet[dict[str, Any]] = Fleet(options["concurrency"], clients.report, "verified", at_once)
    try:
        callers = [FleetCaller(pools.of(entry), fleet) for entry in entries]
        jobs = [_steps(entry, caller, pools, fleet, check_mode) for entry, caller in zip(entries, callers, strict=True)]
        ended = fleet.run(names, jobs)
    finally:
        pools.close()
    results = [_result(*each) for each in zip(entries, callers, ended, strict=True)]
    refuse(_unknown_sides(options, results))
    return results[0] if options["links"] is None else _summary(results)


def logins_of(options: Mapping[str, Any]) -> Logins:
    """Return how to log in to PostgreSQL, as `postgres` says."""
    given = options["postgres"]
    if given is None:
        return Logins(canary_table=options["canary_table"])
    common, sides = _parameters(given), {side["name"]: _parameters(side) for side in given["instances"] or []}
    database = common.pop("database", None) or MAINTENANCE
    return Logins(common, sides, database, options["canary_table"])


def source_of(options: Mapping[str, Any]) -> Source:
    """Return the source that options describe, as far as they do."""
    names = ("category", "address", "port", "instance_region_id", "instance_name")
    return Source(*(options[f"source_{name}"] for name in names))


def _unknown_sides(options: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which of `postgres.instances` are no side of any link, in sentences; nothing where a side is not known."""
    ends = [each["topology"][end] for each in results if each["topology"] for end in ("primary", "dr_instance")]
    if not all(each["topology"] for each in results) or None in ends:
        return []
    known = {end["instance_id"] for end in ends}
    wrong = sorted({side["name"] for side in (options["postgres"] or {}).get("instances") or []} - known)
    text = f"postgres.instances names {', '.join(wrong)}, and the sides are {', '.join(sorted(known))}"
    return [text] * bool(wrong)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_LIBPQ[name]: value for name, value in given.items() if name in _LIBPQ and value not in (None, "")}


def _steps(
    options: Mapping[str, Any], caller: FleetCaller, pools: Pools, fleet: Fleet[Any], check_mode: bool
) -> Steps[dict[str, Any]]:
    """Look at one link among others."""
    logins, skipped = logins_of(options), options["skip_checks"]
    follow_row = not check_mode and "canary" not in skipped
    question = Look(options["dr_instance_id"], logins, source_of(options), follow_row, options["canary_timeout"])

    def at(region_id: str | None) -> FleetCaller:
        return FleetCaller(pools.of(options, region_id), fleet)

    deadline = time.monotonic() + options["settle_timeout"]
    while True:
        seen = yield from look(caller, at, question)
        found = checks(seen, options["max_lag_bytes"], skipped)
        if not failed(found) or time.monotonic() >= deadline:
            break
        yield _PAUSE
    result = {
        "outcome": "verified",
        "request_id": caller.last_request_id,
        "checks": checks_as_result(found),
        "skipped_checks": skipped,
        **_measured(seen),
    }
    bad = failed(found)
    if bad:
        notes = listed((f"{check.id}: {check.note}", check.remedy) for check in bad)
        error = RdsError("VerificationFailed", f"{len(bad)} of {len(found)} checks failed:{notes}", outcome="failed")
        return {**result, **failure(error, options, caller.last_request_id)}
    warnings = [f"{seen.dr_instance_id}: {check.id}: {check.note} {check.remedy}" for check in warned(found)]
    return {**result, **({"warnings": warnings} if warnings else {})}


def _measured(seen: Seen) -> dict[str, Any]:
    primary, standby = (end.facts if end and end.facts else {} for end in (seen.primary, seen.standby))
    return {
        "topology": {
            "primary": _side(seen.primary),
            "dr_instance": _side(seen.standby),
            "link_state": seen.link_state,
        },
        "lag_bytes": lag_bytes(seen),
        "lsn": {
            "primary": primary.get("lsn"),
            "received": standby.get("received"),
            "replayed": standby.get("lsn"),
            "replayed_at": standby.get("replayed_at"),
        },
        "canary_seconds": seen.canary.seconds if seen.canary else None,
    }


def _side(end: End | None) -> dict[str, Any] | None:
    if end is None:
        return None
    names = ("region_id", "status", "lock_mode", "host", "port")
    in_recovery = end.facts["standby"] if end.facts else None
    return {"instance_id": end.key, **{name: getattr(end, name) for name in names}, "in_recovery": in_recovery}


def _result(entry: Mapping[str, Any], caller: FleetCaller, ended: dict[str, Any] | BaseException) -> dict[str, Any]:
    base = {"dr_instance_id": entry["dr_instance_id"], **_EMPTY, "failed": False}
    if isinstance(ended, BaseException):
        return {**base, **failure(as_rds_error(ended, wrote=False), entry, caller.last_request_id)}
    return {**base, **ended}


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    bad = [each for each in results if each["failed"]]
    summary = {"changed": False, "results": results}
    warnings = [text for each in results for text in each.pop("warnings", [])]
    summary.update({"warnings": warnings} if warnings else {})
    if bad:
        raise links_failed("VerificationFailed", bad, "failed", summary)
    return summary


VERIFY = Operation(REPLICATION_LINK_VERIFY, verify, {"dr_instance_id": None, **_EMPTY, "results": []})
