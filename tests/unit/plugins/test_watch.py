# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is an event between two rounds, and what is none. Pure: a round is written down, ten seconds after the last."""

from __future__ import annotations

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.checklist import check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Problem, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.watch import (
    TYPES,
    Limits,
    Memory,
    Observation,
    Round,
    changes,
    with_reported_lag,
)

STEP = 10.0  # seconds between two rounds
LIMITS = Limits(lag_bytes=1000, lag_for=15.0, silent_after=30.0)
LOST = RdsError("EndpointUnreachable", "rds cannot be reached.")
DENIED = RdsError("NoPermission", "Not authorised.", http_status=403, request_id="R-9")
PRIMARY = {"standby": False, "system_identifier": "7", "segment_size": 2**24, "block_size": 8192, "position": 2**30}
STANDBY = {**PRIMARY, "standby": True, "monitor": True, "received_position": 100, "receiver": {"status": "streaming"}}


def look(
    name="a",
    state="streaming",
    status="Running",
    lock="Unlock",
    lag=0,
    source=None,
    standby=None,
    expected=True,
    bad=(),
):
    end = End(name, name, region_id="r1", status=status, lock_mode=lock, facts=standby)
    seen = Seen(name, state, end, source, reported_lag_bytes=lag)
    return Observation(seen, tuple(check(each, "It is so.") for each in bad), "R-1", is_expected=expected)


def source(problem=None, facts=None, status=None, name="src"):
    return End(
        name, name, "10.0.0.1", 5432, "r2", status, facts=facts, problem=Problem(problem, "x") if problem else None
    )


@pytest.fixture
def watch():
    """Feed rounds one after the other; returns the events of each round."""
    memory, at = Memory(), 0.0

    def feed(*looks, unlisted=(), **others):
        nonlocal memory, at
        at += STEP
        named = {**{each.seen.dr_instance_id: each for each in looks}, **others}
        time = f"2026-01-01T00:{int(at) // 60:02d}:{int(at) % 60:02d}Z"
        this = Round(at, time, named, dict.fromkeys(named, "r1"), dict(unlisted))
        memory, events = changes(memory, this, LIMITS)
        return events

    return feed


def short(events):
    return [(event["type"], event["before"], event["after"]) for event in events]


# -- the first event ---------------------------------------------------------------------------------------------------


def test_the_first_round_is_one_summary_and_what_stays_is_silence(watch):
    bad = look("c", "disconnect", bad=["clock_difference"])
    (event,) = watch(look("a"), look("b", lock="ManualLock"), bad)
    assert event["type"] == "summary" and event["states"] == {"streaming": 2, "disconnect": 1} and event["problem"]
    assert event["message"] == "links watched: 3, of these 2 streaming, 1 disconnect"
    assert [(each["type"], each["dr_instance_id"], each["after"]) for each in event["attention"]] == [
        ("instance_lock", "b", "ManualLock"),
        ("link_state", "c", "disconnect"),
    ]
    assert (
        event["attention"][1]["checks"][0]["id"] == "clock_difference" and event["attention"][1]["checks"][0]["remedy"]
    )
    for _again in range(5):
        assert watch(look("a"), look("b", lock="ManualLock"), bad) == []


def test_the_summary_waits_for_what_could_not_be_read_but_not_for_ever(watch):
    assert watch(look("a"), b=LOST) == []
    (event,) = watch(look("a"), look("b"))
    assert event["states"] == {"streaming": 2} and not event["problem"]


def test_an_outage_at_the_start_is_in_the_summary_and_its_end_is_one_event(watch):
    assert [watch(a=LOST, b=LOST) for _round in range(3)] == [[], [], []]
    (event,) = watch(a=LOST, b=LOST)
    assert event["states"] == {"unreadable": 2}
    assert [(each["type"], each["links"]) for each in event["attention"]] == [("service", ["a", "b"])]
    (event,) = watch(look("a"), look("b"))
    assert short([event]) == [("service", "unreadable", "readable")]
    assert watch(look("a"), look("b")) == []


def test_an_instance_without_a_link_needs_attention_only_if_somebody_named_it(watch):
    (event,) = watch(look("a", "none", expected=False), look("b", "none"))
    assert [each["dr_instance_id"] for each in event["attention"]] == ["b"]


# -- changes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"state": "disconnect"}, ("link_state", "streaming", "disconnect")),
        ({"state": "none"}, ("link_state", "streaming", "none")),
        ({"status": "Restarting"}, ("instance_status", "Running", "Restarting")),
        ({"lock": "LockByDiskQuota"}, ("instance_lock", "Unlock", "LockByDiskQuota")),
    ],
)
def test_a_change_is_one_event_at_once_and_its_way_back_another(watch, after, expected):
    watch(look())
    (event,) = watch(look(**after, bad=["link_state"]))
    kind, before, value = expected
    assert short([event]) == [expected] and event["problem"]
    assert event["dr_instance_id"] == event["instance_id"] == "a" and event["links"] == ["a"]
    assert (event["since"], event["request_id"], event["region_id"]) == ("2026-01-01T00:00:20Z", "R-1", "r1")
    assert event["checks"][0]["id"] == "link_state"
    assert watch(look(**after)) == []
    (event,) = watch(look())
    assert short([event]) == [(kind, value, before)] and not event["problem"]


