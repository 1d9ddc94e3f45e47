# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A DR instance is promoted, and a failover rehearsed, by playbooks, on real PostgreSQL clusters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT
from .operating import SECRET, errors, linked

__all__ = ["linked"]  # a fixture


def test_planned_promotion_waits_for_the_last_byte_and_keeps_the_fence(linked):
    linked.rds.break_link(linked.dr, "replay_paused")
    linked.write(linked.source, 2)
    lagging = {"dr_link_skip_checks": ["replay", "canary"], "dr_link_lag_timeout": 1}
    late = linked.play("promote", fails=True, dr_link_promote_mode="planned", **lagging)
    assert "did not catch up" in late.output and "Nothing was sent to the service" in late.output
    assert linked.sent("DeleteReplicationLink") == []

    linked.rds.repair_link(linked.dr)
    run = linked.play("promote", dr_link_promote_mode="planned", dr_link_fence=True)
    assert run.results["done"]["outcome"] == "promoted"
    assert "and takes rows" in run.output and "is fenced and stays so" in run.output
    assert linked.orders(linked.dr) == 2
    assert not linked.value(linked.dr, "pg_is_in_recovery()")
    assert linked.value(linked.source, "current_setting('default_transaction_read_only')") == "on"


def test_forced_promotion_does_not_need_the_source(linked):
    linked.rds.break_link(linked.dr, "source_gone")
    refused = linked.play("promote", fails=True, dr_link_promote_mode="planned")
    assert "both_sides_reachable" in errors(refused)
    assert f"{linked.source} at 127.0.0.1" in refused.output
    assert "dr_link_promote_mode=forced" in refused.output, "whoever sees this at night is told the way out"

    unsaid = linked.play("promote", fails=True, dr_link_promote_mode="forced")
    assert f"dr_link_promote_confirm={linked.dr}" in unsaid.output
    assert linked.sent("DeleteReplicationLink") == []

    run = linked.play("promote", dr_link_promote_mode="forced", dr_link_promote_confirm=linked.dr)
    assert run.results["done"]["outcome"] == "promoted"
    assert "What may be lost" in run.output and "does not answer as a primary" in run.output
    assert not linked.value(linked.dr, "pg_is_in_recovery()")


def test_the_rehearsal_ends_where_it_began_with_a_report():
    """The demo of a drill: it holds itself to two switches, no row lost, and the old primary back."""
    command = [sys.executable, "-m", "tests.demo.drill"]
    demo = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for said in ("seen: no acknowledged row was lost", "0 of 14 acknowledged rows", "RTO", "as before"):
        assert said in demo.stdout
    assert "Passw0rd" not in demo.stdout


def test_a_drill_that_cannot_switch_back_says_who_is_primary(linked, tmp_path):
    linked.rds.add_fault(fault="error", code="Forbidden.RAM", action="SwitchReplicationLink",
                         http_status=403, message="No.", skip=1)  # fmt: skip
    run = linked.play("drill", fails=True, dr_link_report_dir=str(tmp_path))
    assert f"{linked.dr} is primary, and not {linked.source}" in run.output
    (page,) = tmp_path.glob("*.md")
    assert f"dr_link_primary={linked.source}" in page.read_text()
    assert_clean_files(tmp_path)


def assert_clean_files(folder: Path) -> None:
    for file in folder.glob("drill*"):
        assert SECRET not in file.read_text() and json.dumps(SECRET)[1:-1] not in file.read_text()
