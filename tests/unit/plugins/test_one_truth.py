# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever has happened to an instance, every module reports the same about its link, and sends nothing for another."""

from __future__ import annotations

import pytest

from ansible_collections.alicloud.rds.plugins.modules import (
    replication_link,
    replication_link_info,
    replication_link_promotion,
    replication_link_rebuild,
)

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE, creates
from .test_counterexamples import console, wait_until_idle

__all__ = ["console"]  # a fixture
WRITES = ("CreateReplicationLink", "DeleteReplicationLink", "RebuildReplicationLink")
FROM_RDS = {
    "source_category": "aliyunRDS",
    "source_instance_name": RDS_SOURCE,
    "source_instance_region_id": "cn-hangzhou",
    **ACCOUNT,
}
TASK = {"TaskType": "create", "SourceAddress": "127.0.0.1", "SourceCategory": "other", "TargetInstanceId": DR}


@pytest.fixture
def play(rds, run_as_action, monkeypatch):
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)

    def run(module, check_mode=False, **options):
        waiting = {} if module is replication_link_info else {**QUICK, "wait_interval": 0.05}
        return run_as_action(module, {"dr_instance_id": DR, **waiting, **options}, check_mode)

    return run


def writes(rds):
    """What was sent that may change something."""
    entries = [entry for action in WRITES for entry in rds.journal(action)]
    return [entry for entry in entries if entry["params"].get("DryRun") != "true"]


def show_log(rds, *rows):
    """Let the log show these rows and no others: a link may have none of its own."""
    body = {"RequestId": "R-log", "TotalSize": len(rows), "Items": [{**TASK, **row} for row in rows]}
    match = {"TaskType": "create"}
    rds.add_fault(fault="body", body=body, action="DescribeReplicationLinkLogs", match=match, times=None)


OLD_ROWS = {
    "none": [],
    "a failed precheck": [{"TaskId": 1, "TaskStatus": "failure", "TaskStage": "precheck", "SourcePort": 1}],
    "a failed copy of another source": [
        {"TaskId": 1, "TaskStatus": "failure", "TaskStage": "basebackup", "SourcePort": 1}
    ],
    "a broken link to another source": [
        {
            "TaskId": 1,
            "TaskStatus": "success",
            "TaskStage": "increment",
            "ReplicationState": "disconnect",
            "SourcePort": 1,
        }
    ],
}


@pytest.mark.parametrize("rows", OLD_ROWS.values(), ids=OLD_ROWS)
def test_a_row_that_cannot_be_of_this_link_is_no_evidence(rds, link, play, rows):
    link()
    show_log(rds, *rows)
    rds.clear_journal()
    assert play(replication_link_info)["link"]["state"] == "unknown"
    kept = link()
    assert (kept["outcome"], kept["link"]["state"]) == ("unchanged", "unknown"), kept
    refused = play(replication_link_rebuild)
    assert refused["error"]["code"] == "RebuildRefused" and "confirm" in refused["msg"]
    assert refused["topology"]["before"]["link_state"] == "unknown"
    assert writes(rds) == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_live_primary_is_named_as_one_and_never_to_be_emptied(rds, play, check_mode):
    """It was a DR instance once, and was promoted; now another one protects it."""
    play(replication_link, **FROM_RDS)
    play(replication_link_promotion, mode="planned", measured_lag_bytes=0)
    again = {**FROM_RDS, "source_instance_name": DR, "source_instance_region_id": "cn-shanghai"}
    rds.add_instance(id="pgm-next")
    assert play(replication_link, **again, dr_instance_id="pgm-next")["outcome"] == "created"
    rds.clear_journal()
    for module, options, code in (
        (replication_link, FROM_RDS, "InstanceIsPrimary"),
        (replication_link_rebuild, {}, "NotLinked"),
        (replication_link_promotion, {"mode": "forced", "confirm": DR}, "NotDrInstance"),
    ):
        failed = play(module, check_mode, **options)
        assert failed["error"]["code"] == code, failed
        assert "it is already" not in failed["msg"] and "mpty it" not in failed["msg"]
        if module is not replication_link_rebuild:
            assert "the primary of pgm-next" in failed["msg"]
    info = play(replication_link_info)
    assert info["link"] is None and [row["instance_id"] for row in info["dr_instances"]] == ["pgm-next"]
    assert rds.journal("CreateReplicationLink") == [] and writes(rds) == []


def test_a_promoted_instance_is_left_alone_with_advice_that_keeps_it(rds, link, play):
    link()
    play(replication_link_promotion, mode="planned", measured_lag_bytes=0)
    ended = link()
    assert ended["error"]["code"] == "LinkEnded"
    assert "a primary that clients may use" in ended["error"]["remedy"]


