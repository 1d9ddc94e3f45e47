# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service tells of instances and links, read into values. Knows no Ansible and no HTTP, and changes nothing.

Answers are read by allow-lists, since rows and DisasterRecoveryInfo hold passwords. Sources: the pages of
DescribeDBInstanceAttribute and DescribeReplicationLinkLogs (RDS API 2014-08-15) and the models of the official SDKs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import printable, scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import other_lines

CREATE, DRY_RUN = "create", "create-dryrun"
PAGE_SIZE = 30  # the documentation's example; limits are not stated
MOST_PAGES = 200
MOST_TASKS = MOST_PAGES * PAGE_SIZE
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_STREAMING = ("steaming", "streaming")  # the API spells it without r


class Caller(Protocol):
    """What the domain needs of a client."""

    last_request_id: str | None

    def call(self, action: str, parameters: Mapping[str, str], *, repeatable: bool) -> dict[str, Any]:
        """Call an operation, as `Client.call` does."""


@dataclass(frozen=True)
class Source:
    """The source of a link. None: not given, or not told by the service."""

    category: str | None
    address: str | None = None
    port: int | None = None
    region_id: str | None = None
    instance_name: str | None = None
    account: str | None = None

    def differences(self, other: Source) -> list[str]:
        """Return what is told on both sides and differs. The account is not part of what a source is."""
        return [
            f"{name} {mine!r} is not {theirs!r}"
            for name in ("category", "address", "port", "region_id", "instance_name")
            if (mine := comparable(getattr(self, name))) is not None
            and (theirs := comparable(getattr(other, name))) is not None
            and mine != theirs
        ]

    def address_and_port(self) -> tuple[Any, int | None]:
        return comparable(self.address), self.port

    def place(self) -> dict[str, Any]:
        """Return what the source is, without the account."""
        return {name: value for name, value in asdict(self).items() if name != "account"}


@dataclass(frozen=True)
class Task:
    """A row of the task log, without its password. Times are the service's, UTC."""

    task_id: int
    task_name: str | None
    task_type: str | None
    status: str | None = None  # success, failure, running
    stage: str | None = None  # precheck, basebackup, startup, increment
    replication_state: str | None = None  # streaming (however the service spells it), finish, disconnect
    replication_info: str | None = None
    created: str | None = None
    modified: str | None = None
    target_instance_id: str | None = None
    source: Source = Source(None)
    detail: str = ""

    def age(self) -> tuple[str, int]:
        """Return what sorts tasks, oldest first. No page says that ids grow, so they only part tasks of one second."""
        return self.created or "", self.task_id

    @property
    def is_streaming(self) -> bool:
        """Whether data flows: streaming by its own word, or ended well and not disconnected."""
        if self.replication_state in ("streaming", "disconnect"):
            return self.replication_state == "streaming" and (self.status == "success" or self.stage == "increment")
        return self.status == "success"

    @property
    def is_making(self) -> bool:
        """Whether this task is on its way to a link; catching up is the last part of the way."""
        return self.status == "running" and not self.made_link

    @property
    def made_link(self) -> bool:
        """Whether this task came as far as a link."""
        streamed = self.stage == "increment" and self.replication_state in ("streaming", "disconnect", "finish")
        return self.status == "success" or (self.status == "running" and streamed)


@dataclass(frozen=True)
class Lag:
    """How far the DR instance is behind; None where the service does not tell."""

    bytes: int | None = None
    seconds: float | None = None


@dataclass
class Look:
    """What the service says about a DR instance at one moment."""

    instance: dict[str, Any]
    link_source: Source | None  # from DisasterRecoveryInfo
    tasks: list[Task]  # of type create, newest first

    @property
    def newest(self) -> Task | None:
        return self.tasks[0] if self.tasks else None


# -- asking the service ------------------------------------------------------------------------------------------------


def look_at(client: Caller, dr_instance_id: str) -> Look:
    """Read instance and task log: two calls where the log has one page."""
    instance = read_instance(client, dr_instance_id)
    return Look(instance, link_source(instance), read_tasks(client, dr_instance_id, CREATE))


def read_instance(client: Caller, instance_id: str) -> dict[str, Any]:
    """Return the attributes of an instance (DescribeDBInstanceAttribute), raw: may hold secrets."""
    try:
        answer = _read(client, "DescribeDBInstanceAttribute", {"DBInstanceId": instance_id})
    except RdsError as error:
        if error.code.endswith(".NotFound"):
            error.message = f"{instance_id}: {error.message}"
        raise
    items = answer.get("Items")
    rows = items.get("DBInstanceAttribute") if isinstance(items, dict) else None
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        raise unreadable("DescribeDBInstanceAttribute", "no instance in its answer")
    return rows[0]


