# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever the service tells about an instance: at most one request that changes anything, and one clear result."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Waiter, drive
from ansible_collections.alicloud.rds.plugins.module_utils._dr.role_changes import Guards, RoleChanges

A, B = "pgm-a", "pgm-b"
WRITES = ("DeleteReplicationLink", "RebuildReplicationLink")
JUNK = st.one_of(st.none(), st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=2), st.booleans())


def told(source):
    return json.dumps({"sourceInstanceName": source, "sourceInstanceRegionId": "r", "replicatorPassword": "s3cret"})


def names(target):
    return json.dumps([{"insName": target, "regionId": "r"}])


INSTANCES = st.fixed_dictionaries(
    {},
    optional={
        "DBInstanceStatus": st.sampled_from(["Running", "GuardSwitching", "Stopped"]) | JUNK,
        "LockMode": st.sampled_from(["Unlock", "ManualLock"]) | JUNK,
        "RegionId": st.just("r") | JUNK,
        "DisasterRecoveryInfo": st.sampled_from([told(A), told(B), told("pgm-c"), "{}", "[]", "x", '{"a":1}']) | JUNK,
        "DisasterRecoveryInstances": st.sampled_from([names(A), names(B), "[]", "{}", "[1]", '[{"insName":2}]']) | JUNK,
        "GuardDBInstanceId": st.sampled_from([A, B]) | JUNK,
    },
)
ROWS = st.fixed_dictionaries(
    {"TaskId": st.integers(1, 3)},
    optional={
        "TaskStatus": st.sampled_from(["success", "failure", "running"]) | JUNK,
        "TaskStage": st.sampled_from(["increment", "precheck"]) | JUNK,
        "ReplicationState": st.sampled_from(["steaming", "disconnect", "finish"]) | JUNK,
        "ReplicationInfo": st.sampled_from(
            ['{"ReplayLag":"nan"}', '{"LatestEndLsn":"0/5","ReplayLsn":"0/3","ReplayLag":"1"}', "[]", "{"]
        )
        | JUNK,
    },
)


class Service:
    """Answers drawn anew each time; forgets nothing that was asked."""

    last_request_id = None

    def __init__(self, data):
        self.data, self.calls = data, Counter()

    def call(self, action, parameters, *, repeatable):
        self.calls[action] += 1
        if action in WRITES:
            assert not repeatable, "a request that changes roles is never sent again"
            outcome = self.data.draw(st.sampled_from(["done", "refused", "unknown"]))
            if outcome != "done":
                raise RdsError("IncorrectDBInstanceState", "no", outcome=outcome)
            return self.data.draw(st.fixed_dictionaries({}, optional={"TaskId": JUNK, "RequestId": JUNK}))
        if action == "DescribeReplicationLinkLogs":
            return {"Items": self.data.draw(st.lists(ROWS, max_size=1))}
        return {"Items": {"DBInstanceAttribute": [self.data.draw(INSTANCES)]}}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans(), st.sampled_from(["planned", "forced", "rebuild"]))
@pytest.mark.thorough
def test_any_story_ends_in_one_clear_result_and_at_most_one_request(data, check_mode, verb):
    service, now = Service(data), [0.0]
    changes = RoleChanges(service, Waiter(4, 1, 2, clock=lambda: now[0]), check_mode=check_mode)
    if verb == "rebuild":
        steps = changes.rebuild(B, confirmed=data.draw(st.booleans()))
    else:
        steps = changes.promote(B, Guards(max_lag_bytes=2), forced=verb == "forced")
    try:
        done = drive(steps, lambda seconds: now.__setitem__(0, now[0] + seconds))
        told_to_people = json.dumps([done.outcome, done.before.as_result(), done.after.as_result(), done.warnings])
        assert done.changed or done.outcome in ("unchanged", "adopted")
    except RdsError as error:
        assert error.remedy
        told_to_people = json.dumps([error.message, error.context.get("topology")])
    writes = sum(service.calls[action] for action in WRITES)
    assert writes <= (0 if check_mode else 1)
    assert "s3cret" not in told_to_people
