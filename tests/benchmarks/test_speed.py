# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task, a fleet and an import cost, as ratios within one run: `make bench`.

Per-task costs are differences: a playbook with so many tasks, less one with none, divided. Rounds are interleaved, so
that a slow phase of the machine meets all alike. BENCH_ROUNDS (5) sets how many there are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rds_emulator.client import Emulator
from tests.integration.conftest import ANOTHER_PYTHON, PASSWORD, playbook_environment
from tests.integration.test_fleet import as_list, fleet_seed

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
TASKS = 20

EMPTY_MODULE = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={}).exit_json()
"""
REQUESTS_MODULE = "import requests\n" + EMPTY_MODULE
EMPTY_ACTION = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return super().run(tmp, task_vars)
"""
SDK_MODULE = """
import json, os
from ansible.module_utils.basic import AnsibleModule
from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client
from alibabacloud_tea_openapi.models import Config
module = AnsibleModule(argument_spec={"dr_instance_id": {}, "source_address": {}})
client = Client(Config(
    access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    endpoint=os.environ["ALIBABA_CLOUD_RDS_ENDPOINT"].partition("//")[2], protocol="http"))
name = module.params["dr_instance_id"]
client.describe_replication_link_logs(models.DescribeReplicationLinkLogsRequest(dbinstance_id=name, task_type="create"))
seen = client.describe_dbinstance_attribute(models.DescribeDBInstanceAttributeRequest(dbinstance_id=name))
told = json.loads(seen.body.items.dbinstance_attribute[0].disaster_recovery_info)
assert told["sourceAddress"] == module.params["source_address"]
module.exit_json(changed=False)
"""


@dataclass
class Cost:
    """Seconds of wall time and MiB of the largest process, one entry a round."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def add(self, seconds: float, memory: float) -> None:
        self.seconds.append(seconds)
        self.memory.append(memory)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(command: list[str], **options: Any) -> tuple[float, float]:
    """Run a command; return its wall time in seconds and the peak memory of its largest process in MiB."""
    begun = time.perf_counter()
    with (Path(options["cwd"]) / "output").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
        status, usage = os.wait4(process.pid, 0)[1:]
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (Path(options["cwd"]) / "output").read_text()[-2000:]
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A collection of things to compare with."""
    plugins = tmp_path / "collections/ansible_collections/bench/mark/plugins"
    for name, text in {
        "modules/empty.py": EMPTY_MODULE,
        "modules/with_requests.py": REQUESTS_MODULE,
        "modules/with_sdk.py": SDK_MODULE,
        "modules/nothing.py": EMPTY_MODULE,
        "action/nothing.py": EMPTY_ACTION,
    }.items():
        (plugins / name).parent.mkdir(parents=True, exist_ok=True)
        (plugins / name).write_text(text)
    return tmp_path / "collections"


def playbook(directory: Path, task: dict[str, Any] | None, count: int, python: str) -> Path:
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"ansible_python_interpreter": python}}
    path = directory / f"{count}-{abs(hash(str(task) + python))}.json"
    path.write_text(json.dumps([{**play, "tasks": [task] * count if task else []}]))
    return path


