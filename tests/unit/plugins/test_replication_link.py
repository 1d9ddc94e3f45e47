# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user of the module sees, and what the service saw: the main job on the memory engine."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import connection, links
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK
from ansible_collections.alicloud.rds.plugins.modules import replication_link

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE, creates

DOCUMENTED = json.loads((resources.files("rds_emulator") / "data" / "errors.json").read_text("utf-8"))
READS = ["DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"]


def actions(rds):
    return [entry["action"] for entry in rds.journal()]


# -- preview, apply, apply again ---------------------------------------------------------------------------------------


def test_check_mode_is_the_services_dry_run_and_creates_nothing(rds, link):
    result = link(check_mode=True)
    assert (result["changed"], result["outcome"]) == (True, "previewed")
    assert result["plan"]["task_id"] == result["task_id"]
    assert {check["result"] for check in result["checks"]} == {"success"}
    assert result["link"]["state"] == "planned"
    assert len(creates(rds, "true")) == 1
    assert creates(rds, "false") == []
    assert rds.state()["instances"][DR]["link"] is None


def test_apply_creates_once_and_waits_until_data_streams(rds, link):
    result = link()
    assert (result["changed"], result["outcome"], result["link"]["state"]) == (True, "created", "streaming")
    assert result["db_instance_id"] == DR
    assert result["task"]["status"] == "success"
    assert result["request_id"]
    assert len(creates(rds, "false")) == 1
    assert creates(rds, "true") == []


def test_the_second_run_changes_nothing_with_two_reads_and_no_write(rds, link):
    link()
    rds.clear_journal()
    for check_mode in (False, True):
        result = link(check_mode=check_mode)
        assert (result["changed"], result["outcome"], result["link"]["state"]) == (False, "unchanged", "streaming")
    assert actions(rds) == READS * 2


def test_every_documented_parameter_reaches_the_wire(rds, link):
    plan = link(check_mode=True)["plan"]["task_id"]
    result = link(dry_run_task_id=plan, task_name="night shift + 1")
    (request,) = creates(rds)
    assert request["params"] == {
        "DBInstanceId": DR,
        "DryRun": "false",
        "SourceAddress": "127.0.0.1",
        "SourcePort": str(rds.sources["onprem"]["port"]),
        "ReplicatorAccount": "dr_sync",
        "ReplicatorPassword": "***",
        "TaskId": str(plan),
        "SourceCategory": "other",
        "TaskName": "night shift + 1",
    }
    assert result["task_name"] == "night shift + 1"
    assert result["plan"]["task_id"] == plan


def rds_source(rds, **options):
    return {
        "source_category": "aliyunRDS",
        "source_instance_name": RDS_SOURCE,
        "source_instance_region_id": "cn-hangzhou",
        "source_port": rds.instances[RDS_SOURCE]["port"],
        **options,
    }


def test_an_rds_source_is_linked_by_region_and_instance(rds, link):
    result = link(**rds_source(rds))
    assert result["outcome"] == "created"
    (request,) = creates(rds)
    assert request["params"]["SourceInstanceName"] == RDS_SOURCE
    assert request["params"]["SourceInstanceRegionId"] == "cn-hangzhou"
    again = link(**rds_source(rds, source_address=None, source_port=None))
    assert again["outcome"] == "unchanged"
    assert again["link"]["source_instance_name"] == RDS_SOURCE


def test_an_address_that_is_not_the_rds_sources_endpoint_is_refused(rds, link):
    result = link(**rds_source(rds, source_address="10.9.9.9"))
    assert result["error"]["code"] == "ENDPOINT_NOT_FOUND"
    assert result["error"]["category"] == "fix_input"
    assert "10.9.9.9" in result["msg"]


def test_the_task_name_depends_on_instance_and_source_alone(rds, link):
    first = link(check_mode=True)["task_name"]
    assert first.startswith("ansible-")
    assert link(check_mode=True)["task_name"] == first
    other = rds.add_source(name="other", accounts=[account()])
    assert link(check_mode=True, source_port=other["port"])["task_name"] != first


def account(**changes):
    everything = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    return {"name": "dr_sync", "password": ACCOUNT["replicator_password"], **everything, **changes}


