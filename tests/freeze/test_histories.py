# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kept histories of the model, run in lockstep with the service, so that they end alike on every machine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from rds_emulator.client import Emulator
from tests.freeze.draw import FILE, PASSWORDS, Step
from tests.freeze.recorder import from_journal, frozen
from tests.model import test_model
from tests.model.conftest import world
from tests.model.test_model import DEFAULTS, DR, INFO_DEFAULTS, OUR_KEY, PATIENCE, History

__all__ = ["world"]  # a fixture
HISTORIES: list[list[Step]] = json.loads(FILE.read_text(encoding="utf-8"))
SECRET_OF = {name: secret for secret, name in PASSWORDS.items()}
FOR_GOOD = 3600.0  # seconds that reads are behind


class Lockstep(History):
    """Time passes only while a run pauses, and the service is at rest whenever a request comes."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.between()
        self.now += seconds

    def between(self) -> None:
        self.come_to_rest()
        super().between()
        self.come_to_rest()

    def rest(self, late: bool = True) -> None:
        self.come_to_rest()
        super().rest(late)

    def come_to_rest(self) -> None:
        """Wait until each task has ended, or is held."""
        deadline = time.monotonic() + PATIENCE
        while busy := {name for name, instance in self.rds.state()["instances"].items() if instance["busy"]}:
            if busy == {DR} and any(rule["fault"] == "hold" and rule["hits"] for rule in self.rds.faults()):
                return
            assert time.monotonic() < deadline, f"{busy} do not come to rest"
            time.sleep(0.001)

    def set_lag(self) -> None:
        """Reads never catch up: after how many of them they would depends on the machine."""
        self.lag = FOR_GOOD
        self.rds.add_fault(fault="lag", seconds=FOR_GOOD)

    def operate(self, operation: Any, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        reads = operation is INFO
        defaults = INFO_DEFAULTS if reads else DEFAULTS
        return frozen(
            lambda: super(Lockstep, self).operate(operation, options, check_mode),
            module="replication_link_info" if reads else "replication_link",
            options={name: value for name, value in options.items() if value != defaults.get(name)},
            check_mode=check_mode,
            requests=self.requests,
        )

    def requests(self) -> list[str]:
        ours = OUR_KEY["access_key_id"]
        return from_journal([row for row in self.rds.journal() if row["access_key_id"] == ours])


@pytest.mark.parametrize("number", range(len(HISTORIES)))
def test_a_history(world: Emulator, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_model, "event", lambda _text: None)  # statistics of hypothesis, which does not run here
    history = Lockstep(world)
    try:
        for rule, drawn in HISTORIES[number]:
            values = {name: SECRET_OF[value] if name == "password" else value for name, value in drawn.items()}
            getattr(history, rule)(**values)
    finally:
        history.teardown()
