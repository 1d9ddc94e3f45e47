# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controllers that die at the worst moment, and controllers that run at the same time: one link, one create."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rds_emulator.client import Emulator

from .conftest import PASSWORD, ROOT, Pair, Played, account, eventually, make_pair, playbook_environment, show
from .waiting import Playbooks, Run

ROLE = "alicloud.rds.replication_link"
TASK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - alicloud.rds.replication_link:
        dr_instance_id: "{{ dr_link_dr_instance_id }}"
        source_address: "{{ dr_link_source_address }}"
        source_port: "{{ dr_link_source_port }}"
        replicator_account: "{{ dr_link_replicator_account }}"
        replicator_password: "{{ dr_link_replicator_password }}"
        wait_interval: 0.1
        settle_timeout: 5
        read_timeout: "{{ dr_link_connection.read_timeout | default(omit) }}"
        request_timeout: "{{ dr_link_connection.request_timeout | default(omit) }}"
      register: link
    @SHOW@
""".replace("@SHOW@", show("link"))
LIMIT = 60.0  # seconds that a playbook may take before a test calls it hung


@dataclass
class Controller:
    """An ansible-playbook in a session of its own."""

    files: Path
    home: Path
    playbooks: Playbooks
    process: Run = field(init=False)

    def start(self, rds: Emulator, playbook: str, variables: dict[str, Any]) -> Controller:
        self.files.mkdir()
        if "\n" in playbook:
            (self.files / "playbook.yml").write_text(playbook)
            playbook = "playbook.yml"
        given = {"dr_link_wait_interval": 0.1, **variables}
        (self.files / "vars.json").write_text(json.dumps(given))
        words = [playbook, "-e", "@vars.json"]
        self.process = self.playbooks.start(words, self.files, playbook_environment(rds, self.home))
        return self

    @property
    def output(self) -> str:
        return (self.files / "output").read_text(errors="replace")

    def wait(self) -> Played:
        returncode = self.process.wait(LIMIT)
        return Played(returncode, self.output, self.files)

    def kill(self) -> None:
        """End it as a machine that loses its power would: the group, and the workers that left the group."""
        if self.process.poll() is None:
            family: list[int] = []
            while (found := _descendants(self.process.pid)) != family:  # stopped, they start no others
                family = found
                _signal(signal.SIGSTOP, [self.process.pid, *family])
            os.killpg(self.process.pid, signal.SIGKILL)
            _signal(signal.SIGKILL, family)
        self.process.wait(LIMIT)


def _signal(number: int, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found


@pytest.fixture
def controller(tmp_path: Path, home: Path, playbooks: Playbooks) -> Iterator[Callable[..., Controller]]:
    """Start ansible-playbook and go on; what still runs at the end of the test is killed."""
    started: list[Controller] = []

    def start(rds: Emulator, playbook: str, variables: dict[str, Any]) -> Controller:
        started.append(Controller(tmp_path / f"controller{len(started)}", home, playbooks))
        return started[-1].start(rds, playbook, variables)

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def memory(rds_emulator: Emulator) -> Iterator[Emulator]:
    yield rds_emulator
    rds_emulator.clear_faults()


@pytest.fixture
def postgres(rds_emulator_postgres: Emulator) -> Iterator[Emulator]:
    yield rds_emulator_postgres
    rds_emulator_postgres.clear_faults()


def task_at(pair: Pair, stage: str, task_type: str = "create", status: str = "running") -> dict[str, Any]:
    """Wait until the newest task of a DR instance is at a stage, and return it."""

    def look() -> dict[str, Any] | None:
        tasks = [task for task in pair.rds.state()["tasks"] if task["instance_id"] == pair.dr]
        task = max(tasks, key=lambda item: item["id"], default={})
        there = (task.get("stage"), task.get("type"), task.get("status")) == (stage, task_type, status)
        return task if there else None

    found = eventually(look, LIMIT)
    assert found, pair.rds.state()["tasks"]
    return found


def at_rest(pair: Pair) -> None:
    assert eventually(lambda: not pair.rds.state()["instances"][pair.dr]["busy"], LIMIT)


def hold(pair: Pair, stage: str, task_type: str = "create") -> None:
    pair.rds.add_fault(stage=stage, fault="hold", instance=pair.dr, task_type=task_type)


def kill_at(controller: Callable[..., Controller], pair: Pair, playbook: str, stage: str, task_type: str) -> int:
    """Run a playbook until its task is held at a stage, kill it there, and return the task's id."""
    hold(pair, stage, task_type)
    run = controller(pair.rds, playbook, pair.variables)
    task_id = task_at(pair, stage, task_type)["id"]
    run.kill()
    assert run.process.returncode == -signal.SIGKILL, run.output
    time.sleep(0.2)  # what was on its way may still arrive
    requests = len(pair.journal())
    time.sleep(0.4)
    assert len(pair.journal()) == requests, "somebody still asks after the kill"
    return int(task_id)


def committed(pair: Pair) -> list[dict[str, Any]]:
    return [entry for entry in pair.creates() if entry["committed"]]


