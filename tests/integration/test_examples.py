# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The EXAMPLES of every module and of the inventory do what they say, with other ids and the local endpoint."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rds_emulator.client import Emulator

from .conftest import PASSWORD, ROOT, account, playbook_environment
from .operating import SECRET as OPERATORS
from .operating import linked

__all__ = ["linked"]  # a fixture

DR, SOURCE = "pgm-uf6wjk5xexample", "pgm-bp1trqb4pexample"  # as the examples have them
SECRET = "examples-secret-of-the-emulator"
SEED = {
    "region_id": "cn-shanghai",
    "keys": [{"access_key_id": "LTAI5tExample", "access_key_secret": SECRET}],
    "instances": [
        *({"id": f"pgm-example{number}"} for number in range(4)),
        {"id": SOURCE, "region_id": "cn-hangzhou", "accounts": [account()]},
    ],
    "sources": [{"name": "onprem", "accounts": [account()]}],
    "memory": {"stage_seconds": 0.05},
}
PLAY = {
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}", "vault_dr_sync_password": PASSWORD},
}


@pytest.fixture
def rds():
    with Emulator(seed=SEED, engine="memory") as emulator:
        yield emulator


def examples(rds, module, dr="pgm-example0", port=None):
    """The tasks of a module's examples, in one's own place."""
    source = (ROOT / f"plugins/modules/{module}.py").read_text("utf-8")
    text = re.search(r'^EXAMPLES = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)[1]
    tasks = yaml.safe_load(text.replace(DR, dr).replace(f"{SOURCE}.pg.rds.aliyuncs.com", "127.0.0.1"))
    for options in (task.get(f"alicloud.rds.{module}", {}) for task in tasks):
        if options.get("source_address") == "10.20.0.15":
            options |= {"source_address": "127.0.0.1", "source_port": port or rds.sources["onprem"]["port"]}
        elif "source_address" in options:
            options["source_port"] = rds.instances[SOURCE]["port"]
    return tasks


def run(play, rds, *tasks, **variables):
    done = play(rds, yaml.safe_dump([{**PLAY, "tasks": list(tasks)}]), variables, "-v")
    assert done.returncode == 0, done.output
    return done


def links(rds):
    instances = rds.state()["instances"]
    return {name for name, instance in instances.items() if instance["link"]}


def test_examples_of_all_modules(rds, play):
    # The examples of replication_link are alternatives: another DR instance for each of them.
    first, second, preview, apply = examples(rds, "replication_link")
    for task, dr in ((second, "pgm-example1"), (preview, "pgm-example2"), (apply, "pgm-example2")):
        task["alicloud.rds.replication_link"]["dr_instance_id"] = dr
    asks = examples(rds, "api_check", dr="pgm-example3")
    made = run(play, rds, *asks, first, second, preview, apply, *examples(rds, "replication_link_info"))
    assert made.changed() >= 4, "three links and a preview"
    assert links(rds) == {"pgm-example0", "pgm-example1", "pgm-example2"}

    rds.break_link("pgm-example2", "wal_removed")
    rebuild = examples(rds, "replication_link_rebuild", dr="pgm-example2")
    *_with_postgresql, planned, forced = examples(rds, "replication_link_promotion")
    forced["alicloud.rds.replication_link_promotion"] |= {"dr_instance_id": "pgm-example2", "confirm": "pgm-example2"}
    operated = run(play, rds, *rebuild, planned, forced, lag_bytes=0)
    assert operated.changed() == 4, "the second rebuild is confirmed, so it is sent whatever the log says"
    assert links(rds) == {"pgm-example1"}, "the others are promoted"


def test_examples_that_ask_postgresql(linked, play):
    rds, port = linked.rds, linked.rds.instances[linked.source]["port"]
    rds.sql(linked.source, "CREATE ROLE admin LOGIN SUPERUSER PASSWORD '{}'".format(PASSWORD.replace("'", "''")))
    prepared = examples(rds, "replication_source", port=port)
    verified = examples(rds, "replication_link_verify", dr=linked.dr)
    opened = examples(rds, "replication_link_fence", dr=linked.dr)
    preview, apply, *_by_the_service = examples(rds, "replication_link_promotion", dr=linked.dr)
    for task in (tasks := [*prepared, *verified, *opened, preview, apply]):
        (options,) = [value for name, value in task.items() if name.startswith("alicloud.rds.")]
        for name in ("ssl_mode", "ca_cert"):  # the clusters have no TLS
            options["postgres"].pop(name, None)
        for side in options["postgres"].get("instances", []):
            at_source = {"name": linked.source, "host": "127.0.0.1", "port": port}
            side |= {"login_user": "admin"} if side["name"] == "source" else at_source
    passwords = {"vault_dr_operator_password": OPERATORS, "vault_admin_password": PASSWORD}
    done = run(play, rds, *tasks, links=[{"dr_instance_id": linked.dr}], **passwords)
    assert done.changed() == 2, "the preview and the promotion"
    assert linked.is_shut(linked.source) and not linked.value(linked.dr, "pg_is_in_recovery()")


def test_the_example_of_a_drill(linked, play):
    rds = linked.rds
    (task,) = examples(rds, "replication_link_drill", dr=linked.dr)
    options = task["alicloud.rds.replication_link_drill"]
    options |= {"spare_instance_id": rds.add_instance(id=f"{linked.dr}-spare")["id"], "duration": 1}
    options |= {"source_instance_name": linked.source, "replicator_password": PASSWORD}
    options["postgres"] = {"login_user": "dr_operator", "login_password": OPERATORS}
    del options["report_dir"]
    for query in options["queries"]:  # the operator may not read the shop's tables
        query["sql"] = query["sql"].replace("orders", "pg_class")
    assert run(play, rds, task).changed() == 1


def test_the_example_of_a_fleet(rds, play):
    tasks = examples(rds, "replication_links")
    for task in tasks:
        for number, link in enumerate(task["alicloud.rds.replication_links"]["links"]):
            place = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
            link |= {"dr_instance_id": f"pgm-example{number}", **place}
    assert run(play, rds, *tasks).changed() == 2, "the preview and the apply"
    assert links(rds) == {"pgm-example0", "pgm-example1"}


def test_the_example_of_the_role(rds, play):
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "roles/dr_link/README.md").read_text("utf-8"), re.DOTALL)[1]
    for number, name in enumerate(("orders", "stock")):
        here = f"source_address: 127.0.0.1, source_port: {rds.sources['onprem']['port']}"
        text = text.replace(f"pgm-uf6{name}", f"pgm-example{number}").replace(
            f"source_address: 10.20.0.1{5 + number}", here
        )
    for changed in (1, 0):
        done = play(rds, text, {"vault_dr_sync_password": PASSWORD})
        assert done.returncode == 0, done.output
        assert done.changed() == changed
    assert links(rds) == {"pgm-example0", "pgm-example1"}


def test_no_module_is_left_out():
    story = Path(__file__).read_text("utf-8")
    for module in ROOT.glob("plugins/modules/[!_]*.py"):
        assert f'examples(rds, "{module.stem}"' in story, f"run the examples of {module.stem} too"


def test_examples_of_the_inventory(rds, tmp_path):
    source = (ROOT / "plugins/inventory/rds_instances.py").read_text("utf-8")
    text = re.search(r'^EXAMPLES = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)[1]
    files = []
    for example in text.split("---\n"):
        files.append(tmp_path / re.search(r"# (\S+\.yml):", example)[1])
        files[-1].write_text(example)
    (tmp_path / ".aliyun").mkdir()
    profile = {"name": "auditor", "mode": "AK", "access_key_id": "LTAI5tExample", "access_key_secret": SECRET}
    (tmp_path / ".aliyun/config.json").write_text(json.dumps({"current": "auditor", "profiles": [profile]}))
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "--graph"]
    command += [word for file in files for word in ("-i", file.name)]
    environment = {**playbook_environment(rds, tmp_path), "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    assert "pgm-example3" in done.stdout
    assert (tmp_path / ".cache/rds_instances").exists()