def test_of_three_dr_instances_each_answers_for_itself(rds, play):
    names = [DR, "pgm-two", "pgm-three"]
    for name in names[1:]:
        rds.add_instance(id=name)
    for name in names:
        assert play(replication_link, **FROM_RDS, dr_instance_id=name)["outcome"] == "created"
    play(replication_link_promotion, mode="planned", measured_lag_bytes=0, dr_instance_id="pgm-two")
    rds.break_link("pgm-three", "wal_removed")
    states = {name: (play(replication_link_info, dr_instance_id=name)["link"] or {}).get("state") for name in names}
    assert states == {DR: "streaming", "pgm-two": None, "pgm-three": "disconnect"}
    source = play(replication_link_info, dr_instance_id=RDS_SOURCE, region_id="cn-hangzhou")
    assert {row["instance_id"] for row in source["dr_instances"]} == {DR, "pgm-three"}
    rds.clear_journal()
    assert play(replication_link_promotion, mode="planned", dr_instance_id="pgm-two")["outcome"] == "unchanged"
    assert play(replication_link_rebuild, dr_instance_id="pgm-two")["error"]["code"] == "NotLinked"
    assert writes(rds) == []
    assert play(replication_link_rebuild, dr_instance_id="pgm-three")["outcome"] == "rebuilt"
    assert [entry["params"]["DBInstanceId"] for entry in writes(rds)] == ["pgm-three"]


def test_an_approved_plan_is_applied_though_another_source_has_failed_since(rds, link, console):
    plan = link(check_mode=True)["plan"]["task_id"]
    rds.add_fault(stage="basebackup", fault="fail", instance=DR, message="disk full")
    rival = rds.add_source(name="rival", accounts=[
        {"name": "dr_sync", "password": ACCOUNT["replicator_password"],
         "attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    ])  # fmt: skip
    account = {"ReplicatorAccount": "dr_sync", "ReplicatorPassword": ACCOUNT["replicator_password"]}
    place = {"SourceCategory": "other", "SourceAddress": "127.0.0.1", "SourcePort": str(rival["port"])}
    console("CreateReplicationLink", DryRun="false", TaskName="another", **place, **account)
    wait_until_idle(rds)
    applied = link(dry_run_task_id=plan)
    assert applied["outcome"] == "created", applied
    assert creates(rds)[-1]["params"]["TaskId"] == str(plan)


def test_the_same_rds_source_by_another_endpoint_is_the_same_link(rds, play):
    play(replication_link, **FROM_RDS)
    rds.clear_journal()
    other = play(replication_link, **FROM_RDS, source_address="pgm-src-public.pg.rds.aliyuncs.com", source_port=3433)
    assert (other["outcome"], other["changed"]) == ("unchanged", False), other
    assert writes(rds) == []


@pytest.mark.parametrize("verb", ["promotion", "rebuild"])
@pytest.mark.thorough
def test_one_failed_poll_while_the_instance_is_busy_is_tolerated(rds, link, play, verb):
    link()
    rds.break_link(DR, "wal_removed")
    rds.clear_journal()
    rds.set_instance(DR, status="Rebooting")
    down = {"fault": "status", "http_status": 503, "content": "json"}
    rds.add_fault(**down, action="DescribeDBInstanceAttribute", skip=1, times=2)
    modules = {"promotion": replication_link_promotion, "rebuild": replication_link_rebuild}
    options = {"promotion": {"mode": "planned", "measured_lag_bytes": 0}, "rebuild": {}}[verb]
    late = play(modules[verb], **{**options, "wait_timeout": 0.6, "max_retries": 0})
    assert late["error"]["code"] == f"{verb.capitalize()}Refused", late
    assert f"{DR} is Rebooting" in late["msg"] and late["topology"]["before"]["dr_instance"]["instance_id"] == DR
    assert writes(rds) == []


@pytest.mark.thorough
def test_a_4xx_without_the_services_word_leaves_the_outcome_unknown(rds, link):
    answer = {"http_status": 408, "body": {"error": "request timeout"}}
    rds.add_fault(fault="body", action="CreateReplicationLink", where="after", **answer)
    result = link(settle_timeout=2)
    assert result["outcome"] == "adopted" and result["changed"], "it was carried out, and is found"
    assert len(creates(rds)) == 1
    rds.reset()
    rds.add_fault(fault="body", action="CreateReplicationLink", where="before", **answer)
    lost = link()
    assert lost["outcome"] == "unknown" and len(creates(rds)) == 1


def test_a_failed_precheck_has_changed_nothing_and_names_its_request(rds, link):
    failed = link(replicator_password="not-the-one")
    assert failed["error"]["code"] == "PrecheckFailed"
    assert failed["changed"] is False
    assert failed["error"]["request_id"] and failed["request_id"] == failed["error"]["request_id"]


@pytest.mark.parametrize("where", ["instance", "log"])
def test_an_answer_about_another_instance_or_task_leads_to_nothing(rds, link, play, where):
    if where == "instance":
        row = {"DBInstanceId": "pgm-other", "Engine": "PostgreSQL", "DBInstanceStatus": "Running"}
        body, action = {"Items": {"DBInstanceAttribute": [row]}}, "DescribeDBInstanceAttribute"
    else:
        row = {**TASK, "TaskId": 1, "TaskStatus": "success", "TargetInstanceId": "pgm-other"}
        body, action = {"Items": [row], "TotalSize": 1}, "DescribeReplicationLinkLogs"
    rds.add_fault(fault="body", body=body, action=action, times=None)
    for result in (link(), play(replication_link_info), play(replication_link_rebuild, confirm=DR)):
        assert result["error"]["code"] == "ReplyUnreadable" and "pgm-other" in result["msg"]
    assert writes(rds) == []
