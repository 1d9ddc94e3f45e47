# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A DR instance is promoted by playbooks, on real PostgreSQL clusters."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path

import pg8000.native

from .conftest import PASSWORD, eventually
from .operating import linked

__all__ = ["linked"]  # a fixture


def test_planned_promotion_waits_for_the_last_byte_and_keeps_the_fence(linked, tmp_path):
    linked.rds.break_link(linked.dr, "replay_paused")
    linked.write(linked.source, 2)
    lagging = {"dr_link_skip_checks": ["replay", "canary"], "dr_link_lag_timeout": 1}
    late = linked.play("promote", fails=True, dr_link_promote_mode="planned", dr_link_fence=True, **lagging)
    assert "did not catch up" in late.output and "The fence was taken down" in late.output
    assert late.results["done"]["fence"]["state"] == "down" and late.results["done"]["outcome"] == "not_sent"
    assert linked.sent("DeleteReplicationLink") == [] and not linked.is_shut(linked.source)

    linked.rds.repair_link(linked.dr)
    preview = linked.play("promote", "--check", dr_link_promote_mode="planned", dr_link_fence=True)
    digest = preview.results["done"]["digest"]
    assert f"dr_link_expect={digest}" in preview.output and linked.sent("DeleteReplicationLink") == []
    stale = linked.play("promote", fails=True, dr_link_promote_mode="planned", dr_link_expect="0123456789abcdef")
    assert "preview again" in stale.output and linked.sent("DeleteReplicationLink") == []

    reported = {"dr_link_report_dir": str(tmp_path), "dr_link_rto_target": 120, "dr_link_rpo_target": 0}
    run = linked.play("promote", dr_link_promote_mode="planned", dr_link_fence=True, dr_link_expect=digest, **reported)
    done = run.results["done"]
    assert done["outcome"] == "promoted" and done["transactions_after_fence"] == 0
    assert "has acknowledged a row" in run.output and "is fenced and stays so" in run.output
    assert [event["event"] for event in done["events"]] == [
        *("checked", "fence up", "sessions ended", "last byte replayed", "request sent", "promoted"),
        *("out of recovery", "new primary opened", "first row acknowledged"),
    ]
    page = Path(done["report_file"]).read_text()
    assert f"Report: {done['report_file']}" in run.output and "PROMOTED. Data lost: Nothing: the last byte" in page
    report = done["report"]
    assert json.loads(Path(done["report_file"]).with_suffix(".json").read_text()) == report
    assert 0 < report["rto"]["out_of_recovery"] <= report["rto"]["total"] < report["rto"]["no_writes"]
    assert page.count("<td>PASS</td>") == 2, "no row was lost, and it was quick enough"
    assert linked.orders(linked.dr) == 2
    assert not linked.value(linked.dr, "pg_is_in_recovery()")
    assert linked.is_shut(linked.source) and not linked.is_shut(linked.dr)

    again = linked.play("promote", dr_link_promote_mode="planned", dr_link_fence=True)
    assert again.results["done"]["outcome"] == "unchanged" and len(linked.sent("DeleteReplicationLink")) == 1
    opened = linked.play("unfence", fails=True)
    assert "there would be two primaries" in opened.output and linked.is_shut(linked.source)

    spare = linked.rds.add_instance(id=f"{linked.dr}-spare", region_id="cn-hangzhou")["id"]
    home = {"dr_link_spare_instance_id": spare, "dr_link_spare_region_id": "cn-hangzhou",
            "dr_link_replicator_account": "dr_sync", "dr_link_replicator_password": PASSWORD}  # fmt: skip
    linked.play("reprotect", "--check", **home)
    assert [e["params"]["DryRun"] for e in linked.rds.journal("CreateReplicationLink")][-1] == "true"
    assert linked.play("reprotect", **home).changed() == 1
    linked.write(linked.dr, 3)
    assert eventually(lambda: linked.orders(spare) == 3)


def test_forced_promotion_does_not_need_the_source(linked):
    linked.rds.break_link(linked.dr, "source_gone")
    refused = linked.play("promote", fails=True, dr_link_promote_mode="planned")
    assert "both_sides_reachable" in {c["id"] for c in refused.results["done"]["checks"] if c["result"] == "error"}
    assert f"{linked.source} at 127.0.0.1" in refused.output
    assert "dr_link_promote_mode=forced" in refused.output, "whoever sees this at night is told the way out"

    unsaid = linked.play("promote", fails=True, dr_link_promote_mode="forced")
    assert f"dr_link_promote_confirm={linked.dr}" in unsaid.output
    assert linked.sent("DeleteReplicationLink") == []

    run = linked.play("promote", dr_link_promote_mode="forced", dr_link_promote_confirm=linked.dr)
    assert run.results["done"]["outcome"] == "promoted"
    assert "has received WAL up to" in run.output and "does not answer as a primary" in run.output
    assert not linked.value(linked.dr, "pg_is_in_recovery()")


