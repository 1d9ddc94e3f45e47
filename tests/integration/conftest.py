# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Playbooks run here as users run them, against the emulator with real PostgreSQL clusters."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rds_emulator.client import Emulator

from .waiting import Playbooks

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Sync'n\"roll & 100% +=/é"
# The same interpreter by another name: whoever names it wants it used, so the task goes through the module.
ANOTHER_PYTHON = str(Path(sys.executable).with_name(f"python{sys.version_info[0]}.{sys.version_info[1]}"))
LIMIT = 120.0  # seconds that a playbook may take
_numbers = itertools.count(1)
# A task that shows a variable to the test. It needs no module, unlike one that writes a file, which takes as long as
# the rest of a run. Encoded, what it shows cannot be taken for something that the run has said by itself.
SHOW = "- ansible.builtin.debug: {msg: 'RESULT {{ @VARIABLE@ | to_json | b64encode }} END'}"


def account(**changes: Any) -> dict[str, Any]:
    """The replication account of a source, as a DBA would make it."""
    attributes = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    return {"name": "dr_sync", "password": PASSWORD, **attributes, **changes}


@dataclass
class Pair:
    """A fresh DR instance and a fresh source of the session's emulator."""

    rds: Emulator
    dr: str
    source: str
    port: int
    since: int = 0
    hold: Any = None  # a connection that a test keeps open

    @property
    def variables(self) -> dict[str, Any]:
        """What a user writes down about the link."""
        return {
            "dr_link_dr_instance_id": self.dr,
            "dr_link_source_address": "127.0.0.1",
            "dr_link_source_port": self.port,
            "dr_link_replicator_account": "dr_sync",
            "dr_link_replicator_password": PASSWORD,
        }

    def journal(self) -> list[dict[str, Any]]:
        """Requests for this DR instance since the last `forget`."""
        entries = self.rds.journal()
        return [e for e in entries if e["params"].get("DBInstanceId") == self.dr and e["seq"] > self.since]

    def forget(self) -> None:
        self.since = max((entry["seq"] for entry in self.rds.journal()), default=0)

    def creates(self) -> list[dict[str, Any]]:
        """Requests that would really create."""
        entries = [entry for entry in self.journal() if entry["action"] == "CreateReplicationLink"]
        return [entry for entry in entries if entry["params"]["DryRun"] != "true"]


@dataclass
class Played:
    """The end of a playbook run."""

    returncode: int
    output: str
    files: Path
    results: Any = field(init=False)  # what a SHOW task has shown, or the play has written to `result_file`

    def __post_init__(self) -> None:
        file = self.files / "result.json"
        self.results = json.loads(file.read_text()) if file.exists() else shown(self.output)

    def changed(self) -> int:
        """The number of changes in the recap."""
        found = re.search(r"changed=(\d+)", self.output)
        assert found, self.output
        return int(found[1])


def show(variable: str) -> str:
    return SHOW.replace("@VARIABLE@", variable)


def shown(output: str) -> Any:
    found = re.findall(r"RESULT ([\w+/=]+) END", output)
    return json.loads(base64.b64decode(found[-1])) if found else {}


@pytest.fixture
def pair(rds_emulator_postgres: Emulator) -> Pair:
    return make_pair(rds_emulator_postgres)


def make_pair(rds: Emulator, **source: Any) -> Pair:
    number = next(_numbers)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    dr = rds.add_instance(id=f"pgm-{worker}{number:04d}")
    table = [
        "CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)",
        "INSERT INTO orders VALUES (1, 'anvil')",
    ]
    spec = {"name": f"source-{worker}-{number}", "accounts": [account()], "sql": table, **source}
    place = rds.add_source(**spec)
    return Pair(rds, dr["id"], place["name"], place["port"])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of all that `play` runs."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def playbooks(home: Path) -> Iterator[Playbooks]:
    """What starts ansible-playbook."""
    waiting = Playbooks(settings_of_ansible(home))
    yield waiting
    waiting.close()


@pytest.fixture
def play(tmp_path: Path, home: Path, playbooks: Playbooks) -> Callable[..., Played]:
    """Run `ansible-playbook` on a playbook of the collection or on playbook text, with extra variables in a file."""
    counter = itertools.count(1)

    def run(
        rds: Emulator,
        playbook: str,
        variables: dict[str, Any] | None = None,
        *options: str,
        beside: dict[str, str] | None = None,  # files in the folder of the playbook
        **env: str,
    ) -> Played:
        files = tmp_path / f"run{next(counter)}"
        files.mkdir()
        for name, content in (beside or {}).items():
            (files / name).write_text(content)
        if "\n" in playbook:
            (files / "playbook.yml").write_text(playbook)
            playbook = "playbook.yml"
        (files / "vars.json").write_text(json.dumps({"result_file": str(files / "result.json"), **(variables or {})}))
        environment = {**playbook_environment(rds, home), **env}
        status = playbooks.start([playbook, "-e", "@vars.json", *options], files, environment).wait(LIMIT)
        return Played(status, (files / "output").read_text("utf-8"), files)

    return run


def playbook_environment(rds: Emulator, home: Path) -> dict[str, str]:
    return {**settings_of_ansible(home), **rds.environment}


def settings_of_ansible(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ANSIBLE_HOME": str(home / ".ansible"),
        "ANSIBLE_ASYNC_DIR": str(home / ".ansible_async"),
        "ANSIBLE_REMOTE_TMP": str(home / ".ansible" / "tmp"),
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.build/link:{ROOT}/.build/collections",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_NOCOLOR": "True",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def eventually(look: Callable[[], Any], limit: float = 30) -> Any:
    """Return the first true result; the last one after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
