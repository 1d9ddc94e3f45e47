# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Promotions that are killed at every step, that race, and that run under all kinds of writers. On real clusters.

FAILOVERS=50 runs that many promotions under writers, and that many races, instead of one; more than one also end a run
at every step in both ways.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pg8000.native
import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fencing import FENCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import VERIFY

from .conftest import ROOT, eventually
from .operating import do, linked, make_linked, options_for

__all__ = ["linked"]  # a fixture
MANY = int(os.environ.get("FAILOVERS", "1"))
EVENTS = ("checked", "fence up", "sessions ended", "last byte replayed", "request sent", "promoted",
          "out of recovery", "new primary opened", "first row acknowledged")  # fmt: skip
# Runs a promotion in a process of its own, and ends it with a signal when an event is noted.
VICTIM = """
import json, os, signal, sys
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._dr.promotion import Failover
options, at, number = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
noted = Failover.event
def event(self, what):
    noted(self, what)
    if what == at:
        os.kill(os.getpid(), number)
Failover.event = event
signal.signal(signal.SIGINT, signal.default_int_handler)
print(json.dumps(run(PROMOTION, options, check_mode=False, diff=False)))
"""


def promote(linked, **given: Any) -> dict[str, Any]:
    return do(linked, PROMOTION, **{"mode": "planned", "fence": True, **given})


def killed(linked, at: str, number: int, report_dir: Path) -> subprocess.CompletedProcess[str]:
    options = json.dumps(options_for(linked, PROMOTION, mode="planned", fence=True, report_dir=str(report_dir)))
    environment = {**os.environ, **linked.rds.environment, "PYTHONPATH": f"{ROOT}/.build/link"}
    command = [sys.executable, "-c", VICTIM, options, at, str(int(number))]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


class Application(threading.Thread):
    """A client that writes wherever it is let in, and remembers what was acknowledged."""

    def __init__(self, linked, how: str) -> None:
        super().__init__(daemon=True)
        self.ports = itertools.cycle([linked.rds.instances[name]["port"] for name in (linked.source, linked.dr)])
        self.how, self.acknowledged, self.over = how, [], threading.Event()
        self.numbers = itertools.count(1000 * random.randrange(1, 10**6))

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with pg8000.native.Connection(
                    "app", "127.0.0.1", "shop", next(self.ports), "app", timeout=5
                ) as session:
                    if self.how == "asynchronous":
                        session.run("SET synchronous_commit = off")
                    while not self.over.is_set():
                        self.write(session, next(self.numbers))
            except (pg8000.native.DatabaseError, pg8000.native.InterfaceError, OSError):
                time.sleep(0.02)

    def write(self, session: pg8000.native.Connection, number: int) -> None:
        if self.how == "read write":
            session.run("BEGIN READ WRITE")
        elif self.how == "slow":
            session.run("BEGIN")
        session.run("INSERT INTO orders VALUES (:n, 'app')", n=number)
        if self.how == "slow":
            time.sleep(0.05)
        if self.how in ("read write", "slow"):
            session.run("COMMIT")
        self.acknowledged.append(number)
        time.sleep(0.005 if self.how != "idle" else 1)


@pytest.fixture
def applications(linked):
    linked.rds.sql(linked.source, "CREATE ROLE app LOGIN PASSWORD 'app'")
    linked.rds.sql(linked.source, "GRANT INSERT, SELECT ON orders TO app", "shop")
    running = [Application(linked, how) for how in ("plain", "read write", "slow", "asynchronous", "idle")]
    for each in running:
        each.start()
    assert eventually(lambda: all(each.acknowledged for each in running))
    yield running
    for each in running:
        each.over.set()
    for each in running:
        each.join(10)


def missing(linked, applications, cluster: str) -> set[int]:
    """Stop the applications, and return which acknowledged rows an instance does not have."""
    for each in applications:
        each.over.set()
    for each in applications:
        each.join(10)
    kept = {row["id"] for row in linked.rds.sql(cluster, "SELECT id FROM orders", "shop")}
    return {number for each in applications for number in each.acknowledged} - kept


def is_primary(linked, name: str) -> bool:
    return not linked.value(name, "pg_is_in_recovery()")


def settle(linked) -> None:
    """Wait until the service has finished what a killed run has asked for."""
    assert eventually(lambda: do(linked, VERIFY)["topology"]["dr_instance"]["status"] == "Running")


ENDS = list(itertools.product(EVENTS, (signal.SIGKILL, signal.SIGINT)))
if MANY == 1:  # of each kind of moment one
    ENDS = [(at, signal.SIGKILL) for at in ("fence up", "promoted", "out of recovery")]
    ENDS += [(at, signal.SIGINT) for at in ("sessions ended", "request sent")]


