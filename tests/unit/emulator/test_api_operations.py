# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operations do, on the memory engine, without HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rds_emulator.engine import BREAKS, EngineError
from rds_emulator.errors import CATALOGUE, ApiError
from tests.unit.emulator.api_helper import ACCOUNT, PASSWORD, SEED, Driver, make_world, until


@pytest.fixture
def rds() -> Iterator[Driver]:
    world = make_world()
    yield Driver(world)
    world.clear_faults()
    world.engine.close()


def linked(rds: Driver, **more: Any) -> dict[str, Any]:
    created = rds.create(False, **more)
    assert rds.finished()["TaskStatus"] == "success"
    return created


# -- the life of a link --------------------------------------------------------------------------------------------


def test_a_dry_run_reports_and_changes_nothing(rds: Driver) -> None:
    answer = rds.create(True, TaskName="preview")
    assert answer["TaskName"] == "preview"
    row = rds.finished("create-dryrun")
    assert (row["TaskStatus"], row["TaskStage"], row["TaskId"]) == ("success", "precheck", answer["TaskId"])
    lines = row["Detail"].split("\n")
    assert lines[:3] == ["[Check rds empty]", "Check rds databases: success", "[Check source connectivity]"]
    assert lines[-1] == "*Migrate check success*"
    assert "DisasterRecoveryInfo" not in rds.attribute()
    assert rds.attribute()["DBInstanceStatus"] == "Running"
    assert rds.rows("create") == []


def test_a_link_is_made_shown_and_promoted(rds: Driver) -> None:
    plan = rds.create(True)
    rds.idle()
    rds.world.add_faults([{"stage": stage, "fault": "hold"} for stage in ("precheck", "basebackup", "increment")])
    rds.create(False, TaskId=plan["TaskId"], TaskName="go")
    for stage in ("precheck", "basebackup", "increment"):
        until(lambda stage=stage: rds.rows()[0]["TaskStage"] == stage)
        assert rds.rows()[0]["TaskStatus"] == "running"
        assert rds.attribute()["DBInstanceStatus"] == "GuardDBInstanceCreating"
        assert "DisasterRecoveryInfo" not in rds.attribute()
        rules = [rule for rule in rds.world.faults.public() if rule["stage"] != stage]
        rds.world.clear_faults()
        rds.world.add_faults([{key: rule[key] for key in ("stage", "fault")} for rule in rules])
    row = rds.finished()
    assert (row["TaskStage"], row["TaskStatus"], row["ReplicationState"]) == ("increment", "success", "steaming")
    assert row["ReplicatorPassword"] == PASSWORD
    info = json.loads(rds.attribute()["DisasterRecoveryInfo"])
    assert info["sourceCategory"] == "other"
    assert info["sourcePort"] == rds.world.store.sources["onprem"].port
    assert info["replicatorPassword"] == PASSWORD

    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="True")
    row = rds.finished()
    assert (row["TaskName"], row["ReplicationState"]) == ("go", "finish")  # the row stays, and proves nothing
    assert "DisasterRecoveryInfo" not in rds.attribute()
    rds.create(True)
    assert "Check rds databases: error" in rds.finished("create-dryrun")["Detail"]


def test_a_link_from_rds_shows_on_both_instances(rds: Driver) -> None:
    rds.create_from_rds(DryRun="False")
    rds.idle()
    source = rds.attribute("pgm-src")
    assert (source["GuardDBInstanceId"], rds.rows()[0]["ReplicationInfo"]) == ("pgm-dr", "None")
    assert json.loads(source["DisasterRecoveryInstances"]) == [{"regionId": "cn-shanghai", "insName": "pgm-dr"}]
    info = json.loads(rds.attribute()["DisasterRecoveryInfo"])
    assert (info["sourceInstanceName"], info["sourceInstanceRegionId"]) == ("pgm-src", "cn-hangzhou")
    assert info["sourcePort"] == int(source["Port"])


def test_a_broken_link_is_seen_at_the_next_read(rds: Driver) -> None:
    linked(rds)
    rds.world.engine.set_broken("pgm-dr", True)  # type: ignore[attr-defined]
    assert rds.rows()[0]["ReplicationState"] == "disconnect"
    rds.world.engine.set_broken("pgm-dr", False)  # type: ignore[attr-defined]
    assert rds.rows()[0]["ReplicationState"] == "steaming"
    rds.world.delete_source("onprem")
    assert rds.rows()[0]["ReplicationState"] == "disconnect"


