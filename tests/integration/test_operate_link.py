# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A link is verified and rebuilt by playbooks, on real PostgreSQL clusters."""

from __future__ import annotations

from .operating import errors, linked, results

__all__ = ["linked"]  # a fixture


def test_verify_says_what_is_well_and_what_is_not(linked):
    good = linked.play("verify")
    assert good.changed() == 0
    assert set(results(good).values()) == {"success"}, results(good)
    seen = good.results["seen"]
    assert (seen["topology"]["primary"]["instance_id"], seen["topology"]["dr_instance"]["instance_id"]) == (
        linked.source,
        linked.dr,
    )
    assert all(set(check) == {"id", "section", "check", "result", "note", "remedy"} for check in seen["checks"])

    linked.rds.break_link(linked.dr, "replay_paused")
    linked.write(linked.source, 2)
    behind = linked.play("verify", fails=True, dr_link_max_lag_bytes=0, dr_link_skip_checks=["replay"])
    assert errors(behind) == {"lag"}
    assert behind.results["seen"]["skipped_checks"] == ["replay"]
    assert behind.results["seen"]["lag_bytes"] > 0
    assert "Wait until it has caught up" in behind.output
    linked.rds.repair_link(linked.dr)

    linked.rds.break_link(linked.dr, "refused")
    assert errors(linked.play("verify", fails=True)) == {"link_state", "wal_sender", "wal_receiver"}
    linked.rds.repair_link(linked.dr)

    unknown = linked.play("verify", fails=True, dr_link_skip_checks=["lagg"])
    assert "what is no check: lagg. The checks are both_sides_reachable, " in unknown.output


def test_rebuild_says_why_and_proves_that_data_flows_again(linked):
    linked.rds.break_link(linked.dr, "wal_removed")
    linked.write(linked.source, 2)
    run = linked.play("rebuild")
    assert "only a rebuild helps" in run.output
    assert run.results["done"]["outcome"] == "rebuilt"
    assert set(results(run).values()) == {"success"}, results(run)
    assert linked.orders(linked.dr) == 2


def test_a_dr_instance_that_was_promoted_long_ago_answers_for_itself(linked):
    """Its source has another DR instance, whose link is well: nothing is said of that one, and nothing sent to it."""
    alone = linked.rds.add_instance(id=f"{linked.dr}-alone")["id"]
    old = {"dr_link_dr_instance_id": alone}
    seen = linked.play("verify", fails=True, **old)
    assert f"{alone} has no link." in seen.output and "Its status is Running" in seen.output
    assert errors(seen) == {"link_state"}
    rebuilt = linked.play("rebuild", fails=True, **old)
    assert f"{alone} has no link" in rebuilt.output
    promoted = linked.play("promote", fails=True, dr_link_promote_mode="planned", **old)
    assert "has no link" in promoted.output
    for run in (seen, rebuilt, promoted):
        assert linked.dr not in run.output.replace(alone, "") and "its standby" not in run.output
    of_source = linked.play("verify", fails=True, dr_link_dr_instance_id=linked.source,
                            dr_link_connection={"region_id": "cn-hangzhou"})  # fmt: skip
    assert f"{linked.source} has no link; it is the primary of {linked.dr}" in of_source.output
    assert linked.sent("DeleteReplicationLink") == linked.sent("RebuildReplicationLink") == []
