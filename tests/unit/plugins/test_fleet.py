# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many links in one task: each with its own end, none twice, within the rate limit, ended at once when interrupted."""

from __future__ import annotations

import _thread
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._api.pace import Pace
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet import Fleet
from ansible_collections.alicloud.rds.plugins.modules import replication_links
from rds_emulator.client import Emulator

from .conftest import ACCOUNT

ROOT = Path(__file__).resolve().parents[3]
SIZE = 12
NAMES = [f"pgm-{number:03d}" for number in range(SIZE)]
ROLE = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
KEYS = {"access_key_id": "LTAI5tFleet", "access_key_secret": "fleet-secret-of-the-emulator"}
DEFAULTS = {name: rule.get("default") for name, rule in REPLICATION_LINKS["argument_spec"].items()}


def seed(size: int = SIZE, **more):
    account = {"name": "dr_sync", "password": ACCOUNT["replicator_password"], **ROLE}
    return {
        "keys": [KEYS],
        "instances": [{"id": f"pgm-{number:03d}"} for number in range(size)],
        "sources": [{"name": "onprem", "accounts": [account]}],
        **more,
    }


@pytest.fixture(scope="module")
def world():
    with Emulator(seed=seed(), engine="memory") as emulator:
        yield emulator


@pytest.fixture
def fleet(world):
    world.reset()
    return world


def options(rds, names=NAMES, **changes):
    place = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
    quick = {"settle_timeout": 0.5, "wait_timeout": 20.0, "wait_interval": 0.1, "creates_per_second": 1000.0}
    return {"links": [{"dr_instance_id": name} for name in names], **place, **ACCOUNT, **quick, **changes}


def play(rds, check_mode=False, **changes):
    given = {**DEFAULTS, **options(rds), **changes}
    return run(LINKS, given, check_mode=check_mode, diff=True, environment=rds.environment)


def links(rds):
    return {name for name, instance in rds.state()["instances"].items() if instance["link"]}


def creates(rds, dry_run="false"):
    return [entry for entry in rds.journal("CreateReplicationLink") if entry["params"]["DryRun"] == dry_run]


# -- what it does ------------------------------------------------------------------------------------------------------


def test_a_fleet_is_previewed_applied_by_its_plans_and_then_left_alone(fleet):
    preview = play(fleet, check_mode=True)
    assert preview["changed"] and preview["outcomes"] == {"previewed": SIZE}
    assert [each["dr_instance_id"] for each in preview["results"]] == NAMES == preview["pending"]
    assert set(preview["plans"]) == set(NAMES) and creates(fleet) == []
    assert set(preview["diff"]["after"]) == set(NAMES)

    verified = play(fleet, check_mode=True, plans=preview["plans"])
    assert verified["plans"] == preview["plans"] and len(creates(fleet, "true")) == SIZE, "no second dry run"

    made = play(fleet, plans=preview["plans"])
    assert made["changed"] and made["outcomes"] == {"created": SIZE} and links(fleet) == set(NAMES)
    assert {entry["params"]["TaskId"] for entry in creates(fleet)} == {str(plan) for plan in preview["plans"].values()}
    assert {each["link"]["state"] for each in made["results"]} == {"streaming"}

    fleet.clear_journal()
    again = play(fleet)
    assert not again["changed"] and again["outcomes"] == {"unchanged": SIZE} and again["pending"] == []
    assert "diff" not in again and len(fleet.journal()) == 2 * SIZE, "two reads for each existing link"


def test_every_link_ends_with_its_own_result_and_the_task_fails_with_a_line_for_each(fleet):
    fleet.add_fault(stage="basebackup", fault="fail", instance=NAMES[2], message="disk full")
    no = {"fault": "error", "code": "IncorrectMinorVersion", "http_status": 403}
    fleet.add_fault(**no, match={"DBInstanceId": NAMES[3], "DryRun": False})
    result = play(fleet, links=[*options(fleet)["links"], {"dr_instance_id": "pgm-nobody"}])
    bad = {each["dr_instance_id"]: each["error"]["code"] for each in result["results"] if each["failed"]}
    assert bad == {
        NAMES[2]: "TaskFailed",
        NAMES[3]: "IncorrectMinorVersion",
        "pgm-nobody": "InvalidDBInstanceName.NotFound",
    }
    assert result["failed"] and result["changed"] and result["error"]["code"] == "LinksFailed"
    lines = result["msg"].splitlines()
    assert lines[0] == f"3 of {SIZE + 1} links failed."
    assert [line.partition(":")[0] for line in lines[1:4]] == list(bad)
    assert links(fleet) == set(NAMES) - set(bad)
    assert all(each["request_id"] for each in result["results"])


