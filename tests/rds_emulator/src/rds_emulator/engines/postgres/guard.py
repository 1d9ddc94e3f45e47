# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard: a process that starts and owns every postgres and every tool, and outlives whoever asked for them.

Run by file as ``python guard.py ROOT``. Lines of JSON arrive on stdin (spawn, signal) and leave on stdout (spawned,
failed, exited). When stdin ends, for whatever reason the other side went away, it ends all children and deletes ROOT.

It must stay single-threaded: the kernel sends the parent-death signal when the *thread* that spawned a child ends, and
code between fork and exec is safe only where no other thread can hold a lock. For the same reason it never waits for a
child: exits arrive through SIGCHLD, so any number of tools run side by side.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
# A postmaster told to quit gives its own children five seconds before it kills them.
GRACE_SECONDS = 7.0

_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else lambda *_: 0


class Guard:
    """The children and the loop that serves them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.servers: set[int] = set()
        self.ending = False

    def serve(self) -> None:
        """Serve until stdin ends or SIGTERM comes, then leave nothing behind."""
        parent = os.getppid()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: an ignored signal would stay ignored in the children.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        _prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what loses its parent becomes ours, and can be waited for
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while not self.ending:
                for key, _events in selector.select(timeout=1):
                    data = b""
                    with contextlib.suppress(BlockingIOError):
                        data = os.read(key.fd, 65536)
                    if key.fd == wake_read:
                        continue
                    if not data:
                        self.ending = True
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._handle(json.loads(line))
                self._reap()
                # Somebody forked from our parent may hold the other end of the pipe open.
                self.ending = self.ending or os.getppid() != parent
        self._end_all()

    def _on_term(self, *_: object) -> None:
        self.ending = True

    def _handle(self, request: dict[str, Any]) -> None:
        if request["do"] == "spawn":
            try:
                self._say(event="spawned", id=request["id"], pid=self._spawn(request))
            except (OSError, subprocess.SubprocessError) as err:
                reason = getattr(err, "strerror", None) or type(err).__name__
                self._say(event="failed", id=request["id"], reason=f"{request['argv'][0]}: {reason}")
        elif request["pid"] in self.children:  # not reaped yet, so the number cannot be anybody else's
            os.kill(request["pid"], request["signal"])

    def _spawn(self, request: dict[str, Any]) -> int:
        drop = {"user": request["uid"], "group": request["gid"], "extra_groups": []} if "uid" in request else {}
        guard, server = os.getpid(), request["server"]

        def die_with_guard() -> None:
            # Here, after the change of user, because that change clears the setting.
            _prctl(SET_PDEATHSIG, signal.SIGQUIT if server else signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:
                os._exit(1)

        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_guard,
                **drop,
            )
        finally:
            os.close(log)
        self.children[child.pid] = child
        if server:
            self.servers.add(child.pid)
        return child.pid

    def _reap(self) -> bool:
        """Collect everything that has ended; False when there is no child at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            child = self.children.pop(pid, None)
            self.servers.discard(pid)
            if child is not None:
                child.returncode = os.waitstatus_to_exitcode(status)
                self._say(event="exited", pid=pid, code=child.returncode)

    def _say(self, **event: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, json.dumps(event).encode() + b"\n")

    def _end_all(self) -> None:
        """End servers, tools and whatever they left, then delete the data."""
        for pid in list(self.children):
            os.kill(pid, signal.SIGQUIT if pid in self.servers else signal.SIGKILL)
            os.kill(pid, signal.SIGCONT)  # a stopped server would never see the request
        deadline = time.monotonic() + GRACE_SECONDS
        while self._reap():
            if time.monotonic() > deadline:
                for pid in _children_of(os.getpid()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        delete(self.root)


def delete(tree: str | os.PathLike[str]) -> None:
    """Delete a directory, as far as possible, also when the directory of some cluster's WAL was closed in it."""
    for directory, names, _files in os.walk(tree):
        if "pg_wal" in names:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(directory, "pg_wal"), 0o700)
            names.clear()  # there is no other one inside a data directory
    shutil.rmtree(tree, ignore_errors=True)


def _children_of(parent: int) -> list[int]:
    """Return the direct children of a process; orphans come to us as their parents die, so repeat until none."""
    found = []
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                if int(stat.read().rpartition(b")")[2].split()[1]) == parent:
                    found.append(int(entry))
    return found


if __name__ == "__main__":
    Guard(sys.argv[1]).serve()
