# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drills on a spare instance, on real clusters: production stays as it is, and the figures are true.

FAILOVERS=2 ends a drill at every event instead of three.
"""

from __future__ import annotations

import calendar
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import specs
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.rehearse import DRILL
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._dr import record as _record

from .conftest import PASSWORD, ROOT, eventually
from .operating import SECRET, linked

__all__ = ["linked"]  # a fixture
MANY = int(os.environ.get("FAILOVERS", "1")) > 1
EVENTS = ("started", "production verified", "link of the spare previewed", "spare streams", "writer started",
          "promotion requested", "spare promoted", "first row acknowledged", "queries asked", "cleaned up")  # fmt: skip
HOUR = 3600
WRITTEN = "SELECT count(*) AS n FROM dr_link_canary WHERE id LIKE 'drill-%'"
VICTIM = """
import json, os, signal, sys
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.rehearse import DRILL
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._dr.record import Record
noted = Record.event
def event(self, what, **known):
    noted(self, what, **known)
    if what == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
Record.event = event
run(DRILL, json.loads(sys.argv[1]), check_mode=False, diff=False)
"""


@pytest.fixture
def spare(linked) -> str:
    return str(linked.rds.add_instance(id=f"{linked.dr}-spare")["id"])


def options(linked, spare: str, **given: Any) -> dict[str, Any]:
    every = {
        "spare_instance_id": spare,
        "dr_instance_id": linked.dr,
        "source_category": "aliyunRDS",
        "source_instance_name": linked.source,
        "source_instance_region_id": "cn-hangzhou",
        "replicator_account": "dr_sync",
        "replicator_password": PASSWORD,
        "postgres": {"login_user": "dr_operator", "login_password": SECRET},
        "duration": 1.5,
        "rate": 50.0,
        "wait_interval": 0.1,
        "settle_timeout": 3,
        **given,
    }
    validation = ArgumentSpecValidator(**specs.validated_by(DRILL.spec)).validate(every)
    assert validation.error_messages == []
    return dict(validation.validated_parameters)


def drill(linked, spare: str, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    done = run(DRILL, options(linked, spare, **given), check_mode=check_mode, diff=False,
               environment=linked.rds.environment)  # fmt: skip
    assert SECRET not in json.dumps(done) and PASSWORD not in json.dumps(done)
    return done


def state(linked) -> dict[str, Any]:
    """What must not have changed at the source and at the production DR instance."""
    at = {
        "settings": "SELECT string_agg(name || setting, ',' ORDER BY name) AS v FROM pg_settings "
        "WHERE source NOT IN ('client', 'session')",
        "slots": "SELECT string_agg(slot_name, ',' ORDER BY slot_name) AS v FROM pg_replication_slots",
        "databases": "SELECT string_agg(datname || datallowconn, ',' ORDER BY datname) AS v FROM pg_database",
        "recovery": "SELECT pg_is_in_recovery() AS v",
        "sessions": "SELECT count(*) AS v FROM pg_stat_activity WHERE application_name LIKE 'alicloud.rds%'",
    }
    found = {
        (c, name): linked.rds.sql(c, query)[0]["v"] for c in (linked.source, linked.dr) for name, query in at.items()
    }
    rows = "SELECT count(*) AS v FROM dr_link_canary WHERE id LIKE 'drill-%'"
    return {**found, "rows": linked.rds.sql(linked.source, rows, "dr_link")[0]["v"]}


def test_a_drill_measures_and_leaves_production_alone(linked, spare, tmp_path):
    before = state(linked)
    queries = [{"database": "shop", "sql": "SELECT count(*) FROM orders", "expect": "1"},
               {"database": "shop", "sql": "SELECT item FROM orders", "expect": "anvil"}]  # fmt: skip
    preview = drill(linked, spare, check_mode=True)
    assert (
        preview["outcome"] == "previewed" and linked.rds.sql(spare, "SELECT pg_is_in_recovery() AS v")[0]["v"] is False
    )
    done = drill(linked, spare, queries=queries, rpo_target=30, rto_target=60, report_dir=str(tmp_path))
    assert done["outcome"] == "passed", done.get("msg")
    report = done["report"]
    assert state(linked) == before
    kept = linked.rds.sql(spare, WRITTEN, "dr_link")
    assert report["writer"]["survived"] == kept[0]["n"] and report["writer"]["is_prefix"]
    assert report["writer"]["acknowledged"] >= 25 and report["writer"]["lost_before_cut"] <= report["rpo"]["rows"]
    assert 0 < report["rto"]["out_of_recovery"] <= report["rto"]["total"] < 60
    assert all(query["passed"] for query in report["queries"]) and len(report["samples"]) > 5
    assert f"{linked.source} is as before" in " ".join(report["said"])
    assert "costs money" in report["remaining"]
    assert {check["result"] for check in report["checks"]["after"]} <= {"success", "warning"}
    forms = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(forms) == {".json", ".md", ".html"}
    assert json.loads(forms[".json"].read_text())["outcome"] == "passed"
    assert linked.sent("DeleteReplicationLink") == [], "production was not operated"


def during(linked, action: Callable[[], Any]) -> threading.Thread:
    """Do something once the drill has written some rows."""

    def wait_and_act() -> None:
        assert eventually(lambda: linked.rds.sql(linked.source, WRITTEN, "dr_link")[0]["n"] > 10)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_rows_that_the_spare_has_not_received_are_exposure_and_then_loss(linked, spare):
    """The truth is counted in the tables: from the break on, acknowledged rows are at the source only."""

    breaker = during(linked, lambda: linked.rds.break_link(spare, "refused"))
    done = drill(linked, spare, duration=2.5, rpo_target=0.2)
    breaker.join()
    assert done["failed"] and "RPO of" in done["msg"] and "over the target of 0.2 s" in done["msg"]
    report = done["report"]
    lost = report["writer"]["acknowledged"] - linked.rds.sql(spare, WRITTEN, "dr_link")[0]["n"]
    assert report["writer"]["lost_before_cut"] == lost > 10
    assert abs(report["rpo"]["rows"] - lost) <= 0.1 * 50 + 3, "within the resolution of the samples"
    assert report["writer"]["is_prefix"], "rows are lost at the end, and nowhere else"


def test_what_is_received_and_not_replayed_is_lag_and_no_loss(linked, spare):
    pausing = during(linked, lambda: linked.rds.break_link(spare, "replay_paused"))
    done = drill(linked, spare, duration=2.5)
    pausing.join()
    assert done["outcome"] == "passed", done.get("msg")
    report = done["report"]
    assert max(sample["lag_bytes"] for sample in report["samples"]) > 10 * 100, "a row takes more than 100 bytes"
    assert report["rpo"]["seconds"] < 0.5 and report["writer"]["lost_before_cut"] == 0
    assert report["writer"]["survived"] == linked.rds.sql(spare, WRITTEN, "dr_link")[0]["n"]


def test_the_largest_exposure_counts_not_the_last(linked, spare):
    """What sends to the standbys stands still for a second, and goes on before the promotion."""

    def stand_still() -> None:
        senders = [row["pid"] for row in linked.rds.sql(linked.source, "SELECT pid FROM pg_stat_replication")]
        for number, pause in ((signal.SIGSTOP, 1), (signal.SIGCONT, 0)):
            for pid in senders:
                os.kill(pid, number)
            time.sleep(pause)

    slowing = during(linked, stand_still)
    done = drill(linked, spare, duration=3.5)
    slowing.join()
    assert done["outcome"] == "passed", done.get("msg")
    rpo, writer = done["report"]["rpo"], done["report"]["writer"]
    assert 0.8 <= rpo["seconds"] <= 1.5 and 0.8 * 50 * 0.5 <= rpo["rows"] <= 1.5 * 50
    assert rpo["p50"] < rpo["seconds"] / 2 and writer["lost_before_cut"] == 0


def test_asynchronous_commits_and_a_clock_that_is_off_change_no_figure(linked, spare, monkeypatch):
    """The source acknowledges to others before its disk has it, and the runner's wall clock is an hour ahead."""
    linked.rds.sql(linked.source, "ALTER ROLE dr_operator SET synchronous_commit = off")
    form = "%Y-%m-%dT%H:%M:%SZ"
    monkeypatch.setattr(_record, "utc_now", lambda: time.strftime(form, time.gmtime(time.time() + HOUR)))
    breaking = during(linked, lambda: linked.rds.break_link(spare, "refused"))
    done = drill(linked, spare, duration=2.5)
    breaking.join()
    assert done["outcome"] == "passed", done.get("msg")
    report = done["report"]
    assert calendar.timegm(time.strptime(report["started"], form)) - time.time() > HOUR / 2
    lost = report["writer"]["acknowledged"] - linked.rds.sql(spare, WRITTEN, "dr_link")[0]["n"]
    assert report["writer"]["lost_before_cut"] == lost > 10 and abs(report["rpo"]["rows"] - lost) <= 8
    assert abs(report["rpo"]["seconds"] - report["rpo"]["rows"] / 50) < 0.5, "rows come at 50 a second"
    assert 0 < report["rto"]["total"] < 60


