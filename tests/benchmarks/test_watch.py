# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What it costs to watch 300 links with the event source as it is by default, against the same reads by the SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rds_emulator.client import Emulator
from tests.benchmarks.test_speed import SDK_LOOP
from tests.integration.conftest import PASSWORD, playbook_environment
from tests.integration.test_fleet import fleet_seed

LINKS, MINUTE = 300, 60.0
SOURCE = Path(__file__).resolve().parents[2] / ".build/link/ansible_collections/alicloud/rds/extensions/eda/plugins"
# Ends after so many seconds, or with the first event.
WATCH = """
import asyncio, json, runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
async def watch(seconds, args):
    queue = asyncio.Queue()
    task = asyncio.create_task(main(queue, args))
    print(json.dumps(await queue.get()))
    await asyncio.sleep(seconds)
    assert queue.empty() and not task.done()
    task.cancel()
asyncio.run(watch(float(sys.argv[2]), json.loads(sys.argv[3])))
"""
ENSURE = """
import json, sys
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import validated_by
options = ArgumentSpecValidator(**validated_by(LINKS.spec)).validate(json.loads(sys.argv[1])).validated_parameters
assert not run(LINKS, options, check_mode=False, diff=False).get("failed")
"""


def cost(folder: Path, environment: dict[str, str], code: str, *words: str) -> tuple[float, float]:
    """Run Python code; return its seconds of CPU, and the MiB that it took at most."""
    with (folder / "output").open("wb") as output:
        command = [sys.executable, "-c", code, *words]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        status, usage = os.wait4(process.pid, 0)[1:]
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (folder / "output").read_text()[-2000:]
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def test_watch(tmp_path):
    with Emulator(seed={**fleet_seed(LINKS), "limits": {}}, engine="memory") as rds:
        environment = {**playbook_environment(rds, tmp_path), "PYTHONPATH": str(SOURCE.parents[5])}
        names = list(rds.instances)
        links = {"links": [{"dr_instance_id": name} for name in names]}
        place = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
        account = {"replicator_account": "dr_sync", "replicator_password": PASSWORD}
        cost(tmp_path, environment, ENSURE, json.dumps({**links, **place, **account, "creates_per_second": 1e5}))

        def watch(seconds: float, **args: Any) -> tuple[float, float]:
            source = str(SOURCE / "event_source/replication_link_watch.py")
            return cost(tmp_path, environment, WATCH, source, str(seconds), json.dumps(args))

        start = watch(0.0, dr_instance_id=names[0])[0]
        rds.clear_journal()
        # The summary comes after the first round; a minute later, the second one has been read.
        used, memory = watch(MINUTE, **links)
        calls = len(rds.journal())
        (tmp_path / "vars.json").write_text(json.dumps({"names": names}))
        rds.clear_journal()
        sdk = cost(tmp_path, environment, SDK_LOOP)[0] / len(rds.journal())
    each = (used - start) / calls
    print(f"\n\n| {LINKS} links watched | |\n| --- | --- |")
    print(f"| calls a minute | {calls / 2:.0f} |")
    print(f"| CPU of one core, in % | {100 * each * calls / 2 / MINUTE:.1f} |")
    print(f"| CPU of one call, in ms | {1000 * each:.2f} |")
    print(f"| the same reads in a loop of the SDK, its start included, in ms a call | {1000 * sdk:.2f} |")
    print(f"| a call of the source to one of the SDK | {each / sdk:.2f} |")
    print(f"| MiB of the process | {memory:.0f} |")
