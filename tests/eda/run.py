# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make eda`: ansible-rulebook runs alicloud.rds.watch, a link breaks, verify runs, and somebody is notified.

Real PostgreSQL clusters behind the local endpoint; everything on loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rds_emulator.client import Emulator
from tests.demo.run import DR, ROOT, SOURCE, expect, link_variables, playbook, playbook_environment, say, step

PATIENCE = 60.0  # seconds
RULEBOOKS = sorted((ROOT / "extensions/eda/rulebooks").glob("*.yml"))
PARSE = """
import sys, yaml
from ansible_rulebook.rules_parser import parse_rule_sets
from ansible_rulebook.validators import Validate
for path in sys.argv[1:]:
    book = yaml.safe_load(open(path))
    Validate.rulebook(book)
    assert parse_rule_sets(book)[0].rules
"""
LOGIN = {"login_user": "dr_operator", "login_password": "made-up-operator"}


def main() -> None:
    python = [str(Path(sys.argv[1]) / "bin/python"), "-c", PARSE]
    parsed = subprocess.run([*python, *map(str, RULEBOOKS)], check=False).returncode == 0
    expect(parsed, f"ansible-rulebook takes {' and '.join(path.name for path in RULEBOOKS)}")
    say("Two PostgreSQL clusters and an RDS endpoint are starting on this machine ...")
    with Emulator() as emulator, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = playbook_environment(emulator, scratch)
        prepare(emulator, folder, environment)

        step("2. Watch", "ansible-rulebook loads the source and the rulebook from the collection")
        with watching(Path(sys.argv[1]), folder, environment) as output:
            expect(found(output, "'type': 'summary'"), "the first event is the summary")

            step("3. Break", f"{SOURCE} refuses the replication account")
            emulator.break_link(DR, "refused")
            broken = time.monotonic()
            told = notified(folder, "the link is disconnect")
            expect(bool(told), f"notified after {time.monotonic() - broken:.0f} s: {told.get('message')}")
            report = json.loads((folder / f"{DR}.json").read_text())[DR]
            expect(report["failed"], "the playbook alicloud.rds.verify has run, and its report says what is wrong:")
            for check in report["checks"]:
                if check["result"] == "error":
                    say(f"    {check['id']}: {check['note']} To fix: {check['remedy']}")
            expect("wal_receiver" in told["failed"], "these checks were in the notification")

            step("4. Repair", "the source lets it in again")
            emulator.repair_link(DR)
            told = notified(folder, "the link is streaming")
            expect(bool(told), f"notified: {told.get('message')}")
            time.sleep(3)  # three rounds more
        lines = (folder / "notifications").read_text().splitlines()
        expect(len(lines) == 2, "nobody was notified of anything else")
        writes = {entry["action"] for entry in emulator.journal()} & {"DeleteReplicationLink", "RebuildReplicationLink"}
        expect(not writes, "nothing was promoted or rebuilt")


def prepare(emulator: Emulator, folder: Path, environment: dict[str, str]) -> None:
    step("1. Link", "the source is prepared and linked")
    emulator.sql(SOURCE, "CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'made-up-admin'")
    admin = {"source": {"login_user": "admin", "login_password": "made-up-admin"}}
    common = link_variables(emulator.sources[SOURCE]["port"])
    files = {
        "admin.yml": {**common, "dr_link_postgres": {**LOGIN, "instances": admin}},
        "link.yml": common,
        "watch.yml": {
            "rds_links": [{"dr_instance_id": DR}],
            "rds_postgres": LOGIN,
            "dr_link_postgres": LOGIN,
            "rds_interval": 1,
            "rds_notify": str(ROOT / "tests/eda/notify.yml"),
            "rds_report_dir": str(folder),
        },
    }
    for name, variables in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(json.dumps(variables))
    playbook(environment, folder / "admin.yml", name="alicloud.rds.prepare_source")
    playbook(environment, folder / "link.yml")


@contextmanager
def watching(venv: Path, folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Run ansible-rulebook, and yield the file of its output."""
    (folder / "hosts").write_text("localhost ansible_connection=local\n")
    command = ["ansible-rulebook", "--rulebook", "alicloud.rds.watch", "-i", "hosts", "--vars", "watch.yml"]
    command += ["--print-events"]
    say(f"  $ {' '.join(command[:-1])}")
    own = {
        **environment,
        "PATH": f"{venv}/bin:{environment['PATH']}",
        "EDA_NOTIFICATIONS": str(folder / "notifications"),
        "EDA_SHUTDOWN_DELAY": "1",
        "PYTHONUNBUFFERED": "1",
    }
    output = folder / "rulebook.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [str(venv / "bin" / command[0]), *command[1:]], cwd=folder, env=own, stdout=log, stderr=log
        )
    try:
        yield output
    except SystemExit:
        say("\n".join(output.read_text().splitlines()[-60:]))
        raise
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def found(path: Path, text: str) -> bool:
    """Whether a text comes into a file in time."""
    end = time.monotonic() + PATIENCE
    while not (path.exists() and text in path.read_text()):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def notified(folder: Path, text: str) -> dict[str, Any]:
    """Return the notification that says this, empty if it does not come in time."""
    if not found(folder / "notifications", text):
        return {}
    lines = (folder / "notifications").read_text().splitlines()
    told: dict[str, Any] = next(json.loads(line) for line in lines if text in line)
    return told


if __name__ == "__main__":
    main()