def test_a_link_has_its_own_options_and_its_own_way_to_the_service(fleet):
    fleet.add_key(access_key_id="LTAI5tOther", access_key_secret="another's+secret=/")
    connection = {"access_key_id": "LTAI5tOther", "access_key_secret": "another's+secret=/", "region_id": None}
    own = {"dr_instance_id": NAMES[1], "connection": connection, "task_name": "by its own name", "wait": False}
    result = play(fleet, links=[{"dr_instance_id": NAMES[0]}, own])
    assert [each["outcome"] for each in result["results"]] == ["created", "created"], result
    keys = {entry["params"]["DBInstanceId"]: entry["access_key_id"] for entry in creates(fleet)}
    assert keys == {NAMES[0]: KEYS["access_key_id"], NAMES[1]: "LTAI5tOther"}
    assert result["results"][1]["task_name"] == "by its own name"
    assert "another's secret" not in json.dumps(result)


def test_a_promoted_instance_is_no_plan_to_be_applied_unasked(fleet):
    play(fleet)
    fleet.reset()
    rows = [{"TaskId": 1, "TaskType": "create", "TaskStatus": "success", "TaskStage": "increment"}]
    body, match = {"Items": rows, "TotalSize": 1}, {"DBInstanceId": NAMES[0], "TaskType": "create"}
    fleet.add_fault(fault="body", body=body, action="DescribeReplicationLinkLogs", match=match, times=None)
    preview = play(fleet, check_mode=True)
    assert set(preview["ended"]) == {NAMES[0]} and set(preview["plans"]) == set(NAMES[1:])
    assert [each["error"]["code"] for each in play(fleet)["results"] if each["failed"]] == ["LinkEnded"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"links": [{"dr_instance_id": "a"}, {"dr_instance_id": "a"}]}, "links names a 2 times"),
        ({"links": [{"dr_instance_id": "a", "source_category": "aliyunRDS"}]}, "a: source_category is aliyunRDS but"),
        ({"links": [{"dr_instance_id": "a b"}]}, "'a b' is not an instance id"),
        (
            {"links": [{"dr_instance_id": "a", "source_port": 0}], "plans": {"b": 1}},
            "plans names b, and links does not; a",
        ),
        ({"creates_per_second": 0.0}, "creates_per_second 0 must be greater than 0"),
        ({"concurrency": 0}, "concurrency 0 must be greater than 0"),
    ],
)
def test_wrong_entries_are_refused_before_anything_is_sent(fleet, changes, words):
    result = play(fleet, **changes)
    assert result["error"]["code"] == "InvalidOptions" and words in result["msg"], result["msg"]
    assert result["results"] == [] and fleet.journal() == []


