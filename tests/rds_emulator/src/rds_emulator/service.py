# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations: what RDS API 2014-08-15 does with a verified request.

Fields and codes are those of the API's pages and of the official SDK's models. Where the pages are silent the choice is
a quirk of the seed, or marked ASSUMED here. What needs the network fails as a task; everything else is refused at once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .engine import Engine
from .errors import ApiError
from .faults import Faults
from .models import MASK, Instance, Link, Task
from .store import Store, View
from .tasks import CREATING, PROMOTING, Tasks, detail

VERSION = "2014-08-15"
REGIONS = (
    *("cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-shenzhen", "cn-qingdao", "cn-zhangjiakou", "cn-chengdu"),
    *("cn-hongkong", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "ap-northeast-1", "eu-central-1"),
    *("eu-west-1", "us-east-1", "us-west-1", "me-east-1"),
)
_MAX_PAGE = 100

Answer = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """An action: what runs it, whether it changes anything, and the parameters it knows."""

    run: Callable[[Mapping[str, str]], Answer]
    writes: bool
    parameters: frozenset[str]
    post_only: bool = False


class Service:
    """The actions, on one store and one engine."""

    def __init__(self, store: Store, engine: Engine, faults: Faults, quirks: Mapping[str, Any]) -> None:
        self._store, self._engine, self._quirks = store, engine, quirks
        self._tasks = Tasks(store, engine, faults)
        link = (
            "DBInstanceId DryRun SourceAddress SourcePort ReplicatorAccount ReplicatorPassword SourceCategory "
            "SourceInstanceName SourceInstanceRegionId TaskId TaskName TargetAddress"
        )
        logs = "DBInstanceId TaskType TaskId TaskName PageNumber PageSize"
        listing = (
            "RegionId DBInstanceId DBInstanceStatus DBInstanceType Engine EngineVersion Category ConnectionString "
            "SearchKey PayType PageNumber PageSize MaxResults NextToken InstanceLevel"
        )
        switch = "DBInstanceId TargetInstanceName TargetInstanceRegionId OwnerId"
        self.operations = {
            "CreateReplicationLink": _operation(self.create_link, True, link),
            "DescribeReplicationLinkLogs": _operation(self.describe_logs, False, logs),
            "DeleteReplicationLink": _operation(self.delete_link, True, "DBInstanceId PromoteToMaster ResourceOwnerId"),
            "SwitchReplicationLink": _operation(self.refuse_switch, True, switch, post_only=True),
            "RebuildReplicationLink": _operation(self.rebuild_link, True, "DBInstanceId"),
            "DescribeDBInstanceAttribute": _operation(self.describe_attribute, False, "DBInstanceId Expired"),
            "DescribeDBInstances": _operation(self.describe_instances, False, listing),
            "DescribeRegions": _operation(self.describe_regions, False, "AcceptLanguage"),
        }

    # -- writes ------------------------------------------------------------------------------------------------

    def create_link(self, arguments: Mapping[str, str]) -> Answer:
        """CreateReplicationLink. DryRun must be there: the page calls it required, and absent would mean `create`."""
        dry_run = _boolean(arguments, "DryRun")
        with self._store.change():
            instance = self._instance(_required(arguments, "DBInstanceId"))
            link = self._link(instance, arguments)
            self._check_plan(instance, arguments)
            self._check_target(instance)
            number = self._next_task_id()
            kind = "create-dryrun" if dry_run else "create"
            task = Task(number, arguments.get("TaskName") or f"{kind}-{number}", kind, instance.id, link)
            self._store.tasks.append(task)
            if dry_run:
                self._tasks.start(instance, None, lambda: self._tasks.dry_run(instance, task))
            else:
                self._tasks.start(instance, CREATING, lambda: self._tasks.create(instance, task))
        return {"DBInstanceId": instance.id, "TaskId": task.id, "TaskName": task.name}

    def delete_link(self, arguments: Mapping[str, str]) -> Answer:
        """DeleteReplicationLink. ASSUMED: false removes the link only; the instance stays a read-only standby."""
        promote = _boolean(arguments, "PromoteToMaster")
        with self._store.change():
            instance = self._linked(_required(arguments, "DBInstanceId"))
            if promote:
                self._tasks.start(instance, PROMOTING, lambda: self._tasks.promote(instance))
            else:
                instance.link = None
            return self._accepted(instance.id, "delete")

    def refuse_switch(self, arguments: Mapping[str, str]) -> Answer:
        """SwitchReplicationLink. It is documented for SQL Server only, and no instance here has a SQL Server."""
        with self._store.lock:
            self._instance(_required(arguments, "DBInstanceId"))
        raise ApiError("IncorrectDBInstanceType")

    def rebuild_link(self, arguments: Mapping[str, str]) -> Answer:
        """RebuildReplicationLink: copies the source again, with the credentials of the link."""
        with self._store.change():
            instance = self._linked(_required(arguments, "DBInstanceId"))
            link = instance.link
            assert link is not None
            self._tasks.start(instance, CREATING, lambda: self._tasks.rebuild(instance, link))
            return self._accepted(instance.id, "rebuild")

    def _accepted(self, instance_id: str, verb: str) -> Answer:
        """ASSUMED: these tasks have ids, but no rows: the log's TaskType knows no value for them."""
        number = self._next_task_id()
        return {"DBInstanceId": instance_id, "TaskId": number, "TaskName": f"{verb}-{number}"}

    def _next_task_id(self) -> int:
        number = self._store.next_task_id()
        return number if self._quirks["task_ids"] == "growing" else 2_000_000_000 - number

    def _link(self, instance: Instance, arguments: Mapping[str, str]) -> Link:
        """Read the source that a create names."""
        category = arguments.get("SourceCategory", "other")
        if category not in ("other", "aliyunRDS"):
            raise ApiError("InvalidSourceCategory")
        account, password = (_required(arguments, f"Replicator{name}") for name in ("Account", "Password"))
        if category == "other":
            address = _required(arguments, "SourceAddress")
            port = _integer(arguments, "SourcePort", None, 1, 65535)
            return Link(address, port, account, password, category)
        name, region = (_required(arguments, f"SourceInstance{part}") for part in ("Name", "RegionId"))
        if region not in self._regions():
            raise ApiError("Parameters.Invalid", note="SourceInstanceRegionId")
        source = self._store.instances.get(name)
        if source is None or source.region_id != region:
            raise self._not_found("SourceInstanceName")
        if source.id == instance.id:
            raise ApiError("Parameters.Invalid", note="SourceInstanceName is DBInstanceId")
        _postgresql(source)
        address = arguments.get("SourceAddress") or self._engine.host
        port = _integer(arguments, "SourcePort", source.port, 1, 65535)
        if (address, port) != (self._engine.host, source.port):
            raise ApiError("ENDPOINT_NOT_FOUND", address, name)
        return Link(address, port, account, password, category, name, region)

    def _check_plan(self, instance: Instance, arguments: Mapping[str, str]) -> None:
        """TaskId must be a dry run of this instance that succeeded."""
        if arguments.get("TaskId"):
            number = _integer(arguments, "TaskId", None, 1, 2**63)
            for task in self._store.tasks:
                found = (task.id, task.instance_id, task.type, task.status)
                if found == (number, instance.id, "create-dryrun", "success"):
                    return
            raise ApiError("Parameters.Invalid", note="TaskId")

    def _check_target(self, instance: Instance) -> None:
        _postgresql(instance)
        if instance.type == "Readonly":
            raise ApiError("IncorrectDBInstanceType")
        if instance.link is not None:
            raise ApiError("MirrorInsExists")
        self._ready(instance)

    def _linked(self, instance_id: str) -> Instance:
        """Return a DR instance that can be worked on. ASSUMED: IncorrectDBInstance if it has no link."""
        instance = self._instance(instance_id)
        if instance.link is None and not instance.busy:
            raise ApiError("IncorrectDBInstance", note="it has no link")
        self._ready(instance)
        return instance

    def _ready(self, instance: Instance) -> None:
        if instance.lock_mode != "Unlock":
            raise ApiError("IncorrectDBInstanceLockMode")
        if instance.busy or instance.status != "Running":
            raise ApiError("IncorrectDBInstanceState")

    def _instance(self, instance_id: str) -> Instance:
        instance = self._store.instances.get(instance_id)
        if instance is None or instance.gone.is_set():
            raise self._not_found("")
        return instance

    def _not_found(self, note: str) -> ApiError:
        return ApiError(self._quirks["not_found_code"], note=note)

    # -- reads -------------------------------------------------------------------------------------------------

    def describe_logs(self, arguments: Mapping[str, str]) -> Answer:
        """DescribeReplicationLinkLogs: rows of one instance, newest first."""
        instance_id = _required(arguments, "DBInstanceId")
        kind = _required(arguments, "TaskType") if self._quirks["task_type_required"] else arguments.get("TaskType")
        if kind not in ("create", "create-dryrun", None, ""):
            raise ApiError("Parameters.Invalid", note="TaskType")
        number = _integer(arguments, "TaskId", 0, 0, 2**63)
        name = arguments.get("TaskName")
        page, size = _page(arguments)
        with self._store.lock:
            view = self._store.view()
            instance = self._visible(view, instance_id)
            rows = [
                task
                for task in reversed(view.tasks)
                if task.instance_id == instance_id
                and (not kind or task.type == kind)
                and (not number or task.id == number)
                and (not name or task.name == name)
            ]
            link = instance.link
        shown = [self._row(task, link) for task in rows[(page - 1) * size : page * size]]
        items = {"Tasks": shown} if self._quirks["log_items"] == "wrapped" else shown
        return {"DBInstanceId": instance_id, "TotalSize": len(rows), "Items": items}

    def _row(self, task: Task, link: Link | None) -> Answer:
        state, status = "", task.status
        info = "None"  # "reserved"; this is the documentation's example value
        if task.type == "create" and status == "success":
            state = "finish"  # unless it is the row of the link that there is now
            if link is not None and link.task_id == task.id:
                now = self._engine.link_state(task.instance_id)
                state = self._quirks["state_spelling"] if now.state == "streaming" else "disconnect"
                if self._quirks["replication_info"] == "json" and now.info:
                    info = json.dumps(now.info)
                status = self._quirks["finished_status"]
        return {
            "TaskId": task.id,
            "TaskName": task.name,
            "TaskType": task.type,
            "TaskStatus": status,
            "TaskStage": task.stage,
            "ReplicationState": state,
            "ReplicationInfo": info,
            "Detail": detail(task, self._quirks),
            "GmtCreated": task.created,
            "GmtModified": task.modified,
            "SourceAddress": task.link.source_address,
            "SourcePort": task.link.source_port,
            "SourceCategory": task.link.category,
            "TargetInstanceId": task.instance_id,
            "ReplicatorAccount": task.link.account,
            "ReplicatorPassword": self._echo(task.link),
        }

    def describe_attribute(self, arguments: Mapping[str, str]) -> Answer:
        """DescribeDBInstanceAttribute; DBInstanceId may be several ids with commas between them."""
        ids = _required(arguments, "DBInstanceId").split(",")
        with self._store.lock:
            view = self._store.view()
            items = [self._attribute(self._visible(view, instance_id), view) for instance_id in ids]
        return {"Items": {"DBInstanceAttribute": items}}

    def _attribute(self, instance: Instance, view: View) -> Answer:
        item = self._common(instance) | {
            "CreationTime": instance.created,
            "ConnectionString": self._engine.host,
            "Port": str(instance.port),
            "DBInstanceStorage": instance.storage_gb,
            "DBInstanceCPU": "2",
            "DBInstanceMemory": 4096,
            "MaxConnections": 200,
            "AvailabilityValue": "100.0%",
            "IPType": "IPv4",
            "TimeZone": "Asia/Shanghai",
        }
        if instance.link is not None:
            link = instance.link
            info = {
                "replicatorAccount": link.account,
                "replicatorPassword": self._echo(link),
                "sourceAddress": link.source_address,
                "sourcePort": link.source_port,
                "sourceCategory": link.category,
                "sourceInstanceName": link.source_instance,
                "sourceInstanceRegionId": link.source_region,
            }
            if self._quirks["dr_info_told"]:
                item["DisasterRecoveryInfo"] = json.dumps(info, ensure_ascii=False)
            if link.source_instance:
                item["IncrementSourceDBInstanceId"] = link.source_instance
        replicas = [other for other in view.instances.values() if _source_of(other) == instance.id]
        if replicas and self._quirks["dr_instances_told"]:
            item["GuardDBInstanceId"] = replicas[0].id
            names = [{"regionId": other.region_id, "insName": other.id} for other in replicas]
            item["DisasterRecoveryInstances"] = json.dumps(names)
        return item

    def describe_instances(self, arguments: Mapping[str, str]) -> Answer:
        """DescribeDBInstances: by page number, or with MaxResults and NextToken."""
        region = _required(arguments, "RegionId")
        if region not in self._regions():
            raise ApiError("Parameters.Invalid", note="RegionId")
        by_token = bool(arguments.get("MaxResults") or arguments.get("NextToken"))
        page, size = _page(arguments)
        start = (page - 1) * size
        if by_token:
            size = _integer(arguments, "MaxResults", 30, 1, _MAX_PAGE)
            start = _position(arguments.get("NextToken", ""))
        with self._store.lock:
            view = self._store.view()
            items = [self._item(instance) for instance in view.instances.values() if instance.region_id == region]
        found = [item for item in items if _wanted(item, arguments)]
        shown = found[start : start + size]
        answer: Answer = {
            "Items": {"DBInstance": shown},
            "PageNumber": page,
            "PageRecordCount": len(shown),
            "TotalRecordCount": len(found),
        }
        if by_token and start + size < len(found):
            answer["NextToken"] = base64.b64encode(str(start + size).encode()).decode()
        return answer

    def _item(self, instance: Instance) -> Answer:
        extra = {"CreateTime": instance.created, "ConnectionString": self._engine.host, "DBInstanceMemory": 4096}
        return self._common(instance) | extra

    def describe_regions(self, arguments: Mapping[str, str]) -> Answer:
        """DescribeRegions: one zone for each region."""
        rows = [
            {
                "RegionId": region,
                "ZoneId": f"{region}-a",
                "RegionEndpoint": "rds.aliyuncs.com",
                "LocalName": region,
                "ZoneName": f"{region} zone a",
            }
            for region in self._regions()
        ]
        return {"Regions": {"RDSRegion": rows}}

    def _common(self, instance: Instance) -> Answer:
        """Return the fields that both descriptions of an instance have."""
        kind = instance.type
        if instance.link is not None and kind == "Primary":
            kind = self._quirks["dr_instance_type"]
        return {
            "DBInstanceId": instance.id,
            "DBInstanceDescription": instance.description,
            "DBInstanceStatus": instance.status,
            "DBInstanceType": kind,
            "DBInstanceClass": "pg.n2.2c.1m",
            "DBInstanceNetType": "Intranet",
            "DBInstanceStorageType": "cloud_essd",
            "Engine": instance.engine,
            "EngineVersion": instance.engine_version,
            "Category": instance.category,
            "ConnectionMode": "Standard",
            "InstanceNetworkType": "VPC",
            "PayType": "Postpaid",
            "LockMode": instance.lock_mode,
            "LockReason": "",
            "DeletionProtection": instance.deletion_protection,
            "RegionId": instance.region_id,
            "ZoneId": f"{instance.region_id}-a",
            "VpcId": "vpc-emulator",
            "VSwitchId": "vsw-emulator",
            "ResourceGroupId": "rg-emulator",
        }

    def _visible(self, view: View, instance_id: str) -> Instance:
        instance = view.instances.get(instance_id)
        if instance is None or instance.gone.is_set():
            raise self._not_found("")
        return instance

    def _echo(self, link: Link) -> str:
        return link.password if self._quirks["password_echo"] == "plain" else MASK

    def _regions(self) -> list[str]:
        return list(dict.fromkeys([*REGIONS, *(item.region_id for item in list(self._store.instances.values()))]))


