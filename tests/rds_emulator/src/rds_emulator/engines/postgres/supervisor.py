# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our end of the guard: the data root, the account that runs PostgreSQL, and processes as objects."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import IO, Any

from ...engine import EngineError
from .guard import delete

PREFIX = "rds-emulator-"
LOCK = ".rds-emulator-lives"
ENOUGH_BYTES = 1 << 30
GRACE_SECONDS = 3.0
SHARED_MEMORY = Path("/dev/shm")


class Process:
    """A child of the guard.

    Its number is never somebody else's: only the guard signals, and only what it has not reaped.
    """

    def __init__(self, supervisor: Supervisor, pid: int) -> None:
        self._supervisor = supervisor
        self.pid = pid
        self.exit: Future[int] = Future()

    @property
    def running(self) -> bool:
        """True until the guard has seen it end."""
        return not self.exit.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        with contextlib.suppress(EngineError):
            self._supervisor.request({"do": "signal", "pid": self.pid, "signal": int(number)})

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code (negative: the signal), or None when it still runs after `timeout` seconds."""
        try:
            return self.exit.result(timeout)
        except FutureTimeoutError:
            return None


class Supervisor:
    """Owns the data root and the guard process."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = (parent or _default_parent()).resolve()
        sweep(parent)
        self.account = _account()
        # Others may pass through (the dropped account has to), but see no names; what is inside is closed to them.
        try:
            self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        except OSError as err:
            raise EngineError(f"cannot make a directory in {parent}: {err.strerror}") from err
        self.root.chmod(0o711)
        self._alive = _hold_lock(self.root)
        self._lock = threading.Lock()  # for the tables below; never held while writing, so the reader always gets on
        self._pipe = threading.Lock()
        self._spawns: dict[int, Future[Process]] = {}
        self._processes: dict[int, Process] = {}
        self._last_id = 0
        self._ended = False
        # -I -S: nothing of the environment, no site-packages; its own session: Ctrl-C and group kills do not reach it.
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=self.root,  # the sweep knows our processes by where they are
        )
        self._reader = threading.Thread(target=self._read, name="guard-reader", daemon=True)
        self._reader.start()
        try:
            self._check_reachable(parent)
        except EngineError:
            self.close()
            raise

    def spawn(self, argv: Sequence[str], *, log: Path, server: bool = False) -> Process:
        """Start a program as the database account, its output appended to `log`; EngineError when it cannot start.

        Nothing of our environment is handed on: it may hold cloud keys.
        """
        spawned: Future[Process] = Future()
        with self._lock:
            self._last_id += 1
            number = self._last_id
            self._spawns[number] = spawned
        request: dict[str, Any] = {"do": "spawn", "id": number, "argv": list(argv), "log": str(log), "server": server}
        request["env"] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        request["cwd"] = str(self.root)
        if self.account is not None:
            request.update(uid=self.account.pw_uid, gid=self.account.pw_gid)
        try:
            self.request(request)
            return spawned.result(60)
        except FutureTimeoutError:
            raise EngineError("the guard process does not answer") from None
        finally:
            with self._lock:
                self._spawns.pop(number, None)

    def run(self, argv: Sequence[str], *, log: Path, timeout: float = 120) -> None:
        """Run a tool to its end; EngineError with its last words when it fails or takes over `timeout` seconds."""
        log.unlink(missing_ok=True)
        process = self.spawn(argv, log=log)
        code = process.wait(timeout)
        if code is None:
            process.signal(signal.SIGKILL)
            raise EngineError(f"{Path(argv[0]).name} did not end within {timeout:g} s")
        if code != 0:
            raise EngineError(f"{Path(argv[0]).name} failed ({code}): {tail(log)}")

    def make_directory(self, path: Path) -> Path:
        """Make a directory that only the database account can enter."""
        try:
            path.mkdir(mode=0o700)
            self._give(path)
        except OSError as err:
            raise EngineError(f"cannot make {path}: {err.strerror}") from err
        return path

    def write(self, path: Path, text: str) -> None:
        """Write a file that only the database account can read, in one step."""
        new = path.with_name(path.name + ".new")
        try:
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            self._give(new)
            new.replace(path)
        except OSError as err:
            raise EngineError(f"cannot write {path}: {err.strerror}") from err

    def request(self, message: Mapping[str, Any]) -> None:
        """Send one line to the guard; EngineError when it has gone."""
        assert self._guard.stdin is not None
        with self._pipe:
            try:
                if self._ended:
                    raise BrokenPipeError
                self._guard.stdin.write(json.dumps(message).encode() + b"\n")
                self._guard.stdin.flush()
            except (OSError, ValueError):
                raise EngineError("the guard process has ended, and every PostgreSQL with it") from None

    def close(self) -> None:
        """End everything and delete the root. Closing the pipe is the order; a guard that does not obey is killed."""
        assert self._guard.stdin is not None
        with self._pipe, contextlib.suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(20)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._reader.join(5)
        if self._guard.stdout is not None:
            self._guard.stdout.close()
        _remove(self.root)
        self._alive.close()

    def _read(self) -> None:
        """Turn the guard's events into futures, until it ends."""
        assert self._guard.stdout is not None
        for line in self._guard.stdout:
            event = json.loads(line)
            if event["event"] == "exited":
                process = self._processes.pop(event["pid"])
                process.exit.set_result(event["code"])
                continue
            with self._lock:
                spawned = self._spawns.pop(event["id"], Future())
            if event["event"] == "failed":
                spawned.set_exception(EngineError(f"cannot start {event['reason']}"))
            else:
                process = self._processes[event["pid"]] = Process(self, event["pid"])
                spawned.set_result(process)
        self._ended = True
        with self._lock:
            waiting = list(self._spawns.values())
        for spawned in waiting:
            spawned.set_exception(EngineError("the guard process has ended, and every PostgreSQL with it"))
        for process in self._processes.values():
            process.exit.set_result(-signal.SIGQUIT)

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _check_reachable(self, parent: Path) -> None:
        if self.account is None:
            return
        probe = self.spawn(["/bin/ls", "-d", f"{self.root}/."], log=self.root / "probe.log")
        if probe.wait(30) != 0:
            raise EngineError(
                f"the account {self.account.pw_name}, which runs PostgreSQL for root, cannot enter {parent}"
            )


