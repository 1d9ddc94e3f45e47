# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports as files, and as metrics: whole, and no obstacle to what they report."""

from __future__ import annotations

import getpass
import json
import os

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.report_files import ReportFiles, who_and_with_what
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.record import Record
from ansible_collections.alicloud.rds.plugins.plugin_utils._reports import drill_metrics

from .test_report import SAMPLE


def test_a_folder_that_is_gone_ends_no_run_and_is_reported(tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    files = ReportFiles(str(folder))
    record = Record(files.keep, kind="promotion", run="1", instance="pgm-a")
    record.event("fence up")
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["promotion-pgm-a-1.html", "promotion-pgm-a-1.json", "promotion-pgm-a-1.md"]
    assert json.loads((folder / kept[1]).read_text())["stopped_at"] == "fence up"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    record.end("promoted")
    assert record.report["outcome"] == "promoted"
    assert files.problem == f"The report in {folder} is not complete: No such file or directory."


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_sent(tmp_path):
    with pytest.raises(RdsError, match=r"report_dir .* is not an existing directory"):
        ReportFiles(str(tmp_path / "none"))
    ReportFiles(None).keep(SAMPLE)


def test_a_container_whose_user_has_no_name_still_reports(monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000680000")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert who_and_with_what()["who"].startswith(f"uid {os.getuid()}@")


def test_a_drill_as_metrics_leaves_out_what_was_not_measured():
    text = drill_metrics(SAMPLE, 1795000000.4)
    assert 'alicloud_rds_drill_passed{dr_instance_id="pgm-uf6prod00example"} 1\n' in text
    assert 'alicloud_rds_drill_rpo_seconds{dr_instance_id="pgm-uf6prod00example"} 0.12\n' in text
    assert 'alicloud_rds_drill_last_timestamp_seconds{dr_instance_id="pgm-uf6prod00example"} 1795000000\n' in text
    failed = {**SAMPLE, "outcome": "failed", "rpo": None, "rto": None, "production": None}
    assert drill_metrics(failed, 0).splitlines()[2:4] == [
        'alicloud_rds_drill_passed{dr_instance_id="pgm-uf6spare00example"} 0',
        "# HELP alicloud_rds_drill_last_timestamp_seconds When the last drill ended.",
    ]
