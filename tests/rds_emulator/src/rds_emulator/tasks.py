# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes on in the background after a request was accepted: dry runs, creation of links, promotions and rebuilds.

An instance that a task works on is `busy`: no second task starts there, and nobody deletes it. A task that finds its
instance `gone` stops before its next stage, so a deleted instance is never started again.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

from .engine import Check, Engine, EngineError, SourceLogin
from .faults import Faults
from .models import MASK, Instance, Link, Task, timestamp
from .store import Store

STREAMING_TIMEOUT = 60.0  # seconds for a started standby to stream
CREATING = "GuardDBInstanceCreating"  # DBInstanceStatus while a link is made (instance-state-table)
PROMOTING = "GuardSwitching"  # ASSUMED: the status during a promotion is not documented


class Tasks:
    """Runs work in threads, one thread per busy instance."""

    def __init__(self, store: Store, engine: Engine, faults: Faults) -> None:
        self._store, self._engine, self._faults = store, engine, faults

    def start(self, instance: Instance, status: str | None, work: Callable[[], None]) -> None:
        """Run `work` in the background; the instance is busy, and in `status`, till it ends. Hold the lock."""
        instance.busy = True
        instance.status = status or instance.status

        def run() -> None:
            try:
                work()
            except EngineError as error:
                print(f"task on {instance.id}: {error}", file=sys.stderr)
            except Exception as error:
                print(f"{type(error).__name__}, text withheld:", file=sys.stderr)  # it may quote a parameter
                traceback.print_tb(error.__traceback__)
            finally:
                with self._store.change():
                    instance.busy = False
                    if instance.status == status:
                        instance.status = "Running"
                with self._store.idle:
                    self._store.idle.notify_all()

        threading.Thread(target=run, name=f"task-{instance.id}", daemon=True).start()

    def dry_run(self, instance: Instance, task: Task) -> None:
        """Run the prechecks and nothing else."""
        self._attempt(instance, task, lambda: self._precheck(instance, task))

    def create(self, instance: Instance, task: Task) -> None:
        """Check, copy, start and wait until the instance streams; whatever fails leaves it empty and running."""

        def work() -> None:
            self._precheck(instance, task)
            try:
                self._follow(instance, task.link, task)
            except BaseException:
                if not instance.gone.is_set():
                    self._engine.cancel(instance.id)
                raise

        self._attempt(instance, task, work)

    def rebuild(self, instance: Instance, link: Link) -> None:
        """Copy the source again and start over as its standby; the link stays, whatever happens."""
        self._follow(instance, link, None)

    def promote(self, instance: Instance) -> None:
        """Promote the instance, then forget its link. If promotion fails the link is still there."""
        self._begin(instance, "promote", "promote")
        self._engine.promote(instance.id)
        with self._store.change():
            instance.link, instance.type = None, "Primary"

    def _attempt(self, instance: Instance, task: Task, work: Callable[[], None]) -> None:
        try:
            work()
        except EngineError as error:
            self._finish(task, "failure", str(error))
        except BaseException:
            self._finish(task, "failure", "internal error")
            raise
        else:
            self._finish(task, "success", "")

    def _finish(self, task: Task, status: str, failure: str) -> None:
        with self._store.change():
            task.status, task.failure, task.modified = status, failure, timestamp()

    @contextmanager
    def _stage(self, instance: Instance, task: Task | None, stage: str) -> Any:
        if task:
            with self._store.change():
                task.stage, task.modified = stage, timestamp()
        self._begin(instance, stage, task.type if task else "rebuild")
        yield

    def _begin(self, instance: Instance, stage: str, task_type: str) -> None:
        """Let a fault have its way with a stage that begins on this instance."""
        self._faults.at_stage(stage, instance.id, task_type, instance.gone.is_set)
        if instance.gone.is_set():
            raise EngineError("the instance was deleted")

    def _precheck(self, instance: Instance, task: Task) -> None:
        with self._stage(instance, task, "precheck"):
            room = instance.storage_gb << 30
            checks = self._engine.precheck(instance.id, login(task.link), room, task.link.category == "aliyunRDS")
        with self._store.change():
            task.checks = checks
        if any(check.result == "error" for check in checks):
            raise EngineError("")  # the report says it all

    def _follow(self, instance: Instance, link: Link, task: Task | None) -> None:
        with self._stage(instance, task, "basebackup"):
            self._engine.base_backup(instance.id, login(link), lambda done, total: None)
        with self._stage(instance, task, "startup"):
            self._engine.start_standby(instance.id)
        with self._stage(instance, task, "increment"):
            self._engine.wait_streaming(instance.id, STREAMING_TIMEOUT)
        if task:
            with self._store.change():
                link.task_id, instance.link = task.id, link


def login(link: Link) -> SourceLogin:
    """Return how a link's DR instance reaches its source."""
    return SourceLogin(link.source_address, link.source_port, link.account, link.password)


def detail(task: Task, quirks: Mapping[str, Any]) -> str:
    """Return a finished task's report, in the form of DescribeReplicationLinkLogs' `Detail` example."""
    if task.status == "running":
        return ""
    lines: list[str] = []
    section = ""
    for check in task.checks:
        if check.section != section:
            section = check.section
            lines.append(f"[{section}]")
        lines.append(f"{check.name}: {_result(check, task.link, quirks)}")
    passed = bool(task.checks) and all(check.result != "error" for check in task.checks)
    if task.checks:
        lines.append("*Migrate check success*" if passed else "*Migrate check failure*")
    if task.failure:
        lines += [f"[Task {task.stage}]", f"{task.stage}: error(error:{_one_line(task.failure)})"]
    return ("\\n" if quirks["detail_newline"] == "literal" else "\n").join(lines)


def _result(check: Check, link: Link, quirks: Mapping[str, Any]) -> str:
    if check.result == "success":
        return check.result
    note = check.note
    if quirks["detail_credentials"] == "masked":
        # "cannot connect to source database by user:password" is documented (document_detail/366546.html)
        note = note.replace(f"{link.account}:{link.password}", f"{link.account}:{MASK}")
    return f"{check.result}({check.result}:{_one_line(note)})"


def _one_line(text: str) -> str:
    return " ".join(text.split())