def sweep(parent: Path) -> None:
    """Delete the roots under `parent` whose emulator is gone, with whatever still runs in them.

    An emulator holds a lock on its root, which the kernel releases however it dies (true across containers that share
    a directory, where process numbers mean nothing).
    """
    for root in parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            # No lock: being made or being deleted at this moment. Not ours: another user's to sweep.
            if root.is_symlink() or root.stat().st_uid != os.geteuid():
                continue
            with open(os.open(root / LOCK, os.O_RDWR | os.O_NOFOLLOW), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(root)


def _remove(root: Path) -> None:
    """Delete a root and end what still runs in it: a guard or server that was stopped when the emulator was killed."""
    begun = time.monotonic()
    while left := _inhabitants(root):
        for pid, program in left:
            with contextlib.suppress(OSError):
                # A server that may end by itself takes its shared memory along.
                kill = program == "guard" or time.monotonic() - begun > GRACE_SECONDS
                os.kill(pid, signal.SIGKILL if kill else signal.SIGQUIT)
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
        if time.monotonic() - begun > 2 * GRACE_SECONDS:
            break
    delete(root)


def _inhabitants(root: Path) -> list[tuple[int, str]]:
    """Return the guard and the servers whose directory is inside a root."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if root in ((process / "cwd").readlink() / "x").parents:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                if any(argument.endswith(b"/guard.py") for argument in arguments):
                    found.append((int(process.name), "guard"))
                elif os.path.basename(arguments[0]).startswith(b"postgres"):
                    found.append((int(process.name), "postgres"))
    return found


def tail(log: Path, lines: int = 4) -> str:
    """Return the last lines of a log on one line, for an error message."""
    with contextlib.suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace")
        return " | ".join(line for line in text.strip().splitlines()[-lines:] if line.strip())
    return "no output"


def _hold_lock(root: Path) -> IO[bytes]:
    # Under another name first: a sweep in between would find a root with a lock that nobody holds.
    lock = open(root / "new", "xb")  # noqa: SIM115 - held as long as we live
    fcntl.flock(lock, fcntl.LOCK_EX)
    (root / "new").rename(root / LOCK)
    return lock


def _default_parent() -> Path:
    """Return /dev/shm if it has room (Docker gives it 64 MB), else the temp directory."""
    room = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free > ENOUGH_BYTES
    # Only root may have to run a copy of PostgreSQL from there, see install.py.
    runs = os.geteuid() != 0 or (room and not os.statvfs(SHARED_MEMORY).f_flag & os.ST_NOEXEC)
    return SHARED_MEMORY if room and runs else Path(tempfile.gettempdir())


def _account() -> pwd.struct_passwd | None:
    """Return the account that PostgreSQL, which refuses root, runs as; None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EngineError("PostgreSQL refuses to run as root, and there is neither an account 'postgres' nor 'nobody'")
