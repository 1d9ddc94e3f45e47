# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting on a clock of its own: when it looks, when it gives up, what it tolerates."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Waiter, drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.link import Desired, ReplicationLinks, Source

DR = "pgm-dr"
SOURCE = Source("other", "10.0.0.1", 5432, account="dr_sync")


class Service:
    """A link that is being made, on a clock that only `sleep` moves."""

    def __init__(self, duration=100.0, **row):
        self.now, self.duration, self.row = 0.0, duration, row
        self.calls, self.polls, self.failures = [], [], []
        self.created = False
        self.last_request_id = "R-1"

    def sleep(self, seconds):
        self.now += seconds

    def clock(self):
        return self.now

    def call(self, action, parameters, *, repeatable):
        self.calls.append(action)
        if action == "DescribeDBInstanceAttribute":
            ended = self.created and self.now >= self.duration
            told = {"sourceAddress": "10.0.0.1", "sourcePort": 5432, "sourceCategory": "other"}
            row = {"Engine": "PostgreSQL", "DBInstanceStatus": "Running", "LockMode": "Unlock"}
            row["DisasterRecoveryInfo"] = json.dumps(told) if ended else ""
            return {"Items": {"DBInstanceAttribute": [row]}}
        if action == "CreateReplicationLink":
            self.created = True
            return {"TaskId": 7, "TaskName": parameters["TaskName"], "DBInstanceId": DR, "RequestId": "R-2"}
        self.polls.append(self.now)
        if self.failures:
            raise self.failures.pop(0)
        if not self.created:
            return {"Items": [], "TotalSize": 0}
        return {"Items": [self.task()], "TotalSize": 1}

    def task(self):
        share = self.now / self.duration
        stage = ("precheck", "basebackup", "startup", "increment")[min(3, int(share * 3.2))]
        done = share >= 1
        return {
            "TaskId": 7,
            "TaskType": "create",
            "TaskStatus": "success" if done else "running",
            "TaskStage": stage,
            "ReplicationState": "steaming" if done else None,
            "SourceAddress": "10.0.0.1",
            "SourcePort": "5432",
            **self.row,
        }


def ensure(service, **options):
    links = ReplicationLinks(service, Waiter(**options, clock=service.clock), check_mode=False)
    return drive(links.ensure(Desired(DR, SOURCE, password="x")), service.sleep)


@pytest.mark.parametrize("duration", [0.5, 3, 20, 100, 1000, 20000])
def test_the_end_is_seen_soon_with_few_looks(duration):
    service = Service(duration)
    result = ensure(service, wait_timeout=100000, wait_interval=30)
    late = service.now - duration
    assert result.link["state"] == "streaming"
    assert late <= max(0.2, min(30, 0.1 * duration + 0.2))
    looks = len(service.polls) - 1
    assert looks <= 12 + 11 * math.log10(1 + duration) * 2.4 + duration / 30


def test_looks_are_at_once_and_then_never_further_apart_than_the_interval():
    service = Service(500)
    ensure(service, wait_interval=7)
    polls = service.polls[1:]
    assert polls[0] == 0
    gaps = [later - earlier for earlier, later in itertools.pairwise(polls)]
    assert max(gaps) == pytest.approx(7)


def test_the_timeline_tells_each_stage_and_its_seconds():
    result = ensure(Service(100), wait_interval=5)
    assert [entry["stage"] for entry in result.timeline] == ["precheck", "basebackup", "startup", "increment"]
    assert result.timeline[0]["seen_after"] == 0
    assert 20 < result.timeline[1]["seconds"] < 40


def test_a_time_out_carries_the_last_row_and_is_not_late():
    service = Service(1000)
    with pytest.raises(RdsError) as caught:
        ensure(service, wait_timeout=60)
    assert service.now == pytest.approx(60)
    assert (caught.value.code, caught.value.outcome) == ("WaitTimeout", "running")
    assert caught.value.context["task"].stage == "precheck"


def test_a_passing_outage_does_not_end_the_wait():
    service = Service(50)
    lost = [RdsError("EndpointUnreachable", "down"), RdsError("ServiceUnavailable", "down", http_status=503)]
    create = service.call

    def call(action, parameters, *, repeatable):
        if action == "CreateReplicationLink":
            service.failures = lost
        return create(action, parameters, repeatable=repeatable)

    service.call = call
    assert ensure(service).link["state"] == "streaming"


def test_a_lasting_outage_and_a_lost_permission_end_it_with_the_task_running():
    for failures in ([RdsError("EndpointUnreachable", "down")] * 3, [RdsError("Forbidden.RAM", "no", http_status=403)]):
        service = Service(50)
        create = service.call

        def call(action, parameters, *, repeatable, service=service, create=create, failures=tuple(failures)):
            if action == "CreateReplicationLink":
                service.failures = list(failures)
            return create(action, parameters, repeatable=repeatable)

        service.call = call
        with pytest.raises(RdsError) as caught:
            ensure(service)
        assert caught.value.outcome == "running"
        assert caught.value.code == failures[0].code


def test_a_disconnected_link_is_not_called_streaming():
    service = Service(10, ReplicationState="disconnect")
    with pytest.raises(RdsError) as caught:
        ensure(service, wait_timeout=60)
    assert caught.value.code == "WaitTimeout"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Items": None},
        {"Items": {}},
        {"Items": [3]},
        {"Items": [{"TaskName": "no id"}], "TotalSize": 1},
        {"Items": [{"TaskId": "x"}]},
        {"Items": [{"TaskId": True}]},
    ],
    ids=str,
)
def test_an_answer_that_makes_no_sense_is_one_clear_failure(answer):
    service = Service()
    genuine = service.call

    def call(action, parameters, *, repeatable):
        is_log = action == "DescribeReplicationLinkLogs"
        return answer if is_log else genuine(action, parameters, repeatable=repeatable)

    service.call = call
    with pytest.raises(RdsError) as caught:
        ensure(service)
    assert caught.value.code == "ReplyUnreadable"
    assert "CreateReplicationLink" not in service.calls
