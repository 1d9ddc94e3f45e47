# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The seed file: what exists when the emulator starts, and again after a reset. YAML (JSON is YAML too):

    region_id: cn-shanghai          # default of instances
    keys:                           # who may sign
      - {access_key_id: LTAI..., access_key_secret: ..., security_token: ..., expires_in: 3600,
         active: true, deny: [DeleteReplicationLink], ram_user: someone}
    instances:                      # RDS instances; each PostgreSQL one is a cluster
      - {id: pgm-dr, region_id: ..., engine: PostgreSQL, engine_version: 18, storage_gb: 20, status: Running,
         lock_mode: Unlock, type: Primary, category: HighAvailability, deletion_protection: false, description: ...,
         port: 0, accounts: [...], settings: {...}, hba: [...], sql: [...], behaviour: postgres, memory: {...}}
    sources:                        # self-managed PostgreSQL, or a port that only pretends
      - {name: onprem, version: 18, port: 0, settings: {wal_level: replica}, hba: [...], sql: [...], memory: {...},
         accounts: [{name: dr_sync, password: ..., attributes: [LOGIN, REPLICATION], member_of: [pg_monitor]}],
         behaviour: postgres}       # or refused, silent, ssh, http, blackhole
    faults: [...]                   # rules as in faults.py
    quirks: {...}                   # see QUIRKS
    limits: {CreateReplicationLink: 10 per second}
    memory: {stage_seconds: 0.05}   # default of every cluster's `memory`, see engines/memory.py

Only `keys` must be there. Every mistake is one sentence that names the key, and is found before anything is created.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .engine import Account, ClusterSpec
from .engines.memory import PROPERTIES
from .faults import read_rule
from .models import Instance, Key, Source
from .reading import Reader, ReadError, anything, fields, flag, identifier, list_of, number, one_of, text

# Points on which the documentation is silent or contradicts itself; the first value is the default.
QUIRKS: dict[str, tuple[Any, ...]] = {
    "password_echo": ("plain", "masked"),  # ReplicatorPassword in log rows and in DisasterRecoveryInfo
    "detail_credentials": ("plain", "masked"),  # user:password in a failed connection's text
    "state_spelling": ("steaming", "streaming"),  # the former is the documented one
    "detail_newline": ("real", "literal"),  # literal: backslash and n, as in the documentation's example
    "task_type_required": (True, False),  # of DescribeReplicationLinkLogs
    "finished_status": ("success", "running"),  # TaskStatus of a create task in stage increment
    "dr_instance_type": ("Primary", "Guard"),  # DBInstanceType of an instance that has a link
    "not_found_code": ("InvalidDBInstanceName.NotFound", "InvalidDBInstanceId.NotFound"),  # 404 and 400
    "replication_info": ("none", "json"),  # of the row of a live link: None as in the example, or as in cloud migration
    "dr_instances_told": (True, False),  # DisasterRecoveryInstances and GuardDBInstanceId of a primary
    "dr_info_told": (True, False),  # DisasterRecoveryInfo of a DR instance
    "log_items": ("list", "wrapped"),  # Items of the log
    "task_ids": ("growing", "falling"),
}
STATUSES = (
    *("Creating", "Running", "Deleting", "Rebooting", "Stopping", "Stopped", "Released", "Restoring", "TRANSING"),
    *("DBInstanceClassChanging", "EngineVersionUpgrading", "TransingToOthers", "GuardDBInstanceCreating", "Importing"),
    *("ImportingFromOthers", "DBInstanceNetTypeChanging", "GuardSwitching", "INS_CLONING", "HASwitching"),
    *("LinkSwitching", "NodeCreating"),
)
LOCK_MODES = (
    *("Unlock", "ManualLock", "LockByExpiration", "LockByRestoration", "LockByDiskQuota"),
    "LockReadInstanceByDiskQuota",
)
TYPES = ("Primary", "Readonly", "Guard", "Temp")
ENGINES = ("PostgreSQL", "MySQL", "SQLServer", "MariaDB")
BEHAVIOURS = ("postgres", "refused", "silent", "ssh", "http", "blackhole")
ROLE_WORDS = ("LOGIN", "NOLOGIN", "REPLICATION", "NOREPLICATION", "CREATEROLE", "CREATEDB", "SUPERUSER", "INHERIT")


