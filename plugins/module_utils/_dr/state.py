# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service reports about instances and links, and THE state of a link. Knows no Ansible and no HTTP.

Answers are read by allow-lists, since rows and DisasterRecoveryInfo hold passwords, and they are compared with what was
asked: instance, task type and target. Sources: the pages of DescribeDBInstanceAttribute and DescribeReplicationLinkLogs
(RDS API 2014-08-15) and the models of the official SDKs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import one_line, printable, scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import LONGEST_REPORT, other_lines

CREATE, DRY_RUN = "create", "create-dryrun"
PAGE_SIZE = 30  # the documentation's example; limits are not stated
MOST_PAGES = 200
MOST_SECONDS, MOST_BYTES = 60.0, 32 * 1024 * 1024  # of all pages that are read together
MOST_TASKS = MOST_PAGES * PAGE_SIZE
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_STREAMING = ("steaming", "streaming")  # the API spells it without r


class Caller(Protocol):
    """What the domain needs of a client."""

    last_request_id: str | None

    def call(self, action: str, parameters: Mapping[str, str], *, repeatable: bool) -> dict[str, Any]:
        """Call an operation, as `Client.call` does."""


class Source(NamedTuple):
    """The source of a link. None: not given, or not reported by the service."""

    category: str | None
    address: str | None = None
    port: int | None = None
    region_id: str | None = None
    instance_name: str | None = None
    account: str | None = None

    def differences(self, other: Source) -> list[str]:
        """Return what both sides name and differs. The account is not part of what a source is.

        An RDS instance is its region and its id; it has several endpoints, so its address and port do not count.
        """
        names = ["category", "region_id", "instance_name"]
        if not (self._rds_instance and self._rds_instance == other._rds_instance):
            names[1:1] = ["address", "port"]
        return [
            f"{name} {mine!r} is not {theirs!r}"
            for name in names
            if (mine := comparable(getattr(self, name))) is not None
            and (theirs := comparable(getattr(other, name))) is not None
            and mine != theirs
        ]

    def address_and_port(self) -> tuple[Any, int | None]:
        return comparable(self.address), self.port

    def place(self) -> dict[str, Any]:
        """Return what the source is, without the account."""
        return {name: value for name, value in self._asdict().items() if name != "account"}

    @property
    def _rds_instance(self) -> str | None:
        name: str | None = comparable(self.instance_name)
        return name if comparable(self.category) == "aliyunrds" else None


