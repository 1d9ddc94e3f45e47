# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbook for the first contact with an account: a report in a file, answers on the screen, nothing changed."""

from __future__ import annotations

import stat

import pytest

from .conftest import ANOTHER_PYTHON, PASSWORD, make_pair

PLAYBOOK = "alicloud.rds.verify_cloud"
READS = {"DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"}


@pytest.fixture
def pair(rds_emulator):
    return make_pair(rds_emulator, sql=[])


def test_it_reads_writes_a_report_and_shows_the_answers(pair, play):
    preview = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": pair.dr}, "--check")
    assert preview.returncode == 0 and "signature_accepted: yes" in preview.output, preview.output
    assert not list(preview.files.glob("*.md")), "check mode writes no file"
    run = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": pair.dr})
    assert run.returncode == 0, run.output
    report = run.files / "alicloud-rds-report.md"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert "| `signature_accepted` | yes |" in text and "sent: reads only" in text
    assert pair.dr not in text
    assert "signature_accepted: yes" in run.output and "verb_task_ids: not asked: needs a write" in run.output
    assert {entry["action"] for entry in pair.journal()} == READS


def test_a_dry_run_by_name_as_a_module_too(pair, play):
    variables = {name.replace("dr_link_", "verify_cloud_"): value for name, value in pair.variables.items()}
    variables |= {"verify_cloud_dry_run": True, "verify_cloud_report": "there.md"}
    variables |= {"ansible_python_interpreter": ANOTHER_PYTHON, "verify_cloud_connection": {"max_retries": 1}}
    run = play(pair.rds, PLAYBOOK, variables)
    assert run.returncode == 0, run.output
    text = (run.files / "there.md").read_text()
    assert "| `dry_run_is_dry` | yes |" in text and "one dry run (DryRun=true)" in text
    assert PASSWORD not in text + run.output and "dr_sync" not in text
    (request,) = (entry for entry in pair.journal() if entry["action"] not in READS)
    assert (request["action"], request["params"]["DryRun"]) == ("CreateReplicationLink", "true")


def test_an_unknown_instance_ends_the_play_with_a_report(pair, play):
    run = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": "pgm-nobody"})
    assert run.returncode == 2 and "pgm-nobody" in run.output and "InvalidDBInstanceName.NotFound" in run.output
    assert "## signature_accepted" not in run.output
    assert "| `signature_accepted` | yes |" in (run.files / "alicloud-rds-report.md").read_text()


def test_without_an_instance_it_says_what_is_missing(pair, play):
    run = play(pair.rds, PLAYBOOK)
    assert run.returncode == 2 and "dr_instance_id is empty" in run.output
    assert not (run.files / "alicloud-rds-report.md").exists()


def test_a_dry_run_without_a_source_sends_nothing(pair, play):
    run = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": pair.dr, "verify_cloud_dry_run": True})
    assert run.returncode == 2 and "replicator_account" in run.output
    assert pair.journal() == []