def test_an_unknown_key_is_refused_and_no_secret_of_an_entry_is_shown(fleet, run_as_action, run_as_module, monkeypatch):
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    secret = "an entry's password+=/"
    wrong = options(fleet, links=[{"dr_instance_id": "a", "replicator_pasword": secret}])
    failed = run_as_action(replication_links, wrong)
    assert "replicator_pasword" in failed["msg"] and secret not in json.dumps(failed) and fleet.journal() == []
    entry = {"dr_instance_id": NAMES[0], "replicator_account": "dr_sync", "replicator_password": secret}
    near = {"dr_instance_id": NAMES[1], "connection": {"max_retries": 1}}
    for door in (run_as_action, run_as_module):
        good = door(replication_links, options(fleet, links=[near]), check_mode=True)
        assert good["outcomes"] == {"previewed": 1}, good
        result = door(replication_links, options(fleet, links=[entry]), check_mode=True)
        assert result["failed"] and secret not in json.dumps(result)
        shown = result["invocation"]["module_args"]["links"][0]
        assert shown["replicator_password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_two_controllers_at_once_make_each_link_once_within_the_services_limit():
    """Together they ask for twice what the service permits: throttling slows both down and fails nothing."""
    with Emulator(seed=seed(30, limits={"CreateReplicationLink": "20 per second"}), engine="memory") as rds:
        names = list(rds.instances)
        ended = []

        def controller():
            ended.append(play(rds, links=[{"dr_instance_id": name} for name in names], creates_per_second=19.0))

        threads = [threading.Thread(target=controller) for _n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert links(rds) == set(names)
        assert not any(result.get("failed") for result in ended), [result.get("msg") for result in ended]
        made = Counter(entry["params"]["DBInstanceId"] for entry in creates(rds) if entry["committed"])
        assert made == Counter(names), "each link is made once"
        assert "Throttling.User" in rds.report()["codes"], "the service has held them back"
        assert all(each["outcome"] in ("created", "adopted", "unchanged") for r in ended for each in r["results"])


@pytest.mark.parametrize("per_second", [0.1, 0.5, 1.0, 1.5, 9.5])
def test_a_pace_is_never_faster_than_it_was_set(per_second):
    """Slower than one call a second is a pace as well."""
    now = [0.0]
    pace = Pace("Create", per_second, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    times = []
    for call in range(12):
        pace.before("Create")
        times.append(now[0])
        if call in (3, 4):
            pace.held_back("Create")
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 1 / per_second - 1e-9


def test_a_pace_gives_way_and_recovers():
    now = [0.0]
    pace = Pace("Create", 10, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    for _n in range(11):
        pace.before("Create")
        pace.before("Read")
    assert now[0] == pytest.approx(1.0)
    pace.held_back("Create")
    pace.held_back("Read")
    began = now[0]
    for _n in range(5):
        pace.before("Create")
    assert 0.8 < now[0] - began <= 1.0, "half as often"
    for _n in range(100):
        pace.before("Create")
    began = now[0]
    for _n in range(10):
        pace.before("Create")
    assert now[0] - began == pytest.approx(1.0)


@pytest.mark.thorough
def test_an_interrupt_ends_the_task_at_once_and_nothing_more_is_sent():
    asked: list[str] = []

    def wait_for_ever(name):
        while True:
            asked.append(name)
            yield 0.01

    fleet: Fleet[None] = Fleet(4)
    threading.Timer(0.3, _thread.interrupt_main).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fleet.run(NAMES, [wait_for_ever(name) for name in NAMES])
    assert time.monotonic() - began < 5
    time.sleep(0.1)
    count = len(asked)
    time.sleep(0.2)
    assert len(asked) == count and set(asked) == set(NAMES)


RUNNER = """
import json, sys
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
print(json.dumps(run(LINKS, json.load(open(sys.argv[1])), check_mode=False, diff=False)))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
@pytest.mark.thorough
def test_killed_in_the_middle_the_next_run_converges_and_makes_nothing_twice(fleet, tmp_path, how):
    fleet.add_fault(stage="basebackup", fault="hold", times=SIZE)
    (tmp_path / "options.json").write_text(json.dumps({**DEFAULTS, **options(fleet, creates_per_second=20.0)}))
    environment = {**os.environ, **fleet.environment, "PYTHONPATH": str(ROOT / ".build/link")}
    command = [sys.executable, "-c", RUNNER, str(tmp_path / "options.json")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(creates(fleet)) < SIZE // 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait(timeout=5) != 0, "it ends at once, whatever goes on at the service"
    begun = len(creates(fleet))
    assert SIZE // 3 <= begun < SIZE, "in the middle"
    fleet.release()
    fleet.clear_faults()
    result = play(fleet)
    assert not result.get("failed"), result.get("msg")
    assert links(fleet) == set(NAMES)
    made = Counter(entry["params"]["DBInstanceId"] for entry in creates(fleet) if entry["committed"])
    assert made == Counter(NAMES)


@pytest.mark.thorough
def test_a_link_takes_little_memory():
    size = 100
    with Emulator(seed=seed(size), engine="memory") as rds:
        given = [{"dr_instance_id": name} for name in rds.instances]
        play(rds, links=given)
        play(rds, links=given[:8])  # what is made once
        tracemalloc.start()
        play(rds, links=given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak / size < 40 * 1024, f"{peak / size / 1024:.0f} KiB a link"


def test_progress_is_one_line_for_all(fleet, monkeypatch):
    monkeypatch.setattr("ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet._NEWS", 0.0)
    fleet.add_fault(stage="basebackup", fault="hold", times=SIZE)
    fleet.add_fault(stage="precheck", fault="fail", instance=NAMES[0], message="no")
    lines: list[str] = []

    def report(progress):
        lines.append(progress.stage)
        if "11 in basebackup" in progress.stage:
            fleet.release()

    run(
        LINKS,
        {**DEFAULTS, **options(fleet)},
        check_mode=False,
        diff=False,
        environment=fleet.environment,
        report=report,
    )
    assert f"0 of {SIZE} streaming, 11 in basebackup, 1 failed" in lines, lines


@pytest.mark.parametrize("at_once", [1, 3, 40, None])
@pytest.mark.thorough
def test_no_more_have_begun_than_may_be_at_work_at_once(at_once):
    """Each may hold sessions at a server while it waits."""
    lock, at_work, most = threading.Lock(), 0, 0

    def job(number):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        for _wait in range(3):
            yield 0.01
        with lock:
            at_work -= 1
        if number % 5 == 0:
            raise ValueError(number)
        return number

    fleet: Fleet[int] = Fleet(2, at_once=at_once)
    ended = fleet.run([str(number) for number in range(20)], [job(number) for number in range(20)])
    assert most == min(at_once or 20, 20)
    assert [end if isinstance(end, int) else end.args[0] for end in ended] == list(range(20))
    assert [number for number, end in enumerate(ended) if isinstance(end, ValueError)] == [0, 5, 10, 15]
