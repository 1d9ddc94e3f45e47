# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Promotion and rebuild through both doors, against the emulator on its memory engine."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import specs as _arguments
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import Clients
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.failover import Promoter
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Seen
from ansible_collections.alicloud.rds.plugins.modules import (
    replication_link,
    replication_link_promotion,
    replication_link_rebuild,
)

from .conftest import ACCOUNT, DR, QUICK, RDS_SOURCE

WRITES = ("DeleteReplicationLink", "RebuildReplicationLink")
EMPTY_LOG = {"RequestId": "1", "DBInstanceId": DR, "TotalSize": 0, "Items": []}
SILENT_LOG = {"fault": "body", "action": "DescribeReplicationLinkLogs", "body": EMPTY_LOG, "times": None}


def writes(rds):
    return [entry for action in WRITES for entry in rds.journal(action)]


def clean(result):
    """A result, after it was searched for the password that both instances tell of the link."""
    assert ACCOUNT["replicator_password"] not in json.dumps(result)
    return result


@pytest.mark.parametrize(("at", "missing"), [(8192 * 7 + 24, 0), (16 * 2**20 + 40, 0), (8192 * 7 + 324, 324)])
def test_the_header_of_a_page_that_was_not_written_yet_is_no_loss(at, missing):
    """The insert position is behind that header; what the standby has received ends before it."""
    received = at - (missing or at % 8192)
    primary = {"standby": False, "position": at, "segment_size": 16 * 2**20, "block_size": 8192}
    seen = Seen(
        "dr", "disconnect", End("dr", "dr", facts={"received_position": received}), End("a", "a", facts=primary)
    )
    done = SimpleNamespace(seen=seen, loss=None, warnings=[])
    Promoter._say_loss(None, done)
    assert done.loss == f"{missing} bytes of WAL at a were not received by dr when both were asked."


def roles(topology):
    """Primary and DR instance by id."""
    return tuple((topology[name] or {}).get("instance_id") for name in ("primary", "dr_instance"))


@pytest.fixture
def linked(rds, run_as_action, monkeypatch):
    """A link of two RDS instances that streams."""
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)
    source = {"source_category": "aliyunRDS", "source_instance_name": RDS_SOURCE}
    given = {"dr_instance_id": DR, **source, "source_instance_region_id": "cn-hangzhou", **ACCOUNT, **QUICK}
    made = run_as_action(replication_link, given)
    assert made["outcome"] == "created", made
    return rds


@pytest.fixture
def promote(linked, run_as_action):
    def run(check_mode=False, diff=False, **options):
        given = {"dr_instance_id": DR, "mode": "planned", "wait_interval": 0.05, **QUICK, **options}
        return clean(run_as_action(replication_link_promotion, given, check_mode, diff))

    return run


@pytest.fixture
def rebuild(linked, run_as_action):
    def run(check_mode=False, diff=False, **options):
        given = {"dr_instance_id": DR, "wait_interval": 0.05, **QUICK, **options}
        return clean(run_as_action(replication_link_rebuild, given, check_mode, diff))

    return run


# -- promotion ---------------------------------------------------------------------------------------------------------


def test_a_planned_promotion_needs_a_known_lag_of_zero(linked, promote, run_as_action):
    refused = promote()
    assert [check["id"] for check in refused["checks"] if check["result"] == "error"] == ["lag_bytes"]
    assert "measured_lag_bytes" in refused["msg"] and writes(linked) == []
    preview = promote(check_mode=True, diff=True, measured_lag_bytes=0)
    assert preview["changed"] and preview["outcome"] == "previewed"
    assert roles(preview["topology"]["before"]) == (RDS_SOURCE, DR)
    assert roles(preview["topology"]["after"]) == (DR, None)
    assert preview["diff"]["before"] == {"primary": RDS_SOURCE, "dr_instance": DR, "link_state": "streaming"}
    assert writes(linked) == []
    done = promote(measured_lag_bytes=0)
    assert done["changed"] and done["outcome"] == "promoted" and done["seconds"] >= 0
    assert roles(done["topology"]["after"]) == (DR, None)
    assert [check["id"] for check in done["checks"] if check["result"] != "success"] == []
    (request,) = writes(linked)
    assert request["params"] == {"DBInstanceId": DR, "PromoteToMaster": "true"}
    again = promote()
    assert not again["changed"] and again["outcome"] == "unchanged" and again["task_id"]
    assert len(writes(linked)) == 1
    given = {"dr_instance_id": DR, "source_address": "127.0.0.1", "source_port": linked.sources["onprem"]["port"]}
    relinked = run_as_action(replication_link, {**given, **ACCOUNT, **QUICK})
    assert relinked["error"]["code"] == "LinkEnded", "a promoted instance is not linked again unasked"


