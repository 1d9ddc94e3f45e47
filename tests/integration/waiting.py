# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start ansible-playbook by a fork of a process that has imported it: imports take more than half of a short run.

A run is a process of its own, in a session of its own, with its arguments, folder and environment. Ansible reads its
settings (ANSIBLE_*, ansible.cfg) as it is imported, so they are those of the process that waits; a run with other
settings starts in the usual way.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("ansible-playbook"))
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
    """Starts runs of ansible-playbook; as many processes wait as there were runs at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._runs: list[Run | subprocess.Popen[bytes]] = []

    def start(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> Run | subprocess.Popen[bytes]:
        """Start ansible-playbook with these words; all that it writes goes to the file `output` in its folder."""
        self._runs = [run for run in self._runs if run.poll() is None]
        self._runs.append(self._start(words, folder, environment))
        return self._runs[-1]

    def _start(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> Run | subprocess.Popen[bytes]:
        files = (folder / "ansible.cfg", Path(environment["HOME"]) / ".ansible.cfg")
        if settings(environment) != settings(self._environment) or any(file.exists() for file in files):
            return usual(words, folder, environment)
        busy = [run.parent for run in self._runs if isinstance(run, Run)]
        idle = [parent for parent in self._waiting if parent not in busy]
        if not idle:
            pipe, argv = subprocess.PIPE, [sys.executable, __file__]
            idle = [subprocess.Popen(argv, env=self._environment, stdin=pipe, stdout=pipe, bufsize=0)]
            self._waiting += idle
        return Run(idle[0], {"command": [PROGRAM, *words], "folder": str(folder), "environment": dict(environment)})

    def close(self) -> None:
        """End what runs and what waits."""
        for run in self._runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait(10)
        for parent in self._waiting:
            parent.communicate()


class Run:
    """A run of ansible-playbook, with what `subprocess.Popen` has for it."""

    def __init__(self, parent: subprocess.Popen[bytes], given: dict[str, Any]) -> None:
        assert parent.stdin and parent.stdout
        self.parent, self._answers = parent, parent.stdout
        parent.stdin.write(json.dumps(given).encode() + b"\n")
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit status; `subprocess.TimeoutExpired` if it still runs after so many seconds."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("ansible-playbook", timeout)
            self.returncode = int(self._answers.readline())
        return self.returncode


def usual(words: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start ansible-playbook as a user does."""
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [PROGRAM, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what Ansible or Python reads once, of an environment."""
    once = ("ANSIBLE_", "PYTHON", "LC_", "LANG", "TMPDIR")
    return {name: value for name, value in environment.items() if name.startswith(once)}


def serve() -> None:
    """Import what most runs import, and start the runs that are asked for, one after the other, until stdin ends."""
    from ansible.cli.playbook import PlaybookCLI
    from ansible.plugins import loader

    loader.init_plugin_loader()
    # Each run does that again, in vain.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    operations = importlib.import_module(OPERATIONS)
    for name in (*ANSIBLE, *(f"{OPERATIONS}.{each.name}" for each in pkgutil.iter_modules(operations.__path__))):
        importlib.import_module(name)
    for kind in ("action", "become", "callback", "connection", "shell"):
        list(getattr(loader, f"{kind}_loader").all(class_only=True))  # reads the documentation of their options

    for line in sys.stdin:
        run = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(run)
            try:
                PlaybookCLI.cli_executor(run["command"])
            except SystemExit as end:
                leave(end.code)
            except BaseException as error:
                leave(repr(error))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(run: dict[str, Any]) -> None:
    """Take what a process gets from the one that starts it."""
    os.setsid()
    os.chdir(run["folder"])
    os.environ.clear()
    os.environ.update(run["environment"])
    sys.argv[:] = run["command"]
    for number, name, how in ((0, os.devnull, os.O_RDONLY), (1, "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        os.dup2(os.open(name, how, 0o600), number)
    os.dup2(1, 2)
    random.seed()


def leave(status: Any) -> None:
    """End as `sys.exit` does, but without what the process that waits has to do at its own end."""
    if isinstance(status, str):
        print(status, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    serve()
