# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet is found, shown and linked from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rds_emulator.client import Emulator

from .conftest import PASSWORD, account, playbook_environment

SECRET = "inventory-secret-of-the-emulator"
SEED = {
    "region_id": "cn-shanghai",
    "keys": [{"access_key_id": "LTAI5tFound", "access_key_secret": SECRET}],
    "instances": [
        *({"id": f"pgm-found{number}", "description": "{{ undefined }}"} for number in range(3)),
        {"id": "pgm-far", "region_id": "cn-hangzhou"},
        {"id": "pgm-stopped", "status": "Stopped"},
    ],
    "sources": [{"name": "onprem", "accounts": [account()]}],
}
INVENTORY = """
plugin: alicloud.rds.rds_instances
regions: [cn-shanghai, cn-hangzhou]
filters: {DBInstanceStatus: Running}
dr_roles: true
strict: true
compose:
  dr_link_dr_instance_id: rds_instance_id
  dr_link_connection: "{'region_id': rds_region_id}"
keyed_groups:
  - {key: rds_region_id, prefix: region}
"""
DRS = ["pgm-far", "pgm-found0", "pgm-found1", "pgm-found2"]


@pytest.fixture
def fleet():
    with Emulator(seed=SEED, engine="memory") as rds:
        yield rds


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "dr.rds_instances.yml"
    path.write_text(INVENTORY)
    return path


def tool(rds, home, name, *options, **env):
    """Run a command of ansible-core; return its status and what it says."""
    command = [str(Path(sys.executable).parent / name), *map(str, options)]
    environment = {**playbook_environment(rds, home), **env}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert SECRET not in done.stdout + done.stderr
    return done


def test_a_fleet_is_found_linked_and_found_linked(fleet, inventory, play, tmp_path):
    listed = json.loads(tool(fleet, tmp_path, "ansible-inventory", "-i", inventory, "--list").stdout)
    assert sorted(listed["_meta"]["hostvars"]) == DRS
    assert set(listed["_meta"]["hostvars"]["pgm-far"]) >= {"dr_link_dr_instance_id", "dr_link_connection"}
    assert listed["region_cn_hangzhou"]["hosts"] == ["pgm-far"]
    assert "dr_instance" not in listed

    shared = {
        "dr_link_hosts": "all",
        "dr_link_source_address": "127.0.0.1",
        "dr_link_source_port": fleet.sources["onprem"]["port"],
        "dr_link_replicator_account": "dr_sync",
        "dr_link_replicator_password": PASSWORD,
    }
    run = play(fleet, "alicloud.rds.replication_link", shared, "-i", str(inventory))
    assert run.returncode == 0, run.output
    assert run.output.count("created, streaming") == len(DRS)
    assert sorted(name for name, instance in fleet.state()["instances"].items() if instance["link"]) == DRS
    again = play(fleet, "alicloud.rds.replication_link", shared, "-i", str(inventory), "--limit", "dr_instance")
    assert again.returncode == 0, again.output
    assert f"{len(DRS)} links: {len(DRS)} unchanged" in again.output

    graph = tool(fleet, tmp_path, "ansible-inventory", "-i", inventory, "--graph").stdout
    assert "@dr_instance:" in graph and graph.count("pgm-found2") == 2
    template = tool(
        fleet, tmp_path, "ansible", "-i", inventory, "pgm-found1", "-m", "debug", "-a", "var=rds_description"
    )
    assert template.returncode == 0 and "{{ undefined }}" in template.stdout


def test_a_secret_in_vault(fleet, inventory, tmp_path):
    (tmp_path / "password").write_text("vault password")
    vault = ("--vault-password-file", tmp_path / "password")
    sealed = tool(
        fleet, tmp_path, "ansible-vault", "encrypt_string", *vault, "--name", "access_key_secret", "--", SECRET
    )
    inventory.write_text(f"{INVENTORY}access_key_id: LTAI5tFound\n{sealed.stdout}")
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""}
    found = tool(fleet, tmp_path, "ansible-inventory", "-i", inventory, "--graph", *vault, **keys)
    assert "pgm-found2" in found.stdout, found.stderr


def test_what_goes_wrong_is_said_clearly(fleet, inventory, tmp_path):
    inventory.write_text(f"{INVENTORY}access_key_id: LTAI5tFound\naccess_key_secret: {SECRET}\nfilter: {{}}\n")
    failed = tool(fleet, tmp_path, "ansible-inventory", "-i", inventory, "--list")
    assert "There is no option filter." in failed.stderr, failed.stderr
    inventory.write_text(f"{INVENTORY}access_key_id: LTAI5tFound\naccess_key_secret: x{SECRET[1:]}\n")
    failed = tool(
        fleet, tmp_path, "ansible-inventory", "-i", inventory, "--list", ANSIBLE_INVENTORY_UNPARSED_FAILED="1"
    )
    assert failed.returncode != 0
    assert "fix_credentials" in failed.stderr and "SignatureDoesNotMatch" in failed.stderr
    assert SECRET[1:] not in failed.stderr and "Traceback" not in failed.stderr