def link_of(pair: Pair) -> Any:
    return pair.rds.state()["instances"][pair.dr]["link"]


# -- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("playbook", "stage"),
    [(TASK, "precheck"), (TASK, "basebackup"), (TASK, "startup"), (TASK, "increment"), (ROLE, "basebackup")],
    ids=["module-precheck", "module-basebackup", "module-startup", "module-increment", "role-basebackup"],
)
def test_a_run_after_a_killed_one_picks_up_the_task_at_any_stage(memory, controller, playbook, stage):
    pair = make_pair(memory)
    task_id = kill_at(controller, pair, playbook, stage, "create")
    pair.forget()
    again = controller(memory, playbook, pair.variables)
    polled = {"TaskId": str(task_id), "TaskType": "create"}.items()
    assert eventually(
        lambda: again.process.poll() is not None or any(polled <= entry["params"].items() for entry in pair.journal()),
        LIMIT,
    )
    assert again.process.poll() is None, f"it did not wait: {again.output}"
    memory.release(pair.dr)
    run = again.wait()
    assert run.returncode == 0, run.output
    assert pair.creates() == [], "the second run has nothing to create"
    assert link_of(pair)["task_id"] == task_id
    if playbook == TASK:
        assert (run.results["outcome"], run.results["changed"]) == ("unchanged", False)
        assert (run.results["task_id"], run.results["link"]["state"]) == (task_id, "streaming")
    assert run.changed() == 0
    pair.since = 0
    assert len(committed(pair)) == 1


def test_a_task_that_ends_while_nobody_looks_needs_nothing_more(memory, controller):
    pair = make_pair(memory)
    task_id = kill_at(controller, pair, TASK, "increment", "create")
    memory.release(pair.dr)
    at_rest(pair)
    run = controller(memory, TASK, pair.variables).wait()
    assert run.returncode == 0, run.output
    assert (run.results["outcome"], run.results["task_id"]) == ("unchanged", task_id)
    assert len(pair.creates()) == len(committed(pair)) == 1


def has_joined(pair):
    """Whether a run whose own dry run was refused asks for the verdict of the one that is under way."""
    refused = [entry["seq"] for entry in pair.journal() if entry["code"] == "IncorrectDBInstanceState"]
    polls = [e for e in pair.journal() if e["params"].get("TaskType") == "create-dryrun" and e["params"].get("TaskId")]
    return bool(refused) and any(entry["seq"] > refused[0] for entry in polls)


def test_a_run_after_one_that_was_killed_in_its_preview_makes_the_link_once(memory, controller):
    pair = make_pair(memory)
    kill_at(controller, pair, ROLE, "precheck", "create-dryrun")
    second = controller(memory, ROLE, pair.variables)
    assert eventually(lambda: has_joined(pair)), second.output
    memory.release(pair.dr)
    run = second.wait()
    assert run.returncode == 0, run.output
    assert run.changed() == 1
    assert len(pair.creates()) == len(committed(pair)) == 1
    dry_runs = [entry for entry in pair.journal() if entry["params"].get("DryRun") == "true"]
    assert [entry["committed"] for entry in dry_runs].count(True) == 1, "the killed run's preview was joined"


def test_a_killed_run_is_picked_up_with_real_clusters(postgres, controller):
    pair = make_pair(postgres)
    task_id = kill_at(controller, pair, ROLE, "basebackup", "create")
    postgres.release(pair.dr)
    run = controller(postgres, ROLE, pair.variables).wait()
    assert run.returncode == 0, run.output
    assert run.changed() == 0
    assert link_of(pair)["task_id"] == task_id
    assert len(pair.creates()) == len(committed(pair)) == 1
    postgres.sql(pair.source, "INSERT INTO orders VALUES (2, 'rocket skates')")
    rows = [{"id": 1, "item": "anvil"}, {"id": 2, "item": "rocket skates"}]
    assert eventually(lambda: postgres.sql(pair.dr, "SELECT id, item FROM orders ORDER BY id") == rows)


# -- killed, and then worse --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("playbook", "held", "stage"),
    [(TASK, "precheck", "basebackup"), (ROLE, "basebackup", "startup"), (TASK, "startup", "increment")],
    ids=["module-basebackup", "role-startup", "module-increment"],
)
def test_a_task_that_failed_while_nobody_looked_is_told_of_and_made_anew_once(
    memory, controller, playbook, held, stage
):
    pair = make_pair(memory)
    memory.add_fault(stage=stage, fault="fail", instance=pair.dr, task_type="create", message="disk is full")
    kill_at(controller, pair, playbook, held, "create")
    memory.release(pair.dr)
    at_rest(pair)
    assert link_of(pair) is None
    assert len(pair.creates()) == 1
    pair.forget()
    run = controller(memory, playbook, pair.variables).wait()
    assert run.returncode == 0, run.output
    assert f"failed at stage {stage}" in " ".join(run.output.split()), run.output
    assert "disk is full" in run.output
    assert len(pair.creates()) == len(committed(pair)) == 1
    assert link_of(pair)