@pytest.mark.parametrize("stage", ["precheck", "basebackup", "startup", "increment"])
def test_a_stage_that_fails_leaves_the_instance_empty_and_running(rds: Driver, stage: str) -> None:
    rds.world.add_faults([{"stage": stage, "fault": "fail", "message": "out of paper"}])
    rds.create(False)
    row = rds.finished()
    assert (row["TaskStatus"], row["TaskStage"], row["ReplicationState"]) == ("failure", stage, "")
    assert "out of paper" in row["Detail"]
    assert rds.attribute()["DBInstanceStatus"] == "Running"
    assert "DisasterRecoveryInfo" not in rds.attribute()
    linked(rds)


def test_a_failed_create_never_empties_an_instance_that_has_data(rds: Driver) -> None:
    linked(rds)
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="true")
    rds.idle()
    rds.create(False)
    assert rds.finished()["TaskStatus"] == "failure"
    rds.create(True)
    assert "Check rds databases: error" in rds.finished("create-dryrun")["Detail"]


def test_removal_without_promotion_leaves_a_standby(rds: Driver) -> None:
    linked(rds)
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="false")
    assert "DisasterRecoveryInfo" not in rds.attribute()
    assert rds.rows()[0]["ReplicationState"] == "finish"
    assert rds.world.engine.link_state("pgm-dr").state != "none"


def test_a_promoted_instance_is_the_source_of_the_next_link(rds: Driver) -> None:
    rds.create_from_rds()
    rds.idle()
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="true")
    rds.idle()
    rds.world.add_instance({"id": "pgm-new"})
    rds.create_from_rds(instance="pgm-new", SourceInstanceName="pgm-dr", SourceInstanceRegionId="cn-shanghai")
    rds.idle("pgm-new")
    assert json.loads(rds.attribute("pgm-new")["DisasterRecoveryInfo"])["sourceInstanceName"] == "pgm-dr"
    assert rds.attribute("pgm-dr")["GuardDBInstanceId"] == "pgm-new"
    assert "GuardDBInstanceId" not in rds.attribute("pgm-src")
    assert rds.rows(instance="pgm-new")[0]["ReplicationState"] == "steaming"


def test_rebuild_keeps_the_link(rds: Driver) -> None:
    linked(rds)
    rds.world.add_faults([{"stage": "basebackup", "fault": "hold", "task_type": "rebuild"}])
    rds.call("RebuildReplicationLink", DBInstanceId="pgm-dr")
    assert rds.attribute()["DBInstanceStatus"] == "GuardDBInstanceCreating"
    rds.world.faults.release()
    rds.idle()
    assert rds.rows()[0]["ReplicationState"] == "steaming"


def same_link(rds: Driver) -> bool:
    """Both instances run, and are linked as create_from_rds() left them."""
    statuses = {rds.attribute(name)["DBInstanceStatus"] for name in ("pgm-dr", "pgm-src")}
    info = json.loads(rds.attribute().get("DisasterRecoveryInfo", "{}"))
    return statuses == {"Running"} and info.get("sourceInstanceName") == "pgm-src"


@pytest.mark.parametrize("fault", ["hold", "slow", "fail"])
def test_a_promotion_can_be_held_slowed_and_failed(rds: Driver, fault: str) -> None:
    rds.create_from_rds()
    rds.idle()
    rule = {"stage": "promote", "fault": fault, "task_type": "promote", "instance": "pgm-dr", "seconds": 0.2}
    rds.world.add_faults([rule])
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="true")
    if fault != "fail":
        assert rds.attribute()["DBInstanceStatus"] == "GuardSwitching"
    rds.idle()
    assert same_link(rds) == (fault == "fail")


def test_deleting_an_instance_ends_its_held_promotion(rds: Driver) -> None:
    rds.create_from_rds()
    rds.idle()
    rds.world.add_faults([{"stage": "promote", "fault": "hold"}])
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="true")
    rds.world.delete_instance("pgm-dr")
    assert not any(instance.busy for instance in rds.world.store.instances.values())


