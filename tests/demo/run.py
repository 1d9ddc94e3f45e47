# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make demo`: preview, apply and re-apply a link between two real PostgreSQL clusters, then follow a row across.

Everything runs on loopback, against the emulator. Against the cloud the same playbook runs with another endpoint and
other keys.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from rds_emulator.client import Emulator

ROOT = Path(__file__).resolve().parents[2]
DR, SOURCE = "pgm-dr000000000001", "onprem"
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
# What a newcomer need not read: headings of the role's inner steps, and lines without news.
NOISE = re.compile(r"^(?:included:|skipping:|ok: \[\S+\](?: => \(item=(?:standby|primary|json|md)\))?$|@@ )")
TASK = re.compile(r"^TASK \[(?:\S+ : )?(.*?)\]")


def main() -> None:
    say("Two PostgreSQL clusters and an RDS endpoint are starting on this machine ...")
    with (
        Emulator() as emulator,
        tempfile.TemporaryDirectory() as scratch,
    ):
        source = emulator.sources[SOURCE]
        say(f"Source  {SOURCE}: {source['host']}:{source['port']}, PostgreSQL {version(emulator, SOURCE)}")
        say(f"DR      {DR}: empty, PostgreSQL {version(emulator, DR)}")
        say(f"API     {emulator.endpoint}")
        links = Path(scratch, "links.yml")
        links.write_text(json.dumps(link_variables(source["port"])))
        links.chmod(0o600)
        environment = playbook_environment(emulator, scratch)

        step("1. Preview", "check mode is the service's own dry run; nothing is created")
        playbook(environment, links, "--check", "--diff")
        expect(creates(emulator) == 0, "no link was created by the preview")

        step("2. Apply", "the link is made exactly as it was previewed")
        playbook(environment, links)
        expect(creates(emulator) == 1, "exactly one create arrived at the service")

        step("3. Apply again", "as every night")
        recap = playbook(environment, links)
        expect("changed=0" in recap and creates(emulator) == 1, "changed=0, and no further create arrived")

        step("4. Follow a row", "written at the source, read from the DR instance")
        item = f"written at {time.strftime('%H:%M:%S')}"
        say(f"  source> INSERT INTO orders VALUES (4, '{item}')")
        emulator.sql(SOURCE, f"INSERT INTO orders VALUES (4, '{item}')")
        rows = wait_for_row(emulator, item)
        say(f"  dr>     SELECT * FROM orders WHERE item = '{item}'")
        say(f"          {rows}")
        state = emulator.sql(SOURCE, "SELECT application_name, state FROM pg_stat_replication")
        say(f"  source> SELECT application_name, state FROM pg_stat_replication\n          {state}")
        expect(bool(rows), "the row has arrived at the DR instance")
    say("\nThe clusters are stopped and their files are gone. Next: README.md, 'With a cloud account'.")


def link_variables(port: int) -> dict[str, object]:
    """What a user writes into links.yml; the password would come from a vault."""
    return {
        "dr_link_dr_instance_id": DR,
        "dr_link_source_address": "127.0.0.1",
        "dr_link_source_port": port,
        "dr_link_replicator_account": "dr_sync",
        "dr_link_replicator_password": "Dr-Sync+Passw0rd/1",
    }


def playbook_environment(emulator: Emulator, scratch: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "ALI"))}
    return {
        **clean,
        **emulator.environment,
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.build/link:{ROOT}/.build/collections",
        "ANSIBLE_HOME": scratch,
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_FORCE_COLOR": str(COLOUR),
        "NO_PROXY": "127.0.0.1,localhost",
    }


def playbook(
    environment: dict[str, str], links: Path, *options: str, name: str = "alicloud.rds.replication_link"
) -> str:
    """Run a playbook of the collection as a user would, show what matters of its output, and return all of it."""
    command = ["ansible-playbook", name, "-e", f"@{links.name}", *options]
    say(f"  $ {' '.join(command)}")
    run = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=links.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout)
    title = ""
    for shown, line in zip(run.stdout.splitlines(), plain.splitlines(), strict=True):
        if heading := TASK.match(line):
            title = heading[1]
        elif line.strip() and not NOISE.match(line):
            print(f"    {shown}  {title}" if line.startswith("changed: ") else f"    {shown}")
    if run.returncode:
        fail(f"ansible-playbook ended with {run.returncode}:\n{run.stdout}{run.stderr}")
    return plain


def creates(emulator: Emulator) -> int:
    """How many requests that create a link have arrived, by the emulator's journal."""
    entries = emulator.journal(action="CreateReplicationLink")
    return sum(entry["params"]["DryRun"].lower() == "false" for entry in entries)


def wait_for_row(emulator: Emulator, item: str) -> list[dict[str, object]]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = emulator.sql(DR, f"SELECT * FROM orders WHERE item = '{item}'")
        if rows:
            return rows
        time.sleep(0.02)
    return []


def version(emulator: Emulator, cluster: str) -> str:
    return str(emulator.sql(cluster, "SHOW server_version")[0]["server_version"])


def say(text: str) -> None:
    print(text, flush=True)


def step(title: str, meaning: str) -> None:
    say(f"\n{paint(title, '1')}: {meaning}")


def expect(true: bool, what: str) -> None:
    if not true:
        fail(f"not as promised: {what}")
    say(f"  {paint('seen:', '32')} {what}")


def paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def fail(text: str) -> NoReturn:
    sys.exit(f"demo: {text}")


if __name__ == "__main__":
    main()