def test_lag_must_stay_over_its_limit_and_is_under_at_half_of_it(watch):
    watch(look(lag=0))
    assert watch(look(lag=2000)) == [] and watch(look(lag=0)) == [], "a peak of one round"
    assert watch(look(lag=2000)) == [] and watch(look(lag=3000)) == []
    (event,) = watch(look(lag=4000))
    assert short([event]) == [("lag", "under", "over")]
    assert (event["lag_bytes"], event["limit"], event["since"]) == (4000, 1000, "2026-01-01T00:00:40Z")
    assert watch(look(lag=900)) == [] and watch(look(lag=1100)) == [] and watch(look(lag=501)) == [], "around the limit"
    assert short(watch(look(lag=500))) == [("lag", "over", "under")]


def test_a_link_that_does_not_stream_has_no_lag_of_its_own(watch):
    watch(look())
    assert short(watch(look(state="disconnect", lag=10**9))) == [("link_state", "streaming", "disconnect")]
    assert [watch(look(state="disconnect", lag=10**9)) for _round in range(5)] == [[]] * 5


def test_lag_of_the_servers_wins_over_what_the_service_reports(watch):
    behind = {**STANDBY, "position": 2**30 - 2000}
    watch(look(source=source(facts=PRIMARY), standby={**STANDBY, "position": 2**30}))
    events = [watch(look(lag=0, source=source(facts=PRIMARY), standby=behind)) for _round in range(3)]
    assert short(events[2]) == [("lag", "under", "over")] and events[2][0]["lag_bytes"] == 2000


def test_lag_that_the_service_reports_has_a_remedy_too():
    seen = look(lag=2000).seen
    (found,) = with_reported_lag(seen, [], 1000)
    assert found.id == "lag" and found.remedy and "2000 bytes" in found.note
    assert with_reported_lag(seen, [found], 1000) == [found] and with_reported_lag(seen, [], 2000) == []


def test_wal_that_was_removed_is_an_event_of_its_own(watch):
    gone = {**STANDBY, "receiver": None, "position": 100}
    primary = {**PRIMARY, "oldest_wal": "000000010000000000000040"}
    watch(look(source=source(facts=primary), standby=STANDBY))
    broken = look(state="disconnect", source=source(facts=primary), standby=gone)
    assert short(watch(broken)) == [("link_state", "streaming", "disconnect"), ("wal", "kept", "removed")]
    assert watch(broken) == []


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_server_is_silent_only_after_so_long_and_once_for_all_links_of_it(watch):
    up, down = source(facts=PRIMARY), source("timeout")
    watch(look("a", source=up), look("b", source=up))
    assert [watch(look("a", source=down), look("b", source=down)) for _round in range(3)] == [[]] * 3
    (event,) = watch(look("a", source=down), look("b", source=down))
    assert short([event]) == [("server", "answering", "silent")] and event["role"] == "source"
    assert event["links"] == ["a", "b"] and event["dr_instance_id"] is None and event["address"] == "10.0.0.1:5432"
    assert event["since"] == "2026-01-01T00:00:20Z"
    assert short(watch(look("a", source=up), look("b", source=up))) == [("server", "silent", "answering")]


def test_a_server_that_one_of_two_links_reaches_is_not_silent(watch):
    up, down = source(facts=PRIMARY), source("timeout")
    watch(look("a", source=up), look("b", source=up))
    assert [watch(look("a", source=down), look("b", source=up)) for _round in range(6)] == [[]] * 6


@pytest.mark.parametrize(("kind", "value"), [("refused", "silent"), ("login", "unusable"), ("no_answer", "unusable")])
def test_only_a_server_that_tcp_does_not_reach_is_called_silent(watch, kind, value):
    watch(look(source=source(facts=PRIMARY)))
    events = [watch(look(source=source(kind))) for _round in range(4)]
    assert short(events[3]) == [("server", "answering", value)] and events[:3] == [[]] * 3


def test_a_server_that_nobody_asks_is_no_event_nor_is_the_old_primary_of_a_link_that_has_ended(watch):
    watch(look(source=source("not_asked")))
    assert [watch(look(source=source("not_asked"))) for _round in range(5)] == [[]] * 5
    watch(look(state="none", source=source("refused")))
    assert [watch(look(state="none", source=source("refused"))) for _round in range(5)] == [[]] * 5


