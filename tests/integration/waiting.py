# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start ansible-playbook by a fork of a process that has imported it: imports take more than half of a short run.

The child is a process of its own with the arguments, folder and environment of the run. Ansible reads its settings
(ANSIBLE_*, ansible.cfg) as it is imported, so they are those of the process that waits; a run with other ones has to
start in the usual way.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPERATIONS = "ansible_collections.alicloud.rds.plugins.module_utils._ansible"
# What ansible-playbook imports when it comes to a play.
ANSIBLE = (
    "ansible.executor.task_executor",
    "ansible.playbook.role",
    "ansible.playbook.role_include",
    "ansible.plugins.callback.default",
    "ansible.plugins.connection.local",
    "ansible.plugins.filter.core",
    "ansible.plugins.shell.sh",
    "ansible.plugins.strategy.linear",
    "ansible.plugins.test.core",
    "ansible.template",
    "psycopg",
    "requests",
)


class Playbooks:
    """A process that waits, and the runs that it starts, one at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._settings = settings(environment)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def takes(self, environment: Mapping[str, str], folder: Path) -> bool:
        """Say whether Ansible has the settings there that it was imported with."""
        files = (folder / "ansible.cfg", Path(environment["HOME"]) / ".ansible.cfg")
        return settings(environment) == self._settings and not any(file.exists() for file in files)

    def run(
        self, command: list[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook to its end and return its exit status with all that it has written, in one text."""
        output = folder / "output"
        run = {"command": command, "folder": str(folder), "environment": dict(environment), "output": str(output)}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({**run, "timeout": timeout}) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(command, status, output.read_text("utf-8"), "")

    def close(self) -> None:
        """End the process that waits."""
        self._process.communicate()


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what Ansible or Python reads once, of an environment."""
    return {
        name: value for name, value in environment.items() if name.startswith(("ANSIBLE_", "PYTHON", "LC_", "LANG"))
    }


def serve() -> None:
    """Import what most runs import, and start the runs that are asked for, until stdin ends."""
    from ansible.cli.playbook import PlaybookCLI
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()
    # Each run does that again, in vain.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    operations = importlib.import_module(OPERATIONS)
    for name in (*ANSIBLE, *(f"{OPERATIONS}.{each.name}" for each in pkgutil.iter_modules(operations.__path__))):
        importlib.import_module(name)

    for line in sys.stdin:
        run = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(run)
            try:
                PlaybookCLI.cli_executor(run["command"])
            except SystemExit as end:
                leave(end.code)
            except BaseException:
                leave(1)
        print(ended(pid, run["timeout"]), flush=True)


def become(run: dict[str, Any]) -> None:
    """Take what a process gets from the one that starts it."""
    os.chdir(run["folder"])
    os.environ.clear()
    os.environ.update(run["environment"])
    sys.argv[:] = run["command"]
    for number, name, how in ((0, os.devnull, os.O_RDONLY), (1, run["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        os.dup2(os.open(name, how, 0o600), number)
    os.dup2(1, 2)
    random.seed()


def leave(status: Any) -> None:
    """End without what is to be done at the end of the process that waits."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def ended(pid: int, timeout: float) -> int:
    """Return the status of a child as `subprocess` does. It is killed when its time is over."""
    signal.signal(signal.SIGALRM, lambda *_unused: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, timeout)
    status = os.waitpid(pid, 0)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve()
