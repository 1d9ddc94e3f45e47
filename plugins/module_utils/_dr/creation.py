# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one CreateReplicationLink of a run, or its dry run: refuse an unfit instance, send, and never send twice.

The API has no ClientToken, so "exactly once" is made here: one create at the most is sent that may have been
committed, and where its outcome is not known the state is read again instead of repeating it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import PERHAPS_ANOTHER_RUN, RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps, Waiter
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import (
    DRY_RUN,
    Caller,
    DrInstanceState,
    Source,
    Task,
    as_integer,
    as_text,
    comparable,
    read_state,
    read_tasks,
    unreadable,
)

# A link exists: another run may have been faster.
_PERHAPS_ANOTHER_RUN = PERHAPS_ANOTHER_RUN | {"MirrorInsExists"}
_BUSY = ("IncorrectDBInstanceState", "InvalideStatus.Format")


class Creation:
    """A create of the link of `source` on the instance that was read as `before`.

    :param parameters: what is sent; whether it is a dry run stands there, in DryRun
    """

    def __init__(
        self, client: Caller, waiter: Waiter, before: DrInstanceState, source: Source, parameters: Mapping[str, str]
    ) -> None:
        self._client, self._waiter = client, waiter
        self._before, self._source, self._parameters = before, source, parameters
        self._is_dry_run = parameters["DryRun"] == "true"

    def reject_unfit_instance(self) -> None:
        """Refuse an instance that cannot become a DR instance, before anything is sent."""
        state, source = self._before, self._source
        name, instance = state.instance_id, state.instance
        engine, kind, lock = (as_text(instance.get(key)) for key in ("Engine", "DBInstanceType", "LockMode"))
        reason = None
        if engine and engine.lower() != "postgresql":
            reason = f"its engine is {engine}, not PostgreSQL"
        elif kind in ("Readonly", "Temp"):
            reason = f"it is a {kind} instance, not a primary one"
        elif lock and lock != "Unlock":
            reason = f"it is locked ({lock})"
        elif name == source.instance_name:
            reason = "it is the source itself (source_instance_name)"
        elif source.address and source.address_and_port() == _own_endpoint(instance):
            reason = "source_address and source_port are its own endpoint"
        if reason:
            raise RdsError("InstanceUnfit", f"{name} cannot become the DR instance: {reason}. Nothing was sent.")
        if state.is_busy:
            raise RdsError("InstanceBusy", f"{name} is {state.status}, not Running. Nothing was sent.")

    def start(self) -> Steps[tuple[dict[str, Any] | DrInstanceState, bool]]:
        """Send it; return its answer, or the state if a link or its task appeared, and whether it may be our doing.

        :raises RdsError: it was refused, or whether it was carried out is not known
        """
        try:
            answer = yield from self._create_when_free()
            if isinstance(answer, DrInstanceState):
                return answer, False
            return {**answer, "TaskId": _task_id(answer)}, True
        except RdsError as error:
            if self._is_dry_run:
                raise
            found = yield from self._waiter.recover(error, self._appeared, _PERHAPS_ANOTHER_RUN, self._doubt())
            return found, error.outcome == "unknown"

    def _create(self) -> dict[str, Any]:
        """Send CreateReplicationLink: the only place that does."""
        return self._client.call("CreateReplicationLink", self._parameters, repeatable=self._is_dry_run)

    def _create_when_free(self) -> Steps[dict[str, Any] | DrInstanceState]:
        """Create; give an instance on which something else works the settle time to become free, or a link to appear.

        A refusal because of the instance's state did nothing, so sending it again makes no second one.
        """
        refusals: list[RdsError] = []
        elapsed = self._waiter.stopwatch()

        def attempt() -> dict[str, Any] | DrInstanceState | None:
            try:
                return self._create()
            except RdsError as error:
                is_over = elapsed() >= self._waiter.settle_timeout
                if error.code not in _BUSY or error.outcome != "refused" or is_over:
                    raise
                refusals.append(error)
            if found := self._appeared():
                return found
            if self._is_dry_run and (same := self._running_dry_run()):
                return {"TaskId": same.task_id, "TaskName": same.task_name, "RequestId": self._client.last_request_id}
            return None

        steps: Steps[dict[str, Any] | DrInstanceState | None] = self._waiter.settle(attempt)
        answer = yield from steps
        if answer is None:
            raise refusals[-1]
        return answer

    def _running_dry_run(self) -> Task | None:
        """Return a dry run of this very link that is under way: another run's, or ours, its reply lost."""
        tasks = read_tasks(self._client, self._before.instance_id, DRY_RUN)
        alike = (task for task in tasks if task.status == "running" and not self._source.differences(task.source))
        return next(alike, None)

    def _appeared(self) -> DrInstanceState | None:
        """Read whether a link or a task of one has come since it was read before."""
        state = read_state(self._client, self._before.instance_id)
        known = {task.task_id for task in self._before.tasks}
        is_new = state.newest is not None and state.newest.task_id not in known
        return state if state.source or is_new else None

    def _doubt(self) -> str:
        return (
            f"Whether the link of {self._before.instance_id} is being created is not known: neither its task log nor "
            f"the instance showed a new task in {self._waiter.settle_timeout:g} s. The create was not repeated; "
            "running the same play again reads first, and adopts what it finds."
        )


def _task_id(answer: Mapping[str, Any]) -> int:
    """Return the id of the task that a create has started."""
    number = as_integer(answer.get("TaskId"))
    if number is None:
        raise unreadable("CreateReplicationLink", "no TaskId in its answer", "unknown")
    return number


def _own_endpoint(instance: dict[str, Any]) -> tuple[Any, int | None]:
    return comparable(as_text(instance.get("ConnectionString"))), as_integer(instance.get("Port"))