def test_all_that_stands_in_the_way_is_named_at_once_also_in_check_mode(linked, promote):
    linked.set_instance(DR, lock_mode="ManualLock", status="Rebooting")
    linked.break_link(DR, "refused")
    for check_mode in (True, False):
        refused = promote(check_mode=check_mode, wait=False)
        assert refused["error"]["code"] == "PromotionRefused" and refused["outcome"] == "not_sent"
        bad = [check["id"] for check in refused["checks"] if check["result"] == "error"]
        assert bad == ["dr_instance_running", "dr_instance_unlocked", "link_streaming", "lag_bytes"]
        assert all(check["note"] in refused["msg"] for check in refused["checks"])
        assert f"{DR} (cn-shanghai, Rebooting) is its DR instance" in refused["msg"]
        assert roles(refused["topology"]["after"]) == (RDS_SOURCE, DR)
    assert writes(linked) == []


@pytest.mark.parametrize(
    ("told", "options", "bad"),
    [
        (None, {}, ["lag_bytes"]),
        (None, {"measured_lag_bytes": 0}, []),
        (None, {"max_lag_bytes": 9, "measured_lag_bytes": 10}, ["lag_bytes"]),
        ((5, 2), {"max_lag_bytes": 5}, []),
        ((6, 3), {"max_lag_bytes": 5}, ["lag_bytes"]),
        ((6, 0), {"max_lag_bytes": 5, "measured_lag_bytes": 0}, ["lag_bytes"]),
    ],
)
def test_a_lag_above_the_limit_or_unknown_is_refused(linked, promote, told, options, bad):
    if told:
        linked.set_quirks(replication_info="json")
        linked.break_link(DR, "replay_paused", lag_bytes=told[0], lag_seconds=told[1])
    preview = promote(check_mode=True, **options)
    assert [check["id"] for check in preview["checks"] if check["result"] == "error"] == bad
    assert preview.get("failed", False) is bool(bad)
    if told and not bad:
        assert preview["lag"] == {"bytes": told[0], "seconds": told[1]}


def test_a_log_that_does_not_report_is_refused_with_a_remedy_that_can_be_carried_out(linked, promote):
    linked.add_fault(**SILENT_LOG)
    refused = promote()
    assert {check["id"] for check in refused["checks"] if check["result"] == "error"} == {"link_streaming", "lag_bytes"}
    assert "measured_lag_bytes" in refused["msg"]
    assert writes(linked) == []
    assert promote(measured_lag_bytes=1)["error"]["code"] == "PromotionRefused", "a measured lag counts as any other"
    assert promote(measured_lag_bytes=0)["outcome"] == "promoted"


def test_a_forced_promotion_needs_the_attributes_of_the_dr_instance_and_nothing_more(linked, promote):
    linked.add_fault(
        fault="error", code="Forbidden.RAM", http_status=403, action="DescribeReplicationLinkLogs", times=99
    )
    assert promote(measured_lag_bytes=0)["error"]["code"] == "Forbidden.RAM"
    assert writes(linked) == []
    done = promote(mode="forced", confirm=DR)
    assert done["outcome"] == "promoted" and roles(done["topology"]["after"]) == (DR, None)


def test_a_forced_promotion_is_asked_for_by_name_and_says_what_may_be_lost(linked, promote):
    linked.break_link(DR, "source_gone")
    planned = promote(measured_lag_bytes=0)
    assert [check["id"] for check in planned["checks"] if check["result"] == "error"] == ["link_streaming"]
    for confirm in ({}, {"confirm": ""}, {"confirm": RDS_SOURCE}):
        failed = promote(mode="forced", **confirm)
        assert failed["failed"] and "confirm" in failed["msg"]
    assert writes(linked) == []
    done = promote(mode="forced", confirm=DR)
    assert done["outcome"] == "promoted" and len(writes(linked)) == 1


@pytest.mark.parametrize(("name", "reason"), [("pgm-alone", "no link"), (RDS_SOURCE, f"the primary of {DR}")])
def test_what_is_no_dr_instance_is_not_promoted_silently(linked, promote, name, reason):
    linked.add_instance(id="pgm-alone")
    for options in ({}, {"mode": "forced", "confirm": name}):
        failed = promote(dr_instance_id=name, **options)
        assert failed["error"]["code"] == "NotDrInstance" and reason in failed["msg"]
    assert writes(linked) == []