def test_the_same_keys_come_back_in_every_mode_and_after_a_failure(rds, link):
    preview = link(check_mode=True)
    created = link()
    unchanged = link()
    failed = link(source_address="10.0.0.1")
    assert set(preview) == set(created) == set(unchanged)
    assert set(failed) == set(created) | {"failed", "msg", "error"}


def test_diff_is_there_only_when_asked_and_holds_the_link(rds, link):
    assert "diff" not in link(check_mode=True)
    diff = link(check_mode=True, diff=True)["diff"]
    assert diff["before"] == {}
    assert diff["after"]["source_address"] == "127.0.0.1"
    assert link(diff=True)["diff"]["after"] == diff["after"]
    assert "diff" not in link(diff=True)


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_that_does_not_exist_is_not_applied(rds, link):
    result = link(dry_run_task_id=424242)
    assert (result["error"]["code"], result["outcome"]) == ("PlanUnusable", "not_sent")
    assert "424242" in result["msg"]
    assert creates(rds) == []


def test_a_plan_that_failed_is_not_applied(rds, link):
    failed = link(check_mode=True, replicator_password="wrong")
    result = link(dry_run_task_id=failed["task_id"])
    assert result["error"]["code"] == "PlanUnusable"
    assert "failure" in result["msg"]
    assert creates(rds) == []


def test_a_plan_for_another_source_is_not_applied(rds, link):
    plan = link(check_mode=True)["plan"]["task_id"]
    other = rds.add_source(name="other", accounts=[account()])
    result = link(dry_run_task_id=plan, source_port=other["port"])
    assert result["error"]["code"] == "PlanUnusable"
    assert str(other["port"]) in result["msg"]
    assert creates(rds) == []


def test_a_plan_for_another_instance_is_not_applied(rds, link):
    rds.add_instance(id="pgm-dr2")
    plan = link(check_mode=True)["plan"]["task_id"]
    result = link(dry_run_task_id=plan, dr_instance_id="pgm-dr2")
    assert result["error"]["code"] == "PlanUnusable"
    assert creates(rds) == []


def test_a_task_that_is_no_dry_run_is_no_plan(rds, link):
    created = link(wait=True)
    rds.add_instance(id="pgm-dr2")
    result = link(dry_run_task_id=created["task_id"], dr_instance_id="pgm-dr2")
    assert result["error"]["code"] == "PlanUnusable"


def test_a_plan_is_applied_once_even_if_that_failed(rds, link):
    plan = link(check_mode=True)["plan"]["task_id"]
    rds.add_fault(stage="basebackup", fault="fail", instance=DR, message="disk full at 93 %")
    failed = link(dry_run_task_id=plan)
    again = link(dry_run_task_id=plan)
    assert again["error"]["code"] == "TaskFailed"
    assert again["task_id"] == failed["task_id"]
    assert "disk full at 93 %" in again["msg"]
    assert len(creates(rds)) == 1
    renewed = link(check_mode=True)["plan"]["task_id"]
    assert link(dry_run_task_id=renewed)["outcome"] == "created"


# -- drift and wrong instances -----------------------------------------------------------------------------------------


def test_another_source_is_shown_and_nothing_is_changed(rds, link):
    link()
    rds.clear_journal()
    result = link(source_address="10.0.0.1")
    assert (result["error"]["code"], result["error"]["category"]) == ("OtherSource", "decide")
    assert "10.0.0.1" in result["msg"] and "127.0.0.1" in result["msg"]
    assert result["link"]["source_address"] == "127.0.0.1"
    assert creates(rds) == []


def test_another_account_is_a_warning(rds, link):
    link()
    result = link(replicator_account="someone_else", replicator_password="x")
    assert result["changed"] is False
    assert any("someone_else" in text for text in warnings_of(result))


def warnings_of(result):
    return [entry if isinstance(entry, str) else entry["event"]["msg"] for entry in result.get("warnings", [])]


@pytest.mark.parametrize(
    ("attributes", "code", "word"),
    [
        ({"lock_mode": "LockByExpiration"}, "InstanceUnfit", "LockByExpiration"),
        ({"type": "Readonly"}, "InstanceUnfit", "Readonly"),
        ({"status": "Rebooting"}, "InstanceBusy", "Rebooting"),
    ],
)
def test_a_wrong_instance_is_refused_before_anything_is_sent(rds, link, attributes, code, word):
    rds.set_instance(DR, **attributes)
    for check_mode in (True, False):
        result = link(check_mode=check_mode)
        assert result["error"]["code"] == code
        assert word in result["msg"]
    assert rds.journal("CreateReplicationLink") == []


