# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""THE state of a link: one reading of what an instance and its log report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr import state as _state
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import DrInstanceState, Source, Task
from ansible_collections.alicloud.rds.plugins.module_utils._dr.topology import topology_of

DR, OURS, ANOTHER = "pgm-dr", "10.0.0.1", "10.0.0.2"


def instance(source: str | None, **row: Any) -> dict[str, Any]:
    info = {"sourceAddress": source, "sourcePort": 5432, "sourceCategory": "other"}
    return {"DBInstanceId": DR, "DisasterRecoveryInfo": json.dumps(info) if source else "", **row}


def task(number: int, status: str, stage: str, word: str | None = None, source: str = OURS) -> Task:
    """A row of the log; a larger number is newer."""
    return Task(number, f"t{number}", "create", status, stage, word, source=Source("other", source, 5432))


# (the source that the instance reports, rows newest first, the state)
HISTORIES = {
    "nothing": (None, [], "none"),
    "a link without a row": (OURS, [], "unknown"),
    "at work": (None, [task(1, "running", "basebackup")], "creating"),
    "at work, reported early": (OURS, [task(1, "running", "startup")], "creating"),
    "catching up": (OURS, [task(1, "running", "increment")], "creating"),
    "streaming": (OURS, [task(1, "success", "increment", "streaming")], "streaming"),
    "streaming, task not ended": (OURS, [task(1, "running", "increment", "streaming")], "streaming"),
    "broken": (OURS, [task(1, "success", "increment", "disconnect")], "disconnect"),
    # A success that says nothing of now, in every form
    "finish": (OURS, [task(1, "success", "increment", "finish")], "unknown"),
    "finish, task not ended": (OURS, [task(1, "running", "increment", "finish")], "unknown"),
    "success without a word": (OURS, [task(1, "success", "increment")], "unknown"),
    # Rows that cannot be of this link
    "a precheck that failed": (OURS, [task(1, "failure", "precheck")], "unknown"),
    "a precheck of another source that failed": (OURS, [task(1, "failure", "precheck", None, ANOTHER)], "unknown"),
    "a later precheck that failed": (
        OURS,
        [task(2, "failure", "precheck", None, ANOTHER), task(1, "success", "increment", "streaming")],
        "streaming",
    ),
    "another link before": (OURS, [task(1, "success", "increment", "disconnect", ANOTHER)], "unknown"),
    "another link since": (
        OURS,
        [task(2, "success", "increment", "finish", ANOTHER), task(1, "success", "increment", "streaming")],
        "unknown",
    ),
    "another copy since": (
        OURS,
        [task(2, "failure", "basebackup", None, ANOTHER), task(1, "success", "increment", "streaming")],
        "unknown",
    ),
    "its own copy failed": (OURS, [task(1, "failure", "basebackup")], "unknown"),
    # Without DisasterRecoveryInfo no row proves a link
    "promoted": (None, [task(1, "success", "increment", "finish")], "none"),
    "promoted, the row is late": (None, [task(1, "success", "increment", "streaming")], "none"),
    "failed": (None, [task(1, "failure", "basebackup")], "none"),
}


@pytest.mark.parametrize(("source", "tasks", "state"), HISTORIES.values(), ids=HISTORIES)
def test_the_state_of_a_link(source, tasks, state):
    seen = DrInstanceState(DR, instance(source), tasks)
    assert seen.link_state == state
    assert topology_of(seen).link_state == state or (source is None and state == "creating")
    link = _state.current_link(seen)
    assert (link is None) == (source is None)
    assert link is None or link["state"] == state


def test_an_rds_source_is_its_region_and_id_whatever_endpoint_names_it():
    one = Source("aliyunRDS", "pgm-a.pg.rds.aliyuncs.com", 5432, "cn-hangzhou", "pgm-a")
    other = Source("aliyunRDS", "pgm-a-public.pg.rds.aliyuncs.com", 3433, "cn-hangzhou", "PGM-A")
    assert one.differences(other) == []
    assert one.differences(Source("aliyunRDS", None, None, "cn-shanghai", "pgm-a")) != []
    assert one.differences(Source("aliyunRDS", one.address, one.port, "cn-hangzhou", "pgm-b")) != []
    assert Source("other", "a", 1).differences(Source("other", "b", 1)) != []


def test_every_dr_instance_of_a_primary_is_read():
    names = [{"insName": "pgm-1", "regionId": "r"}, {"insName": "pgm-2", "regionId": "r"}]
    seen = DrInstanceState(DR, instance(None, DisasterRecoveryInstances=json.dumps(names)), [])
    assert seen.primary_of == "pgm-1, pgm-2"


class Answers:
    last_request_id = None

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def call(self, action, parameters, *, repeatable):
        return self.answer


@pytest.mark.parametrize(
    ("read", "answer", "words"),
    [
        (
            lambda client: _state.read_instance(client, DR),
            {"Items": {"DBInstanceAttribute": [{"DBInstanceId": "pgm-other"}]}},
            "instance pgm-other, not pgm-dr",
        ),
        (
            lambda client: _state.read_tasks(client, DR, "create"),
            {"Items": [{"TaskId": 1, "TaskType": "create-dryrun"}]},
            "task type create-dryrun, not create",
        ),
        (
            lambda client: _state.read_tasks(client, DR, "create"),
            {"Items": [{"TaskId": 1, "TargetInstanceId": "pgm-other"}]},
            "target instance pgm-other, not pgm-dr",
        ),
    ],
    ids=["instance", "type", "target"],
)
def test_an_answer_about_something_else_is_refused(read, answer, words):
    with pytest.raises(RdsError, match=words) as caught:
        read(Answers(answer))
    assert caught.value.code == "ReplyUnreadable" and caught.value.outcome == "not_sent"
