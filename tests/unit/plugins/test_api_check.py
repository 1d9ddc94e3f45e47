# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first talk with an account: what is sent, what a report holds, and what becomes of refusals and odd answers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._dr import probe as _probe
from ansible_collections.alicloud.rds.plugins.modules import api_check, replication_link

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE

ASKED = {"DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs", "DescribeHistoryTasks"}
SOURCE = {"source_instance_name": RDS_SOURCE, "source_instance_region_id": "cn-hangzhou"}
ROW = "Items[].(TaskType, TaskStatus, TaskStage, ReplicationState)"


@pytest.fixture
def account(rds, monkeypatch):
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)
    return rds


@pytest.fixture
def ask(account, run_module):
    return lambda check_mode=False, **options: run_module(api_check, {"dr_instance_id": DR, **options}, check_mode)


@pytest.fixture
def ask_quickly(account, run_as_action):
    return lambda **options: run_as_action(api_check, {"dr_instance_id": DR, "max_retries": 0, **options})


@pytest.fixture
def linked(account, run_as_action):
    given = {"dr_instance_id": DR, "source_category": "aliyunRDS", **SOURCE, **ACCOUNT, **QUICK}
    assert run_as_action(replication_link, given, check_mode=True)["outcome"] == "previewed"
    assert run_as_action(replication_link, given)["outcome"] == "created"
    account.clear_journal()
    return account


def outcomes(result):
    return {name: answer["outcome"] for name, answer in result["answers"].items()}


# -- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_only_reads(linked, ask, check_mode):
    told = ask(check_mode, **SOURCE)
    assert not told.get("failed") and told["changed"] is False
    assert {entry["action"] for entry in linked.journal()} == ASKED | {"DescribeReadDBInstanceDelay"}
    assert len(linked.journal()) < 15
    assert not [entry for entry in linked.journal() if entry["committed"] or not entry["action"].startswith("Describe")]


def test_what_no_page_says_is_asked(linked, ask_quickly):
    """Whether links are among the tasks of an instance, and whether a DR instance counts as one with a delay."""
    ask_quickly(**SOURCE)
    (history,) = linked.journal("DescribeHistoryTasks")
    span = [history["params"][name] for name in ("FromStartTime", "ToStartTime")]
    assert history["params"]["InstanceId"] == DR
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment) for moment in span) and span[0] < span[1]
    (delay,) = linked.journal("DescribeReadDBInstanceDelay")
    assert (delay["params"]["DBInstanceId"], delay["params"]["ReadInstanceId"]) == (RDS_SOURCE, DR)


# -- what a report holds -----------------------------------------------------------------------------------------------


def test_a_report_has_words_and_forms_and_nothing_else(linked, ask_quickly):
    told = ask_quickly(**SOURCE)
    key, secret = (linked.environment[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
    shown = told["report"] + json.dumps(told["answers"])
    for text in (
        DR,
        RDS_SOURCE,
        ACCOUNT["replicator_password"],
        ACCOUNT["replicator_account"],
        secret,
        key,
        "127.0.0.1",
    ):
        assert text not in shown
    create = told["answers"]["create"]["fields"]
    assert create["Items[].TaskStatus"] == "success" and create["Items[].ReplicatorPassword"] in ("plain", "masked")
    assert create[ROW].startswith("create, success, increment, ")
    assert "line breaks real" in create["Items[].Detail"] and "rds_databases=success" in create["Items[].Detail"]
    instance = told["answers"]["instance"]["fields"]
    place = "Items.DBInstanceAttribute[]"
    assert instance[f"{place}.DBInstanceStatus"] == "Running" and instance[f"{place}.Engine"] == "PostgreSQL"
    assert instance[f"{place}.DisasterRecoveryInfo(JSON as text).sourceInstanceName"] == "instance id"
    assert told["report"].startswith("```text\n") and told["report"].rstrip().endswith("```")
    assert f"  {ROW}: create, success, increment" in told["report"]
    assert re.search(r"clock of this machine: [+-]\d s", told["report"]) and "x-acs-request-id" in told["report"]


def test_passwords_are_told_by_their_form():
    for password, form in {
        "": "empty",
        "****": "masked",
        "abc": "plain",
        None: "absent",
        7: "int",
        "***x": "masked",
    }.items():
        fields = _probe.described({"Items": [{"ReplicatorPassword": password}]})
        assert fields["Items[].ReplicatorPassword"] == form


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("10.1.2.3", "host name"),
        ("my instance of 2026", "text"),
        ("hunter2", "one word"),
        ("2026-11-24T08:00:00Z", "time"),
        ("1234567890123456", "number as text"),
        ('{"a": {"password": "y"}}', None),
        (3, "int"),
        (None, "absent"),
    ],
)
def test_what_is_no_word_of_the_service_is_told_by_its_form(value, form):
    fields = _probe.described({"Items": [{"SourceAddress": value, "TaskStatus": f"`{value}`"}]})
    assert not form or fields["Items[].SourceAddress"] == form
    assert form or fields["Items[].SourceAddress(JSON as text).a.password"] == "plain"
    assert str(value) not in str(fields.values()) or value is None