def _major(where: str, value: Any) -> int:
    match = re.fullmatch(r"(\d{1,2})(\.\d+)?", str(value))
    if isinstance(value, bool) or not match:
        raise ReadError(f'{where} must be a major version such as 18 or "18.0"')
    return int(match[1])


def _settings(where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or any(isinstance(item, (dict, list)) for item in value.values()):
        raise ReadError(f"{where} must be a mapping of PostgreSQL settings")
    return {str(key): str(item).lower() if isinstance(item, bool) else str(item) for key, item in value.items()}


def _limit(where: str, value: Any) -> tuple[int, float]:
    match = re.fullmatch(r"(\d+) per (second|minute)", str(value))
    if not match or match[1] == "0":
        raise ReadError(f'{where} must be such as "10 per second" or "60 per minute"')
    return int(match[1]), 60.0 if match[2] == "minute" else 1.0


def _limits(where: str, value: Any) -> dict[str, tuple[int, float]]:
    if not isinstance(value, dict):
        raise ReadError(f"{where} must be a mapping of actions")
    return {str(key): _limit(f"{where}.{key}", item) for key, item in value.items()}


def _rule(where: str, value: Any) -> Any:
    read_rule(value, where)
    return value


def _memory(where: str, value: Any) -> dict[str, Any]:
    readers: dict[str, Reader] = {}
    for key, default in PROPERTIES.items():
        kinds: dict[type, Reader] = {bool: flag, int: number(0, 1000), list: list_of(text)}
        readers[key] = kinds.get(type(default), number(0, 1e6, float))
    return fields(readers)(where, value)


_ACCOUNT = fields(
    {"name": text, "password": text, "attributes": list_of(one_of(*ROLE_WORDS)), "member_of": list_of(text)},
    "name",
    "password",
)
_CLUSTER: dict[str, Reader] = {
    "port": number(0, 65535),
    "accounts": list_of(_ACCOUNT),
    "settings": _settings,
    "hba": list_of(text),
    "sql": list_of(text),
    "behaviour": one_of(*BEHAVIOURS),
    "memory": _memory,
}
ATTRIBUTES: dict[str, Reader] = {  # those that can be changed while the emulator runs
    "status": one_of(*STATUSES),
    "lock_mode": one_of(*LOCK_MODES),
    "type": one_of(*TYPES),
    "category": text,
    "deletion_protection": flag,
    "description": text,
    "storage_gb": number(1, 100_000),
}
_INSTANCE = fields(
    {
        "id": identifier,
        "region_id": identifier,
        "engine": one_of(*ENGINES),
        "engine_version": anything,
        **ATTRIBUTES,
        **_CLUSTER,
    },
    "id",
)
_SOURCE = fields({"name": identifier, "version": _major, **_CLUSTER}, "name")
_KEY = fields(
    {
        "access_key_id": text,
        "access_key_secret": text,
        "security_token": text,
        "expires_in": number(-1e9, 1e9, float),
        "active": flag,
        "deny": list_of(text),
        "ram_user": text,
    },
    "access_key_id",
    "access_key_secret",
)
read_quirks = fields({name: one_of(*values) for name, values in QUIRKS.items()})
read_attributes = fields(ATTRIBUTES)


@dataclass
class Seed:
    """A seed file, read and checked; fault rules are still in the form in which they are added."""

    keys: list[Key]
    region_id: str
    instances: list[Instance]
    sources: list[Source]
    faults: list[Any]
    quirks: dict[str, Any]
    limits: dict[str, tuple[int, float]]
    memory: dict[str, Any] = field(default_factory=dict)


def load(path: Path) -> Any:
    """Return what a seed file holds, unchecked; ReadError if it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the error's own text quotes the file, and so a secret
        raise ReadError(f"{path} is not YAML" + (f" (line {mark.line + 1})" if mark else "")) from None


def read_seed(data: Any) -> Seed:
    """Check a seed and make its objects, afresh at every call; ReadError names the first mistake."""
    readers: dict[str, Reader] = {"keys": list_of(read_key), "region_id": identifier, "quirks": read_quirks}
    readers |= {"limits": _limits, "memory": _memory, "faults": list_of(_rule)}
    readers |= {"instances": list_of(anything), "sources": list_of(anything)}  # read below, with the defaults
    top = fields(readers, "keys")("", data)
    if not top["keys"]:
        raise ReadError("keys must have at least one access key")
    region, memory = top.get("region_id", "cn-hangzhou"), top.get("memory", {})
    instances = [
        read_instance(item, region, memory, f"instances[{n}]") for n, item in enumerate(top.get("instances", ()))
    ]
    sources = [read_source(item, memory, f"sources[{n}]") for n, item in enumerate(top.get("sources", ()))]
    seen: set[str] = set()
    for name in [instance.id for instance in instances] + [source.name for source in sources]:
        if name in seen:
            raise ReadError(f"{name} is used twice; ids of instances and names of sources must differ")
        seen.add(name)
    quirks = {name: values[0] for name, values in QUIRKS.items()} | top.get("quirks", {})
    faults, limits = top.get("faults", []), top.get("limits", {})
    return Seed(top["keys"], region, instances, sources, faults, quirks, limits, memory)


def read_key(where: str, value: Any) -> Key:
    """Check one access key."""
    data = _KEY(where, value)
    lifetime = data.pop("expires_in", None)
    return Key(**data, expires_at=None if lifetime is None else time.time() + lifetime)


def read_instance(value: Any, region_id: str, memory: Mapping[str, Any], where: str = "instance") -> Instance:
    """Check one instance; `region_id` and `memory` are the defaults."""
    data = _INSTANCE(where, value)
    engine = data.get("engine", "PostgreSQL")
    version = data.get("engine_version")
    cluster = None
    if engine == "PostgreSQL":
        major = None if version is None else _major(f"{where}.engine_version", version)
        cluster = _cluster(data["id"], major, data, memory)
        version = f"{major}.0" if major else ""
    return Instance(
        id=data["id"],
        region_id=data.get("region_id", region_id),
        engine=engine,
        engine_version="8.0" if version is None else str(version),
        storage_gb=data.get("storage_gb", 20),
        status=data.get("status", "Running"),
        lock_mode=data.get("lock_mode", "Unlock"),
        type=data.get("type", "Primary"),
        category=data.get("category", "HighAvailability"),
        deletion_protection=data.get("deletion_protection", False),
        description=data.get("description", data["id"]),
        cluster=cluster,
        port=data.get("port", 0) or (0 if cluster else 3306),
    )


def read_source(value: Any, memory: Mapping[str, Any], where: str = "source") -> Source:
    """Check one self-managed source; `memory` has the defaults."""
    data = _SOURCE(where, value)
    return Source(data["name"], _cluster(data["name"], data.get("version"), data, memory))


def _cluster(name: str, major: int | None, data: Mapping[str, Any], memory: Mapping[str, Any]) -> ClusterSpec:
    return ClusterSpec(
        name=name,
        major=major,
        port=data.get("port", 0),
        settings=data.get("settings", {}),
        accounts=[Account(**account) for account in data.get("accounts", ())],
        hba=data.get("hba"),
        sql=data.get("sql", ()),
        behaviour=data.get("behaviour", "postgres"),
        memory={**memory, **data.get("memory", {})},
    )