class Task(NamedTuple):
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
    def link_state(self) -> str:
        """What this row of a create says about the link that it makes, or has made.

        `success` with another word than streaming or disconnect (the page's example is finish) leaves open whether data
        streams now; a failed row says nothing about a link that is reported all the same.
        """
        if self.status == "failure":
            return "unknown"
        if self.status != "success" and self.stage != "increment":
            return "creating"
        if self.replication_state in ("streaming", "disconnect"):
            return self.replication_state
        return "unknown" if self.reached_streaming else "creating"

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for: data streams, or the service calls the task a success."""
        return self.link_state == "streaming" or (self.status == "success" and self.link_state == "unknown")

    @property
    def is_in_progress(self) -> bool:
        """Whether this task is on its way to a link; catching up is the last part of the way."""
        return self.status == "running" and not self.reached_streaming

    @property
    def reached_streaming(self) -> bool:
        """Whether this task came as far as a link."""
        streamed = self.stage == "increment" and self.replication_state in ("streaming", "disconnect", "finish")
        return self.status == "success" or (self.status == "running" and streamed)

    @property
    def failed_before_copying(self) -> bool:
        """Whether this task ended before it touched the instance."""
        return self.status == "failure" and self.stage in (None, "precheck")


class Lag(NamedTuple):
    """How far the DR instance is behind; None where the service does not report it."""

    bytes: int | None = None
    seconds: float | None = None


@dataclass
class DrInstanceState:
    """What the service reports about one instance at one moment, and what follows for the link that it names.

    Only DisasterRecoveryInfo proves a link (`source`). `tasks` are of type create, newest first.
    """

    instance_id: str
    instance: dict[str, Any]
    tasks: list[Task]
    source: Source | None = field(init=False)
    dr_instances: list[tuple[str, str | None]] = field(init=False)  # those of which it is the primary: id and region

    def __post_init__(self) -> None:
        self.update(self.instance)

    def update(self, instance: dict[str, Any]) -> None:
        """Take attributes that were read later than the tasks."""
        self.instance = instance
        self.source, self.dr_instances = link_source(instance), dr_targets(instance)

    @property
    def newest(self) -> Task | None:
        return self.tasks[0] if self.tasks else None

    @property
    def task(self) -> Task | None:
        """The row of the log that can be of the link of now, by its source and its age; None if no row can.

        A precheck that failed has made no link. Once another link has been begun here, no older row is of this one.
        """
        if self.source is None:
            return self.newest if self.newest and self.newest.is_in_progress else None
        later = (task for task in self.tasks if not task.failed_before_copying)
        task = next(later, None)
        return None if task is None or self.source.differences(task.source) else task

    @property
    def link_state(self) -> str:
        """THE state of the link: none, creating, streaming, disconnect or unknown."""
        task = self.task
        if task is not None:
            return task.link_state
        return "none" if self.source is None else "unknown"

    @property
    def status(self) -> str | None:
        """The status of the instance."""
        return as_text(self.instance.get("DBInstanceStatus"))

    @property
    def is_busy(self) -> bool:
        """Whether something works on the instance, or it is not up."""
        return is_busy(self.status)

    @property
    def ended(self) -> Task | None:
        """The newest task that came as far as a link, if the instance reports none (any more)."""
        return None if self.source else next((task for task in self.tasks if task.reached_streaming), None)

    @property
    def primary_of(self) -> str:
        """The ids of the DR instances that it reports as its own, for a sentence; empty if it reports none."""
        return ", ".join(name for name, _region in self.dr_instances)


# -- asking the service ------------------------------------------------------------------------------------------------


def read_state(client: Caller, dr_instance_id: str) -> DrInstanceState:
    """Read instance and task log: two calls where the log has one page."""
    instance = read_instance(client, dr_instance_id)
    return DrInstanceState(dr_instance_id, instance, read_tasks(client, dr_instance_id, CREATE))


def read_instance(client: Caller, instance_id: str) -> dict[str, Any]:
    """Return the attributes of an instance (DescribeDBInstanceAttribute), raw: may hold secrets."""
    action = "DescribeDBInstanceAttribute"
    try:
        answer = _read(client, action, {"DBInstanceId": instance_id})
    except RdsError as error:
        if error.code.endswith(".NotFound"):
            error.message = f"{instance_id}: {error.message}"
        raise
    items = answer.get("Items")
    rows = items.get("DBInstanceAttribute") if isinstance(items, dict) else None
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        raise unreadable(action, "no instance in its answer")
    _compare(action, "instance", as_text(rows[0].get("DBInstanceId")), instance_id)
    return rows[0]


def read_tasks(
    client: Caller, dr_instance_id: str, task_type: str, task_id: int | None = None, task_name: str | None = None
) -> list[Task]:
    """Return the rows of the task log, newest first, from all pages (DescribeReplicationLinkLogs)."""
    action = "DescribeReplicationLinkLogs"
    parameters = {"DBInstanceId": dr_instance_id, "TaskType": task_type, "PageSize": str(PAGE_SIZE)}
    if task_id is not None:
        parameters["TaskId"] = str(task_id)
    if task_name is not None:
        parameters["TaskName"] = task_name
    found: dict[int, Task] = {}
    seen = 0
    for answer in pages(client, action, parameters):
        rows = answer.get("Items")
        if not isinstance(rows, list):
            raise unreadable(action, "no list of tasks in its answer")
        total = as_integer(answer.get("TotalSize"))
        seen += len(rows)
        before = len(found)
        for task in map(_task, rows):
            _compare(action, "task type", task.task_type, task_type)
            _compare(action, "target instance", task.target_instance_id, dr_instance_id)
            found[task.task_id] = task
        if (
            len(found) == before
            or len(found) >= MOST_TASKS
            or (total is not None and seen >= total)
            or (total is None and len(rows) < PAGE_SIZE)
        ):
            break
    return sorted(found.values(), key=Task.age, reverse=True)


def pages(client: Caller, action: str, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the answers of one page after another, for as long as they are wanted.

    :raises RdsError: ListTooLong, once all of them have taken too long, or too much room
    """
    end, left = time.monotonic() + MOST_SECONDS, MOST_BYTES
    for page in range(1, MOST_PAGES + 1):
        answer = _read(client, action, {**parameters, "PageNumber": str(page)})
        left -= getattr(answer, "size", 0)
        yield answer
        if left < 0 or time.monotonic() > end:
            size = f"{(MOST_BYTES - left) / 2**20:.0f} MiB"
            raise RdsError("ListTooLong", f"{action} was given up after {page} pages ({size}): there are more.")