@contextlib.contextmanager
def one_pair(directory: Path, collection: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """An emulator with one pair; the options of its link, and the environment of a playbook."""
    with Emulator(engine="memory") as rds:
        link = {
            "dr_instance_id": "pgm-dr000000000001",
            "source_address": "127.0.0.1",
            "source_port": rds.sources["onprem"]["port"],
            "replicator_account": "dr_sync",
            "replicator_password": "Dr-Sync+Passw0rd/1",
        }
        environment = playbook_environment(rds, directory)
        environment["ANSIBLE_COLLECTIONS_PATH"] += f":{collection}"
        yield link, environment


def through_modules(link: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "a module that does nothing": {"bench.mark.empty": {}},
        "a module that imports requests": {"bench.mark.with_requests": {}},
        "replication_link through its module": {"alicloud.rds.replication_link": link},
    }


def test_per_task(tmp_path, collection):
    with one_pair(tmp_path, collection) as (link, environment):
        own, other = "{{ ansible_playbook_python }}", ANOTHER_PYTHON
        same = {name: link[name] for name in ("dr_instance_id", "source_address")}
        candidates: dict[str, tuple[dict[str, Any] | None, str]] = {
            "no task": (None, own),
            "an action plugin that does nothing": ({"bench.mark.nothing": {}}, own),
            "replication_link, unchanged": ({"alicloud.rds.replication_link": link}, own),
            **{name: (task, other) for name, task in through_modules(link).items()},
            "the same through the official SDK": ({"bench.mark.with_sdk": same}, other),
        }

        def run(name: str, count: int) -> tuple[float, float]:
            path = playbook(tmp_path, *[candidates[name][0]], count, candidates[name][1])
            command = [str(Path(sys.executable).with_name("ansible-playbook")), str(path)]
            return measure(command, cwd=tmp_path, env=environment)

        run("replication_link, unchanged", 1)  # makes the link
        costs = {name: Cost() for name in candidates}
        for _unused in range(ROUNDS):
            for name in candidates:
                costs[name].add(*run(name, 0 if name == "no task" else TASKS))
        growth = {count: Cost() for count in (1, 20, 100)}
        for _unused in range(ROUNDS):
            for count, cost in growth.items():
                cost.add(*run("replication_link, unchanged", count))
    base = costs["no task"].median
    per_task = {name: (cost.median - base) / TASKS for name, cost in costs.items() if name != "no task"}
    action, module = per_task["an action plugin that does nothing"], per_task["a module that does nothing"]
    sdk = per_task["the same through the official SDK"]
    print(f"\n\n| {TASKS} tasks, {ROUNDS} rounds | ms a task | to an empty action | to an empty module | to the SDK |")
    print("| --- | --- | --- | --- | --- |")
    for name, value in per_task.items():
        print(f"| {name} | {1000 * value:.0f} | {value / action:.2f} | {value / module:.2f} | {value / sdk:.3f} |")
    print("\n| replication_link, unchanged | s in all | ms each further task |\n| --- | --- | --- |")
    for count, cost in growth.items():
        further = 1000 * (cost.median - growth[1].median) / max(1, count - 1)
        print(f"| {count} tasks | {cost.median:.2f} | {further:.0f} |")


def test_instructions_of_a_module(tmp_path, collection):
    """Instructions of the module's own process, which no other work on the machine changes: valgrind counts them.

    Those of the play are left out: a worker is a fork, and takes over the count of the process that it comes from.
    """
    valgrind = shutil.which("valgrind")
    if not valgrind:
        pytest.skip("valgrind is not installed (apt-get install valgrind)")
    with one_pair(tmp_path, collection) as (link, environment):
        candidates = through_modules(link)
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        command += ["--trace-children=yes", f"--log-file={tmp_path}/%p.count", sys.executable, program]

        def count(task: dict[str, Any]) -> int:
            path = playbook(tmp_path, task, 1, ANOTHER_PYTHON)
            measure([program, str(path)], cwd=tmp_path, env=environment)  # what is made once is there
            measure([*command, str(path)], cwd=tmp_path, env={**environment, "PYTHONHASHSEED": "0"})
            files = list(tmp_path.glob("*.count"))
            logs = [file.read_text() for file in files]
            for file in files:
                file.unlink()
            found = [re.search(r"I +refs: +([0-9,]+)", log) for log in logs if "/AnsiballZ_" in log]
            return max(int(each[1].replace(",", "")) for each in found if each)  # the others are shells

        each = {name: count(task) for name, task in candidates.items()}
    print("\n\n| the process of one task | millions of instructions | to an empty module |\n| --- | --- | --- |")
    for name, value in each.items():
        print(f"| {name} | {value / 1e6:.0f} | {value / each['a module that does nothing']:.2f} |")


SDK_LOOP = """
import json, os, sys
from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client
from alibabacloud_tea_openapi.models import Config
client = Client(Config(
    access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    endpoint=os.environ["ALIBABA_CLOUD_RDS_ENDPOINT"].partition("//")[2], protocol="http"))
for name in json.load(open("vars.json"))["names"]:
    client.describe_dbinstance_attribute(models.DescribeDBInstanceAttributeRequest(dbinstance_id=name))
    client.describe_replication_link_logs(
        models.DescribeReplicationLinkLogsRequest(dbinstance_id=name, task_type="create"))
"""
CREATES_PER_SECOND = 9.5


NETWORK = 0.03  # seconds by which each answer is later


def test_fleet(tmp_path):
    """A night and an apply of 300 links, each form in the same run; and that 1,000 links take in proportion."""
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    common = {"source_address": "127.0.0.1", "replicator_account": "dr_sync", "replicator_password": PASSWORD}

    def task(rds: Emulator, module: str, **options: Any) -> dict[str, Any]:
        return {f"alicloud.rds.{module}": {**common, "source_port": rds.sources["onprem"]["port"], **options}}

    rows: list[tuple[str, float, int, float]] = []
    with Emulator(seed={**fleet_seed(300), "limits": {}}, engine="memory") as rds:
        names = list(rds.instances)
        environment = playbook_environment(rds, tmp_path)
        (tmp_path / "vars.json").write_text(json.dumps({**as_list(rds), "names": names}))
        entries = [{"dr_instance_id": name} for name in names]
        one = {**task(rds, "replication_link", dr_instance_id="{{ item }}"), "loop": names}
        role = [ansible, "alicloud.rds.replication_link", "-e", "@vars.json"]

        def play(*tasks: dict[str, Any]) -> list[str]:
            return [ansible, str(playbook(tmp_path, tasks[0], 1, "{{ ansible_playbook_python }}"))]

        def row(what: str, command: list[str]) -> None:
            rds.clear_journal()
            seconds, memory = measure(command, cwd=tmp_path, env=environment)
            rows.append((what, seconds, len(rds.journal()), memory))

        row("apply, no limit", play(task(rds, "replication_links", links=entries, creates_per_second=100000.0)))
        rds.reset()
        row("apply, 9.5 creates a second", play(task(rds, "replication_links", links=entries)))
        row("a night: the role", role)
        row("a night: one task", play(task(rds, "replication_links", links=entries)))
        row("a night: a loop of the single module", play(one))
        row("a night: a loop of the SDK, no Ansible", [sys.executable, "-c", SDK_LOOP])
        # A region is never as near as loopback: each answer comes 30 ms later, as between two cities.
        rds.add_fault(fault="delay", seconds=NETWORK, times=None)
        row("a night over a network: the role", role)
        row("a night over a network: one task", play(task(rds, "replication_links", links=entries)))
        row("a night over a network: a loop of the single module", play(one))
    with Emulator(seed={**fleet_seed(1000), "limits": {}}, engine="memory") as rds:
        environment = playbook_environment(rds, tmp_path)
        entries = [{"dr_instance_id": name} for name in rds.instances]
        given = task(rds, "replication_links", links=entries, creates_per_second=100000.0)
        row("apply 1,000, no limit", play(given))
        row("a night of 1,000: one task", play(given))
    night = next(seconds for what, seconds, *_rest in rows if what == "a night: one task")
    print("\n\n| 300 links | s | to a night in one task | calls | MiB of the largest process |")
    print("| --- | --- | --- | --- | --- |")
    for what, seconds, calls, memory in rows:
        print(f"| {what} | {seconds:.1f} | {seconds / night:.2f} | {calls} | {memory:.0f} |")
    seconds_of = {what: seconds for what, seconds, *_rest in rows}
    for where in ("a night", "a night over a network"):
        loop = seconds_of[f"{where}: a loop of the single module"]
        times = ", ".join(
            f"{loop / seconds_of[f'{where}: {form}']:.1f}x for {form}" for form in ("one task", "the role")
        )
        print(f"\n{where}, against a loop of the single module: {times}.")
    limited = next(seconds for what, seconds, *_rest in rows if what.startswith("apply, 9.5"))
    least = 300 / CREATES_PER_SECOND
    ratio = f"{least:.1f} s at least, measured {limited / least:.2f} of that"
    print(f"\n300 creates at {CREATES_PER_SECOND} a second: {ratio}.")


VERIFIED = int(os.environ.get("BENCH_VERIFIED", "300"))


def test_verify(tmp_path):
    """Links verified in one task, both PostgreSQL servers asked for each, against the service's reads alone.

    The service reports that many links; all of them are said to lie at one pair of real clusters.
    """
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    admin = {"login_user": "admin", "login_password": "admin"}
    operator = {"login_user": "dr_operator", "login_password": "operator"}
    account = {"replicator_account": "dr_sync", "replicator_password": PASSWORD}

    def play(rds: Emulator, module: str, **options: Any) -> float:
        task = {f"alicloud.rds.{module}": options}
        command = [ansible, str(playbook(tmp_path, task, 1, "{{ ansible_playbook_python }}"))]
        return measure(command, cwd=tmp_path, env=playbook_environment(rds, tmp_path))[0]

    fleet = {**fleet_seed(VERIFIED), "limits": {}}
    with Emulator(engine="postgres") as real, Emulator(seed=fleet, engine="memory") as rds:
        superuser = {"name": "admin", "password": "admin", "attributes": ["LOGIN", "SUPERUSER"]}
        port = real.add_source(name="measured", accounts=[superuser])["port"]
        place = {"source_address": "127.0.0.1", "source_port": port, **account}
        logins = {**operator, "instances": [{"name": "source", **admin}]}
        play(real, "replication_source", **place, postgres=logins)
        standby = real.add_instance(id="pgm-measured")
        play(real, "replication_link", dr_instance_id=standby["id"], **place)
        links = [{"dr_instance_id": name} for name in rds.instances]
        there = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"], **account}
        play(rds, "replication_links", links=links, creates_per_second=100000.0, **there)

        sides = [{"name": name, "host": "127.0.0.1", "port": standby["port"]} for name in rds.instances]
        sides.append({"name": "source", "host": "127.0.0.1", "port": port})
        forms = {
            "the service alone": {"skip_checks": ["both_sides_reachable"]},
            "both servers, no row": {"postgres": {**operator, "instances": sides}, "skip_checks": ["canary"]},
            "both servers, and a row followed": {"postgres": {**operator, "instances": sides}},
        }
        costs = {what: play(rds, "replication_link_verify", links=links, **options) for what, options in forms.items()}
    least = costs["the service alone"]
    print(f"\n\n| {VERIFIED} links verified in one task | s | to the service alone | ms a link |")
    print("| --- | --- | --- | --- |")
    for what, seconds in costs.items():
        print(f"| {what} | {seconds:.1f} | {seconds / least:.1f} | {1000 * seconds / VERIFIED:.0f} |")


IMPORTS = {
    "the bare interpreter": "pass",
    "requests": "import requests",
    "the operation of our modules": "from ansible_collections.alicloud.rds.plugins.module_utils._ansible import links",
    "the official SDK's client": "import alibabacloud_rds20140815.client, alibabacloud_tea_openapi.models",
}


def test_imports(tmp_path):
    link = str(Path(__file__).resolve().parents[2] / ".build" / "link")
    costs = {name: Cost() for name in IMPORTS}
    for _unused in range(ROUNDS + 1):
        for name, statement in IMPORTS.items():
            # Its own peak: what wait4 tells begins with the memory of the process that forked it.
            peak = f"{statement}\nprint([row for row in open('/proc/self/status') if row.startswith('VmHWM')][0])"
            environment = {**os.environ, "PYTHONPATH": link}
            seconds = measure([sys.executable, "-c", peak], cwd=tmp_path, env=environment)[0]
            costs[name].add(seconds, int((tmp_path / "output").read_text().split()[1]) / 1024)
    bare = costs["the bare interpreter"].median
    ours = costs["the operation of our modules"].median - bare
    print("\n\n| import | ms | to ours | MiB |\n| --- | --- | --- | --- |")
    for name, cost in costs.items():
        more = cost.median - bare
        print(f"| {name} | {1000 * more:.0f} | {more / ours:.2f} | {statistics.median(cost.memory):.0f} |")


def test_emulator(tmp_path):
    from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
    from ansible_collections.alicloud.rds.plugins.module_utils._api import endpoints as _endpoints
    from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials

    ready: dict[str, Cost] = {"memory": Cost(), "postgres": Cost()}
    for _unused in range(ROUNDS):
        for engine, cost in ready.items():
            begun = time.perf_counter()
            with Emulator(engine=engine):
                cost.add(time.perf_counter() - begun, 0)
    with Emulator(engine="memory") as rds:
        provider = resolve_credentials({"profile_file": "/nonexistent"}, rds.environment)
        client = _client.Client(_endpoints.resolve_endpoint(rds.endpoint, None, "public"), provider, _client.Limits())
        read: Callable[[], Any] = lambda: client.call(  # noqa: E731  # named for the loop below
            "DescribeDBInstanceAttribute", {"DBInstanceId": "pgm-dr000000000001"}, repeatable=True
        )
        read()
        begun = time.perf_counter()
        for _unused in range(1000):
            read()
        rate = 1000 / (time.perf_counter() - begun)
        client.close()
    print("\n\n| emulator | |\n| --- | --- |")
    for engine, cost in ready.items():
        print(f"| ready with three clusters, engine {engine} | {cost.median:.2f} s |")
    print(f"| signed requests of our client on one connection, both on this machine | {rate:.0f} a second |")