def test_another_engine_is_refused(rds, link):
    rds.add_instance(id="rm-mysql", engine="MySQL")
    result = link(dr_instance_id="rm-mysql")
    assert result["error"]["code"] == "InstanceUnfit"
    assert "MySQL" in result["msg"]


def test_the_dr_instance_cannot_be_its_own_source(rds, link):
    own = link(source_port=rds.instances[DR]["port"])
    assert "own endpoint" in own["msg"]
    named = link(**rds_source(rds, source_instance_name=DR, source_instance_region_id="cn-shanghai"))
    assert "source itself" in named["msg"]
    assert rds.journal("CreateReplicationLink") == []


def test_an_unknown_instance_is_named(rds, link):
    result = link(dr_instance_id="pgm-nobody")
    assert result["error"]["category"] == "fix_input"
    assert result["error"]["http_status"] == 404


def test_a_promoted_instance_is_not_linked_again(rds, link):
    created = link()
    delete_link(rds)
    rds.clear_journal()
    result = link()
    assert (result["error"]["code"], result["error"]["category"]) == ("LinkEnded", "decide")
    assert str(created["task_id"]) in result["msg"]
    assert rds.journal("CreateReplicationLink") == []
    preview = link(check_mode=True)  # the service's own check says that it is not empty
    assert [check["id"] for check in preview["checks"] if check["result"] == "error"] == ["rds_databases"]


def delete_link(rds):
    from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
    from ansible_collections.alicloud.rds.plugins.module_utils._api import endpoints as _endpoints
    from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials

    options = {"profile_file": "/nonexistent"}
    client = _client.Client(
        _endpoints.resolve_endpoint(rds.endpoint, None, "public"),
        resolve_credentials(options, rds.environment),
        _client.Limits(),
    )
    client.call("DeleteReplicationLink", {"DBInstanceId": DR, "PromoteToMaster": "true"}, repeatable=False)
    client.close()
    deadline = time.monotonic() + 20  # a promotion takes its time, and the link is there until it has ended
    while rds.state()["instances"][DR]["busy"] and time.monotonic() < deadline:
        time.sleep(0.01)


# -- prechecks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "check", "remedy"),
    [
        ({}, {"replicator_password": "wrong"}, "database_connectable", "PASSWORD"),
        (
            {"accounts": [account(attributes=["LOGIN", "CREATEROLE"])]},
            {},
            "account_replication_privilege",
            "REPLICATION;",
        ),
        (
            {"accounts": [account(attributes=["LOGIN", "REPLICATION"])]},
            {},
            "account_createrole_privilege",
            "CREATEROLE;",
        ),
        ({"accounts": [account(member_of=[])]}, {}, "account_monitor_privilege", "GRANT pg_monitor"),
        ({"version": 16}, {}, "major_version_consistent", "same PostgreSQL major version"),
        ({"settings": {"wal_keep_size": "0"}}, {}, "wal_keep_size", "wal_keep_size"),
        ({"settings": {"max_connections": "9000"}}, {}, "spec_params", "max_connections"),
        ({"settings": {"wal_level": "minimal"}}, {}, "replication", "wal_level"),
        ({"behaviour": "refused"}, {}, "port_connectable", "source_port"),
        ({"memory": {"size_gb": 19}}, {}, "disk_size", "storage"),
        ({"memory": {"extensions": ["timescaledb"]}}, {}, "extensions", "extension"),
    ],
)
def test_a_bad_source_fails_the_preview_with_a_remedy_that_would_fix_it(rds, link, spec, options, check, remedy):
    source = rds.add_source(**{"name": "bad", "accounts": [account()], **spec})
    result = link(check_mode=True, source_port=source["port"], **options)
    assert result["failed"] is True
    assert (result["error"]["code"], result["error"]["category"]) == ("PrecheckFailed", "fix_checks")
    failed = [entry for entry in result["checks"] if entry["result"] == "error"]
    assert [entry["id"] for entry in failed] == [check]
    assert remedy in failed[0]["remedy"]
    assert remedy in result["msg"]
    assert creates(rds) == []


