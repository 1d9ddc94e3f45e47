# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the info module tells about a DR instance."""

from __future__ import annotations

import pytest

from .conftest import DR


def test_an_instance_without_a_link(rds, info):
    result = info()
    assert result["changed"] is False
    assert (result["link"], result["tasks"]) == (None, [])
    assert result["instance"]["db_instance_id"] == DR
    assert (result["instance"]["engine"], result["instance"]["status"]) == ("PostgreSQL", "Running")


def test_link_and_tasks_newest_first_with_parsed_checks(rds, link, info):
    preview, created = link(check_mode=True), link()
    result = info()
    assert result["link"]["state"] == "streaming"
    assert [task["task_id"] for task in result["tasks"]] == [created["task_id"], preview["task_id"]]
    assert [task["task_type"] for task in result["tasks"]] == ["create", "create-dryrun"]
    for task in result["tasks"]:
        assert "database_connectable" in [check["id"] for check in task["checks"]]
        assert not any("password" in key for key in task)


def test_filters_by_type_id_and_name(rds, link, info):
    preview, created = link(check_mode=True, task_name="one"), link(task_name="two")
    assert [task["task_id"] for task in info(task_type="create")["tasks"]] == [created["task_id"]]
    assert [task["task_id"] for task in info(task_id=preview["task_id"])["tasks"]] == [preview["task_id"]]
    assert [task["task_id"] for task in info(task_name="two")["tasks"]] == [created["task_id"]]
    assert info(task_id=424242)["tasks"] == []


@pytest.mark.thorough
def test_all_pages_are_read(rds, link, info):
    rds.set_quirks(detail_credentials="masked")
    previews = [link(check_mode=True)["task_id"] for number in range(35)]
    rds.clear_journal()
    found = [task["task_id"] for task in info(task_type="create-dryrun")["tasks"]]
    assert found == sorted(previews, reverse=True)
    pages = [entry["params"]["PageNumber"] for entry in rds.journal("DescribeReplicationLinkLogs")]
    assert pages == ["1", "1", "2"]


def test_an_unknown_instance_fails_with_the_services_code(rds, info):
    result = info(dr_instance_id="pgm-nobody")
    assert result["failed"] is True
    assert result["error"]["code"] == "InvalidDBInstanceName.NotFound"
