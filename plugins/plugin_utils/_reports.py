# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the modules as files that other systems read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_HELP = {
    "alicloud_rds_link_up": "Whether data streams and no check has failed.",
    "alicloud_rds_link_lag_bytes": "Bytes of WAL between the primary's position and what the standby has replayed.",
    "alicloud_rds_link_checks": "Checks of the last verification by result.",
    "alicloud_rds_link_last_verify_timestamp_seconds": "When the link was verified last.",
}
_DRILL_HELP = {
    "alicloud_rds_drill_passed": "Whether the last drill passed.",
    "alicloud_rds_drill_rpo_seconds": "Largest exposure in the last drill.",
    "alicloud_rds_drill_rto_seconds": "Time from the request to the first row in the last drill.",
    "alicloud_rds_drill_last_timestamp_seconds": "When the last drill ended.",
}


def metrics(results: Mapping[str, Mapping[str, Any]], now: float) -> str:
    """Return verified links in the text format of Prometheus.

    :param results: of module replication_link_verify, by the id of the DR instance
    :param now: seconds since 1970
    """
    lines = []
    for name, text in _HELP.items():
        samples = [sample for instance, result in results.items() for sample in _samples(name, instance, result, now)]
        lines += _gauge(name, text, samples)
    return "\n".join(lines) + "\n"


def drill_metrics(report: Mapping[str, Any], now: float) -> str:
    """Return a drill in the text format of Prometheus; what was not measured is left out.

    :param report: of module replication_link_drill
    :param now: seconds since 1970
    """
    rpo, rto = (report.get(name) or {} for name in ("rpo", "rto"))
    values = [int(report["outcome"] == "passed"), rpo.get("seconds"), rto.get("total"), round(now)]
    label = f'dr_instance_id="{_escaped(report.get("production") or report["instance"])}"'
    lines = []
    for (name, text), value in zip(_DRILL_HELP.items(), values, strict=True):
        lines += _gauge(name, text, [] if value is None else [f"{name}{{{label}}} {value}"])
    return "\n".join(lines) + "\n"


def _gauge(name: str, text: str, samples: list[str]) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *samples] if samples else []


def _samples(name: str, instance: str, result: Mapping[str, Any], now: float) -> Iterator[str]:
    label = f'dr_instance_id="{_escaped(instance)}"'
    topology = result.get("topology") or {}
    if name.endswith("_up"):
        is_up = not result["failed"] and topology.get("link_state") in ("streaming", "unknown")
        yield f"{name}{{{label}}} {int(is_up)}"
    elif name.endswith("_lag_bytes") and result["lag_bytes"] is not None:
        yield f"{name}{{{label}}} {result['lag_bytes']}"
    elif name.endswith("_checks"):
        counts = Counter(check["result"] for check in result["checks"])
        yield from (f'{name}{{{label},result="{word}"}} {counts[word]}' for word in ("success", "warning", "error"))
    elif name.endswith("_seconds"):
        yield f"{name}{{{label}}} {now:.0f}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