def test_a_warning_of_a_check_is_a_warning_of_the_task(rds, link):
    source = rds.add_source(name="warned", accounts=[account()], memory={"glibc_differs": True})
    result = link(check_mode=True, source_port=source["port"])
    assert result["changed"] is True
    assert [entry["id"] for entry in result["checks"] if entry["result"] == "warning"] == ["glibc_version"]
    assert any("glibc" in text for text in warnings_of(result))


@pytest.mark.parametrize(
    "quirks",
    [
        {"state_spelling": "streaming"},
        {"detail_newline": "literal"},
        {"finished_status": "running"},
        {"dr_instance_type": "Guard"},
        {"password_echo": "masked", "detail_credentials": "masked"},
        {"not_found_code": "InvalidDBInstanceId.NotFound"},
    ],
    ids=str,
)
@pytest.mark.thorough
def test_whatever_the_service_turns_out_to_answer(rds, link, quirks):
    rds.set_quirks(**quirks)
    assert len(link(check_mode=True)["checks"]) > 10
    assert link()["outcome"] == "created"
    assert link()["outcome"] == "unchanged"
    assert link(dr_instance_id="pgm-nobody")["error"]["category"] == "fix_input"
    delete_link(rds)
    assert link()["error"]["code"] == "LinkEnded"


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_wait_false_polls_nothing(rds, link):
    result = link(wait=False)
    assert (result["outcome"], result["link"]["state"]) == ("created", "creating")
    assert actions(rds) == [*READS, "CreateReplicationLink"]


@pytest.mark.thorough
def test_a_time_out_says_where_it_stands_and_the_next_run_resumes(rds, link):
    rds.add_fault(stage="basebackup", fault="hold", instance=DR)
    result = link(wait_timeout=0.6)
    assert (result["error"]["code"], result["outcome"], result["changed"]) == ("WaitTimeout", "running", True)
    assert result["task"]["stage"] == "basebackup"
    assert "resumes" in result["msg"]
    assert result["timeline"][-1]["stage"] == "basebackup"
    seen = link(check_mode=True)  # a preview does not wait for it
    assert (seen["outcome"], seen["link"]["state"]) == ("unchanged", "creating")
    rds.release()
    resumed = link()
    assert (resumed["outcome"], resumed["changed"], resumed["link"]["state"]) == ("unchanged", False, "streaming")
    assert resumed["task_id"] == result["task_id"]
    assert len(creates(rds)) == 1


def test_a_task_that_fails_later_says_at_which_stage_and_can_be_tried_again(rds, link):
    rds.add_fault(stage="basebackup", fault="fail", instance=DR, message="disk full at 93 %")
    result = link()
    assert (result["error"]["code"], result["outcome"]) == ("TaskFailed", "failed")
    assert "basebackup" in result["msg"] and "disk full at 93 %" in result["msg"]
    assert link()["outcome"] == "created"


# -- exactly once ------------------------------------------------------------------------------------------------------


def test_a_lost_reply_is_adopted_and_not_repeated(rds, link):
    rds.add_fault(fault="lost", action="CreateReplicationLink")
    result = link()
    assert (result["outcome"], result["changed"], result["link"]["state"]) == ("adopted", True, "streaming")
    assert len(creates(rds)) == 1


@pytest.mark.thorough
def test_a_create_of_unknown_outcome_says_so_and_the_next_run_converges(rds, link):
    rds.add_fault(fault="status", http_status=502, content="html", action="CreateReplicationLink")
    result = link()
    assert (result["outcome"], result["error"]["http_status"]) == ("unknown", 502)
    assert "not repeated" in result["msg"]
    assert len(creates(rds)) == 1
    assert link()["outcome"] == "created"


def run_once(rds, options):
    return run(LINK, options, check_mode=False, diff=False, environment=rds.environment)


