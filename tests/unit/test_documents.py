# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pages agree with the code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from alibabacloud_rds20140815 import models

from ansible_collections.alicloud.rds.plugins.module_utils._api import errors as _errors
from ansible_collections.alicloud.rds.plugins.module_utils._dr import precheck as _precheck
from ansible_collections.alicloud.rds.plugins.module_utils._dr import source as _source
from ansible_collections.alicloud.rds.plugins.module_utils._dr import verification as _verification
from ansible_collections.alicloud.rds.plugins.plugin_utils import _reports
from docs.docsite import playbooks as docs_playbooks
from tests.tools.error_page import page

ROOT = Path(__file__).resolve().parents[2]
BLOB = "https://github.com/alicloud-rds/alicloud.rds/blob/main/"
RAW = "https://raw.githubusercontent.com/alicloud-rds/alicloud.rds/main/"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("tests/**/*.md")]


def test_the_error_page_is_made_from_the_catalogue():
    assert (ROOT / "docs/errors.md").read_text("utf-8") == page()


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def test_the_readme_is_short_and_can_be_read_elsewhere():
    """Galaxy shows it, too, where a relative link leads nowhere."""
    text = text_of("README.md")
    assert len(text.splitlines()) <= 180
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets and all(target.startswith("https://") for target in targets)


def test_the_readme_lists_all_that_is_included():
    listed = text_of("README.md").partition("\n## Included content\n")[2].partition("\n## ")[0]
    names = {name for row in re.findall(r"(?m)^\| (.*) \|$", listed) for name in re.findall(r"`(\w+)`", row)}
    kinds = ("plugins/modules/*.py", "plugins/inventory/*.py", "plugins/filter/*.py", "playbooks/*.yml", "roles/*")
    assert {path.stem for kind in kinds for path in ROOT.glob(kind)} <= names


def test_every_link_into_the_repository_leads_somewhere():
    for path in PAGES:
        for target in re.findall(rf"(?:{re.escape(BLOB)}|{re.escape(RAW)})([^)#\s]+)", path.read_text("utf-8")):
            assert (ROOT / target).exists(), f"{path.name}: {target}"


def test_every_link_of_a_page_leads_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_category_is_documented_by_the_module():
    text = (ROOT / "plugins/modules/replication_link.py").read_text("utf-8")
    assert all(f"V({category})" in text for category in _errors.CATEGORIES)


def test_every_check_with_a_remedy_is_in_the_guide():
    guide = (ROOT / "docs/guide.md").read_text("utf-8")
    for check_id in set(_precheck._REMEDIES) - {"replication"}:  # the emulator's own
        assert f"`{check_id}`" in guide


def test_troubleshooting_names_codes_and_checks_that_exist():
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    codes = {
        code
        for title in re.findall(r"^\*\*(.*?)\*\*", page, re.MULTILINE)
        for code in re.findall(r"`(\w[\w.]*)`", title)
    }
    assert {code for code in codes if code[0].isupper()} <= _errors.CATALOGUE.keys()
    for check_id in set(_precheck._REMEDIES) - {"replication"}:
        assert f"`{check_id}`" in page


def test_every_option_of_a_link_has_its_name_of_the_api():
    """The table for those who come from the CLI, against what the module says of each option."""
    module = (ROOT / "plugins/doc_fragments/_link.py").read_text("utf-8")
    page = (ROOT / "docs/coming_from.md").read_text("utf-8")
    documented = re.findall(r"^  (\w+):\n    description:\n      - [^\n]*\(C\((\w+)\)\)", module, re.MULTILINE)
    assert len(documented) == 10
    for option, parameter in documented:
        assert f"| `{parameter}` | `{option}` |" in page


def test_operating_a_link_lists_every_check_metric_and_table():
    text = (ROOT / "docs/operate.md").read_text("utf-8")
    checks = text.partition("\n## Checks\n")[2].partition("\n## ")[0]
    listed = [name for row in re.findall(r"(?m)^\| (`.*?) \|", checks) for name in re.findall(r"`(\w+)`", row)]
    assert tuple(listed) == _verification.CHECK_IDS
    metrics = text.partition("\n## Metrics and reports\n")[2].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| `(\w+)`", metrics) == [*_reports._HELP, *_reports._DRILL_HELP]
    statements = " ".join(text.split())
    for table, columns in (("dr_link_canary", _source.CANARY), ("dr_link_fence", _source.FENCE)):
        assert f"CREATE TABLE {table} ({columns});" in statements


def test_every_heading_that_a_page_links_to_exists():
    for path in PAGES:
        for target, heading in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", path.read_text("utf-8")):
            linked = (path.parent / target if target else path).read_text("utf-8")
            known = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
                     for title in re.findall(r"(?m)^#+ (.*)$", linked)}  # fmt: skip
            assert heading in known, f"{path.name}: {target}#{heading}"


# -- from zero to streaming --------------------------------------------------------------------------------------------


def actions_sent() -> set[str]:
    """Every operation of the API that a plugin names, by the official SDK's list of operations."""
    words = {
        word for path in ROOT.glob("plugins/**/*.py") for word in re.findall(r'"([A-Z]\w+)"', path.read_text("utf-8"))
    }
    return {word for word in words if hasattr(models, f"{word}Request")}


def duties() -> dict[str, set[str]]:
    """The table of RAM actions: for each duty those on any instance."""
    section = text_of("docs/zero_to_streaming.md").partition("\n## 6. RAM policies\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| ([\w, ]+) \| [^|]* \| (.*) \|$", section)
    return {duty: set(re.findall(r"`([A-Z]\w+)`", cells)) for duty, cells in rows if duty != "duty"}


def test_the_ram_policies_name_every_action_that_is_sent():
    assert actions_sent() == set().union(*duties().values())


def test_the_policies_for_import_are_those_of_the_table():
    table = duties()
    parts = {
        "auditor": ("read", "inventory"),
        "operator": ("preview, apply, nightly", "reprotect", "rebuild"),
        "promoter": ("read", "promote"),
        "driller": ("drill",),
    }
    for duty, names in parts.items():
        (statement,) = json.loads(text_of(f"docs/awx/{duty}.json"))["Statement"]
        assert {action.removeprefix("rds:") for action in statement["Action"]} == set().union(
            *(table[name] for name in names)
        ), duty


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_snippet_can_be_parsed(page):
    text = page.read_text("utf-8")
    for snippet in blocks(text, "json"):
        json.loads(snippet)
    for snippet in blocks(text, "yaml"):
        list(yaml.safe_load_all(snippet))
    for snippet in blocks(text, "sh"):
        subprocess.run(["bash", "-n"], input=snippet, text=True, check=True)


def test_commands_of_the_cli_have_parameters_of_the_api():
    commands = [
        re.sub(r"\\\n", " ", block) for page in PAGES for block in blocks(page.read_text("utf-8"), "sh")
    ]  # continued lines are one
    found = re.findall(r"(?m)^ *aliyun rds (\w+)(.*)$", "\n".join(commands))
    assert len(found) > 5
    for operation, rest in found:
        request = getattr(models, f"{operation}Request")()
        known = {name.lower().replace("_", "") for name in vars(request)}
        for name in re.findall(r"--([A-Z]\w+)", rest):
            assert name.lower() in known, f"{operation}: {name}"


def test_the_site_has_every_playbook_in_the_order_of_use():
    in_order = [name for _title, names in docs_playbooks.LIFE for name in names]
    assert sorted(in_order) == sorted(path.stem for path in ROOT.glob("playbooks/*.yml"))
    assert re.findall(r"(?m)^### (\w+)$", docs_playbooks.page()) == in_order
