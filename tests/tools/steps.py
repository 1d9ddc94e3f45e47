"""Run targets of the Makefile, two at a time, and sum up: usage: steps.py TARGET...

The output of a step is shown when it ends, whole. All steps run, whatever fails. Nothing is left running, neither
after an interrupt nor by a step that has ended.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CORES = 2
LIMIT = 15 * 60  # seconds; no step takes more than a few minutes
LOGS = Path(".build/steps")
running: set[subprocess.Popen[bytes]] = set()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End all processes of a step: an interrupt first, which lets pytest tidy up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        os.killpg(process.pid, signal.SIGKILL)


def run(name: str) -> tuple[str, float, str]:
    """Run one step and show it; return its name, its seconds and its verdict."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {"SETUP_DONE": "1", "NO_COLOR": "1"}
    log, start = LOGS / f"{name}.log", time.monotonic()
    command = ["make", "--silent", "--no-print-directory", name]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    running.add(process)
    try:
        verdict = "passed" if process.wait(LIMIT) == 0 else "FAILED"
    except subprocess.TimeoutExpired:
        verdict = f"FAILED: stopped after {LIMIT} s"
    stop(process)
    running.discard(process)
    seconds = time.monotonic() - start
    text = f"\n===== {name}: {verdict} after {seconds:.0f} s\n".encode() + log.read_bytes()
    sys.stdout.buffer.write(text)  # in one piece: two steps may end together
    sys.stdout.flush()
    return name, seconds, verdict


def main(names: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    LOGS.mkdir(parents=True, exist_ok=True)
    start, pool = time.monotonic(), ThreadPoolExecutor(CORES)
    try:
        done = list(pool.map(run, names))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            stop(process)
        raise
    print(f"\n===== summary, {time.monotonic() - start:.0f} s")
    for name, seconds, verdict in done:
        print(f"{name:14} {seconds:4.0f} s  {verdict}")
    failed = [name for name, _seconds, verdict in done if verdict != "passed"]
    print(f"{len(done) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