@pytest.mark.thorough
def test_two_runs_at_once_make_one_link(rds):
    defaults = {name: spec.get("default") for name, spec in REPLICATION_LINK["argument_spec"].items()}
    source = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
    for race in range(15):
        name = f"pgm-race{race}"
        rds.add_instance(id=name)
        options = {**defaults, "dr_instance_id": name, **source, **ACCOUNT, **QUICK, "settle_timeout": 10}
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(run_once, rds, options) for number in range(3)]
        results = [run.result() for run in runs]
        assert [result.get("msg") for result in results if result.get("failed")] == []
        outcomes = sorted(result["outcome"] for result in results)
        assert outcomes.count("created") == 1
        assert set(outcomes) <= {"created", "adopted", "unchanged"}
        assert sum(result["changed"] for result in results) == 1
        committed = [entry for entry in creates(rds) if entry["params"]["DBInstanceId"] == name and entry["committed"]]
        assert len(committed) == 1


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", DOCUMENTED, ids=lambda row: row["code"])
@pytest.mark.thorough
def test_every_documented_error_is_told_with_its_remedy(rds, link, row):
    rule = {"code": row["code"], "message": row["message"], "http_status": row["http_status"]}
    rds.add_fault(fault="error", action="CreateReplicationLink", **rule)
    result = link(settle_timeout=0)
    error = result["error"]
    assert (error["code"], error["http_status"]) == (row["code"], row["http_status"])
    assert error["request_id"] and error["request_id"] in result["msg"]
    assert row["message"] in error["message"]
    assert error["remedy"] in result["msg"]
    assert error["outcome"] == ("unknown" if row["http_status"] == 500 else "refused")
    assert len(creates(rds)) == 1


def test_throttling_is_waited_out_and_told(rds, link):
    rds.add_fault(fault="error", code="Throttling.User", action="CreateReplicationLink", retry_after_ms=20)
    result = link()
    assert result["outcome"] == "created"
    assert result["retries"] == ["CreateReplicationLink: Throttling.User"]
    assert sum(entry["committed"] for entry in creates(rds)) == 1


def test_a_missing_permission_names_what_to_grant(rds, link):
    rds.add_key(access_key_id="LTAI-auditor", access_key_secret="s3cret", deny=["CreateReplicationLink"])
    result = link(access_key_id="LTAI-auditor", access_key_secret="s3cret")
    assert result["error"]["category"] == "grant_permission"
    assert f"rds:CreateReplicationLink on dbinstance/{DR}" in result["msg"]
    assert result["credentials"] == {"source": "options", "access_key_id": "LTAI-auditor"}