@pytest.mark.parametrize("how", BREAKS)
def test_a_link_breaks_and_is_repaired(rds: Driver, how: str) -> None:
    rds.world.quirks["replication_info"] = "json"
    rds.create_from_rds()
    rds.idle()
    engine = rds.world.engine
    lag = {"lag_bytes": 5000, "lag_seconds": 7} if how == "replay_paused" else {}
    engine.break_link("pgm-dr", how, **lag)
    row = rds.rows()[0]
    info = json.loads(row["ReplicationInfo"])
    assert row["ReplicationState"] == ("steaming" if lag else "disconnect")
    assert info["Status"] == ("streaming" if lag else "null")
    assert info["ReplayLag"] == ("7" if lag else "0")
    assert (engine.link_state("pgm-dr").lag_bytes, info["Synced"]) == (5000 if lag else None, "false")
    assert all(isinstance(value, str) for value in info.values())
    if not lag:
        with pytest.raises(EngineError, match="not streaming"):
            engine.break_link("pgm-dr", how)

    rds.call("RebuildReplicationLink", DBInstanceId="pgm-dr")
    rds.idle()
    assert same_link(rds)
    cured = how not in ("refused", "source_gone")
    assert rds.rows()[0]["ReplicationState"] == ("steaming" if cured else "disconnect")
    assert engine.link_state("pgm-dr").lag_bytes == (0 if cured else None)

    if cured:
        engine.break_link("pgm-dr", how)
    engine.repair_link("pgm-dr")
    assert rds.rows()[0]["ReplicationState"] == ("disconnect" if how == "wal_removed" else "steaming")


def test_an_instance_whose_source_has_gone_can_be_promoted(rds: Driver) -> None:
    rds.create_from_rds()
    rds.idle()
    rds.world.engine.break_link("pgm-dr", "source_gone")
    rds.create(True, instance="pgm-old", SourcePort=rds.attribute("pgm-src")["Port"])
    assert "Check port connectable: error" in rds.finished("create-dryrun", "pgm-old")["Detail"]
    rds.call("DeleteReplicationLink", DBInstanceId="pgm-dr", PromoteToMaster="true")
    rds.idle()
    assert not same_link(rds)
    rds.world.engine.repair_link("pgm-dr")
    rds.create(True, instance="pgm-old", SourcePort=rds.attribute("pgm-src")["Port"])
    assert "Check port connectable: success" in rds.finished("create-dryrun", "pgm-old")["Detail"]


def test_sixteen_creates_at_once_make_one_link(rds: Driver) -> None:
    rds.world.add_faults([{"stage": "precheck", "fault": "hold"}])

    def attempt(number: int) -> str:
        try:
            rds.create(False, TaskName=f"n{number}")
        except ApiError as error:
            return error.code
        return "accepted"

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(attempt, range(16)))
    assert sorted(results) == ["IncorrectDBInstanceState"] * 15 + ["accepted"]
    rds.world.clear_faults()
    assert rds.finished()["TaskStatus"] == "success"


# -- prechecks -----------------------------------------------------------------------------------------------------


def account(**changes: Any) -> dict[str, Any]:
    return {**ACCOUNT, **changes}


PRECHECKS: dict[str, tuple[dict[str, Any], str]] = {
    "refused": ({"behaviour": "refused"}, "Check port connectable: error"),
    "blackhole": ({"behaviour": "blackhole"}, "Check port connectable: error"),
    "silent": ({"behaviour": "silent"}, "Check database connectable: error"),
    "ssh": ({"behaviour": "ssh"}, "is not a PostgreSQL server"),
    "password": ({"accounts": [account(password="other")]}, f"by dr_sync:{PASSWORD} (28P01"),
    "nologin": ({"accounts": [account(attributes=["REPLICATION"])]}, "Check database connectable: error"),
    "replication": ({"accounts": [account(attributes=["LOGIN", "CREATEROLE"])]}, "replication privilege: error"),
    "createrole": ({"accounts": [account(attributes=["LOGIN", "REPLICATION"])]}, "createrole privilege: error"),
    "monitor": ({"accounts": [account(member_of=[])]}, "monitor privilege: error"),
    "version": ({"version": 15}, "Check major version consistent: error"),
    "glibc": ({"memory": {"glibc_differs": True}}, "version compatible: warning(warning:source glibc"),
    "disk": ({"memory": {"size_gb": 16.1}}, "Check disk size enough: error"),
    "wal_keep": ({"settings": {"wal_keep_size": 0}}, "Check wal keep size large enough: error"),
    "connections": ({"settings": {"max_connections": 201}}, "Check if spec params too large: error"),
    "rds_user": ({"accounts": [ACCOUNT, account(name="aurora")]}, "Check rds user: error"),
    "extensions": ({"memory": {"extensions": ["timescaledb"]}}, "Check extensions compatible: error"),
    "slots": ({"memory": {"logical_slots": 2}}, "Check logical replication slots: warning"),
    "triggers": ({"memory": {"triggers": True}}, "Check triggers compatible: error"),
    "functions": ({"memory": {"user_functions": True}}, "Check user functions compatible: error"),
    "wal_level": ({"settings": {"wal_level": "minimal"}}, "Check replication: error(error:wal_level"),
    "senders": ({"settings": {"max_wal_senders": 0}}, "Check replication: error"),
}


