# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first talk with an account: what is sent, what a report holds, and what becomes of refusals and odd answers."""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._dr import probe as _api_check
from ansible_collections.alicloud.rds.plugins.module_utils._dr import probe_findings as _api_findings
from ansible_collections.alicloud.rds.plugins.module_utils._dr.probe_findings import Reply, Seen, findings
from ansible_collections.alicloud.rds.plugins.modules import api_check, replication_link

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE, creates

READS = {"DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"}
SOURCE = {"source_instance_name": RDS_SOURCE, "source_instance_region_id": "cn-hangzhou"}


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
    assert run_as_action(replication_link, given)["outcome"] == "created"
    account.clear_journal()
    return account


def answers(result):
    return {item["id"]: item["answer"] for item in result["findings"]}


def actions(rds):
    return {entry["action"] for entry in rds.journal()}


# -- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_by_default_it_only_reads(linked, ask, check_mode):
    told = ask(check_mode, **SOURCE)
    assert not told.get("failed") and told["changed"] is False
    assert actions(linked) == READS and len(linked.journal()) < 15
    assert not [entry for entry in linked.journal() if entry["committed"] or entry["unknown_params"]]
    assert not [item for item in told["findings"] if item["answer"] in ("not understood", "")]
    assert answers(told)["dry_run"] == "not asked: no dry run was made"


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_dry_run_is_one_and_dry_whichever_mode(account, ask, check_mode):
    port = account.sources["onprem"]["port"]
    told = ask(check_mode, dry_run=True, source_address="127.0.0.1", source_port=port, **ACCOUNT)
    assert answers(told)["dry_run"].startswith("passed ") and answers(told)["dry_run_is_dry"] == "yes"
    assert answers(told)["dry_run_status"] == "success"
    assert actions(account) == READS | {"CreateReplicationLink"}
    assert len(account.journal("CreateReplicationLink")) == len(creates(account, "true")) == 1
    assert account.state()["instances"][DR]["link"] is None
    assert told["changed"] is False


def test_a_dry_run_is_not_sent_where_a_link_is(linked, ask_quickly):
    told = ask_quickly(dry_run=True, **SOURCE, **ACCOUNT)
    assert answers(told)["dry_run"] == "not sent: the link is there (unchanged)"
    assert actions(linked) == READS


def test_a_dry_run_that_fails_is_told_by_the_ids_of_its_checks(account, ask_quickly):
    wrong = {**ACCOUNT, "replicator_password": "Wr0ng+one"}
    told = ask_quickly(dry_run=True, **SOURCE, **wrong)
    (finding,) = (item for item in told["findings"] if item["id"] == "dry_run")
    assert finding["answer"] == "failed: PrecheckFailed" and "database_connectable" in finding["evidence"]
    assert answers(told)["dry_run_is_dry"] == "yes" and answers(told)["password_in_detail"] == "plain"
    assert "Wr0ng" not in json.dumps(told)


@pytest.mark.parametrize("given", [{}, ACCOUNT, {"source_address": "10.0.0.1"}])
def test_a_dry_run_needs_a_source_and_an_account(account, ask, given):
    assert ask(dry_run=True, **given)["failed"]
    assert account.journal() == []


def test_a_dry_run_that_made_a_link_would_be_shouted_about():
    seen = Seen(dry_run=_api_findings.DryRun("passed", task_id=7))
    row = {"Items": {"DBInstanceAttribute": [{"DBInstanceStatus": "Running"}]}}
    seen.replies = {name: Reply("DescribeDBInstanceAttribute", row) for name in ("before", "instance")}
    seen.replies["create"] = Reply("DescribeReplicationLinkLogs", {"Items": [{"TaskId": 7, "TaskType": "create"}]})
    (finding,) = (item for item in findings(seen) if item.id == "dry_run_is_dry")
    assert finding.answer == "no" and "DO NOT USE CHECK MODE" in finding.meaning


# -- what a report holds -----------------------------------------------------------------------------------------------


