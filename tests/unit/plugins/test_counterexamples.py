# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories that went wrong once, found by tests/model or by reading, as plain tests."""

from __future__ import annotations

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import Credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.creation import Creation
from ansible_collections.alicloud.rds.plugins.modules import replication_link_promotion, replication_link_rebuild

from .conftest import ACCOUNT, DR, QUICK, creates

PASSWORD = ACCOUNT["replicator_password"]
VERBS = ("DeleteReplicationLink", "RebuildReplicationLink")
ROLE = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}


@pytest.fixture
def console(rds):
    """Call an operation as somebody else does, without this collection's care."""
    keys = rds.environment
    client = _client.Client(
        resolve_endpoint(rds.endpoint, None, "public"),
        lambda: Credentials(keys["ALIBABA_CLOUD_ACCESS_KEY_ID"], keys["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], None, "test"),
        _client.Limits(),
    )
    yield lambda action, **parameters: client.call(action, {"DBInstanceId": DR, **parameters}, repeatable=False)
    client.close()


def promote(rds, console):
    console("DeleteReplicationLink", PromoteToMaster="true")
    wait_until_idle(rds)


def create_from(rds, console, source):
    where = {"SourceCategory": "other", "SourceAddress": "127.0.0.1", "SourcePort": str(source["port"])}
    account = {"ReplicatorAccount": "dr_sync", "ReplicatorPassword": PASSWORD}
    console("CreateReplicationLink", DryRun="false", TaskName="rival", **where, **account)
    wait_until_idle(rds)


def wait_until_idle(rds):
    while rds.state()["instances"][DR]["busy"]:
        pass


def test_a_create_in_doubt_is_not_called_refused_because_the_look_after_it_was(rds, link):
    rds.add_fault(fault="status", http_status=500, content="json", where="after", action="CreateReplicationLink")
    rds.add_fault(fault="error", code="MirrorInsExists", action="DescribeDBInstanceAttribute", skip=1, times=6)
    result = link()
    assert result["outcome"] == "unknown"
    assert [entry["committed"] for entry in creates(rds)] == [True]
    rds.clear_faults()
    assert link()["outcome"] == "unchanged"


def test_a_failed_attempt_of_somebody_else_does_not_hide_that_a_link_was_ended(rds, link, console):
    link()
    promote(rds, console)
    console(
        "CreateReplicationLink",
        DryRun="false",
        SourceCategory="other",
        SourceAddress="127.0.0.1",
        SourcePort=str(rds.sources["onprem"]["port"]),
        ReplicatorAccount=ACCOUNT["replicator_account"],
        ReplicatorPassword=ACCOUNT["replicator_password"],
        TaskName="by hand",
    )
    wait_until_idle(rds)
    rds.clear_journal()
    result = link()
    assert result["error"]["code"] == "LinkEnded"
    assert creates(rds) == []


def test_a_failed_attempt_with_a_plan_does_not_let_the_next_run_do_without(rds, link, console):
    link()
    promote(rds, console)
    rds.delete_instance(DR)  # emptied: the same instance with the same log
    rds.add_instance(id=DR)
    plan = link(check_mode=True)["plan"]["task_id"]
    rds.add_fault(stage="basebackup", fault="fail", instance=DR)
    assert link(dry_run_task_id=plan)["error"]["code"] == "TaskFailed"
    rds.clear_journal()
    assert link()["error"]["code"] == "LinkEnded"
    assert creates(rds) == []
    assert link(dry_run_task_id=plan)["error"]["code"] == "TaskFailed", "a plan is applied once"
    renewed = link(check_mode=True)["plan"]["task_id"]
    assert link(dry_run_task_id=renewed)["outcome"] == "created"


def test_a_link_of_another_source_that_comes_while_the_instance_is_busy_is_not_adopted(rds, link, console, monkeypatch):
    rival = rds.add_source(name="rival", accounts=[{**ROLE, "name": "dr_sync", "password": PASSWORD}])
    create = Creation._create

    def refused_since_a_rival_was_faster(creation):
        if not creates(rds):
            create_from(rds, console, rival)
            raise RdsError("IncorrectDBInstanceState", "busy", http_status=400, outcome="refused")
        return create(creation)

    monkeypatch.setattr(Creation, "_create", refused_since_a_rival_was_faster)
    result = link()
    assert (result["error"]["code"], result["outcome"], result["changed"]) == ("OtherSource", "refused", False)
    assert str(rival["port"]) in result["msg"]
    assert len(creates(rds)) == 1


def test_a_create_whose_answer_was_lost_is_not_called_refused_because_a_rival_came_after_it(
    rds, link, console, monkeypatch
):
    rival = rds.add_source(name="rival", accounts=[{**ROLE, "name": "dr_sync", "password": PASSWORD}])
    create = Creation._create

    def lost_and_failed_before_a_rival_came(creation):
        try:
            return create(creation)
        finally:
            wait_until_idle(rds)
            create_from(rds, console, rival)

    monkeypatch.setattr(Creation, "_create", lost_and_failed_before_a_rival_came)
    rds.add_fault(stage="basebackup", fault="fail", instance=DR)
    rds.add_fault(fault="lost", action="CreateReplicationLink")
    result = link()
    assert [entry["committed"] for entry in creates(rds)] == [True, True]
    assert (result["error"]["code"], result["outcome"]) == ("OtherSource", "unknown")
    assert "nothing was changed" not in result["msg"]


def test_a_link_without_a_row_is_not_called_broken_because_an_earlier_task_failed(rds, link, info):
    rds.add_fault(stage="basebackup", fault="fail", instance=DR)
    assert link()["error"]["code"] == "TaskFailed"
    rds.forget_task(link()["task_id"])
    assert info()["link"]["state"] == "unknown"
    result = link()
    assert (result["outcome"], result["link"]["state"]) == ("unchanged", "unknown"), result


def test_a_link_whose_task_failed_while_data_streamed_is_called_broken(rds, link):
    rds.add_fault(stage="increment", fault="fail", instance=DR)
    assert link()["error"]["code"] == "TaskFailed"
    rds.forget_task(link()["task_id"])
    assert link()["error"]["code"] == "LinkBroken"


@pytest.mark.parametrize("module", [replication_link_promotion, replication_link_rebuild])
def test_a_wait_that_a_refused_read_ends_reports_that_its_request_was_carried_out(rds, link, run_module, module):
    link()
    rds.add_fault(fault="error", code="Forbidden.RAM", action="DescribeDBInstanceAttribute", skip=1)
    options = {"dr_instance_id": DR, "confirm": DR, **QUICK}
    forced = {"mode": "forced"} if module is replication_link_promotion else {}
    result = run_module(module, {**options, **forced})
    assert [entry["committed"] for action in VERBS for entry in rds.journal(action)] == [True]
    assert (result["error"]["code"], result["outcome"], result["changed"]) == ("Forbidden.RAM", "running", True)