def read_tasks(
    client: Caller, dr_instance_id: str, task_type: str, task_id: int | None = None, task_name: str | None = None
) -> list[Task]:
    """Return the rows of the task log, newest first, from all pages (DescribeReplicationLinkLogs)."""
    parameters = {"DBInstanceId": dr_instance_id, "TaskType": task_type, "PageSize": str(PAGE_SIZE)}
    if task_id is not None:
        parameters["TaskId"] = str(task_id)
    if task_name is not None:
        parameters["TaskName"] = task_name
    found: dict[int, Task] = {}
    seen = 0
    for page in range(1, MOST_PAGES + 1):
        answer = _read(client, "DescribeReplicationLinkLogs", {**parameters, "PageNumber": str(page)})
        rows = answer.get("Items")
        if not isinstance(rows, list):
            raise unreadable("DescribeReplicationLinkLogs", "no list of tasks in its answer")
        total = as_integer(answer.get("TotalSize"))
        seen += len(rows)
        before = len(found)
        found.update((task.task_id, task) for task in map(_task, rows))
        if (
            len(found) == before
            or len(found) >= MOST_TASKS
            or (total is not None and seen >= total)
            or (total is None and len(rows) < PAGE_SIZE)
        ):
            break
    return sorted(found.values(), key=Task.age, reverse=True)


