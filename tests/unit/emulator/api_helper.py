# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the API tests share: a small world on the memory engine, and a signed call over a bare socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from rds_emulator.client import Emulator
from rds_emulator.engines.memory import MemoryEngine
from rds_emulator.world import World

PASSWORD = "Secret+Pass/word 1"
ACCOUNT = {
    "name": "dr_sync",
    "password": PASSWORD,
    "attributes": ["LOGIN", "REPLICATION", "CREATEROLE"],
    "member_of": ["pg_monitor"],
}
KEY = {"access_key_id": "LTAIFake", "access_key_secret": "FakeSecret"}
SEED: dict[str, Any] = {
    "region_id": "cn-shanghai",
    "keys": [KEY],
    "instances": [
        {"id": "pgm-dr"},
        {"id": "pgm-src", "region_id": "cn-hangzhou", "accounts": [ACCOUNT]},
        {"id": "pgm-old", "engine_version": "15.0"},
        {"id": "pgm-ro", "type": "Readonly"},
        {"id": "rm-mysql", "engine": "MySQL"},
        {"id": "pgm-locked", "lock_mode": "LockByExpiration"},
        {"id": "pgm-stopped", "status": "Stopped"},
    ],
    "sources": [{"name": "onprem", "accounts": [ACCOUNT]}],
}


def make_world(seed: Mapping[str, Any] | None = None, **more: Any) -> World:
    world = World({**(seed or SEED), **more}, MemoryEngine())
    world.build()
    return world


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first true value of the condition; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


class Driver:
    """Calls a world's operations directly."""

    def __init__(self, world: World) -> None:
        self.world = world

    def call(self, action: str, **arguments: Any) -> dict[str, Any]:
        words = {name: str(value) for name, value in arguments.items() if value is not None}
        return self.world.service.operations[action].run(words)

    def create(self, dry_run: Any = False, instance: str = "pgm-dr", **more: Any) -> dict[str, Any]:
        arguments = {
            "DBInstanceId": instance,
            "DryRun": dry_run,
            "SourceCategory": "other",
            "SourceAddress": "127.0.0.1",
            "SourcePort": self.world.store.sources["onprem"].port,
            "ReplicatorAccount": "dr_sync",
            "ReplicatorPassword": PASSWORD,
            **more,
        }
        return self.call("CreateReplicationLink", **arguments)

    def create_from_rds(self, **more: Any) -> dict[str, Any]:
        source = {"SourceCategory": "aliyunRDS", "SourceInstanceName": "pgm-src"}
        region = {"SourceInstanceRegionId": "cn-hangzhou", "SourceAddress": None, "SourcePort": None}
        return self.create(**{**source, **region, **more})

    def rows(self, kind: str = "create", instance: str = "pgm-dr", **more: Any) -> list[dict[str, Any]]:
        answer = self.call("DescribeReplicationLinkLogs", DBInstanceId=instance, TaskType=kind, **more)
        return answer["Items"]

    def finished(self, kind: str = "create", instance: str = "pgm-dr") -> dict[str, Any]:
        """Wait until no task runs there; return the newest row."""
        self.idle(instance)
        return self.rows(kind, instance)[0]

    def idle(self, instance: str = "pgm-dr") -> None:
        until(lambda: not self.world.store.instances[instance].busy)

    def attribute(self, instance: str = "pgm-dr") -> dict[str, Any]:
        answer = self.call("DescribeDBInstanceAttribute", DBInstanceId=instance)
        return answer["Items"]["DBInstanceAttribute"][0]


def v1_query(parameters: Mapping[str, str], secret: str, method: str = "POST") -> str:
    """Sign with V1 and return the query string; written here anew so that the verifier is not its own judge."""
    canonical = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parameters.items()))
    text = f"{method}&%2F&{quote(canonical, safe='~')}"
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return f"{canonical}&Signature={quote(base64.b64encode(digest), safe='~')}"


def v1_parameters(action: str, key: Mapping[str, Any], **arguments: Any) -> dict[str, str]:
    common = {
        "Action": action,
        "Version": "2014-08-15",
        "Format": "JSON",
        "AccessKeyId": key["access_key_id"],
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if key.get("security_token"):
        common["SecurityToken"] = key["security_token"]
    return common | {name: str(value) for name, value in arguments.items()}


@dataclass
class Caller:
    """Signed calls to a running emulator over one kept connection."""

    emulator: Emulator
    key: Mapping[str, Any]
    timeout: float = 10.0
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        address = self.emulator.endpoint.removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=self.timeout)

    def send(self, action: str, method: str = "POST", **arguments: Any) -> None:
        query = v1_query(v1_parameters(action, self.key, **arguments), self.key["access_key_secret"], method)
        self.connection.request(method, f"/?{query}")

    def raw(self, action: str, method: str = "POST", **arguments: Any) -> http.client.HTTPResponse:
        self.send(action, method, **arguments)
        return self.connection.getresponse()

    def __call__(self, action: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
        answer = self.raw(action, **arguments)
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self.connection.close()
