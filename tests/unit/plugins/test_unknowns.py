# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nobody knows of the real service, answered in every way: api_check says which way it is, the collection copes.

Each quirk of the emulator is such an unknown. A new one needs its row here.
"""

from __future__ import annotations

import json
import time

import pytest

from ansible_collections.alicloud.rds.plugins.modules import (
    api_check,
    replication_link,
    replication_link_info,
    replication_link_promotion,
)
from rds_emulator.seed import QUIRKS

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE, creates

SOURCE = {"source_instance_name": RDS_SOURCE, "source_instance_region_id": "cn-hangzhou"}
LINK = {"dr_instance_id": DR, "source_category": "aliyunRDS", **SOURCE, **ACCOUNT, **QUICK}

# quirk -> value -> what api_check reports: question, field (None: the outcome), and what is in it
PLACE = "Items.DBInstanceAttribute[]"
INFO = f"{PLACE}.DisasterRecoveryInfo(JSON as text).replicatorPassword"
ROW = "Items[].(TaskType, TaskStatus, TaskStage, ReplicationState)"
ANSWERS = {
    "password_echo": {
        form: [("create", "Items[].ReplicatorPassword", form), ("instance", INFO, form)] for form in ("plain", "masked")
    },
    "detail_credentials": {form: [("dry_run", "Items[].Detail", f"login {form}")] for form in ("plain", "masked")},
    "state_spelling": {
        word: [("create", "Items[].ReplicationState", word), ("create", ROW, f"increment, {word}")]
        for word in ("steaming", "streaming")
    },
    "detail_newline": {
        "real": [("create", "Items[].Detail", "line breaks real")],
        "literal": [("create", "Items[].Detail", "line breaks backslash-n")],
    },
    "task_type_required": {
        True: [("any_type", None, "RequiredParam.NotFound HTTP 400")],
        False: [("any_type", None, "answered")],
    },
    "finished_status": {word: [("create", ROW, f"create, {word}, increment")] for word in ("success", "running")},
    "dr_instance_type": {word: [("instance", f"{PLACE}.DBInstanceType", word)] for word in ("Primary", "Guard")},
    "not_found_code": {
        "InvalidDBInstanceName.NotFound": [("nobody", None, "InvalidDBInstanceName.NotFound HTTP 404")],
        "InvalidDBInstanceId.NotFound": [("nobody", None, "InvalidDBInstanceId.NotFound HTTP 400")],
    },
    "replication_info": {
        "none": [("create", "Items[].ReplicationInfo", "one word")],
        "json": [("create", "Items[].ReplicationInfo(JSON as text).Conninfo", "text")],
    },
    "dr_instances_told": {
        True: [("source", f"{PLACE}.DisasterRecoveryInstances(JSON as text)[].insName", "instance id")],
        False: [("source", f"{PLACE}.DisasterRecoveryInstances", None)],
    },
    "dr_info_told": {
        True: [("instance", INFO, "")],
        False: [("instance", INFO, None)],
    },
    "log_items": {
        "list": [("create", "Items[]", "rows")],
        "wrapped": [("create", "Items[]", None)],
    },
    "task_ids": {
        "growing": [("create", "Items[].TaskId", "int")],
        "falling": [("create", "Items[].TaskId", "int")],
    },
}
# Where the collection cannot go on, it stops with one of its codes: (apply, apply again, promote).
STOPS = {
    ("dr_info_told", False): (None, "LinkEnded", "NotDrInstance"),
    ("log_items", "wrapped"): ("ReplyUnreadable",) * 3,
}
CASES = [(name, value) for name, values in QUIRKS.items() for value in values]


def code_of(result):
    return (result.get("error") or {}).get("code")


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}={value}" for name, value in CASES])
@pytest.mark.thorough
def test_every_unknown_is_told_and_coped_with(rds, run_as_action, monkeypatch, name, value):
    for variable, content in rds.environment.items():
        monkeypatch.setenv(variable, content)
    rds.set_quirks(**{name: value})
    apply_stop, again_stop, promote_stop = STOPS.get((name, value), (None, None, None))
    results = []

    def run(module, options, check_mode=False):
        results.append(run_as_action(module, options, check_mode))
        return results[-1]

    if name == "detail_credentials":  # the text that names them is that of a failed login
        assert run(replication_link, {**LINK, "replicator_password": "Wr0ng+one"}, True)["failed"]
    preview = run(replication_link, LINK, True)
    assert code_of(preview) == apply_stop and (apply_stop or preview["outcome"] == "previewed")
    if name == "task_ids":
        time.sleep(1.05)  # the log tells seconds
    made = run(replication_link, LINK)
    assert code_of(made) == apply_stop and (apply_stop or made["outcome"] == "created")
    again = run(replication_link, LINK)
    assert code_of(again) == again_stop and (again_stop or again["outcome"] == "unchanged")
    assert not again["changed"] and len(creates(rds)) == (0 if apply_stop else 1)
    info = run(replication_link_info, {"dr_instance_id": DR})
    assert code_of(info) == apply_stop
    assert again_stop or info["link"]["state"] == "streaming"
    planned = {"dr_instance_id": DR, "mode": "planned", "measured_lag_bytes": 0, **QUICK}
    promotion = run(replication_link_promotion, planned, True)
    assert code_of(promotion) == promote_stop and (promote_stop or promotion["outcome"] == "previewed"), promotion

    told = run(api_check, {"dr_instance_id": DR, **SOURCE})
    for question, field, words in ANSWERS[name][value]:
        answer = told["answers"][question]
        found = answer["fields"].get(field) if field else answer["outcome"]
        assert (found is None) if words is None else (found is not None and words in found), (field, answer)
    shown = json.dumps(results)
    assert not [secret for secret in (ACCOUNT["replicator_password"], "Wr0ng+one") if secret in shown]


@pytest.mark.thorough
def test_a_link_that_no_instance_tells_of_is_found_useless_but_safe(rds, run_as_action, monkeypatch):
    for variable, content in rds.environment.items():
        monkeypatch.setenv(variable, content)
    rds.set_quirks(dr_info_told=False, finished_status="running")
    assert run_as_action(replication_link, LINK)["outcome"] == "created"
    assert [code_of(run_as_action(replication_link, LINK, mode)) for mode in (False, False)] == ["LinkEnded"] * 2
    assert run_as_action(replication_link_info, {"dr_instance_id": DR})["link"] is None
    told = run_as_action(api_check, {"dr_instance_id": DR})
    # What else reports roles, for whoever reads the report.
    assert told["answers"]["instance"]["fields"][f"{PLACE}.IncrementSourceDBInstanceId"]
    assert INFO not in told["answers"]["instance"]["fields"]
    assert len(creates(rds)) == 1


@pytest.mark.thorough
def test_an_old_plan_does_not_undo_a_promotion_though_ids_fall(rds, run_as_action, monkeypatch):
    for variable, content in rds.environment.items():
        monkeypatch.setenv(variable, content)
    rds.set_quirks(task_ids="falling")
    plan = run_as_action(replication_link, LINK, True)["plan"]["task_id"]
    time.sleep(1.05)  # the log tells seconds
    planned = {**LINK, "dry_run_task_id": plan}
    assert run_as_action(replication_link, planned)["outcome"] == "created"
    promotion = {"dr_instance_id": DR, "mode": "planned", "measured_lag_bytes": 0, **QUICK}
    assert run_as_action(replication_link_promotion, promotion)["outcome"] == "promoted"
    assert code_of(run_as_action(replication_link, planned)) == "LinkEnded"
    assert len(creates(rds)) == 1
