# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The jobs and workflows of docs/awx, run with ansible-runner as AWX would, by keys with the RAM policies there."""

from __future__ import annotations

import itertools
import json
import re
from urllib.parse import quote

import pytest

from tests.awx.launch import AWX, ROOT

from .conftest import PASSWORD, account, playbook_environment
from .operating import GRANTS, OPERATOR, SECRET, linked

__all__ = ["linked"]  # a fixture
# The actions of the emulator; a policy denies what it does not allow.
ACTIONS = {
    *("CreateReplicationLink", "DescribeReplicationLinkLogs", "DescribeDBInstanceAttribute", "DescribeDBInstances"),
    *("DeleteReplicationLink", "RebuildReplicationLink"),
}


@pytest.fixture
def awx(rds_emulator_postgres, tmp_path):
    """AWX with keys for each duty; afterwards, nothing that it keeps of a job holds a secret."""
    rds = rds_emulator_postgres
    secrets = {
        "RDS DR replication account": {"account": "dr_sync", "password": PASSWORD},
        "RDS DR PostgreSQL login": {"username": OPERATOR["name"], "password": SECRET},
    }
    for path in sorted((ROOT / "docs/awx").glob("*.json")):
        duty, (statement,) = path.stem, json.loads(path.read_text())["Statement"]
        allowed = {action.removeprefix("rds:") for action in statement["Action"]}
        keys = {"access_key_id": f"LTAI5t{duty}", "access_key_secret": f"the-{duty}'s-own-key+/="}
        rds.add_key(**keys, deny=sorted(ACTIONS - allowed))
        secrets[f"RDS DR {duty}"] = {**keys, "region_id": "cn-shanghai", "endpoint": rds.endpoint}
    environment = playbook_environment(rds, tmp_path)
    without = {name: value for name, value in environment.items() if name not in rds.environment}
    awx = AWX(tmp_path, without, secrets)
    yield awx
    hidden = {each[name] for each in secrets.values() for name in ("password", "access_key_secret") if name in each}
    for job, secret in itertools.product(awx.jobs, hidden):
        for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), repr(secret)[1:-1]):
            assert spelling not in job.told, f"{job.name} shows a secret"


def test_a_link_is_previewed_approved_made_as_planned_and_verified(awx, rds_emulator_postgres):
    rds, accounts = rds_emulator_postgres, [account(), OPERATOR]
    source = rds.add_instance(id="pgm-awx-source", region_id="cn-hangzhou", accounts=accounts, sql=GRANTS)["id"]
    dr = rds.add_instance(id="pgm-awx-dr")["id"]
    answers = {
        "dr_link_dr_instance_id": dr,
        "dr_link_source_category": "aliyunRDS",
        "dr_link_source_instance_name": source,
        "dr_link_source_instance_region_id": "cn-hangzhou",
    }
    plans = []

    def creates(dry_run):
        entries = [entry for entry in rds.journal("CreateReplicationLink") if entry["params"]["DBInstanceId"] == dr]
        return [entry for entry in entries if entry["params"]["DryRun"] == dry_run]

    def approve(_node, artifacts):
        assert creates("false") == []
        preview = artifacts["alicloud_rds_preview"]
        assert preview["link"]["source_instance_name"] == source
        assert {check["result"] for check in preview["checks"]} == {"success"}
        plans.append(artifacts["dr_link_dry_run_task_id"])
        return True

    jobs = list(awx.workflow("RDS DR link", answers, approve))
    assert [(job.name, job.status) for job in jobs] == [
        ("RDS DR preview", "successful"),
        ("RDS DR apply", "successful"),
        ("RDS DR verify", "successful"),
    ], jobs[-1].output
    (create,) = creates("false")
    assert [create["params"]["TaskId"]] == [str(plan) for plan in plans]
    assert len(creates("true")) == 1
    assert "created, streaming" in jobs[1].output
    assert f'"dr_link_dry_run_task_id": {plans[0]}' in jobs[0].told  # so a secret would be found as well

    info = awx.launch("RDS DR info", {"dr_link_dr_instance_id": dr})
    assert info.status == "successful", info.output
    assert "link: streaming from" in info.output and f"task {plans[0]} of" in info.output


def test_a_drill_leaves_production_alone_and_hands_on_its_report(awx, linked):
    spare = linked.rds.add_instance(id=f"{linked.dr}-drill")["id"]
    answers = {
        "dr_link_dr_instance_id": linked.dr,
        "dr_link_source_category": "aliyunRDS",
        "dr_link_source_instance_name": linked.source,
        "dr_link_source_instance_region_id": "cn-hangzhou",
        "dr_link_drill_instance_id": spare,
        "dr_link_drill_duration": 1,
        "dr_link_rto_target": 300,
    }
    preview = awx.launch("RDS DR drill", answers, job_type="check")
    assert preview.status == "successful", preview.output
    job = awx.launch("RDS DR drill", answers)
    assert job.status == "successful", job.output
    report = job.artifacts["alicloud_rds_drill"]
    assert report["outcome"] == "passed" and report["rto"]["total"] < 300
    sent = [entry["params"]["DBInstanceId"] for entry in linked.rds.journal("DeleteReplicationLink")]
    assert spare in sent and linked.dr not in sent