def test_an_outage_of_a_region_is_one_event_and_one_when_it_is_over(watch):
    watch(look("a"), look("b"), look("c"))
    assert watch(look("a"), b=LOST, c=LOST) == [], "it begins in the middle of a round"
    assert [watch(a=LOST, b=LOST, c=LOST) for _round in range(3)] == [[]] * 3
    (event,) = watch(a=LOST, b=LOST, c=LOST)
    assert short([event]) == [("service", "readable", "unreadable")]
    assert (event["region_id"], event["links"], event["dr_instance_id"]) == ("r1", ["a", "b", "c"], None)
    assert event["error"]["code"] == "EndpointUnreachable" and event["error"]["remedy"]
    assert short(watch(look("c"), a=LOST, b=LOST)) == [("service", "unreadable", "readable")], "nor one for each link"
    assert [watch(look("a"), look("b"), look("c")) for _round in range(5)] == [[]] * 5


def test_what_cannot_be_read_for_a_while_sends_nothing_and_what_changed_meanwhile_is_seen(watch):
    watch(look("a"))
    assert watch(a=LOST) == [] and watch(a=LOST) == []
    assert short(watch(look("a", "disconnect"))) == [("link_state", "streaming", "disconnect")]


def test_links_that_may_not_be_read_are_one_event(watch):
    watch(look("a"), look("b"), look("c"))
    events = [watch(look("a"), b=DENIED, c=DENIED) for _round in range(8)]
    (event,) = [event for found in events for event in found]
    assert event["links"] == ["b", "c"] and event["error"]["category"] == "grant_permission"
    assert event["request_id"] == "R-9"


def test_throttling_of_now_this_now_that_link_is_none(watch):
    watch(look("a"), look("b"))
    for _round in range(8):
        assert watch(look("a"), b=RdsError("Throttling.User", "Slow down.")) == []
        assert watch(look("b"), a=RdsError("Throttling.User", "Slow down.")) == []


def test_what_was_silent_for_a_while_twice_was_not_silent_for_long(watch):
    up, down = source(facts=PRIMARY), source("timeout")
    watch(look(source=up))
    for _time in range(3):
        assert [watch(look(source=down)) for _round in range(3)] == [[]] * 3
        assert watch(look(source=up)) == []


# -- lists -------------------------------------------------------------------------------------------------------------


def test_a_list_that_has_changed_is_one_event(watch):
    watch(look("a"), look("b"))
    (event,) = watch(look("b"), look("c"), look("d", "disconnect"))[:1]
    assert (event["type"], event["added"], event["removed"]) == ("instances", ["c", "d"], ["a"])
    assert (event["before"], event["after"]) == (2, 3)
    assert watch(look("b"), look("c"), look("d", "disconnect")) == []
    assert short(watch(look("a", "disconnect"), look("b"))) == [
        ("instances", 3, 2),
        ("link_state", None, "disconnect"),
    ], "nothing is known any more of an instance that was gone"


def test_a_list_that_cannot_be_read_is_the_service(watch):
    watch(look("a"))
    events = [watch(look("a"), unlisted={"r1": DENIED}) for _round in range(4)]
    assert [short(found) for found in events] == [[], [], [], [("service", "readable", "unreadable")]]


def test_an_instance_that_is_gone_is_one_event(watch):
    watch(look("a"))
    error = RdsError("InvalidDBInstanceName.NotFound", "It does not exist.", request_id="R-2")
    gone = Observation(Seen("a", "none", End("a", "a", status="NotFound")), (), "R-2", error)
    (event,) = watch(gone)
    assert short([event]) == [("instance_status", "Running", "NotFound")] and event["request_id"] == "R-2"


def test_a_message_is_a_sentence_for_a_person(watch):
    up, down = source(facts=PRIMARY), source("refused", name="the source 10.0.0.1:5432")
    watch(look(source=up), b=LOST)
    watch(look(source=up), look("b"))
    texts = [
        event["message"] for event in watch(look(state="disconnect", status="Stopped", lock="ManualLock"), look("b"))
    ]
    assert texts == [
        "a: the link is disconnect, was streaming",
        "a: the instance is Stopped, was Running",
        "a: its lock is ManualLock, was Unlock",
    ]
    found = [watch(look(lag=2000, source=down), b=DENIED) for _round in range(6)]
    assert [event["message"] for events in found for event in events][-3:] == [
        "a: lag is over the limit (2000 bytes of 1000), was under",
        "the source 10.0.0.1:5432: PostgreSQL is silent, was answering",
        "b: the service is unreadable: Not authorised.",
    ]


def test_every_event_has_the_same_keys(watch):
    keys = set(watch(look("a"))[0]) - {"states", "attention"}
    events = watch(look("a", "disconnect", "Stopped", "ManualLock"), look("b"))
    assert {event["type"] for event in events} <= set(TYPES) and len(events) == 4
    assert all(keys <= set(event) for event in events)