@pytest.mark.parametrize(("at", "number"), ENDS, ids=[f"{at}-{number.name}" for at, number in ENDS])
def test_after_a_kill_the_servers_are_as_verify_says_and_one_command_goes_on(
    linked, applications, tmp_path, at, number
):
    assert killed(linked, at, number, tmp_path).returncode != 0
    report = json.loads(next(tmp_path.glob("promotion-*.json")).read_text())
    assert at in [event["event"] for event in report["events"]] and (number == signal.SIGKILL) == (not report["ended"])
    if number == signal.SIGKILL:
        assert report["stopped_at"] == at and f"The last event is: {at}." in next(tmp_path.glob("*.md")).read_text()
    settle(linked)
    sent = at in EVENTS[4:]
    if at == "request sent":  # ended before the request has left, or after it
        sent = bool(linked.sent("DeleteReplicationLink"))
        assert not sent
    promoted = at in EVENTS[5:]
    assert is_primary(linked, linked.dr) == promoted

    seen = do(linked, VERIFY)
    found = {check["id"]: check for check in seen["checks"]}
    if promoted:
        assert linked.is_shut(linked.source), "the old primary stays shut"
        assert found["link_state"]["result"] == "error" and "two primaries" not in str(seen)
        assert found.get("split_brain", {"result": "success"})["result"] == "success"
        again = do(linked, FENCE, state="down")
        assert not again.get("failed") or "StandbyPromoted" in str(again), again
        assert linked.is_shut(linked.source) and not linked.is_shut(linked.dr)
        assert missing(linked, applications, linked.dr) == set()
        return
    shut = linked.is_shut(linked.source)
    assert (found["not_fenced"]["result"] == "error") == shut
    assert not shut or "playbook alicloud.rds.unfence" in found["not_fenced"]["remedy"]
    if number == signal.SIGINT:
        assert not shut, "what Python sees takes the fence down"
    if shut:
        refused = promote(linked)
        assert refused["failed"] and refused["outcome"] == "not_sent" and "unfence" in refused["msg"]
        assert do(linked, FENCE, state="down")["outcome"] == "unfenced"
    assert not linked.is_shut(linked.source)
    assert do(linked, VERIFY)["outcome"] == "verified"
    assert missing(linked, applications, linked.source) == set()


@pytest.mark.parametrize("_number", range(MANY))
def test_no_acknowledged_row_is_missing_under_any_writer(linked, applications, _number):
    time.sleep(random.uniform(0, 0.3))
    done = promote(linked)
    if done.get("failed"):
        assert done["outcome"] in ("not_sent", "refused", "unknown"), done
        return
    assert done["outcome"] == "promoted" and done["transactions_after_fence"] == 0
    assert missing(linked, applications, linked.dr) == set()


@pytest.mark.parametrize("_number", range(MANY))
def test_of_two_runs_at_once_one_works_and_the_other_says_who_does(linked, _number):
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(promote(linked))) for _n in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(random.uniform(0, 0.4))
    for thread in threads:
        thread.join(60)
    outcomes = sorted(result["outcome"] for result in results)
    winners = [result for result in results if result["outcome"] in ("promoted", "adopted")]
    assert len(winners) == 1 or outcomes[-1] == "unchanged", [result.get("msg") for result in results]
    assert len(linked.sent("DeleteReplicationLink")) == 1
    assert linked.is_shut(linked.source) and not linked.is_shut(linked.dr), "the loser does not open the fence"
    for loser in (result for result in results if result.get("failed")):
        assert any(word in loser["msg"] for word in ("Another run is at work", "has a fence", "There is already")), (
            loser
        )


def test_what_a_fence_cannot_stop_is_refused_before_anything_is_touched(linked):
    linked.rds.sql(linked.source, "REVOKE shop_owner FROM dr_operator")
    preview = do(linked, PROMOTION, check_mode=True, mode="planned", fence=True)
    assert preview["failed"] and "shop belongs to shop_owner" in preview["msg"]
    linked.rds.sql(linked.source, "GRANT shop_owner TO dr_operator")
    linked.rds.sql(linked.source, "REVOKE pg_signal_backend FROM dr_operator")
    preview = do(linked, PROMOTION, check_mode=True, mode="planned", fence=True)
    assert preview["failed"] and "no member of pg_signal_backend" in preview["msg"]
    linked.rds.sql(linked.source, "ALTER ROLE shop_owner SET default_transaction_read_only = off")
    preview = do(linked, PROMOTION, check_mode=True, mode="planned", fence=True, fence_method="system")
    assert preview["failed"] and "role shop_owner sets default_transaction_read_only=off" in preview["msg"]
    assert not linked.is_shut(linked.source) and linked.sent("DeleteReplicationLink") == []