@pytest.mark.parametrize("name", PRECHECKS)
def test_precheck(rds: Driver, name: str) -> None:
    spec, expected = PRECHECKS[name]
    place = rds.world.add_source({"name": "bad", "accounts": [ACCOUNT], **spec})
    rds.create(True, SourcePort=place["port"])
    row = rds.finished("create-dryrun")
    assert expected in row["Detail"]
    failed = ": error" in expected or "(28P01" in expected or "not a PostgreSQL" in expected
    assert row["TaskStatus"] == ("failure" if failed else "success")
    assert row["Detail"].endswith("*Migrate check failure*" if failed else "*Migrate check success*")


def test_unknown_places(rds: Driver) -> None:
    for changes, expected in (
        (
            {"SourceAddress": "db.example"},
            "Check ip connectable: error(error:db.example is unapproachable: the emulator",
        ),
        ({"SourceAddress": "10.0.0.1"}, "Check ip connectable: error(error:10.0.0.1 is unapproachable: the emulator"),
        ({"SourceAddress": "127.0.0.9"}, "Check port connectable: error"),
        ({"SourcePort": 1}, "Check port connectable: error"),
    ):
        rds.create(True, **changes)
        assert expected in rds.finished("create-dryrun")["Detail"]


# -- what is refused at once ---------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"instance": None}, "RequiredParam.NotFound"),
    ({"dry_run": None}, "RequiredParam.NotFound"),
    ({"dry_run": "yes"}, "Parameters.Invalid"),
    ({"SourceAddress": None}, "RequiredParam.NotFound"),
    ({"SourcePort": None}, "RequiredParam.NotFound"),
    ({"SourcePort": "5432x"}, "Parameters.Invalid"),
    ({"SourcePort": 65536}, "Parameters.Invalid"),
    ({"ReplicatorAccount": ""}, "RequiredParam.NotFound"),
    ({"ReplicatorPassword": None}, "RequiredParam.NotFound"),
    ({"SourceCategory": "ecs"}, "InvalidSourceCategory"),
    ({"instance": "pgm-none"}, "InvalidDBInstanceName.NotFound"),
    ({"instance": "pgm-ro"}, "IncorrectDBInstanceType"),
    ({"instance": "rm-mysql"}, "InvalidDBInstanceEngineType.Format"),
    ({"instance": "pgm-locked"}, "IncorrectDBInstanceLockMode"),
    ({"instance": "pgm-stopped"}, "IncorrectDBInstanceState"),
    ({"TaskId": "x"}, "Parameters.Invalid"),
    ({"TaskId": 1}, "Parameters.Invalid"),
]
REFUSED_RDS: list[tuple[dict[str, Any], str]] = [
    ({"SourceInstanceName": None}, "RequiredParam.NotFound"),
    ({"SourceInstanceRegionId": None}, "RequiredParam.NotFound"),
    ({"SourceInstanceRegionId": "cn-nowhere"}, "Parameters.Invalid"),
    ({"SourceInstanceRegionId": "cn-beijing"}, "InvalidDBInstanceName.NotFound"),
    ({"SourceInstanceName": "pgm-none"}, "InvalidDBInstanceName.NotFound"),
    ({"SourceInstanceName": "rm-mysql", "SourceInstanceRegionId": "cn-shanghai"}, "InvalidDBInstanceEngineType.Format"),
    ({"SourceInstanceName": "pgm-dr", "SourceInstanceRegionId": "cn-shanghai"}, "Parameters.Invalid"),
    ({"SourceAddress": "10.0.0.1"}, "ENDPOINT_NOT_FOUND"),
    ({"SourcePort": 1}, "ENDPOINT_NOT_FOUND"),
]


@pytest.mark.parametrize(("changes", "code"), REFUSED)
def test_create_refuses(rds: Driver, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiError) as caught:
        rds.create(**changes)
    assert (caught.value.code, caught.value.status) == (code, CATALOGUE[code][0])
    assert rds.rows() == []


