# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first talk with a real account: asks the service what its documentation leaves open, and writes a report.

It knows two operations, and both only read. The dry run, for those who ask for it, is that of check mode.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Waiter, drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import Desired, ReplicationLinks
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import warned
from ansible_collections.alicloud.rds.plugins.module_utils._dr.probe_findings import (
    UNUSABLE,
    DryRun,
    Finding,
    Reply,
    Seen,
    cleaner,
    findings,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import CREATE, DRY_RUN, PAGE_SIZE, Caller

NOBODY = "pgm-000000000000000000"  # in the form of an id, and no instance has it


class Interview(Seen):
    """Asks the service, and keeps each answer and refusal. It stops asking where the next answer would be the same."""

    def __init__(self, regions: Callable[[str | None], Any], dr_instance_id: str) -> None:
        super().__init__()
        self._regions, self._name = regions, dr_instance_id

    def begin(self) -> None:
        """Read the instance, as it was before any dry run."""
        self._ask("before", None, "DescribeDBInstanceAttribute", self._name)

    def go_on(self, source: str | None, source_region: str | None) -> None:
        """Ask everything else; what a service may find odd comes last."""
        logs = "DescribeReplicationLinkLogs"
        self.replies["instance"] = self.replies["before"]
        if self.dry_run:
            self._ask("instance", None, "DescribeDBInstanceAttribute", self._name)
        for name, kind in (("create", CREATE), ("dry_run", DRY_RUN)):
            self._ask(name, None, logs, self._name, TaskType=kind, PageSize=PAGE_SIZE, PageNumber=1)
        if source:
            self._ask("source", source_region, "DescribeDBInstanceAttribute", source)
        self._ask("any_type", None, logs, self._name, PageSize=PAGE_SIZE, PageNumber=1)
        for size in (1, 50, 100):
            self._ask(f"page_{size}", None, logs, self._name, TaskType=CREATE, PageSize=size, PageNumber=1)
        self._ask("nobody", None, "DescribeDBInstanceAttribute", NOBODY)
        self._ask("nobody_logs", None, logs, NOBODY, TaskType=CREATE, PageSize=PAGE_SIZE, PageNumber=1)

    def failure(self) -> RdsError | None:
        """Return why there was nothing to learn, None if the service told anything of the instance."""
        error = self.replies["before"].error
        if error is None or error.category == "grant_permission":
            return None
        return None if any(not reply.error for reply in self.replies.values()) else error

    def _ask(self, name: str, region: str | None, action: str, instance_id: str, **parameters: Any) -> None:
        if self.stopped:
            return
        given = {"DBInstanceId": instance_id, **{key: str(value) for key, value in parameters.items()}}
        headers: Mapping[str, str] = {}
        try:
            client = self._regions(region)
            try:
                self.replies[name] = Reply(action, client.call(action, given, repeatable=True))
            finally:
                headers = client.last_headers
        except RdsError as error:
            error.outcome = "not_sent" if error.outcome == "unknown" else error.outcome  # nothing that writes was sent
            self.replies[name] = Reply(action, error=error)
            self.stopped = error if error.category in UNUSABLE else None
        self.headers.update(headers)
        if self.skew is None and headers.get("date"):
            with suppress(ValueError, TypeError, OverflowError):
                self.skew = round(time.time() - parsedate_to_datetime(headers["date"]).timestamp())


def check(
    regions: Callable[[str | None], Any],
    desired: Desired,
    versions: Mapping[str, str],
    *,
    dry_run: bool,
    wait_timeout: float,
    anonymise: bool,
) -> tuple[dict[str, Any], RdsError | None]:
    """Ask everything, and return findings and report, and the error if there was nothing to learn.

    :param desired: the link to ask about; its source may be left out but for a dry run
    :param dry_run: whether to send CreateReplicationLink with DryRun=true
    """
    client, source = regions(None), desired.source
    keys = client.credentials
    seen = Interview(regions, desired.dr_instance_id)
    seen.begin()
    if dry_run and not seen.stopped:
        seen.dry_run = _try_dry_run(client, desired, wait_timeout)
    seen.go_on(source.instance_name, source.region_id)
    hidden = {desired.dr_instance_id: "<instance>", source.instance_name or "": "<source>"}
    hidden.update({source.address or "": "<address>", source.account or "": "<account>"})
    hidden[os.path.expanduser("~")] = "~"
    words, secrets = hidden if anonymise else None, [desired.password or ""]
    found, clean = findings(seen, secrets, words), cleaner(secrets, words)
    known = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts = {
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "with": f"alicloud.rds {_collection_version()}, Python {platform.python_version()}, {known}",
        "endpoint": clean(str(client.endpoint)),
        "credentials": f"{clean(keys.source)}, key {keys.access_key_id[:6]}...",
        "sent": "reads, and one dry run (DryRun=true)" if seen.dry_run else "reads only",
    }
    error = seen.failure()
    if error:
        error.message = f"{desired.dr_instance_id}: {error.message}"
    return {"findings": [item._asdict() for item in found], "report": as_markdown(found, facts)}, error


def _try_dry_run(client: Caller, desired: Desired, wait_timeout: float) -> DryRun:
    """Make the dry run of check mode, which is fixed here, and return what became of it; never raises."""
    waiter = Waiter(wait_timeout=wait_timeout, wait_interval=15.0, settle_timeout=0.0)
    try:
        result = drive(ReplicationLinks(client, waiter, check_mode=True).ensure(desired))
    except RdsError as error:
        if error.category == "grant_permission":
            return DryRun("not permitted: rds:CreateReplicationLink", error.message)
        task, checks = error.context.get("task"), error.context.get("checks") or []
        bad = ", ".join(check.id for check in checks if check.result == "error")
        return DryRun(f"failed: {error.code}", bad or error.message, task.task_id if task else None)
    except Exception as error:  # an answer that nobody thought of must not cost the findings
        return DryRun(f"failed: {type(error).__name__}")
    if result.outcome != "previewed":
        return DryRun(f"not sent: the link is there ({result.outcome})")
    bad = ", ".join(check.id for check in warned(result.checks))
    number_of_task = result.task.task_id if result.task else None
    return DryRun(f"passed {len(result.checks)} checks", f"warnings: {bad or 'none'}", number_of_task)


def _collection_version() -> str:
    """Return the version in the collection's own files; a module that was shipped to a host has none of them."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    for name, pattern in (("MANIFEST.json", r'"version":\s*"([^"]+)"'), ("galaxy.yml", r"(?m)^version:\s*(\S+)")):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as file:
                found = re.search(pattern, file.read())
        except OSError:
            continue
        if found:
            return found[1]
    return "of unknown version"


def as_markdown(found: Iterable[Finding], facts: Mapping[str, str]) -> str:
    """Return the report: facts, all answers as a table, then each with evidence and meaning."""
    found = list(found)
    lines = ["# What the RDS API answered", "", "Made by `alicloud.rds.api_check`. It holds no secrets.", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in facts.items()]
    lines += ["", "| question | answer |", "| --- | --- |"]
    lines += [f"| `{item.id}` | {_plain(item.answer)} |" for item in found]
    for item in found:
        lines += ["", f"## {item.id}", "", item.question, "", f"- Answer: {_plain(item.answer)}"]
        lines += [f"- Evidence: {_plain(item.evidence)}"] if item.evidence else []
        lines += [f"- Meaning: {item.meaning}"]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\|`*<>\[\]])", r"\\\1", text)