def test_a_broken_link_is_rebuilt(awx, linked):
    linked.rds.break_link(linked.dr, "wal_removed")
    answers = {"dr_link_dr_instance_id": linked.dr}
    assert awx.launch("RDS DR rebuild", answers, job_type="check").status == "successful"
    assert linked.sent("RebuildReplicationLink") == []
    job = awx.launch("RDS DR rebuild", answers)
    assert job.status == "successful", job.output
    assert len(linked.sent("RebuildReplicationLink")) == 1


def test_a_promotion_is_launched_as_a_check_and_for_real(awx, linked):
    given = {"dr_link_dr_instance_id": linked.dr, "dr_link_fence": "no"}
    planned = {**given, "dr_link_promote_mode": "planned", "dr_link_skip_checks": ["logical_slots"]}
    job = awx.launch("RDS DR promote", planned, job_type="check")
    assert job.status == "successful", job.output
    assert "skipped: logical_slots" in job.output
    assert linked.sent("DeleteReplicationLink") == []

    forced = {**given, "dr_link_promote_mode": "forced", "dr_link_promote_confirm": linked.dr}
    job = awx.launch("RDS DR promote", forced)
    assert job.status == "successful", job.output
    assert len(linked.sent("DeleteReplicationLink")) == 1
    assert not linked.value(linked.dr, "pg_is_in_recovery()")


def test_a_planned_promotion_is_previewed_approved_done_as_previewed_and_protected(awx, linked):
    spare = linked.rds.add_instance(id=f"{linked.dr}-spare", region_id="cn-hangzhou")["id"]
    answers = {
        "dr_link_dr_instance_id": linked.dr,
        "dr_link_fence": "yes",
        "dr_link_spare_instance_id": spare,
        "dr_link_spare_region_id": "cn-hangzhou",
    }
    names = ["RDS DR verify", *(f"RDS DR {name}" for name in ("promotion preview", "promotion apply", "reprotect"))]

    def approve_late(_node, artifacts):
        assert {check["result"] for check in artifacts["alicloud_rds_promotion"]["checks"]} == {"success"}
        linked.rds.sql(linked.source, "CREATE UNLOGGED TABLE later (id int)", "shop")
        return True

    late = list(awx.workflow("RDS DR planned promotion", answers, approve_late))
    ends = zip(names, ("successful", "successful", "failed"), strict=False)
    assert [(job.name, job.status) for job in late] == [*ends]
    assert "preview again" in late[-1].output
    assert linked.sent("DeleteReplicationLink") == [] and not linked.is_shut(linked.source)

    digests = []

    def approve(_node, artifacts):
        digests.append(artifacts["alicloud_rds_expect"])
        return True

    jobs = list(awx.workflow("RDS DR planned promotion", answers, approve))
    assert [(job.name, job.status) for job in jobs] == [(name, "successful") for name in names], jobs[-1].output
    done = jobs[2].artifacts["alicloud_rds_promotion"]
    assert (done["outcome"], done["fence"]["state"], done["digest"]) == ("promoted", "up", digests[0])
    assert linked.is_shut(linked.source) and "created, streaming" in jobs[3].output
    assert all(name.startswith("alicloud_rds_") for job in jobs for name in job.artifacts)

    opened = awx.launch("RDS DR unfence", {"dr_link_dr_instance_id": linked.dr})
    assert opened.status == "successful", opened.output
    assert "No fence is recorded at a primary that answers" in opened.output and linked.is_shut(linked.source)


def test_a_digest_of_the_caller_wins_over_the_one_that_a_workflow_hands_on(linked, tmp_path):
    given = {**linked.variables, "dr_link_promote_mode": "planned"}
    stale = "0123456789abcdef"

    def preview(*options, fails=False, **variables):
        run = linked.run(linked.rds, "alicloud.rds.promote", {**given, **variables}, "--check", *options)
        assert (run.returncode != 0) == fails, run.output
        assert ("preview again" in run.output) == fails
        return run

    digest = re.search("dr_link_expect=([0-9a-f]{16})", preview(alicloud_rds_expect=None).output)[1]
    preview(alicloud_rds_expect=stale, fails=True)
    preview(alicloud_rds_expect=stale, dr_link_expect=digest)
    preview(alicloud_rds_expect=digest, dr_link_expect=stale, fails=True)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"all: {{hosts: {{dr: {{dr_link_expect: '{stale}'}}}}}}\n")
    preview("-i", str(inventory), dr_link_hosts="all", alicloud_rds_expect=digest, fails=True)