@pytest.mark.parametrize(("changes", "code"), REFUSED_RDS)
def test_create_from_rds_refuses(rds: Driver, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiError) as caught:
        rds.create_from_rds(**changes)
    assert (caught.value.code, caught.value.status) == (code, CATALOGUE[code][0])
    if code == "ENDPOINT_NOT_FOUND":
        assert "must be the endpoint of source instance pgm-src." in caught.value.message


def test_a_second_link_is_refused(rds: Driver) -> None:
    linked(rds)
    for dry_run in (True, False):
        with pytest.raises(ApiError, match="MirrorInsExists"):
            rds.create(dry_run)


def test_a_plan_must_be_a_successful_dry_run_of_this_instance(rds: Driver) -> None:
    other = rds.create(True, instance="pgm-src")
    rds.idle("pgm-src")
    failed = rds.create(True, SourcePort=1)
    rds.idle()
    for task in (other, failed):
        with pytest.raises(ApiError, match=r"Parameters\.Invalid"):
            rds.create(False, TaskId=task["TaskId"])


@pytest.mark.parametrize("action", ["DeleteReplicationLink", "RebuildReplicationLink"])
def test_an_instance_without_a_link_is_refused(rds: Driver, action: str) -> None:
    with pytest.raises(ApiError, match="IncorrectDBInstance:"):
        rds.call(action, DBInstanceId="pgm-dr", PromoteToMaster="true")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pgm-src", "IncorrectDBInstanceType"),
        ("pgm-dr", "IncorrectDBInstanceType"),
        ("pgm-none", "InvalidDBInstanceName.NotFound"),
        (None, "RequiredParam.NotFound"),
    ],
)
def test_a_switch_is_refused_and_changes_nothing(rds: Driver, name: str | None, code: str) -> None:
    rds.create_from_rds()
    rds.idle()
    with pytest.raises(ApiError) as caught:
        rds.call(
            "SwitchReplicationLink",
            DBInstanceId=name,
            TargetInstanceName="pgm-dr",
            TargetInstanceRegionId="cn-shanghai",
        )
    assert (caught.value.code, caught.value.status) == (code, CATALOGUE[code][0])
    assert same_link(rds)


# -- reads ---------------------------------------------------------------------------------------------------------


def test_logs_filter_and_page(rds: Driver) -> None:
    tasks = []
    for number in range(5):
        tasks.append(rds.create(True, TaskName=f"name {number}"))
        rds.idle()
    assert [row["TaskId"] for row in rds.rows("create-dryrun")] == [task["TaskId"] for task in reversed(tasks)]
    assert sorted(task["TaskId"] for task in tasks) == [task["TaskId"] for task in tasks]
    answer = rds.call(
        "DescribeReplicationLinkLogs", DBInstanceId="pgm-dr", TaskType="create-dryrun", PageNumber=2, PageSize=2
    )
    assert answer["TotalSize"] == 5
    assert [row["TaskName"] for row in answer["Items"]] == ["name 2", "name 1"]
    assert [row["TaskName"] for row in rds.rows("create-dryrun", TaskName="name 3")] == ["name 3"]
    assert [row["TaskName"] for row in rds.rows("create-dryrun", TaskId=tasks[0]["TaskId"])] == ["name 0"]
    for wrong in ({"TaskType": "delete"}, {"PageSize": 0}, {"PageSize": 101}, {"PageNumber": "x"}, {"TaskId": "x"}):
        with pytest.raises(ApiError, match=r"Parameters\.Invalid"):
            rds.call("DescribeReplicationLinkLogs", **{"DBInstanceId": "pgm-dr", "TaskType": "create", **wrong})


def test_instances_filter_and_page() -> None:
    fleet = [{"id": f"pgm-{number:04}", "status": "Running" if number % 2 else "Stopped"} for number in range(250)]
    rds = Driver(make_world({**SEED, "instances": fleet}))
    seen: list[str] = []
    for page in range(1, 4):
        answer = rds.call("DescribeDBInstances", RegionId="cn-shanghai", PageSize=100, PageNumber=page)
        seen += [item["DBInstanceId"] for item in answer["Items"]["DBInstance"]]
        assert answer["TotalRecordCount"] == 250
    assert seen == [item["id"] for item in fleet]
    seen, token = [], None
    while True:
        answer = rds.call("DescribeDBInstances", RegionId="cn-shanghai", MaxResults=60, NextToken=token)
        seen += [item["DBInstanceId"] for item in answer["Items"]["DBInstance"]]
        token = answer.get("NextToken")
        if not token:
            break
    assert seen == [item["id"] for item in fleet]
    count = {"DBInstanceStatus": "Stopped"}, {"DBInstanceType": "Guard"}, {"SearchKey": "0007"}, {"Engine": "MySQL"}
    totals = [rds.call("DescribeDBInstances", RegionId="cn-shanghai", **c)["TotalRecordCount"] for c in count]
    assert totals == [125, 0, 1, 0]
    assert rds.call("DescribeDBInstances", RegionId="cn-beijing")["TotalRecordCount"] == 0


