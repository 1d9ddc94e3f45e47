# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fault matrix once more, with the link in a list: threads and scheduler change nothing of what is promised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run as run_operation
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINKS

from .conftest import ACCOUNT, DR
from .test_fault_matrix import (
    QUICK,
    Roads,
    roads,
    test_a_commit_that_comes_after_the_first_looks_is_found,
    test_a_commit_that_comes_after_the_last_look_meets_the_next_run_and_makes_no_second_link,
    test_a_fault_is_survived_or_told_truthfully_and_the_next_run_converges,
    test_a_kept_connection_that_the_service_drops_under_a_create_is_not_used_for_a_second_one,
    test_a_look_that_fails_does_not_make_a_lost_create_look_refused,
    test_a_lost_reply_is_adopted_though_answers_lag_behind_the_commit,
    test_a_second_run_that_still_sees_the_past_makes_no_second_link,
    test_a_task_that_failed_while_nobody_looked_is_told_of_by_the_run_that_tries_again,
    test_the_link_of_a_faster_run_from_another_source_is_told_and_left_alone,
    test_the_link_of_a_faster_run_is_adopted_without_a_change,
)

__all__ = [
    "roads",
    "test_a_commit_that_comes_after_the_first_looks_is_found",
    "test_a_commit_that_comes_after_the_last_look_meets_the_next_run_and_makes_no_second_link",
    "test_a_fault_is_survived_or_told_truthfully_and_the_next_run_converges",
    "test_a_kept_connection_that_the_service_drops_under_a_create_is_not_used_for_a_second_one",
    "test_a_look_that_fails_does_not_make_a_lost_create_look_refused",
    "test_a_lost_reply_is_adopted_though_answers_lag_behind_the_commit",
    "test_a_second_run_that_still_sees_the_past_makes_no_second_link",
    "test_a_task_that_failed_while_nobody_looked_is_told_of_by_the_run_that_tries_again",
    "test_the_link_of_a_faster_run_from_another_source_is_told_and_left_alone",
    "test_the_link_of_a_faster_run_is_adopted_without_a_change",
]
pytestmark = pytest.mark.thorough
DEFAULTS = {name: rule.get("default") for name, rule in REPLICATION_LINKS["argument_spec"].items()}


@pytest.fixture
def ensure(rds, roads: Roads) -> Callable[..., dict[str, Any]]:
    """Run the operation of the list form for one link, and return what it says of that link."""

    def run(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        place = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
        own = ("task_name", "dry_run_task_id")
        link = {"dr_instance_id": DR, **{name: options.pop(name) for name in own if name in options}}
        given = {**DEFAULTS, **place, **ACCOUNT, **QUICK, "creates_per_second": 1000.0, **options, "links": [link]}
        result = run_operation(LINKS, given, check_mode=check_mode, diff=False, environment=rds.environment)
        (each,) = result["results"]
        assert each["failed"] == bool(result.get("failed")) and each["changed"] == result["changed"]
        kept = {name: result[name] for name in ("endpoint", "credentials", "retries", "warnings") if name in result}
        return {**{name: value for name, value in each.items() if name != "failed" or value}, **kept}

    return run