@pytest.mark.parametrize("fault", ["lost", "reset", "html", "truncated"])
def test_after_a_lost_reply_the_instance_is_read_and_nothing_is_sent_again(linked, promote, fault):
    linked.add_fault(fault=fault, action="DeleteReplicationLink")
    done = promote(measured_lag_bytes=0)
    assert done["changed"] and done["outcome"] == "adopted"
    assert roles(done["topology"]["after"]) == (DR, None)
    assert len(writes(linked)) == 1


@pytest.mark.thorough
def test_a_request_that_never_took_effect_ends_as_unknown_and_is_not_repeated(linked, promote):
    linked.add_fault(fault="status", http_status=502, action="DeleteReplicationLink")
    failed = promote(measured_lag_bytes=0)
    assert failed["outcome"] == "unknown" and "not sent again" in failed["msg"]
    assert f"{DR} (cn-shanghai, Running) is its DR instance" in failed["msg"]
    assert len(writes(linked)) == 1
    assert promote(measured_lag_bytes=0)["outcome"] == "promoted"


@pytest.mark.thorough
def test_a_promotion_that_fails_says_that_the_link_is_still_there(linked, promote):
    linked.add_fault(stage="promote", fault="fail")
    failed = promote(mode="forced", confirm=DR)
    assert failed["error"]["code"] == "PromotionFailed" and failed["outcome"] in ("failed", "unknown")
    assert not failed["changed"] and "is its DR instance" in failed["msg"]
    assert promote(mode="forced", confirm=DR)["outcome"] == "promoted"


@pytest.mark.thorough
def test_a_wait_that_ends_is_taken_up_by_the_next_run(linked, promote):
    linked.add_fault(stage="promote", fault="hold")
    late = promote(measured_lag_bytes=0, wait_timeout=0.3)
    assert late["error"]["code"] == "WaitTimeout" and late["outcome"] == "running" and late["changed"]
    assert "GuardSwitching" in late["msg"]
    threading.Timer(0.3, linked.release).start()
    done = promote(measured_lag_bytes=0)
    assert done["outcome"] == "adopted" and not done["changed"] and len(writes(linked)) == 1


def test_without_wait_the_request_is_sent_and_the_next_run_sees_it_through(linked, promote):
    linked.add_fault(stage="promote", fault="slow", seconds=0.3)
    sent = promote(measured_lag_bytes=0, wait=False)
    assert sent["changed"] and sent["outcome"] == "running"
    assert promote(measured_lag_bytes=0)["outcome"] == "adopted"


def test_two_runs_at_once_promote_once(linked, promote):
    linked.add_fault(stage="promote", fault="slow", seconds=0.3)
    results = []
    run = threading.Thread(target=lambda: results.append(promote(measured_lag_bytes=0)))
    run.start()
    results.append(promote(measured_lag_bytes=0))
    run.join()
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert len([entry for entry in writes(linked) if entry["committed"]]) == 1


# -- rebuild -----------------------------------------------------------------------------------------------------------


def test_only_a_broken_link_is_rebuilt(linked, rebuild):
    assert rebuild()["outcome"] == "unchanged"
    linked.break_link(DR, "wal_removed")
    preview = rebuild(check_mode=True)
    assert preview["outcome"] == "previewed" and preview["topology"]["before"]["link_state"] == "disconnect"
    assert writes(linked) == []
    done = rebuild()
    assert done["changed"] and done["outcome"] == "rebuilt" and done["topology"]["after"]["link_state"] == "streaming"
    assert len(writes(linked)) == 1 and rebuild()["outcome"] == "unchanged"


@pytest.mark.parametrize("slowness", [0, 0.3])
@pytest.mark.thorough
def test_a_rebuild_that_is_confirmed_is_sent_whatever_the_log_says(linked, rebuild, slowness):
    linked.add_fault(stage="basebackup", task_type="rebuild", fault="slow", seconds=slowness)
    done = rebuild(confirm=DR)
    assert done["outcome"] == "rebuilt" and done["changed"] and len(writes(linked)) == 1


