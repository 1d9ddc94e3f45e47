"""The arrows between the files of plugins/ and extensions/ point down only; this test reads the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
EXTENSIONS = ROOT / "extensions/eda/plugins"
OURS = "ansible_collections.alicloud.rds"

# A file imports only from lower floors, the folders, and on its own floor only from files further down in this list.
FLOORS = {
    "plugins": ("modules", "action", "inventory", "filter", "event_source"),
    "plugin_utils": ("_action", "_progress", "_reports"),
    "_ansible": (
        *(
            "role",
            "watching",
            "api_check",
            "rehearse",
            "prepare",
            "fencing",
            "roles",
            "verify",
            "fleet",
            "links",
            "info",
        ),
        *("report_files", "run", "results", "connection", "postgres_specs", "specs", "options"),
    ),
    "_dr": (
        *(
            "watch",
            "fleet",
            "source",
            "drill",
            "measurement",
            "failover",
            "promotion",
            "fence",
            "inspection",
            "role_changes",
            "probe",
            "link",
            "creation",
            "topology",
        ),
        *(
            "instances",
            "state",
            "verification",
            "primary_checks",
            "checklist",
            "postgres",
            "precheck",
            "facts",
            "seen",
            "report",
            "record",
            "follow",
        ),
    ),
    "_api": (
        *("client", "pace", "credentials", "credential_library", "key_services", "profile_files", "profiles"),
        *("transport", "endpoints", "signature", "secrets", "errors"),
    ),
}
PLACES = {(floor, name): (-number, -place) for number, (floor, names) in enumerate(FLOORS.items())
          for place, name in enumerate(names)}  # fmt: skip
# Where the outside world may come in, besides the standard library.
ALLOWED = {
    "ansible": {"modules", "action", "inventory", "filter", "_action", "_progress", "fleet", "role", "watching"},
    "requests": {"transport"},
    "psycopg": {"postgres"},
    "alibabacloud_credentials": {"credential_library"},
}

SOURCES = sorted(path for path in PLUGINS.rglob("*.py") if "doc_fragments" not in path.parts)
SOURCES += sorted(EXTENSIONS.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """All names that a file imports, wherever in it; `from a.b import c` counts as a.b.c."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> tuple[str, str]:
    """Floor and name of a file of SOURCES."""
    return room(*path.relative_to(PLUGINS if PLUGINS in path.parents else EXTENSIONS).with_suffix("").parts)


def room(*parts: str) -> tuple[str, str]:
    """Floor and name of a file, given its way below plugins/. The plugins of one kind share one room."""
    if parts[0] == "module_utils":
        return parts[1], parts[2]
    return ("plugin_utils", parts[1]) if parts[0] == "plugin_utils" else ("plugins", parts[0])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_arrows_point_down(path):
    here = room_of(path)
    assert here in PLACES, f"give {here} its place in FLOORS"
    for name in imports(path):
        assert not name.startswith("."), f"{name}: a relative import"
        if name.startswith(f"{OURS}.plugins."):
            there = room(*name.removeprefix(f"{OURS}.plugins.").split("."))
            assert PLACES[there] < PLACES[here], f"{there} is not below {here}"
            assert here[0] != "plugins" or there[0] != "plugins", f"{here}: plugins do not import each other"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_outside_world_comes_in_at_its_door(path):
    _floor, here = room_of(path)
    for package in {name.split(".")[0] for name in imports(path)} & ALLOWED.keys():
        assert here in ALLOWED[package], f"{here} must not import {package}"


def test_emulator_and_collection_share_no_code():
    emulator = sorted((ROOT / "tests" / "rds_emulator" / "src").rglob("*.py"))
    assert emulator
    for path in emulator:
        assert not [name for name in imports(path) if name.startswith(("ansible", "tests"))], path
    for path in SOURCES:
        assert not [name for name in imports(path) if name.startswith(("tests", "rds_emulator"))], path


def test_action_group_names_every_module():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["all"] == sorted(path.stem for path in PLUGINS.glob("modules/[!_]*.py"))


def test_every_action_plugin_has_its_module():
    actions = {path.stem for path in PLUGINS.glob("action/[!_]*.py")}
    assert actions <= {path.stem for path in PLUGINS.glob("modules/*.py")}
