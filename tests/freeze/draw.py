# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Draw the histories that tests/freeze/test_histories.py runs, from the rules of the model, into drawn.json.

They are drawn once and kept, so that they are the same everywhere, whatever a later hypothesis would draw. When the
rules of the model have changed, `make freeze RECORD=new` draws others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.model.test_model import EXAMPLES, PASSWORD, SEED, STEPS, WRONG_PASSWORD, History

FILE = Path(__file__).with_name("drawn.json")
LEFT_OUT = {
    "delay": "whether a client has given up when a late answer comes depends on the machine; the fault matrix has it",
}

PASSWORDS = {PASSWORD: "<right>", WRONG_PASSWORD: "<wrong>"}

Step = tuple[str, dict[str, Any]]  # a rule, and what was drawn for it


def draw() -> list[list[Step]]:
    """Return histories that differ from each other."""
    drawn: dict[str, list[Step]] = {}
    machine = History.setup_state()

    @seed(SEED)
    @settings(
        max_examples=4 * EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def history(data: st.DataObject) -> None:
        rules = [*machine.initializers, *(data.draw(st.sampled_from(machine.rules)) for _unused in range(STEPS))]
        steps = [
            (rule.function.__name__, {name: data.draw(values) for name, values in sorted(rule.arguments.items())})
            for rule in rules
        ]
        for _rule, values in steps:
            values.update({name: PASSWORDS[value] for name, value in values.items() if name == "password"})
        text = json.dumps(steps)
        if not any(f'"fault": "{fault}"' in text for fault in LEFT_OUT):
            drawn[text] = steps

    history()
    return list(drawn.values())[:EXAMPLES]


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(steps, sort_keys=True, separators=(",", ":")) for steps in draw())
    FILE.write_text(f"[{lines}]\n", encoding="utf-8")
