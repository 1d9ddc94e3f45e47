# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every example in the documentation is one that the code accepts. tests/integration/test_examples.py runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import postgres_specs, specs

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/[!_]*.py"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
PREFIX = "alicloud.rds."


def part(path: Path, name: str) -> Any:
    """DOCUMENTATION or EXAMPLES of a plugin, all YAML documents of it."""
    found = re.search(rf'^{name} = r"""\n(.*?)"""', path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found, f"{path.name} has no {name}"
    return list(yaml.safe_load_all(found[1]))


def tasks_in(data: Any) -> list[tuple[str, dict[str, Any]]]:
    """All tasks with one of our modules, however deep, as (module, options)."""
    if isinstance(data, dict):
        own = [(name.removeprefix(PREFIX), value) for name, value in data.items() if str(name).startswith(PREFIX)]
        return [pair for pair in own if pair[0] in MODULES] + [p for v in data.values() for p in tasks_in(v)]
    return [pair for item in data for pair in tasks_in(item)] if isinstance(data, list) else []


def complaints(module: str, options: dict[str, Any]) -> list[str]:
    rules = dict(getattr(specs, module.upper(), None) or getattr(postgres_specs, module.upper()))
    spec = rules.pop("argument_spec")
    rules.pop("supports_check_mode")
    kinds = {
        "int": 1,
        "float": 1.0,
        "dict": {},
        "list": [],
    }  # what a template becomes when it is run is of the right kind
    plain = {
        name: kinds.get(spec.get(name, {}).get("type"), value) if "{{" in str(value) else value
        for name, value in options.items()
    }
    return ArgumentSpecValidator(spec, **rules).validate(plain).error_messages


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_are_valid(module):
    tasks = tasks_in(part(ROOT / f"plugins/modules/{module}.py", "EXAMPLES"))
    assert module in {task[0] for task in tasks}
    for name, options in tasks:
        assert complaints(name, options) == [], options


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/inventory/[!_]*.py")), ids=lambda path: path.stem)
def test_the_examples_of_an_inventory_are_valid(path):
    known = set(part(path, "DOCUMENTATION")[0]["options"]) | set(specs.CONNECTION)
    known |= {"compose", "groups", "keyed_groups", "strict", "use_extra_vars", "leading_separator"}  # constructed
    known |= {f"cache{name}" for name in ("", "_plugin", "_timeout", "_connection", "_prefix")}
    for example in part(path, "EXAMPLES"):
        assert example["plugin"] == PREFIX + path.stem
        assert set(example) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_page_shows_in_yaml_is_valid(page):
    """Tasks by the options of their modules; the names of variables of the role by its argument specs."""
    specs = yaml.safe_load((ROOT / "roles/dr_link/meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
    variables = {name for entry in specs.values() for name in entry["options"]}
    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        data = list(yaml.safe_load_all(text))
        for module, options in tasks_in(data):
            assert complaints(module, options) == [], options
        named = set(re.findall(r"\b(dr_link_[a-z_]+):", text))
        assert named <= variables | {"dr_link_hosts", "dr_link_serial"}, named - variables
