# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbook for the first contact with an account: a report in a file, answers on the screen, nothing changed."""

from __future__ import annotations

import stat

import pytest

from .conftest import ANOTHER_PYTHON, PASSWORD, make_pair

PLAYBOOK = "alicloud.rds.verify_cloud"
READS = {"DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"}  # of this instance


@pytest.fixture
def pair(rds_emulator):
    return make_pair(rds_emulator, sql=[])


def test_it_reads_and_writes_a_report(pair, play):
    preview = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": pair.dr}, "--check")
    assert preview.returncode == 0 and "instance: DescribeDBInstanceAttribute" in preview.output, preview.output
    assert not list(preview.files.glob("*.txt")), "check mode writes no file"
    run = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": pair.dr})
    assert run.returncode == 0, run.output
    report = run.files / "alicloud-rds-report.txt"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert "instance: DescribeDBInstanceAttribute(DBInstanceId): answered" in text and pair.dr not in text
    assert "Items.DBInstanceAttribute[].DBInstanceStatus: " in run.output
    assert {entry["action"] for entry in pair.journal()} == READS


def test_by_name_as_a_module_too(pair, play):
    variables = {"verify_cloud_dr_instance_id": pair.dr, "verify_cloud_report": "there.txt"}
    variables |= {"ansible_python_interpreter": ANOTHER_PYTHON, "verify_cloud_connection": {"max_retries": 1}}
    run = play(pair.rds, PLAYBOOK, variables)
    assert run.returncode == 0, run.output
    text = (run.files / "there.txt").read_text()
    assert "create: DescribeReplicationLinkLogs" in text and pair.dr not in text
    assert PASSWORD not in text + run.output


def test_an_unknown_instance_ends_the_play_with_a_report(pair, play):
    run = play(pair.rds, PLAYBOOK, {"verify_cloud_dr_instance_id": "pgm-nobody"})
    assert run.returncode == 2 and "InvalidDBInstanceName.NotFound" in run.output
    assert "InvalidDBInstanceName.NotFound HTTP 404" in (run.files / "alicloud-rds-report.txt").read_text()


def test_without_an_instance_it_says_what_is_missing(pair, play):
    run = play(pair.rds, PLAYBOOK)
    assert run.returncode == 2 and "dr_instance_id is empty" in run.output
    assert not (run.files / "alicloud-rds-report.txt").exists()
    assert pair.journal() == []