def test_a_report_has_versions_and_no_secrets_ids_or_addresses(linked, ask_quickly):
    told = ask_quickly(**SOURCE)
    report = told["report"]
    key, secret = (linked.environment[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
    assert re.search(
        r"with: alicloud\.rds \d+\.\d+\.\d+\S*, Python 3\.\d+\.\d+, ansible-core 2\.\S+, requests 2", report
    )
    assert f"key {key[:6]}..." in report and "sent: reads only" in report
    for text in (DR, RDS_SOURCE, ACCOUNT["replicator_password"], ACCOUNT["replicator_account"], secret, key):
        assert text not in report
    assert secret not in json.dumps(told) and ACCOUNT["replicator_password"] not in json.dumps(told)
    for item in told["findings"]:
        assert f"| `{item['id']}` |" in report and item["question"] in report and item["meaning"] in report


def test_ids_and_addresses_can_be_left_in():
    reply = {"before": Reply("DescribeDBInstanceAttribute", error=refused("CredentialsUnusable", f"{DR} at 10.1.2.3"))}
    shown = findings(Seen(replies=reply))[0].evidence
    hidden = findings(Seen(replies=reply), hidden={DR: "<instance>"})[0].evidence
    assert f"{DR} at 10.1.2.3" in shown and "<instance> at <hidden>" in hidden


def test_where_credentials_come_from_names_nobody(account, ask_quickly, tmp_path, monkeypatch):
    key, secret = (account.environment[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
    profile = {"name": "dr", "mode": "AK", "access_key_id": key, "access_key_secret": secret}
    (tmp_path / "config.json").write_text(json.dumps({"current": "dr", "profiles": [profile]}))
    monkeypatch.setenv("HOME", str(tmp_path))
    told = ask_quickly(profile="dr", profile_file=str(tmp_path / "config.json"))
    assert "credentials: profile 'dr' (AK) of ~/config.json, key LTAI5t..." in told["report"]
    role = "environment X: RAM role acs:ram::1234567890123456:role/boss"
    assert _api_findings.cleaner([], {})(role) == "environment X: RAM role <hidden>"


@pytest.mark.parametrize("anonymise", [True, False])
def test_what_the_service_says_is_anonymised_unless_asked_not_to(account, ask_quickly, anonymise):
    told = f"{DR} was asked from 10.1.2.3 by 1234567890123456"
    account.add_fault(fault="error", code="InvalidTimeStamp.Expired", message=told)
    report = ask_quickly(anonymise=anonymise)["report"]
    assert [text in report for text in (DR, "10.1.2.3", "1234567890123456")] == [not anonymise] * 3


def refused(code, message, status=400):
    return _api_findings.RdsError(code, message, http_status=status, outcome="refused")


def test_passwords_are_told_by_their_form():
    forms = {"": "empty", "****": "masked", "abc": "plain", None: "absent", 7: "int"}
    for password, form in forms.items():
        row = {"TaskId": 1, "TaskType": "create", "ReplicatorPassword": password}
        seen = Seen(replies={name: Reply("x", {"Items": [row]}) for name in ("before", "create")})
        assert {item.id: item.answer for item in findings(seen)}["password_in_log"] == form


def test_the_page_lists_every_question():
    page = (Path(__file__).parents[3] / "docs" / "first_contact.md").read_text("utf-8")
    questions = _api_findings._questions()
    assert _api_findings.READERS.keys() <= questions.keys()
    assert re.findall(r"^\| `(\w+)` \| (.*\?) \|$", page, re.MULTILINE) == [(n, q[0]) for n, q in questions.items()]


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_wrong_keys_fail_with_one_request_and_a_report(account, ask_quickly):
    told = ask_quickly(access_key_id=account.environment["ALIBABA_CLOUD_ACCESS_KEY_ID"], access_key_secret="wrong")
    assert told["failed"] and told["error"]["category"] == "fix_credentials"
    assert len(account.journal()) == 1
    assert answers(told)["signature_accepted"] == "no: SignatureDoesNotMatch"
    assert answers(told)["task_types"] == "not asked: SignatureDoesNotMatch came before"
    assert "SignatureDoesNotMatch" in told["report"]


def test_no_keys_at_all_fail_before_anything_is_sent(account, ask_quickly, monkeypatch):
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    told = ask_quickly(profile_file="/nowhere")
    assert told["failed"] and told["findings"] == [] and account.journal() == []


@pytest.mark.parametrize(
    ("denied", "open_question", "answered"),
    [
        ("DescribeReplicationLinkLogs", "password_in_log", "dr_info_told"),
        ("DescribeDBInstanceAttribute", "dr_info_told", "password_in_log"),
    ],
)
def test_a_permission_that_is_missing_leaves_only_its_own_questions_open(
    linked, ask_quickly, denied, open_question, answered
):
    linked.add_key(access_key_id="LTAIother", access_key_secret="other", deny=[denied])
    told = ask_quickly(access_key_id="LTAIother", access_key_secret="other")
    assert not told.get("failed")
    assert answers(told)[open_question] == f"not permitted: rds:{denied}"
    assert not answers(told)[answered].startswith("not ")
    assert answers(told)["signature_accepted"] == "yes"


def test_a_dry_run_that_is_not_permitted_is_said_so(account, ask_quickly):
    account.add_key(access_key_id="LTAIother", access_key_secret="other", deny=["CreateReplicationLink"])
    told = ask_quickly(access_key_id="LTAIother", access_key_secret="other", dry_run=True, **SOURCE, **ACCOUNT)
    assert answers(told)["dry_run"] == "not permitted: rds:CreateReplicationLink"
    assert answers(told)["dry_run_is_dry"] == "not asked: no dry run was made"


def test_an_endpoint_that_is_not_there_fails_soon(account, ask_quickly):
    begun = time.monotonic()
    told = ask_quickly(endpoint="http://127.0.0.1:1", max_retries=1)
    assert told["failed"] and told["error"]["code"] == "EndpointUnreachable" and time.monotonic() - begun < 5
    assert answers(told)["signature_accepted"] == "no answer: EndpointUnreachable"
    assert answers(told)["throttle_headers"] == answers(told)["clock_skew"] == "not told"
    assert told["report"] and told["error"]["outcome"] == "not_sent"


def test_an_unknown_instance_fails_and_is_named(account, ask_quickly):
    told = ask_quickly(dr_instance_id="pgm-somebodyelses")
    assert told["failed"] and "pgm-somebodyelses" in told["msg"]
    assert told["error"]["code"] == "InvalidDBInstanceName.NotFound"
    assert answers(told)["signature_accepted"] == "yes" and "pgm-somebodyelses" not in told["report"]


def test_throttling_is_told_with_status_and_headers(account, ask_quickly):
    fault = {"fault": "error", "code": "Throttling.User", "retry_after_ms": 10}
    account.add_fault(**fault, match={"PageSize": "100"})
    (finding,) = (item for item in ask_quickly()["findings"] if item["id"] == "throttle_headers")
    assert finding["answer"] == "x-acs-request-id, x-acs-retry-after"
    assert "Throttling.User, HTTP 400" in finding["evidence"]


def test_a_page_size_that_is_refused_is_told(account, ask_quickly):
    account.add_fault(fault="error", code="Parameters.Invalid", match={"PageSize": "100"})
    assert answers(ask_quickly())["page_sizes"] == "accepted: 1, 30, 50"


# -- odd answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Items": None},
        {"Items": 5},
        {"Items": [5, None, {}, {"TaskId": "x", "Detail": 5, "ReplicationInfo": "{broken", "GmtCreated": []}]},
        {"Items": {"DBInstanceAttribute": [{"DisasterRecoveryInfo": "{broken", "DBInstanceStatus": {}}]}},
        {"Items": {"DBInstanceAttribute": [{"DisasterRecoveryInfo": [1], "DisasterRecoveryInstances": "{}"}]}},
        {"Items": {"DBInstanceAttribute": "none"}, "TotalSize": "many"},
    ],
)
def test_no_answer_costs_the_report(account, ask_quickly, body):
    account.add_fault(fault="body", body=body, times=None)
    told = ask_quickly(dry_run=True, **SOURCE, **ACCOUNT)
    assert not told.get("failed") and len(told["findings"]) == len(_api_findings._questions())
    assert answers(told)["signature_accepted"] == "yes"
    assert creates(account) == []


def test_what_is_told_in_another_form_is_reported_as_such():
    info = {"DisasterRecoveryInfo": {"sourceAddress": "10.0.0.1"}, "DBInstanceType": "DisasterRecovery"}
    rows = [
        {
            "TaskId": 3,
            "TaskType": "create",
            "TaskStatus": "finished",
            "ReplicationState": "streaming",
            "Detail": "none",
        },
        {"TaskId": 2, "TaskType": "switch", "GmtCreated": "2026-11-24T08:00:00Z", "ReplicationInfo": "host=10.0.0.1"},
    ]
    instance = Reply("DescribeDBInstanceAttribute", {"Items": {"DBInstanceAttribute": [info]}})
    log = Reply("DescribeReplicationLinkLogs", {"Items": rows, "TotalSize": 9})
    told = {item.id: item for item in findings(Seen({"before": instance, "instance": instance, "create": log}))}
    assert told["dr_info_told"].answer == "told, as an object, no text" and "LinkEnded" in told["dr_info_told"].meaning
    assert told["finished_task_status"].answer == "finished" and "report" in told["finished_task_status"].meaning
    assert told["task_types"].answer == "create, switch" and told["detail_newlines"].answer == "one line"
    assert told["total_size"].answer == "does not match"


class Clock:
    """A client whose replies are dated."""

    def __init__(self, date):
        self.last_headers = {"date": date}

    def call(self, action, parameters, *, repeatable):
        return {}


@pytest.mark.parametrize(("ahead", "told"), [(0, "+0 s"), (-1200, "-1200 s"), (1200, "+1200 s"), (None, "not told")])
def test_the_skew_of_the_clock_is_measured(ahead, told, monkeypatch):
    monkeypatch.setattr(_api_check.time, "time", lambda: 1_800_000_000.0)
    date = formatdate(1_800_000_000 - ahead, usegmt=True) if ahead is not None else "yesterday"
    seen = _api_check.Interview(lambda region: Clock(date), DR)
    seen.begin()
    seen.go_on(None, None)
    assert {item.id: item.answer for item in findings(seen)}["clock_skew"] == told
