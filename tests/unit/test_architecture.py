"""The arrows between the files of plugins/ point down only; this test reads the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
OURS = "ansible_collections.alicloud.rds"

# A file imports only from lower floors. A new helper has to be given its floor here.
FLOORS = {
    "modules": 7,
    "action": 7,
    "inventory": 7,
    "filter": 7,
    "_door": 6,
    "_progress": 5,
    "_answer": 6,
    "_operation": 5,
    "_failover": 4,
    "_replication_link": 3,
    "_instances": 3,
    "_topology": 3,
    "_api_check": 4,
    "_api_findings": 3,
    "_client": 2,
    "_reading": 2,
    "_credentials": 1,
    "_official": 0,
    "_profiles": 0,
    "_endpoints": 1,
    "_patience": 1,
    "_precheck": 1,
    "_arguments": 0,
    "_errors": -2,
    "_refusals": -1,
    "_secrets": 0,
    "_signature": 0,
}
# Where the outside world may come in, besides the standard library.
ALLOWED = {
    "ansible": {"modules", "action", "inventory", "filter", "_door", "_progress", "_operation", "_arguments"},
    "requests": {"_client"},
    "alibabacloud_credentials": {"_official"},
}

FOLDERS = ("modules", "action", "inventory", "filter", "plugin_utils", "module_utils")
SOURCES = sorted(path for folder in FOLDERS for path in PLUGINS.glob(f"{folder}/*.py") if path.name != "__init__.py")


def imports(path: Path) -> set[str]:
    """All names that a file imports, wherever in it; `from a.b import c` counts as a.b.c."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def room(folder: str, name: str) -> str:
    """Helpers live on floors of their own, the plugins of one kind share one."""
    return name if folder.endswith("_utils") else folder


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_arrows_point_down(path):
    here = room(path.parent.name, path.stem)
    assert here in FLOORS, f"give {here} its floor"
    for name in imports(path):
        assert not name.startswith("."), f"{name}: a relative import"
        if name.startswith(f"{OURS}.plugins."):
            there = room(*name.removeprefix(f"{OURS}.plugins.").split(".")[:2])
            assert FLOORS[there] < FLOORS[here], f"{there} is not below {here}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_outside_world_comes_in_at_its_door(path):
    here = room(path.parent.name, path.stem)
    for package in {name.split(".")[0] for name in imports(path)} & ALLOWED.keys():
        assert here in ALLOWED[package], f"{here} must not import {package}"


def test_emulator_and_collection_share_no_code():
    for path in (ROOT / "tests" / "rds_emulator").rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("ansible")], path
    for path in PLUGINS.rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("tests")], path


def test_action_group_names_every_module():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["all"] == sorted(path.stem for path in PLUGINS.glob("modules/[!_]*.py"))


def test_every_action_plugin_has_its_module():
    actions = {path.stem for path in PLUGINS.glob("action/[!_]*.py")}
    assert actions <= {path.stem for path in PLUGINS.glob("modules/*.py")}
