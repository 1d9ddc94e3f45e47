# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The official SDK, unchanged, as the client of the emulator.

Its connection pool is shared by the whole process, so a fault that spoils a connection can be seen by the next client.
"""

from __future__ import annotations

import itertools
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

from rds_emulator.client import Emulator

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
    arguments: dict[str, Any] = {
        "dbinstance_id": DR,
        "dry_run": dry_run,
        "source_category": "aliyunRDS",
        "source_instance_name": SOURCE,
        "source_instance_region_id": "cn-hangzhou",
        "replicator_account": "dr_sync",
        "replicator_password": PASSWORD,
    }
    return models.CreateReplicationLinkRequest(**{**arguments, **more})


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


def test_roles_change_by_a_promotion_and_a_new_link(rds: Emulator) -> None:
    """There, and home again: each new primary is protected by a link onto an empty instance."""
    client = connect(rds)
    made = client.create_replication_link(from_rds(False)).body
    assert finished(client, "create", made.task_id).task_status == "success"
    assert json.loads(attribute(client, SOURCE).disaster_recovery_instances)[0]["insName"] == DR
    way = [(DR, "cn-shanghai"), ("pgm-home", "cn-hangzhou"), ("pgm-away", "cn-shanghai")]
    for (primary, region), (spare, place) in itertools.pairwise(way):
        promotion = models.DeleteReplicationLinkRequest(dbinstance_id=primary, promote_to_master=True)
        client.delete_replication_link(promotion)
        until(lambda primary=primary: running(client, primary))
        assert attribute(client, primary).disaster_recovery_info is None
        rds.add_instance(id=spare, region_id=place)
        link = {"dbinstance_id": spare, "source_instance_name": primary, "source_instance_region_id": region}
        client.create_replication_link(from_rds(False, **link))
        until(lambda spare=spare: running(client, spare))
        (row,) = rows(client, "create", spare)
        assert (row.task_status, row.replication_state) == ("success", "steaming"), row.detail
        assert json.loads(attribute(client, spare).disaster_recovery_info)["sourceInstanceName"] == primary
        if is_real(rds):
            rds.sql(primary, f"INSERT INTO orders (id, item) SELECT max(id) + 1, '{primary}' FROM orders")
            query = f"SELECT id FROM orders WHERE item = '{primary}'"
            until(lambda spare=spare, query=query: rds.sql(spare, query))


def test_a_switch_is_refused_for_postgresql(memory: Emulator) -> None:
    """It is documented for SQL Server only."""
    client = connect(memory)
    made = client.create_replication_link(from_rds(False)).body
    finished(client, "create", made.task_id)
    for name, code, status in (
        (SOURCE, "IncorrectDBInstanceType", 403),
        ("pgm-none", "InvalidDBInstanceName.NotFound", 404),
    ):
        request = models.SwitchReplicationLinkRequest(
            dbinstance_id=name, target_instance_name=DR, target_instance_region_id="cn-shanghai"
        )
        with pytest.raises(ClientException) as refused:
            client.switch_replication_link(request)
        assert (refused.value.code, refused.value.status_code) == (code, status)
    with pytest.raises(ClientException, match=r"Forbidden\.RAM"):
        connect(memory, AUDITOR).switch_replication_link(request)
    assert not any(entry["committed"] for entry in memory.journal("SwitchReplicationLink"))
    assert json.loads(attribute(client).disaster_recovery_info)["sourceInstanceName"] == SOURCE


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
