# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The official SDK, unchanged, as the client of the emulator.

Its connection pool is shared by the whole process, so a fault that spoils a connection can be seen by the next client.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException
from alibabacloud_tea_openapi.models import Config
from darabonba.exceptions import UnretryableException

from tests.rds_emulator.client import Emulator

DR, SOURCE = "pgm-dr000000000001", "pgm-src00000000001"
PASSWORD = "Dr-Sync+Passw0rd/1"
STS = ("STS.NUEmulatorFakeKey002", "EmulatorFakeStsSecret002", "CAISemulator+fake/token==with=pad")
AUDITOR = ("LTAI5tEmulatorReadOnly03", "EmulatorFakeReadOnlySecret003", None)


@pytest.fixture(params=["memory", "postgres"])
def rds(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Each engine, as its seed left it."""
    name = "rds_emulator" if request.param == "memory" else "rds_emulator_postgres"
    emulator: Emulator = request.getfixturevalue(name)
    emulator.reset()
    yield emulator
    emulator.clear_faults()


@pytest.fixture
def memory(rds_emulator: Emulator) -> Iterator[Emulator]:
    rds_emulator.reset()
    yield rds_emulator
    rds_emulator.clear_faults()


def connect(emulator: Emulator, key: tuple[str, str, str | None] | None = None, **more: Any) -> Client:
    environment = emulator.environment
    key_id, secret, token = key or (
        environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        None,
    )
    return Client(
        Config(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            protocol="http",
            endpoint=emulator.endpoint.removeprefix("http://"),
            **more,
        )
    )


def creation(emulator: Emulator, dry_run: bool, **more: Any) -> models.CreateReplicationLinkRequest:
    arguments: dict[str, Any] = {
        "dbinstance_id": DR,
        "dry_run": dry_run,
        "source_category": "other",
        "source_address": "127.0.0.1",
        "source_port": emulator.sources["onprem"]["port"],
        "replicator_account": "dr_sync",
        "replicator_password": PASSWORD,
    }
    return models.CreateReplicationLinkRequest(**{**arguments, **more})


def from_rds(dry_run: bool, **more: Any) -> models.CreateReplicationLinkRequest:
    return models.CreateReplicationLinkRequest(
        dbinstance_id=DR,
        dry_run=dry_run,
        source_category="aliyunRDS",
        source_instance_name=SOURCE,
        source_instance_region_id="cn-hangzhou",
        replicator_account="dr_sync",
        replicator_password=PASSWORD,
        **more,
    )


def rows(client: Client, kind: str, instance: str = DR, **more: Any) -> list[Any]:
    request = models.DescribeReplicationLinkLogsRequest(dbinstance_id=instance, task_type=kind, **more)
    items: list[Any] = client.describe_replication_link_logs(request).body.items
    return items


def finished(client: Client, kind: str, task_id: int) -> Any:
    return until(lambda: [row for row in rows(client, kind, task_id=task_id) if row.task_status != "running"])[0]


def attribute(client: Client, instance: str = DR) -> Any:
    request = models.DescribeDBInstanceAttributeRequest(dbinstance_id=instance)
    return client.describe_dbinstance_attribute(request).body.items.dbinstance_attribute[0]


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def is_real(emulator: Emulator) -> bool:
    return bool(emulator._call("GET", "health")["engine"] == "PostgresEngine")


def running(client: Client, instance: str = DR) -> bool:
    return bool(attribute(client, instance).dbinstance_status == "Running")


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["V3", "V1"])
def test_the_life_of_a_link(rds: Emulator, algorithm: str | None) -> None:
    client = connect(rds, **({"signature_algorithm": algorithm} if algorithm else {}))
    real = is_real(rds)
    preview = client.create_replication_link(creation(rds, True, task_name="preview")).body
    assert (preview.dbinstance_id, preview.task_name) == (DR, "preview")
    row = finished(client, "create-dryrun", preview.task_id)
    assert row.task_status == "success", row.detail
    assert row.detail.endswith("*Migrate check success*")

    made = client.create_replication_link(creation(rds, False, task_id=preview.task_id)).body
    row = finished(client, "create", made.task_id)
    assert (row.task_status, row.task_stage, row.replication_state) == ("success", "increment", "steaming"), row.detail
    info = json.loads(attribute(client).disaster_recovery_info)
    assert (info["sourceAddress"], info["sourcePort"]) == ("127.0.0.1", rds.sources["onprem"]["port"])
    if real:
        rds.sql("onprem", "INSERT INTO orders VALUES (4, 'tornado seeds')")
        until(lambda: rds.sql(DR, "SELECT count(*) AS n FROM orders")[0]["n"] == 4)
    with pytest.raises(ClientException, match="MirrorInsExists"):
        client.create_replication_link(creation(rds, False))

    promotion = models.DeleteReplicationLinkRequest(dbinstance_id=DR, promote_to_master=True)
    assert client.delete_replication_link(promotion).body.dbinstance_id == DR
    until(lambda: running(client))
    assert attribute(client).disaster_recovery_info is None
    assert rows(client, "create")[0].replication_state == "finish"
    if real:
        rds.sql(DR, "INSERT INTO orders VALUES (5, 'portable hole')")
        assert rds.sql("onprem", "SELECT count(*) AS n FROM orders")[0]["n"] == 4
    again = client.create_replication_link(creation(rds, True)).body
    assert "Check rds databases: error" in finished(client, "create-dryrun", again.task_id).detail


def test_switch_there_and_back(rds: Emulator) -> None:
    client = connect(rds)
    made = client.create_replication_link(from_rds(False)).body
    assert finished(client, "create", made.task_id).task_status == "success"
    assert json.loads(attribute(client, SOURCE).disaster_recovery_instances)[0]["insName"] == DR
    for old, new, region in ((SOURCE, DR, "cn-shanghai"), (DR, SOURCE, "cn-hangzhou")):
        request = models.SwitchReplicationLinkRequest(
            dbinstance_id=old, target_instance_name=new, target_instance_region_id=region
        )
        client.switch_replication_link(request)
        until(lambda old=old, new=new: running(client, old) and running(client, new))
        assert attribute(client, new).disaster_recovery_info is None
        assert json.loads(attribute(client, old).disaster_recovery_info)["sourceInstanceName"] == new
        assert until(lambda old=old: rows(client, "create", old)[0].replication_state == "steaming")
        if is_real(rds):
            rds.sql(new, f"INSERT INTO orders (id, item) SELECT max(id) + 1, '{new}' FROM orders")
            until(lambda old=old, new=new: rds.sql(old, f"SELECT id FROM orders WHERE item = '{new}'"))


def test_rebuild(rds: Emulator) -> None:
    client = connect(rds)
    made = client.create_replication_link(creation(rds, False)).body
    assert finished(client, "create", made.task_id).task_status == "success"
    client.rebuild_replication_link(models.RebuildReplicationLinkRequest(dbinstance_id=DR))
    until(lambda: running(client))
    assert until(lambda: rows(client, "create")[0].replication_state == "steaming")


def test_a_wrong_password_is_told_as_documented(rds: Emulator) -> None:
    client = connect(rds)
    made = client.create_replication_link(creation(rds, True, replicator_password="hunter22")).body
    row = finished(client, "create-dryrun", made.task_id)
    assert row.task_status == "failure"
    assert "error:cannot connect to source database by dr_sync:hunter22 (28P01" in row.detail
    rds.set_quirks(detail_credentials="masked", password_echo="masked")
    assert "hunter22" not in json.dumps(rows(client, "create-dryrun")[0].to_map())
    assert "hunter22" not in json.dumps([rds.state(), rds.journal()]) + rds.stderr()


def test_every_field_of_an_answer_is_one_that_the_sdk_knows(memory: Emulator) -> None:
    """Whatever is sent comes back unchanged from the SDK's models."""
    client = connect(memory)
    seen: list[dict[str, Any]] = []
    call = client.call_api

    def record(*arguments: Any) -> Any:
        answer = call(*arguments)
        seen.append(json.loads(json.dumps(answer["body"])))
        return answer

    client.call_api = record  # type: ignore[method-assign]
    made = client.create_replication_link(from_rds(False)).body
    finished(client, "create", made.task_id)
    bodies = [
        client.create_replication_link(creation(memory, True, dbinstance_id=SOURCE)).body,
        client.describe_replication_link_logs(
            models.DescribeReplicationLinkLogsRequest(dbinstance_id=DR, task_type="create")
        ).body,
        client.describe_dbinstance_attribute(models.DescribeDBInstanceAttributeRequest(dbinstance_id=DR)).body,
        client.describe_dbinstance_attribute(models.DescribeDBInstanceAttributeRequest(dbinstance_id=SOURCE)).body,
        client.describe_dbinstances(models.DescribeDBInstancesRequest(region_id="cn-shanghai", max_results=1)).body,
        client.describe_regions(models.DescribeRegionsRequest()).body,
        client.delete_replication_link(
            models.DeleteReplicationLinkRequest(dbinstance_id=DR, promote_to_master=False)
        ).body,
    ]
    assert [body.to_map() for body in bodies] == seen[-len(bodies) :]


def test_sts_denial_and_throttling(memory: Emulator) -> None:
    assert running(connect(memory, STS))
    with pytest.raises(ClientException) as denied:
        connect(memory, AUDITOR).create_replication_link(creation(memory, False))
    assert (denied.value.code, denied.value.status_code) == ("Forbidden.RAM", 403)
    assert denied.value.access_denied_detail["AuthAction"] == "rds:CreateReplicationLink"
    memory.add_fault(fault="error", code="Throttling.User", retry_after_ms=1500)
    with pytest.raises(ThrottlingException) as throttled:
        running(connect(memory))
    assert throttled.value.retry_after == 1500
    memory.add_fault(fault="expire_token")
    with pytest.raises(ClientException, match=r"InvalidSecurityToken\.Expired"):
        running(connect(memory, STS))


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (("LTAInobody", "x", None), "InvalidAccessKeyId.NotFound"),
        ((AUDITOR[0], "wrong", None), "SignatureDoesNotMatch"),
        ((STS[0], STS[1], None), "MissingSecurityToken"),
        ((STS[0], STS[1], "nonsense"), "InvalidSecurityToken.Malformed"),
    ],
)
@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["V3", "V1"])
def test_wrong_credentials(
    memory: Emulator, key: tuple[str, str, str | None], code: str, algorithm: str | None
) -> None:
    client = connect(memory, key, **({"signature_algorithm": algorithm} if algorithm else {}))
    with pytest.raises(ClientException) as refused:
        running(client)
    assert refused.value.code == code


@pytest.mark.parametrize("fault", ["lost", "reset", "truncated", "html"])
def test_a_lost_answer_looks_like_nothing_happened_but_it_did(memory: Emulator, fault: str) -> None:
    client = connect(memory)
    memory.add_fault(fault=fault, action="CreateReplicationLink")
    with pytest.raises(UnretryableException):
        client.create_replication_link(creation(memory, False, task_name="once"))
    assert until(lambda: rows(client, "create"))[0].task_name == "once"
    assert len(memory.journal("CreateReplicationLink")) == 1


def test_a_server_error(memory: Emulator) -> None:
    memory.add_fault(fault="error", code="RequestMetaDataFailed")
    with pytest.raises(ServerException) as failed:
        running(connect(memory))
    assert (failed.value.code, failed.value.status_code) == ("RequestMetaDataFailed", 500)