def _operation(run: Callable[..., Answer], writes: bool, names: str, post_only: bool = False) -> Operation:
    return Operation(run, writes, frozenset(names.split()), post_only)


def _postgresql(instance: Instance) -> None:
    if instance.engine != "PostgreSQL":
        raise ApiError("InvalidDBInstanceEngineType.Format")


def _source_of(instance: Instance) -> str:
    return instance.link.source_instance if instance.link else ""


def _required(arguments: Mapping[str, str], name: str) -> str:
    if not arguments.get(name):
        raise ApiError("RequiredParam.NotFound", note=name)
    return arguments[name]


def _boolean(arguments: Mapping[str, str], name: str) -> bool:
    """Read true or false; the SDK sends True and False."""
    word = _required(arguments, name)
    if word not in ("true", "True", "false", "False"):
        raise ApiError("Parameters.Invalid", note=name)
    return word.lower() == "true"


def _integer(arguments: Mapping[str, str], name: str, default: int | None, low: int, high: int) -> int:
    word = arguments.get(name)
    if not word:
        if default is None:
            raise ApiError("RequiredParam.NotFound", note=name)
        return default
    if not (word.isascii() and word.isdigit() and len(word) < 20 and low <= int(word) <= high):
        raise ApiError("Parameters.Invalid", note=name)
    return int(word)


def _page(arguments: Mapping[str, str]) -> tuple[int, int]:
    """Return page number and size; 1 and 30 by default."""
    return _integer(arguments, "PageNumber", 1, 1, 2**31), _integer(arguments, "PageSize", 30, 1, _MAX_PAGE)


def _position(token: str) -> int:
    try:
        return int(base64.b64decode(token, validate=True)) if token else 0
    except ValueError:
        raise ApiError("Parameters.Invalid", note="NextToken") from None


def _wanted(item: Answer, arguments: Mapping[str, str]) -> bool:
    """Does an item pass the filters?"""
    for name in (
        "DBInstanceId", "DBInstanceStatus", "DBInstanceType", "Engine", "EngineVersion", "Category",
        "ConnectionString", "PayType",
    ):  # fmt: skip
        if arguments.get(name) and item[name] != arguments[name]:
            return False
    key = arguments.get("SearchKey", "")
    return key in item["DBInstanceId"] or key in item["DBInstanceDescription"]