def test_a_target_and_a_query_that_are_missed_fail_the_drill(linked, spare):
    failed = drill(linked, spare, rto_target=0.000001,
                   queries=[{"sql": "SELECT 1", "expect": "2"}])  # fmt: skip
    assert failed["failed"] and failed["error"]["code"] == "DrillFailed"
    assert "RTO of" in failed["msg"] and "1 of 1 queries" in failed["msg"]
    assert failed["report"]["queries"][0]["got"] == "1"


def test_what_is_no_spare_is_refused_before_anything_is_created(linked, spare):
    for wrong, why in ((linked.dr, "production uses it"), (linked.source, "production uses it")):
        done = drill(linked, wrong)
        assert done["failed"] and why in done["msg"] and done["outcome"] == "not_sent", done
    no_folder = drill(linked, spare, report_dir="/nonexistent")
    assert "not an existing directory" in no_folder["msg"]
    assert (
        len([e for e in linked.rds.journal("CreateReplicationLink") if e["params"].get("DBInstanceId") == spare]) == 0
    )


@pytest.mark.parametrize("at", EVENTS if MANY else ("spare streams", "writer started", "promotion requested"))
def test_a_killed_drill_leaves_production_and_a_report_that_says_where_it_stood(linked, spare, tmp_path, at):
    before = state(linked)
    query = {"sql": "SELECT 1", "expect": "1"}
    given = json.dumps(options(linked, spare, report_dir=str(tmp_path), queries=[query]))
    environment = {**os.environ, **linked.rds.environment, "PYTHONPATH": f"{ROOT}/.build/link"}
    done = subprocess.run([sys.executable, "-c", VICTIM, given, at], env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    report = json.loads(next(Path(tmp_path).glob("*.json")).read_text())
    assert report["stopped_at"] == at and report["ended"] is None
    after = state(linked)
    left = {"rows", (linked.source, "sessions"), (linked.source, "slots")}
    assert {key: value for key, value in after.items() if key not in left} == {
        key: value for key, value in before.items() if key not in left
    }
    assert next(Path(tmp_path).glob("*.html")).read_text().startswith("<!")