@pytest.mark.parametrize(
    ("options", "category", "words"),
    [
        (
            {"access_key_id": "LTAI-nobody", "access_key_secret": "not-the-secret"},
            "fix_credentials",
            "InvalidAccessKeyId",
        ),
        (
            {"access_key_id": "LTAI5tEmulatorFakeKey001", "access_key_secret": "not-the-secret"},
            "fix_credentials",
            "SignatureDoesNot",
        ),
        ({"access_key_id": "x"}, "fix_credentials", "No value for access_key_secret in the options"),
        ({"profile": "nobody", "profile_file": "/nonexistent/c.json"}, "fix_credentials", "/nonexistent/c.json"),
        ({"endpoint": "http://rds.aliyuncs.com"}, "fix_input", "loopback"),
        ({"endpoint": "https://u:p@rds.aliyuncs.com"}, "fix_input", "must not hold a user"),
        ({"endpoint": "http://127.0.0.1:9", "max_retries": 0}, "fix_network", "connection refused"),
        ({"ca_path": "/nonexistent/ca.pem"}, "fix_input", "ca_path"),
        ({"dr_instance_id": "pgm-bp1trqb4p1xd****"}, "fix_input", "dr_instance_id 'pgm-bp1trqb4p1xd****'"),
        ({"dr_instance_id": ""}, "fix_input", "dr_instance_id is empty"),
        ({"source_port": 70000}, "fix_input", "source_port 70000"),
        ({"source_address": "10.0.0.1:5432"}, "fix_input", "put it into source_port"),
        ({"source_address": "postgres://u:hunter2@db/x"}, "fix_input", "source_address is not a host name"),
        ({"replicator_password": ""}, "fix_input", "replicator_password is empty"),
        ({"replicator_account": ""}, "fix_input", "replicator_account is empty"),
        ({"source_address": ""}, "fix_input", "source_category=aliyunRDS"),
        ({"dry_run_task_id": 0}, "fix_input", "dry_run_task_id 0"),
        ({"wait_interval": 0}, "fix_input", "wait_interval 0"),
        ({"wait_timeout": -1}, "fix_input", "wait_timeout -1"),
        ({"max_retries": -1}, "fix_input", "max_retries -1"),
        ({"read_timeout": 0}, "fix_input", "read_timeout 0"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_input_gets_one_sentence_with_the_option_and_nothing_is_created(rds, link, options, category, words):
    result = link(**options)
    assert result["failed"] is True
    assert result["error"]["category"] == category
    assert words in result["msg"]
    assert "\n" not in result["msg"] and "Traceback" not in result["msg"] and "hunter2" not in result["msg"]
    assert rds.journal("CreateReplicationLink") == []
    if category == "fix_input":
        assert rds.journal() == []


def test_a_wrong_region_is_named_with_a_suggestion(rds, link, monkeypatch):
    monkeypatch.delenv("ALIBABA_CLOUD_RDS_ENDPOINT")
    result = link(region_id="cn-hangzou")
    assert result["error"]["category"] == "fix_input"
    assert "'cn-hangzou'" in result["msg"] and "'cn-hangzhou'" in result["msg"]


def test_a_missing_library_is_named_with_the_interpreter(rds, run_as_module, monkeypatch):
    monkeypatch.setattr(connection._transport, "HAS_REQUESTS", False)
    keys = {"access_key_id": "LTAI-somebody", "access_key_secret": "not-the-secret"}
    options = {"dr_instance_id": DR, "source_address": "127.0.0.1", "endpoint": rds.endpoint, **keys}
    result = run_as_module(replication_link, options)
    assert result["error"]["category"] == "fix_controller"
    assert "requests" in result["msg"]
    assert rds.journal() == []


def test_an_unexpected_exception_does_not_show_its_text(rds, link, monkeypatch):
    def explode(*_args, **_kwargs):
        raise RuntimeError(f"https://x/?ReplicatorPassword={ACCOUNT['replicator_password']}")

    monkeypatch.setattr(links, "desired_link", explode)
    result = link()
    assert result["error"]["code"] == "Unexpected"
    assert "RuntimeError" in result["msg"]
    assert ACCOUNT["replicator_password"] not in json.dumps(result)


def test_no_result_holds_a_secret(rds, link, info):
    secrets = [ACCOUNT["replicator_password"], rds.environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]]
    shown = [link(check_mode=True, diff=True), link(diff=True), link(), info(), link(source_address="10.0.0.1")]
    shown.append(link(check_mode=True, dr_instance_id=RDS_SOURCE, replicator_password="hunter2-not-the-one"))
    for result in shown:
        for secret in [*secrets, "hunter2-not-the-one"]:
            assert secret not in json.dumps(result)


# -- previews in two steps, as a fleet makes them ----------------------------------------------------------------------


def test_a_preview_can_be_started_and_asked_for_its_verdict_later(rds, link):
    rds.add_fault(stage="precheck", fault="hold", instance=DR)
    started = link(check_mode=True, wait=False)
    assert (started["outcome"], started["checks"], started["plan"]["status"]) == ("previewed", [], None)
    waiting = link(check_mode=True, wait=False, dry_run_task_id=started["task_id"])
    assert (waiting["plan"]["status"], waiting["changed"]) == ("running", True)
    assert link(dry_run_task_id=started["task_id"])["error"]["code"] == "PlanUnusable"  # not before it has succeeded
    rds.release()
    verdict = link(check_mode=True, dry_run_task_id=started["task_id"])
    assert (verdict["plan"]["status"], verdict["task_id"]) == ("success", started["task_id"])
    assert len(verdict["checks"]) > 10
    assert len(creates(rds, "true")) == 1, "no further dry run was made"
    assert link(dry_run_task_id=started["task_id"])["outcome"] == "created"


@pytest.mark.parametrize("wait", [True, False])
def test_the_verdict_of_a_failed_preview_fails_with_its_checks(rds, link, wait):
    failed = link(check_mode=True, replicator_password="not-the-password")
    later = link(check_mode=True, wait=wait, dry_run_task_id=failed["task_id"])
    assert later["error"]["code"] == "PrecheckFailed"
    assert [check["id"] for check in later["checks"] if check["result"] == "error"] == ["database_connectable"]