@pytest.mark.thorough
def test_a_link_of_which_the_log_does_not_tell_is_rebuilt_if_confirmed(linked, rebuild):
    linked.add_fault(**SILENT_LOG)
    refused = rebuild()
    assert [check["id"] for check in refused["checks"] if check["result"] == "error"] == ["link_broken"]
    assert "pg_stat_wal_receiver" in refused["msg"]
    linked.add_fault(stage="basebackup", task_type="rebuild", fault="slow", seconds=0.4)
    done = rebuild(confirm=DR)
    assert done["outcome"] == "rebuilt" and done["changed"]


@pytest.mark.thorough
def test_a_rebuild_that_fails_leaves_the_link_and_says_so(linked, rebuild):
    linked.break_link(DR, "source_gone")
    failed = rebuild()
    assert failed["error"]["code"] == "RebuildFailed" and "the link is broken" in failed["msg"]
    linked.repair_link(DR)


def test_an_instance_without_a_link_cannot_be_rebuilt(linked, rebuild):
    failed = rebuild(dr_instance_id=RDS_SOURCE)
    assert failed["error"]["code"] == "NotLinked" and writes(linked) == []


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "options", "action"),
    [
        (replication_link_promotion, {"dr_instance_id": DR, "mode": "forced", "confirm": DR}, "DeleteReplicationLink"),
        (replication_link_rebuild, {"dr_instance_id": DR}, "RebuildReplicationLink"),
    ],
)
def test_a_refusal_tells_the_state_and_advice_that_fits(linked, run_as_action, module, options, action):
    linked.break_link(DR, "wal_removed")
    linked.add_fault(fault="error", action=action, code="IncorrectDBInstanceLockMode", times=None)
    failed = run_as_action(module, {**options, **QUICK})
    assert failed["outcome"] == "refused" and "Now: " in failed["msg"] and "Unlock the instance" in failed["msg"]
    assert "empty" not in failed["error"]["remedy"]


@pytest.mark.parametrize(
    ("module", "options", "named"),
    [
        (replication_link_promotion, {"dr_instance_id": "pgm/../x", "mode": "planned"}, "dr_instance_id"),
        (replication_link_promotion, {"dr_instance_id": DR, "mode": "planned", "max_lag_bytes": -1}, "max_lag_bytes"),
        (replication_link_promotion, {"dr_instance_id": "", "mode": "planned"}, "dr_instance_id"),
        (replication_link_rebuild, {"dr_instance_id": DR, "confirm": RDS_SOURCE}, "confirm"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_sent(rds, run_module, monkeypatch, module, options, named):
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)
    rds.clear_journal()
    failed = run_module(module, options)
    assert failed["error"]["code"] == "InvalidOptions" and named in failed["msg"]
    assert rds.journal() == []


def test_the_module_door_gives_the_same(linked, run_as_module, run_as_action):
    calls = [
        (replication_link_rebuild, {"dr_instance_id": DR}, False),
        (replication_link_promotion, {"dr_instance_id": DR, "mode": "planned"}, False),
        (replication_link_promotion, {"dr_instance_id": DR, "mode": "planned", "measured_lag_bytes": 0}, True),
        (replication_link_promotion, {"dr_instance_id": DR, "mode": "forced", "confirm": DR}, False),
    ]
    for module, options, check_mode in calls:
        first = run_as_module(module, {**options, **QUICK}, check_mode, True)
        second = run_as_action(module, {**options, **QUICK}, check_mode, True)
        assert first.keys() - {"invocation"} >= second.keys() - {"invocation", "diff"}, (first, second)
        if check_mode or first["outcome"] != "promoted":
            assert (first["outcome"], first["checks"]) == (second["outcome"], second["checks"])


def test_each_region_is_asked_at_its_own_endpoint_with_the_same_keys():
    rules = _arguments.API_CHECK["argument_spec"]
    options = {name: rule.get("default") for name, rule in rules.items()}
    options |= {"access_key_id": "LTAI", "access_key_secret": "secret", "region_id": "cn-hangzhou"}
    regions = Clients(options, {}, None)
    other = regions("eu-central-1")
    assert str(other.endpoint) != str(regions.home.endpoint) and other.credentials is regions.home.credentials
    assert regions("eu-central-1") is other
    assert regions(None) is regions("cn-hangzhou") is regions("cn-shanghai") is regions.home, "one endpoint, one client"
    named = Clients({**options, "endpoint": "https://rds.example.com"}, {}, None)
    assert named("eu-central-1") is named.home
    with pytest.raises(RdsError, match="cn-nowhere"):
        regions("cn-nowhere")