@pytest.mark.parametrize(("ids", "words"), [((2, 10), "grows with time"), ((10, 2), "does not grow with time")])
def test_whether_ids_grow(ids, words):
    rows = [{"TaskId": number, "GmtCreated": f"2026-11-24T08:00:0{second}Z"} for second, number in enumerate(ids)]
    assert words in _probe.described({"Items": rows})["Items[].TaskId"].split(" | ")


def test_the_page_says_what_each_question_is_for():
    page = (Path(__file__).parents[3] / "docs" / "first_contact.md").read_text("utf-8")
    names = [name for name, *_unused in _probe._requests("a", "b", "c")]
    assert set(names) <= set(re.findall(r"`(\w+)`", page))


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_wrong_keys_fail_with_one_request_and_a_report(account, ask_quickly):
    told = ask_quickly(access_key_id=account.environment["ALIBABA_CLOUD_ACCESS_KEY_ID"], access_key_secret="wrong")
    assert told["failed"] and told["error"]["category"] == "fix_credentials"
    assert len(account.journal()) == 1
    assert outcomes(told) == {"instance": "SignatureDoesNotMatch HTTP 400"}
    assert "SignatureDoesNotMatch" in told["report"]


def test_no_keys_at_all_fail_before_anything_is_sent(account, ask_quickly, monkeypatch):
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    told = ask_quickly(profile_file="/nowhere")
    assert told["failed"] and told["answers"] == {} and account.journal() == []


@pytest.mark.parametrize("denied", ["DescribeReplicationLinkLogs", "DescribeDBInstanceAttribute"])
def test_a_permission_that_is_missing_leaves_only_its_own_questions_open(linked, ask_quickly, denied):
    linked.add_key(access_key_id="LTAIother", access_key_secret="other", deny=[denied])
    told = ask_quickly(access_key_id="LTAIother", access_key_secret="other")
    assert not told.get("failed")
    for name, answer in told["answers"].items():
        if name in ("instance", "create"):
            assert answer["outcome"] == ("Forbidden.RAM HTTP 403" if denied in answer["request"] else "answered")


def test_an_endpoint_that_is_not_there_fails_soon(account, ask_quickly):
    begun = time.monotonic()
    told = ask_quickly(endpoint="http://127.0.0.1:1", max_retries=1)
    assert told["failed"] and told["error"]["code"] == "EndpointUnreachable" and time.monotonic() - begun < 5
    assert outcomes(told) == {"instance": "EndpointUnreachable"}
    assert told["report"] and told["error"]["outcome"] == "not_sent"


def test_an_unknown_instance_fails_and_is_named(account, ask_quickly):
    told = ask_quickly(dr_instance_id="pgm-somebodyelses")
    assert told["failed"] and "pgm-somebodyelses" not in told["report"]
    assert told["error"]["code"] == "InvalidDBInstanceName.NotFound"


def test_throttling_is_told_with_its_headers(account, ask_quickly):
    fault = {"fault": "error", "code": "Throttling.User", "retry_after_ms": 10}
    account.add_fault(**fault, match={"PageSize": "100", "TaskType": "create"})
    told = ask_quickly()
    assert outcomes(told)["page_100"] == "Throttling.User HTTP 400" and outcomes(told)["page_50"] == "answered"
    assert "x-acs-retry-after" in told["report"]


# -- odd answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Items": None},
        {"Items": 5},
        {"Items": [5, None, {}, [], {"TaskId": "x", "Detail": 5, "ReplicationInfo": "{broken", "GmtCreated": []}]},
        {"Items": {"DBInstanceAttribute": [{"DisasterRecoveryInfo": "{broken", "DBInstanceStatus": {}}]}},
        {"Items": {"DBInstanceAttribute": [{"DisasterRecoveryInfo": [1], "DisasterRecoveryInstances": "{}"}]}},
        {"Items": {"DBInstanceAttribute": "none"}, "TotalSize": "many"},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": 1}}}}}}}}}}},
        {"Items": [{"GmtCreated": 1}, {"GmtCreated": "2"}]},
    ],
)
def test_no_answer_costs_the_report(account, ask_quickly, body):
    account.add_fault(fault="body", body=body, times=None)
    told = ask_quickly(**SOURCE)
    assert not told.get("failed"), told
    assert {outcomes(told)[name] for name in ("instance", "create", "dry_run", "page_1")} == {"answered"}


def test_what_the_service_calls_a_field_forges_nothing():
    fields = _probe.described({"a`\n```\n<script>": "x", "b": "```\n"})
    assert not set("`\n<>") & set("".join([*fields, *fields.values()]))
