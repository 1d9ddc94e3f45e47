# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many links in one play: started first, waited for together, and within the service's own rate limit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from rds_emulator.client import Emulator

from .conftest import PASSWORD, account, eventually

PLAYBOOK = "alicloud.rds.replication_link"


def fleet_seed(size: int, **memory):
    return {
        "keys": [{"access_key_id": "LTAI5tFleet", "access_key_secret": "fleet-secret-of-the-emulator"}],
        "instances": [{"id": f"pgm-fleet{number:03d}"} for number in range(size)],
        "sources": [{"name": "onprem", "accounts": [account()]}],
        "limits": {"CreateReplicationLink": "10 per second"},
        "memory": memory,
    }


@pytest.fixture
def fleet(request):
    with Emulator(seed=fleet_seed(**request.param), engine="memory") as rds:
        yield rds


def shared(rds):
    return {
        "dr_link_source_address": "127.0.0.1",
        "dr_link_source_port": rds.sources["onprem"]["port"],
        "dr_link_replicator_account": "dr_sync",
        "dr_link_replicator_password": PASSWORD,
    }


def as_list(rds):
    return {**shared(rds), "dr_link_links": [{"dr_instance_id": name} for name in rds.instances]}


def links(rds):
    return [name for name, instance in rds.state()["instances"].items() if instance["link"]]


@pytest.mark.parametrize("fleet", [{"size": 20}], indirect=True)
def test_twenty_links_in_one_play_stay_within_the_rate_limit(fleet, play):
    run = play(fleet, PLAYBOOK, as_list(fleet))
    assert run.returncode == 0, run.output
    assert run.changed() == 1  # one task, twenty items
    assert len(links(fleet)) == 20
    creates = [entry for entry in fleet.journal("CreateReplicationLink") if entry["committed"]]
    assert len([entry for entry in creates if entry["params"]["DryRun"] == "false"]) == 20
    fleet.clear_journal()
    again = play(fleet, PLAYBOOK, as_list(fleet))
    assert again.changed() == 0
    assert len(fleet.journal()) == 40, "two reads for each link that is there"


@pytest.mark.parametrize("fleet", [{"size": 8, "stage_seconds": 0.5}], indirect=True)
def test_all_links_are_started_before_one_is_waited_for(fleet, play):
    fleet.add_fault(stage="basebackup", fault="hold", times=8)  # none comes to its end before all are at work
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(play, fleet, PLAYBOOK, as_list(fleet))
        started = eventually(lambda: [kind(entry) for entry in fleet.journal()].count("create") == 8)
        fleet.release()
    assert started, run.result().output
    assert run.result().returncode == 0, run.result().output
    assert run.result().output.count("created, streaming") == 8


def kind(entry):
    parameters = entry["params"]
    if entry["action"] == "CreateReplicationLink":
        return "dry run" if parameters["DryRun"] == "true" else "create"
    if parameters.get("TaskId"):
        return "verdict" if parameters["TaskType"] == "create-dryrun" else "poll"
    return "look"


@pytest.mark.parametrize("fleet", [{"size": 5, "stage_seconds": 0.2}], indirect=True)
def test_one_failing_link_does_not_leave_the_others_unwatched(fleet, play):
    fleet.add_fault(stage="basebackup", fault="fail", instance="pgm-fleet002", message="disk full")
    fleet.add_fault(
        fault="error", code="IncorrectMinorVersion", match={"DBInstanceId": "pgm-fleet003", "DryRun": False}
    )
    run = play(fleet, PLAYBOOK, as_list(fleet))
    assert run.returncode == 2
    assert run.output.count("created, streaming") == 3
    assert "pgm-fleet002: FAILED" in run.output and "disk full" in run.output
    assert "pgm-fleet003: FAILED" in run.output and "IncorrectMinorVersion" in run.output
    assert len(links(fleet)) == 3


@pytest.mark.parametrize("fleet", [{"size": 4, "stage_seconds": 0.1}], indirect=True)
def test_inventory_hosts_are_dr_instances(fleet, play, tmp_path):
    inventory = tmp_path / "fleet.json"
    hosts = {name: {} for name in fleet.instances}
    variables = {**shared(fleet), "dr_link_dr_instance_id": "{{ inventory_hostname }}"}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    for options in (["--forks", "2"], ["-e", "dr_link_serial=2"]):
        fleet.reset()
        run = play(fleet, PLAYBOOK, {"dr_link_hosts": "all"}, "-i", str(inventory), *options)
        assert run.returncode == 0, run.output
        assert run.output.count("created, streaming") == 4
        assert len(links(fleet)) == 4
    one = play(fleet, PLAYBOOK, {"dr_link_hosts": "all"}, "-i", str(inventory), "--limit", "pgm-fleet001", "--check")
    assert one.returncode == 0, one.output
    assert "pgm-fleet001: unchanged, streaming" in one.output