def test_a_source_that_died_while_nobody_looked_is_told_of_and_the_link_is_made_when_it_is_back(memory, controller):
    pair = make_pair(memory)
    kill_at(controller, pair, ROLE, "basebackup", "create")
    memory.delete_source(pair.source)
    memory.release(pair.dr)
    at_rest(pair)
    pair.forget()
    run = controller(memory, ROLE, pair.variables).wait()
    assert run.returncode == 2
    assert "PrecheckFailed" in run.output and "port connectable" in run.output
    assert pair.creates() == []
    memory.add_source(name=pair.source, port=pair.port, accounts=[account()])
    run = controller(memory, ROLE, pair.variables).wait()
    assert run.returncode == 0, run.output
    assert len(pair.creates()) == len(committed(pair)) == 1
    assert link_of(pair)


def test_a_source_that_died_after_the_link_was_made_is_told_of_and_nothing_is_changed(memory, controller):
    pair = make_pair(memory)
    task_id = kill_at(controller, pair, TASK, "increment", "create")
    memory.release(pair.dr)
    at_rest(pair)
    memory.delete_source(pair.source)
    run = controller(memory, TASK, pair.variables).wait()
    assert run.returncode == 0, run.output
    assert (run.results["outcome"], run.results["link"]["state"]) == ("unchanged", "disconnect")
    assert run.results["task_id"] == task_id
    assert "disconnected from its source" in " ".join(run.output.split())
    assert len(pair.creates()) == 1


# -- two at once -------------------------------------------------------------------------------------------------------

PATIENT = {"read_timeout": LIMIT, "request_timeout": LIMIT}  # a run waits for the other one while its create is held


@pytest.fixture
def racers(memory: Emulator) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that wait for a line to run the module's operation."""
    environment = {**os.environ, **memory.environment, "PYTHONPATH": str(ROOT / ".build" / "link")}
    pipe = subprocess.PIPE
    command = [sys.executable, str(Path(__file__).with_name("racer.py"))]
    with contextlib.ExitStack() as stack:
        started = []
        for _unused in range(2):
            process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
            stack.callback(process.wait, LIMIT)
            stack.callback(process.stdin.close)
            started.append(process)
        for process in started:
            assert process.stdout.readline() == "ready\n"
        yield started


def meet_at_create(pair: Pair) -> None:
    """Hold the creates of two runs until both have been sent."""
    match = {"DBInstanceId": pair.dr, "DryRun": "false"}
    pair.rds.add_fault(fault="meet", action="CreateReplicationLink", match=match, times=2, seconds=LIMIT)


@pytest.mark.parametrize("lag", [0, 0.2], ids=["at-once", "answers-lag"])
def test_two_runs_at_once_make_one_link_in_every_round(memory, racers, lag):
    """In every other round both have looked and found nothing before the first of their creates is carried out."""
    rounds = 10
    pairs = []
    for number in range(rounds):
        dr = memory.add_instance(id=f"pgm-race{lag * 10:g}-{number}", memory={"stage_seconds": number % 5 * 0.01})
        source = memory.add_source(name=f"race{lag * 10:g}-{number}", accounts=[account()])
        pairs.append(Pair(memory, dr["id"], source["name"], source["port"]))
    if lag:
        memory.add_fault(fault="lag", seconds=lag)
    for number, pair in enumerate(pairs):
        if met := number % 2 == 0:
            meet_at_create(pair)
        options = {
            "dr_instance_id": pair.dr,
            "source_address": "127.0.0.1",
            "source_port": pair.port,
            "replicator_account": "dr_sync",
            "replicator_password": PASSWORD,
            "settle_timeout": 20,
            "wait_timeout": 30,
            "wait_interval": 0.05,
            **PATIENT,
        }
        for place, process in enumerate(racers):  # sometimes one is ahead by a few milliseconds
            head_start = 0.003 * (number // 2 % 6) if place == number % 2 else 0
            process.stdin.write(json.dumps({**options, "head_start": head_start}) + "\n")
            process.stdin.flush()
        results = [json.loads(process.stdout.readline()) for process in racers]
        outcomes = sorted(result["outcome"] for result in results)
        assert not any(result.get("failed") for result in results), [result.get("msg") for result in results]
        assert outcomes in (["adopted", "created"], *([] if met else [["created", "unchanged"]]))
        assert [result["changed"] for result in results].count(True) == 1
        assert {result["link"]["state"] for result in results} == {"streaming"}
        assert len({result["task_id"] for result in results}) == 1
        assert len(committed(pair)) == 1


@pytest.mark.parametrize("playbook", [TASK, ROLE], ids=["module", "role"])
def test_two_playbooks_at_once_make_one_link(memory, controller, playbook):
    pair = make_pair(memory)
    meet_at_create(pair)
    variables = {**pair.variables, "dr_link_connection": PATIENT}
    runs = [run.wait() for run in [controller(memory, playbook, variables) for _unused in range(2)]]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(run.output for run in runs)
    assert len(pair.creates()) >= 2 and len(committed(pair)) == 1
    assert link_of(pair)
    if playbook == TASK:
        assert sorted(run.results["changed"] for run in runs) == [False, True]
    else:
        assert sorted(run.changed() for run in runs) == [0, 1]