def test_the_fence_by_system_restores_what_the_dba_had_set(linked, applications):
    """The DBA's own ALTER SYSTEM value, not the default; and what a client may do all the same is said."""
    linked.rds.sql(linked.source, "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO dr_operator")
    refused = do(linked, FENCE, state="up", method="system")
    assert "may not call pg_reload_conf() in database dr_link" in refused["msg"]
    linked.rds.sql(linked.source, "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO dr_operator", "dr_link")
    linked.rds.sql(linked.source, "ALTER SYSTEM SET default_transaction_read_only = off")
    own = "SELECT sourcefile LIKE '%auto.conf' AS own FROM pg_settings WHERE name = 'default_transaction_read_only'"
    linked.rds.sql(linked.source, "SELECT pg_reload_conf()")
    assert eventually(lambda: linked.rds.sql(linked.source, own)[0]["own"])
    up = do(linked, FENCE, state="up", method="system")
    assert up["outcome"] == "fenced", up.get("msg")
    assert "SET default_transaction_read_only = off" in up["fence"]["holes"], up
    assert linked.value(linked.source, "current_setting('default_transaction_read_only')") == "on"
    found = {check["id"]: check for check in do(linked, VERIFY)["checks"]}
    assert "method system" in found["not_fenced"]["note"]
    assert do(linked, FENCE, state="up", method="system")["error"]["code"] == "FenceExists"
    down = do(linked, FENCE, state="down")
    assert down["outcome"] == "unfenced", down
    assert eventually(lambda: linked.value(linked.source, "current_setting('default_transaction_read_only')") == "off")
    assert linked.rds.sql(linked.source, own)[0]["own"], "the value is the DBA's again, and was not reset"
    done = promote(linked, fence_method="system")
    assert done["outcome"] in ("promoted", "not_sent", "unknown"), done
    if done["outcome"] == "promoted":  # one of the clients says BEGIN READ WRITE, which this method does not stop
        assert done["transactions_after_fence"] == 0 and missing(linked, applications, linked.dr) == set()


def test_a_fence_by_hook_is_proved_and_not_believed(linked, applications):
    """The user's own fence must have thrown out the clients; sessions that come back are seen."""
    done = do(linked, FENCE, state="up", method="hook", timeout=2)
    assert done["failed"] and "sessions remain" in done["msg"], "nobody has fenced"
    assert do(linked, VERIFY)["outcome"] == "verified", "and no record is left"
    linked.rds.sql(linked.source, "ALTER ROLE app NOLOGIN")
    done = promote(linked, fence_method="hook")
    assert done["outcome"] == "promoted" and done["fence"]["state"] == "up", done
    assert missing(linked, applications, linked.dr) == set()


def test_a_session_that_cannot_be_ended_is_named_and_nothing_is_left(linked):
    linked.rds.sql(linked.source, "CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'")
    port = linked.rds.instances[linked.source]["port"]
    with pg8000.native.Connection("boss", "127.0.0.1", "shop", port, "boss", application_name="psql of the boss"):
        done = promote(linked)
        assert done["failed"] and "psql of the boss" in done["msg"] and done["outcome"] == "not_sent"
    assert not linked.is_shut(linked.source) and linked.sent("DeleteReplicationLink") == []
    assert do(linked, VERIFY)["outcome"] == "verified"


def test_a_prepared_transaction_is_refused_before_the_fence(rds_emulator_postgres, play):
    """Committed under a fence that does not shut it out, its rows would be at the old primary only."""
    linked = make_linked(rds_emulator_postgres, play, {"max_prepared_transactions": "10"})
    linked.rds.sql(linked.source, "CREATE ROLE app LOGIN PASSWORD 'app'")
    linked.rds.sql(linked.source, "GRANT INSERT ON orders TO app", "shop")
    port = linked.rds.instances[linked.source]["port"]
    with pg8000.native.Connection("app", "127.0.0.1", "shop", port, "app") as session:
        session.run("BEGIN")
        session.run("INSERT INTO orders VALUES (77, 'prepared')")
        session.run("PREPARE TRANSACTION 'late order'")
        done = promote(linked)
        assert done["failed"] and "late order" in done["msg"] and done["outcome"] == "not_sent"
        assert not linked.is_shut(linked.source) and linked.sent("DeleteReplicationLink") == []
        session.run("COMMIT PREPARED 'late order'")
    assert promote(linked)["outcome"] == "promoted"
    assert linked.orders(linked.dr) == 2


def test_a_request_that_may_have_arrived_leaves_the_fence_up_and_says_how_to_go_on(linked):
    linked.rds.add_fault(fault="status", action="DeleteReplicationLink", http_status=502, content="html")
    done = promote(linked)
    assert done["failed"] and done["outcome"] == "unknown" and done["fence"]["state"] == "up"
    assert "still up" in done["msg"] and "alicloud.rds.unfence" in done["msg"] and linked.is_shut(linked.source)
    assert len(linked.sent("DeleteReplicationLink")) == 1, "it is not sent twice"
    found = {check["id"]: check["result"] for check in do(linked, VERIFY)["checks"]}
    assert found["not_fenced"] == "error" and found["dr_is_standby"] == "success"
    assert do(linked, FENCE, state="down")["outcome"] == "unfenced"
    assert do(linked, VERIFY)["outcome"] == "verified"
