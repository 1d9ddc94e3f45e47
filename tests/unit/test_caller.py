# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the caller has said on play, block, role or include is not weakened by a task of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/**/*.yml")])
# A keyword replaces what an outer level has said, so it may only ask for more of the same.
STRONGER = {"check_mode": [True], "no_log": [True], "diff": [], "module_defaults": [], "ignore_unreachable": []}


def keywords(node: Any, where: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every key of every dictionary, at any depth."""
    if isinstance(node, dict):
        where = f"{where}/{node.get('name', '')}"
        for key, value in node.items():
            yield where, key, value
            yield from keywords(value, where)
    elif isinstance(node, list):
        for item in node:
            yield from keywords(item, where)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_keyword_weakens_the_callers(path):
    if path.name == "argument_specs.yml":
        return
    for where, key, value in keywords(yaml.safe_load(path.read_text())):
        assert key not in STRONGER or value in STRONGER[key], f"{where}: {key}: {value}"
        if key == "tags":
            assert value == ["always"] and "Refuse --tags and --skip-tags" in where, (
                f"{where}: only the assert may run always"
            )


@pytest.mark.parametrize("path", [*FILES, *ROOT.glob("roles/**/*.j2")], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_mode_is_not_read(path):
    text = path.read_text()
    assert "ansible_check_mode" not in text, "it mirrors the command line alone, not the play or the block"
    assert "ansible_diff_mode" not in text
    assert "roles" not in path.parts or "default(omit, true)" not in text, "it drops false and 0"


def test_every_playbook_runs_all_or_nothing():
    for path in ROOT.glob("playbooks/*.yml"):
        for play in yaml.safe_load(path.read_text()):
            first = play["pre_tasks"][0]
            assert first["ansible.builtin.import_tasks"] == "tasks/whole.yml", path
            assert first["tags"] == ["always"], path