def _read(client: Caller, action: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Call an operation that changes nothing, whatever becomes of its answer."""
    try:
        return client.call(action, parameters, repeatable=True)
    except RdsError as error:
        if error.outcome == "unknown":
            error.outcome = "not_sent"
        raise


# -- reading its answers -----------------------------------------------------------------------------------------------


def task_as_result(task: Task | None, secrets: Iterable[str] = ()) -> dict[str, Any] | None:
    """Return a task as playbooks see it; `detail` is what its report says beside the checks, without secrets."""
    if task is None:
        return None
    row = asdict(task)
    del row["source"]
    row.update({f"source_{key}": value for key, value in task.source.place().items()})
    row["replicator_account"] = task.source.account
    row["detail"] = other_lines(scrub(task.detail, secrets))
    row["replication_info"] = scrub(task.replication_info, secrets) if task.replication_info else None
    return row


def instance_as_result(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an instance that matter for DR; anything else the service sends is left out."""
    return {name: as_text(instance.get(key)) for name, key in _INSTANCE_FIELDS.items()}


def current_link(dr_instance_id: str, look: Look) -> dict[str, Any] | None:
    """Return the link that the instance reports, None if it reports none."""
    return link_as_result(dr_instance_id, look.link_source, look.newest) if look.link_source else None


_INSTANCE_FIELDS = {
    "db_instance_id": "DBInstanceId",
    "engine": "Engine",
    "engine_version": "EngineVersion",
    "status": "DBInstanceStatus",
    "type": "DBInstanceType",
    "category": "Category",
    "lock_mode": "LockMode",
    "region_id": "RegionId",
    "connection_string": "ConnectionString",
    "port": "Port",
    "description": "DBInstanceDescription",
}


def _task(row: Any) -> Task:
    task_id = as_integer(row.get("TaskId")) if isinstance(row, dict) else None
    if task_id is None:
        raise unreadable("DescribeReplicationLinkLogs", "a task without an id in its answer")
    state = as_text(row.get("ReplicationState"))
    return Task(
        task_id=task_id,
        task_name=as_text(row.get("TaskName")),
        task_type=as_text(row.get("TaskType")),
        status=as_text(row.get("TaskStatus")),
        stage=as_text(row.get("TaskStage")),
        replication_state="streaming" if state in _STREAMING else state,
        replication_info=as_text(row.get("ReplicationInfo")),
        created=as_text(row.get("GmtCreated")),
        modified=as_text(row.get("GmtModified")),
        target_instance_id=as_text(row.get("TargetInstanceId")),
        source=Source(
            category=as_text(row.get("SourceCategory")),
            address=as_text(row.get("SourceAddress")),
            port=as_integer(row.get("SourcePort")),
            account=as_text(row.get("ReplicatorAccount")),
        ),
        detail=as_text(row.get("Detail")) or "",
    )


def link_source(instance: Mapping[str, Any]) -> Source | None:
    """Read DisasterRecoveryInfo, a string that holds JSON; None if the instance is no DR instance."""
    told = as_json(instance, "DisasterRecoveryInfo", dict)
    if not told:
        return None
    return Source(
        category=as_text(told.get("sourceCategory")),
        address=as_text(told.get("sourceAddress")),
        port=as_integer(told.get("sourcePort")),
        region_id=as_text(told.get("sourceInstanceRegionId")),
        instance_name=as_text(told.get("sourceInstanceName")),
        account=as_text(told.get("replicatorAccount")),
    )


def dr_targets(instance: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return id and region of each DR instance that a primary names; empty if it names none, or does not tell."""
    told = [row for row in as_json(instance, "DisasterRecoveryInstances", list) if isinstance(row, dict)]
    found = {as_text(row.get("insName")): as_text(row.get("regionId")) for row in told}
    found.setdefault(as_text(instance.get("GuardDBInstanceId")), None)
    return [(name, region) for name, region in found.items() if name]


def lag_of(task: Task | None) -> Lag:
    """Return the lag in ReplicationInfo, if the service puts JSON there; the page calls the field reserved.

    Bytes: LatestEndLsn minus ReplayLsn. Seconds: ReplayLag, whose unit no page gives; were it bytes, more would be
    read than there is, and a limit would refuse too early.
    """
    try:
        told = json.loads(task.replication_info or "") if task else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return Lag()
    ends = [_LSN.fullmatch(str(told.get(name))) for name in ("LatestEndLsn", "ReplayLsn")]
    newest, replayed = ((int(end[1], 16) << 32) + int(end[2], 16) if end else None for end in ends)
    behind = max(0, newest - replayed) if newest is not None and replayed is not None else None
    seconds = _SECONDS.fullmatch(str(told.get("ReplayLag")))
    return Lag(behind, float(seconds[0]) if seconds else None)


def behind(task: Task) -> str:
    """Say how far the DR instance is behind, empty if the service does not tell."""
    lag = lag_of(task)
    if lag.bytes is None:
        return ""
    return f"{lag.bytes / 2**20:.1f} MiB behind" if lag.bytes >= 2**20 else f"{lag.bytes} bytes behind"


def link_as_result(dr_instance_id: str, source: Source, task: Task | None) -> dict[str, Any]:
    """Return the link as playbooks see it. `state`: planned, creating, streaming, disconnect or unknown."""
    if task is None:
        state = "unknown"
    elif task.task_type == DRY_RUN:
        state = "planned"
    elif task.is_streaming:
        state = "streaming"
    else:
        state = "disconnect" if task.replication_state == "disconnect" else "creating"
    return {
        "dr_instance_id": dr_instance_id,
        "state": state,
        "source_category": source.category,
        "source_address": source.address,
        "source_port": source.port,
        "source_instance_region_id": source.region_id,
        "source_instance_name": source.instance_name,
        "replicator_account": source.account,
        "lag": asdict(lag_of(task)),
    }


def describe(source: Source) -> str:
    where = f"{source.address}:{source.port}" if source.address else ""
    instance = f"instance {source.instance_name} in {source.region_id}" if source.instance_name else ""
    return " of ".join(part for part in (where, instance) if part) or f"a source of category {source.category}"


def comparable(value: Any) -> Any:
    """Names of hosts and instances do not differ by case or a final dot; empty is not told."""
    return value.strip().rstrip(".").lower() or None if isinstance(value, str) else value


def as_text(value: Any) -> str | None:
    """Return printable text, a number as its digits; None for anything else, and for what is empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return printable(value) or None if isinstance(value, str) else None


def as_integer(value: Any) -> int | None:
    """Return a number that may come as text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_json(row: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return what a field of text holds as JSON; empty if it is not there. It may hold a password: never shown.

    :raises RdsError: ReplyUnreadable if it is no JSON, or not of this kind
    """
    told = row.get(key)
    try:
        value = json.loads(told) if isinstance(told, str) and told.strip() else None
    except (ValueError, RecursionError):
        raise unreadable("DescribeDBInstanceAttribute", f"{key} is not JSON") from None
    if value and not isinstance(value, kind):
        raise unreadable("DescribeDBInstanceAttribute", f"{key} is not a JSON {kind.__name__}")
    return value or kind()


def unreadable(action: str, what: str, outcome: str = "not_sent") -> RdsError:
    """Return the error of an answer that makes no sense; its outcome is ``unknown`` after a write."""
    return RdsError(
        "ReplyUnreadable", f"The service answered {action} in a form that cannot be read: {what}.", outcome=outcome
    )