HOOK = """
- ansible.builtin.debug:
    msg: "HOOK @NAME@ ran{{ result if dr_link_operation is defined else '' }}"
  vars:
    result: ": {{ dr_link_operation.outcome }} at {{ where }}{{ why }}"
    why: "{{ (' since ' ~ ansible_failed_result.msg) if ansible_failed_result is defined else '' }}"
    now: "{{ (dr_link_operation.topology or {}).after.primary | default({}) }}"
    where: "{{ now.connection_string ~ ':' ~ now.port if now else 'none' }}"
"""


def test_task_files_of_the_user_run_before_after_and_on_failure(linked, tmp_path):
    for name in ("before", "after", "failure"):
        (tmp_path / f"{name}.yml").write_text(HOOK.replace("@NAME@", name))
    names = {"before_promote": "before", "after_promote": "after", "on_failure": "failure"}
    hooks = {f"dr_link_{variable}": str(tmp_path / f"{name}.yml") for variable, name in names.items()}
    hooks["dr_link_promote_mode"] = "planned"
    absent = linked.play("promote", fails=True, **{**hooks, "dr_link_after_promote": str(tmp_path / "no.yml")})
    assert "no.yml: no such task file" in absent.output and linked.sent("DeleteReplicationLink") == []
    linked.rds.break_link(linked.dr, "replay_paused")
    failed = linked.play("promote", fails=True, **hooks)
    assert "HOOK before ran" in failed.output
    assert "HOOK failure ran: not_sent at none since The promotion was refused" in failed.output
    assert "HOOK after ran" not in failed.output
    linked.rds.repair_link(linked.dr)
    done = linked.play("promote", **hooks)
    port = linked.rds.instances[linked.dr]["port"]
    assert f"HOOK after ran: promoted at 127.0.0.1:{port}" in done.output and "HOOK failure ran" not in done.output
    assert "Nothing keeps" in done.output, "without a fence it is said"


def test_a_fence_is_taken_down_when_the_promotion_is_refused(linked):
    linked.rds.add_fault(fault="error", code="Forbidden.RAM", action="DeleteReplicationLink",
                         http_status=403, message="No.")  # fmt: skip
    run = linked.play("promote", fails=True, dr_link_promote_mode="planned", dr_link_fence=True)
    assert len(linked.sent("DeleteReplicationLink")) == 1
    assert "The fence was taken down" in run.output
    assert not linked.is_shut(linked.source)
    linked.write(linked.source, 2)
    assert eventually(lambda: linked.orders(linked.dr) == 2)


class Writer(threading.Thread):
    """An application that writes all the time, to whichever instance lets it, and remembers what was acknowledged."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self.ports, self.acknowledged, self.refused, self.over = itertools.cycle(ports), [], 0, threading.Event()

    def run(self) -> None:
        numbers = itertools.count(2)
        while not self.over.is_set():
            try:
                port = next(self.ports)
                with pg8000.native.Connection("app", "127.0.0.1", "shop", port, PASSWORD, timeout=5) as connection:
                    while not self.over.is_set():
                        number = next(numbers)
                        connection.run("INSERT INTO orders VALUES (:n, 'app')", n=number)
                        self.acknowledged.append(number)
                        time.sleep(0.002)
            except (pg8000.native.DatabaseError, pg8000.native.InterfaceError, OSError):
                self.refused += 1
                time.sleep(0.01)


def test_no_acknowledged_row_is_lost_in_a_fenced_promotion_under_writes(linked):
    linked.rds.sql(linked.source, "CREATE ROLE app LOGIN PASSWORD '{}'".format(PASSWORD.replace("'", "''")))
    linked.rds.sql(linked.source, "GRANT INSERT ON orders TO app", "shop")
    ports = {name: linked.rds.instances[name]["port"] for name in (linked.source, linked.dr)}
    application = Writer(list(ports.values()))
    application.start()
    try:
        assert eventually(lambda: len(application.acknowledged) > 5), "the application writes"
        run = linked.play("promote", dr_link_promote_mode="planned", dr_link_fence=True)
        assert run.results["done"]["outcome"] == "promoted"
        before = len(application.acknowledged)
        assert eventually(lambda: len(application.acknowledged) > before + 5), "writes go on"
    finally:
        application.over.set()
        application.join(10)
    assert application.refused, "the promotion has shut the application out for a moment"
    kept = {row["id"] for row in linked.rds.sql(linked.dr, "SELECT id FROM orders", "shop")}
    missing = set(application.acknowledged) - kept
    assert not missing, f"{len(missing)} of {len(application.acknowledged)} acknowledged rows are missing"