def _read(client: Caller, action: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Call an operation that changes nothing, whatever becomes of its answer."""
    try:
        return client.call(action, parameters, repeatable=True)
    except RdsError as error:
        if error.outcome == "unknown":
            error.outcome = "not_sent"
        raise


def _compare(action: str, what: str, actual: str | None, asked: str) -> None:
    """Refuse an answer about something else than what was asked."""
    if comparable(actual) not in (None, comparable(asked)):
        raise unreadable(action, f"it is about {what} {actual}, not {asked}")


# -- reading its answers -----------------------------------------------------------------------------------------------


def task_as_result(task: Task | None, secrets: Iterable[str] = ()) -> dict[str, Any] | None:
    """Return a task as playbooks see it; `detail` is what its report says beside the checks, without secrets."""
    if task is None:
        return None
    row = task._asdict()
    del row["source"]
    row.update({f"source_{key}": value for key, value in task.source.place().items()})
    row["replicator_account"] = task.source.account
    row["detail"] = other_lines(scrub(task.detail, secrets))
    row["replication_info"] = scrub(task.replication_info, secrets) if task.replication_info else None
    return row


def instance_as_result(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an instance that matter for DR; anything else the service sends is left out."""
    return {name: as_text(instance.get(key)) for name, key in _INSTANCE_FIELDS.items()}


def current_link(state: DrInstanceState) -> dict[str, Any] | None:
    """Return the link that the instance reports, None if it reports none."""
    if state.source is None:
        return None
    return link_as_result(state.instance_id, state.source, state.link_state, state.task)


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
        detail=as_report(row.get("Detail")),
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


def link_as_result(dr_instance_id: str, source: Source, state: str, task: Task | None) -> dict[str, Any]:
    """Return the link as playbooks see it. `state`: that of `DrInstanceState`, or planned."""
    return {
        "dr_instance_id": dr_instance_id,
        "state": state,
        "source_category": source.category,
        "source_address": source.address,
        "source_port": source.port,
        "source_instance_region_id": source.region_id,
        "source_instance_name": source.instance_name,
        "replicator_account": source.account,
        "lag": lag_of(task)._asdict(),
    }


def describe(source: Source) -> str:
    where = f"{source.address}:{source.port}" if source.address else ""
    instance = f"instance {source.instance_name} in {source.region_id}" if source.instance_name else ""
    return " of ".join(part for part in (where, instance) if part) or f"a source of category {source.category}"


def is_busy(status: str | None) -> bool:
    """Say whether something works on an instance with this status, or it is not up. None: not read."""
    return status not in (None, "Running")


def comparable(value: Any) -> Any:
    """Names of hosts and instances do not differ by case or a final dot; empty is not told."""
    return value.strip().rstrip(".").lower() or None if isinstance(value, str) else value


def as_text(value: Any) -> str | None:
    """Return text as one printable line, a number as its digits; None for anything else, and for what is empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return one_line(value) or None if isinstance(value, str) else None


def as_report(value: Any) -> str:
    """Return the end of a text of many lines; what is longer than any report is cut at once, at a line."""
    if not isinstance(value, str):
        return as_text(value) or ""
    text = printable(value[-LONGEST_REPORT - 1 :])
    return text if len(value) <= LONGEST_REPORT else re.split(r"\n|\\n", text, maxsplit=1)[-1]


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
