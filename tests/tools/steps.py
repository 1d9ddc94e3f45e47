"""Run targets of the Makefile, two at a time, and sum up: usage: steps.py TARGET...

The output of a step is shown when it ends, whole. All steps run, whatever fails. Nothing is left running, neither
after an interrupt nor by a step that has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CORES = 2
LIMIT = 15 * 60  # seconds; no step takes more than a few minutes
LOGS = Path(".build/steps")


class Step:
    def __init__(self, name: str) -> None:
        self.name = name
        self.log = LOGS / f"{name}.log"
        self.start = time.monotonic()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["make", "--silent", "--no-print-directory", name],
                env=environment | {"SETUP_DONE": "1", "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        if self.process.poll() is not None:
            self.verdict = "passed" if self.process.returncode == 0 else "FAILED"
        elif time.monotonic() - self.start > LIMIT:
            self.verdict = f"FAILED: stopped after {LIMIT} s"
        else:
            return False
        self.stop()
        self.seconds = time.monotonic() - self.start
        return True

    def stop(self) -> None:
        """End all processes of the step: an interrupt first, which lets pytest tidy up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def report(self) -> None:
        print(f"\n===== {self.name}: {self.verdict} after {self.seconds:.0f} s", flush=True)
        sys.stdout.buffer.write(self.log.read_bytes())
        sys.stdout.flush()


def run(names: list[str]) -> list[Step]:
    waiting, running, done = list(names), [], []
    try:
        while waiting or running:
            while waiting and len(running) < CORES:
                running.append(Step(waiting.pop(0)))
            for step in [step for step in running if step.ended()]:
                running.remove(step)
                done.append(step)
                step.report()
            time.sleep(0.05)
    finally:
        for step in running:
            step.stop()
    return done


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    LOGS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    done = run(sys.argv[1:])
    failed = [step for step in done if step.verdict != "passed"]

    print(f"\n===== summary, {time.monotonic() - start:.0f} s")
    for step in sorted(done, key=lambda step: sys.argv.index(step.name)):
        print(f"{step.name:14} {step.seconds:4.0f} s  {step.verdict}")
    print(f"{len(done) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
