# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start an emulator as a child process and drive it, from tests or a demonstration.

with Emulator(engine="memory") as rds:
    run_something(env={**os.environ, **rds.environment})
    assert len(rds.journal("CreateReplicationLink")) == 1
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from .reading import ReadError
from .seed import load

PAIR = Path(__file__).parent / "seeds" / "pair.yml"
_START = 60.0  # seconds
_STOP = 20.0
_KEPT = 60.0  # that an idle connection is used again; the server closes it after 300


class EmulatorError(RuntimeError):
    """The emulator did not start, or refused a control request; the text says why."""


class Emulator:
    """A running emulator. Start it with `with`, or with start() and stop()."""

    def __init__(
        self,
        seed: str | Path | Mapping[str, Any] = PAIR,
        engine: str = "postgres",
        port: int = 0,
        log_requests: bool = False,
    ) -> None:
        """`seed` is a file or the seed itself; `port` 0 is any free one."""
        self._seed, self._engine, self._port, self._log = seed, engine, port, log_requests
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: list[tuple[int, float, http.client.HTTPConnection]] = []  # of which process, until when
        self.endpoint = ""
        self.environment: dict[str, str] = {}  # what a client needs: endpoint, key, region
        self.instances: dict[str, dict[str, Any]] = {}  # id -> {"host", "port", ...}
        self.sources: dict[str, dict[str, Any]] = {}  # name -> {"host", "port"}

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Emulator:
        """Start and wait until it is ready; EmulatorError, with its stderr, after 60 seconds or if it ends."""
        self._directory = tempfile.TemporaryDirectory(prefix="rds-emulator-client-")
        directory = Path(self._directory.name)
        if isinstance(self._seed, Mapping):
            seed = directory / "seed.json"
            seed.write_text(json.dumps(self._seed), encoding="utf-8")
        else:
            seed = Path(self._seed).resolve()
        ready = directory / "ready.json"
        command = [sys.executable, "-m", "rds_emulator", "--engine", self._engine, "--port", str(self._port)]
        command += ["--seed", str(seed), "--ready-file", str(ready), "--exit-with-stdin"]
        command += ["--log-requests"] if self._log else []
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
            )
        try:
            self._wait(ready)
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self, ready: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START
        while not ready.exists():
            if self._process.poll() is not None:
                raise EmulatorError(f"the emulator ended with status {self._process.returncode}: {self.stderr()}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"the emulator was not ready within {_START:g} seconds: {self.stderr()}")
            time.sleep(0.01)
        place = json.loads(ready.read_text(encoding="utf-8"))
        self.endpoint, self.environment = place["endpoint"], place["environment"]
        self.instances, self.sources = place["instances"], place["sources"]
        self._address = (place["host"], place["port"])

    def stop(self) -> None:
        """Stop it and everything that it started; may be called twice."""
        process, self._process = self._process, None
        while self._idle:
            self._idle.pop()[2].close()
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._directory.cleanup()

    @property
    def running(self) -> bool:
        """True while its process lives."""
        return self._process is not None and self._process.poll() is None

    def stderr(self) -> str:
        """Return what it has written to stderr so far (the last 8,000 characters)."""
        return self._errors.read_text(encoding="utf-8", errors="replace")[-8000:]

    def journal(self, action: str | None = None) -> list[dict[str, Any]]:
        """Return the API requests that arrived (of one action), oldest first, secrets masked."""
        entries: list[dict[str, Any]] = self._call("GET", f"journal?action={quote(action or '')}")
        return entries

    def clear_journal(self) -> None:
        """Forget the requests so far."""
        self._call("DELETE", "journal")

    def report(self) -> dict[str, Any]:
        """Return request counts: total, by action, by error code."""
        counts: dict[str, Any] = self._call("GET", "report")
        return counts

    def add_fault(self, **rule: Any) -> None:
        """Add a fault rule; see faults.py."""
        self._call("POST", "faults", rule)

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules in force, with how often each has hit."""
        rules: list[dict[str, Any]] = self._call("GET", "faults")
        return rules

    def clear_faults(self) -> None:
        """Remove all fault rules; held stages go on."""
        self._call("DELETE", "faults")

    def release(self, instance: str | None = None) -> None:
        """Let held stages (of one instance) go on."""
        self._call("POST", "faults/release", {"instance": instance} if instance else {})

    def add_instance(self, **spec: Any) -> dict[str, Any]:
        """Create an instance as in the seed's `instances`; return its id, host and port."""
        place: dict[str, Any] = self._call("POST", "instances", spec)
        self.instances[place["id"]] = place
        return place

    def add_source(self, **spec: Any) -> dict[str, Any]:
        """Create a source as in the seed's `sources`; return its name, host and port."""
        place: dict[str, Any] = self._call("POST", "sources", spec)
        self.sources[place["name"]] = place
        return place

    def set_instance(self, instance_id: str, **attributes: Any) -> dict[str, Any]:
        """Set status, lock_mode, type, category, storage_gb, deletion_protection, description, or (memory) broken."""
        shown: dict[str, Any] = self._call("POST", f"instances/{quote(instance_id)}", attributes)
        return shown

    def link(self, dr_instance_id: str, source: str) -> None:
        """Link an instance to a source (or instance) as that one's first account; return when it streams.

        It is what a test of a promotion begins with; the journal does not show it.
        """
        self._call("POST", f"instances/{quote(dr_instance_id)}/link", {"source": source})

    def break_link(self, dr_instance_id: str, how: str, **lag: int) -> None:
        """Break the instance's link: refused, wal_removed, disk_full, source_gone or replay_paused.

        With replay_paused the memory engine takes lag_bytes and lag_seconds.
        """
        self._call("POST", f"instances/{quote(dr_instance_id)}/break", {"how": how, **lag})

    def repair_link(self, dr_instance_id: str) -> None:
        """Undo what break_link did, where that is possible; the link comes back by itself."""
        self._call("DELETE", f"instances/{quote(dr_instance_id)}/break")

    def delete_instance(self, instance_id: str) -> None:
        """Remove an instance, waiting for its task to end."""
        self._call("DELETE", f"instances/{quote(instance_id)}")
        self.instances.pop(instance_id, None)

    def delete_source(self, name: str) -> None:
        """Remove a self-managed source."""
        self._call("DELETE", f"sources/{quote(name)}")
        self.sources.pop(name, None)

    def forget_task(self, task_id: int) -> None:
        """Remove a row from the log; its task goes on, and so does a link that it has made."""
        self._call("DELETE", f"tasks/{task_id}")

    def add_key(self, **key: Any) -> None:
        """Add or replace an access key, as in the seed's `keys`."""
        self._call("POST", "keys", key)

    def set_quirks(self, **quirks: Any) -> None:
        """Change quirks, as in the seed's `quirks`, until the next reset."""
        self._call("POST", "quirks", quirks)

    def sql(self, cluster: str, statement: str, database: str = "postgres") -> list[dict[str, Any]]:
        """Run one statement as superuser in an instance or source; return its rows."""
        answer = self._call("POST", "sql", {"cluster": cluster, "statement": statement, "database": database})
        rows: list[dict[str, Any]] = answer["rows"]
        return rows

    def state(self) -> dict[str, Any]:
        """Return instances, sources, tasks and the state of replication, secrets masked."""
        state: dict[str, Any] = self._call("GET", "state")
        return state

    def reset(self, seed: str | Path | Mapping[str, Any] | None = None) -> None:
        """Go back to the seed: same ports, no links, no tasks, no rules, an empty journal.

        `seed`, a file or the seed itself, takes the place of the present one.
        """
        if isinstance(seed, str | Path):
            try:
                seed = load(Path(seed))
            except ReadError as error:
                raise EmulatorError(str(error)) from None
        answer = self._call("POST", "reset", None if seed is None else {"seed": seed})
        self.instances, self.sources = answer["instances"], answer["sources"]
        self.environment = {"ALIBABA_CLOUD_RDS_ENDPOINT": self.endpoint, **answer["environment"]}

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        payload = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer, content = self._exchange(method, f"/_emulator/{path}", payload, headers)
        except OSError as error:
            raise EmulatorError(f"the emulator does not answer ({error}): {self.stderr()}") from None
        if answer.status != 200:
            raise EmulatorError(f"{method} {path}: {content.get('error', answer.status)}")
        return content

    def _connection(self) -> http.client.HTTPConnection:
        """Return an idle connection of this process that is still fresh, else a new one."""
        while self._idle:
            owner, until, connection = self._idle.pop()
            if owner == os.getpid() and time.monotonic() < until:
                return connection
            connection.close()
        return http.client.HTTPConnection(*self._address, timeout=120)

    def _exchange(self, *request: Any) -> tuple[http.client.HTTPResponse, Any]:
        """Send a request; return its answer, and what stands there as JSON."""
        connection = self._connection()
        try:
            connection.request(*request)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except BaseException:
            connection.close()
            raise
        self._idle.append((os.getpid(), time.monotonic() + _KEPT, connection))
        return answer, content