def test_regions(rds: Driver) -> None:
    regions = [row["RegionId"] for row in rds.call("DescribeRegions")["Regions"]["RDSRegion"]]
    assert {"cn-hangzhou", "cn-shanghai"} <= set(regions)


def test_unknown_instances_are_refused_by_every_read(rds: Driver) -> None:
    for action in ("DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"):
        with pytest.raises(ApiError, match=r"InvalidDBInstanceName\.NotFound"):
            rds.call(action, DBInstanceId="pgm-none", TaskType="create")


# -- quirks --------------------------------------------------------------------------------------------------------


def test_the_other_side_of_every_quirk() -> None:
    other = {
        "password_echo": "masked",
        "detail_credentials": "masked",
        "state_spelling": "streaming",
        "detail_newline": "literal",
        "task_type_required": False,
        "finished_status": "running",
        "dr_instance_type": "Guard",
        "not_found_code": "InvalidDBInstanceId.NotFound",
        "replication_info": "json",
        "dr_instances_told": False,
    }
    rds = Driver(make_world(quirks=other))
    rds.create(True, ReplicatorPassword="hunter22")
    row = rds.finished("create-dryrun")
    assert "hunter22" not in json.dumps(row)
    assert "by dr_sync:*** (28P01" in row["Detail"]
    assert "\n" not in row["Detail"] and "\\n[Check source connectivity]\\n" in row["Detail"]
    rds.create_from_rds()
    rds.idle()
    row = rds.call("DescribeReplicationLinkLogs", DBInstanceId="pgm-dr")["Items"][0]
    assert (row["ReplicationState"], row["TaskStatus"]) == ("streaming", "running")
    assert json.loads(row["ReplicationInfo"])["ReceivedLsn"] == "0/3000148"
    assert not {"DisasterRecoveryInstances", "GuardDBInstanceId"} & rds.attribute("pgm-src").keys()
    assert rds.attribute()["DBInstanceType"] == "Guard"
    assert "pgm-dr" in str(rds.call("DescribeDBInstances", RegionId="cn-shanghai", DBInstanceType="Guard"))
    with pytest.raises(ApiError) as caught:
        rds.attribute("pgm-none")
    assert (caught.value.code, caught.value.status) == ("InvalidDBInstanceId.NotFound", 400)


# -- the administration of a world -----------------------------------------------------------------------------------


def test_a_held_task_cannot_bring_a_deleted_instance_back(rds: Driver) -> None:
    rds.world.add_faults([{"stage": "startup", "fault": "hold"}])
    rds.create(False)
    until(lambda: rds.rows()[0]["TaskStage"] == "startup")
    rds.world.delete_instance("pgm-dr")
    assert "pgm-dr" not in rds.world.store.instances
    assert "pgm-dr" not in rds.world.engine._clusters  # type: ignore[attr-defined]


def test_reset_brings_everything_back_on_the_same_ports(rds: Driver) -> None:
    places = rds.world.places()
    linked(rds)
    rds.world.add_source({"name": "extra"})
    rds.world.delete_instance("pgm-old")
    rds.world.add_faults([{"fault": "lost", "times": None}])
    rds.world.reset()
    assert rds.rows() == []
    assert rds.world.faults.public() == []
    again = rds.world.places()
    again["instances"]["pgm-old"]["port"] = places["instances"]["pgm-old"]["port"]  # it was gone, so it got a new one
    assert again == places
    linked(rds)


def test_a_thousand_instances_start_at_once() -> None:
    fleet = [{"id": f"pgm-{number:04}"} for number in range(1000)]
    rds = Driver(make_world({**SEED, "instances": fleet}))
    assert len({place["port"] for place in rds.world.places()["instances"].values()}) == 1000
    for number in range(200):
        rds.create(False, instance=f"pgm-{number:04}")
    until(lambda: not any(instance.busy for instance in rds.world.store.instances.values()))
    assert sum(instance.link is not None for instance in rds.world.store.instances.values()) == 200
