# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user of the package gets: the fixture `rds`, its marker, and a link to begin with."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rds_emulator import Emulator, EmulatorError
from rds_emulator.control import Control
from rds_emulator.seed import QUIRKS
from tests.unit.emulator.api_helper import KEY, SEED, Caller

README = Path(__file__).parents[2] / "rds_emulator" / "README.md"
DR = "pgm-dr000000000001"


@pytest.mark.parametrize("visit", [1, 2])
def test_each_test_finds_the_emulator_as_new(rds: Emulator, visit: int) -> None:
    state = rds.state()
    assert (state["tasks"], state["replication"], rds.journal(), rds.faults()) == ([], {}, [], [])
    assert state["quirks"]["task_ids"] == "growing"
    assert state["instances"].keys() == {DR, "pgm-src00000000001"}
    rds.link(DR, "onprem")
    rds.add_instance(id=f"pgm-{visit}")
    rds.set_quirks(task_ids="falling")
    rds.add_fault(fault="lost")


@pytest.mark.seed({**SEED, "limits": {"DescribeRegions": "1 per minute"}})
@pytest.mark.parametrize("visit", [1, 2])
def test_a_seed_brings_its_keys_and_each_test_its_own_flow_limit(rds: Emulator, visit: int) -> None:
    assert rds.environment["ALIBABA_CLOUD_ACCESS_KEY_ID"] == KEY["access_key_id"]
    assert rds.environment["ALIBABA_CLOUD_RDS_ENDPOINT"] == rds.endpoint
    assert rds.instances.keys() == {instance["id"] for instance in SEED["instances"]}
    caller = Caller(rds, KEY)
    assert [caller("DescribeRegions")[0] for _unused in range(2)] == [200, 400]
    caller.close()


def test_a_reset_without_a_seed_stays_with_the_last_one(rds: Emulator) -> None:
    rds.reset(SEED)
    rds.reset()
    assert rds.sources.keys() == {"onprem"}
    assert "rm-mysql" in rds.instances


def test_a_mistake_in_a_seed_changes_nothing(rds: Emulator, tmp_path: Path) -> None:
    rds.link(DR, "onprem")
    broken = tmp_path / "broken.yml"
    broken.write_text("keys: [", "utf-8")
    for seed, names in (
        ({"keys": []}, "keys"),
        ({**SEED, "kyes": 1}, "kyes"),
        (broken, "not YAML"),
        ("none.yml", "read"),
    ):
        with pytest.raises(EmulatorError, match=names):
            rds.reset(seed)
    assert rds.state()["replication"][DR]["state"] == "streaming"


def test_a_link_to_begin_with(rds: Emulator) -> None:
    rds.link(DR, "pgm-src00000000001")
    assert rds.state()["instances"][DR]["link"]["source_instance"] == "pgm-src00000000001"
    assert rds.journal() == []
    with pytest.raises(EmulatorError, match="MirrorInsExists"):
        rds.link(DR, "onprem")
    with pytest.raises(EmulatorError, match="nowhere"):
        rds.link(DR, "nowhere")
    with pytest.raises(EmulatorError, match="no account"):
        rds.link("pgm-src00000000001", DR)


def test_why_a_link_does_not_come_is_said_without_its_password(rds: Emulator) -> None:
    rds.add_source(name="weak", accounts=[{"name": "dr_sync", "password": "hunter22", "attributes": ["NOLOGIN"]}])
    with pytest.raises(EmulatorError, match="Check database connectable: error") as failure:
        rds.link(DR, "weak")
    assert "hunter22" not in str(failure.value)


def test_what_is_missing_for_an_engine_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "pg8000.py").write_text("raise ModuleNotFoundError(name='pg8000')\n", "utf-8")
    command = [sys.executable, "-m", "rds_emulator", "--engine", "postgres"]
    ended = subprocess.run(
        command, cwd="/", env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False
    )
    says = "the emulator cannot start: pg8000 is missing: pip install 'rds-emulator[postgres]'\n"
    assert (ended.returncode, ended.stderr) == (1, says)


def test_the_readme_has_every_quirk_with_its_values() -> None:
    rows = re.findall(
        r"(?m)^\| `(\w+)`: \*\*([\w.]+)\*\*(?: \(404\))?, ([\w.]+)(?: \(400\))? \| quirk \|", README.read_text("utf-8")
    )
    shown = {name: tuple(str(value).removesuffix("()") for value in values) for name, *values in rows}
    assert shown == {
        name: tuple(str(value).lower() if isinstance(value, bool) else value for value in values)
        for name, values in QUIRKS.items()
    }


def test_the_readme_has_every_control_request() -> None:
    listed = re.findall(r"`((?:GET|POST|DELETE) \w+)", README.read_text("utf-8").partition("## Control API")[2])
    served = {name[1:] for name in vars(Control) if re.match(r"_(get|post|delete)_", name)}
    assert {line.lower().replace(" ", "_") for line in listed} == served
