# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pages agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.alicloud.rds.plugins.module_utils._api import errors as _errors
from ansible_collections.alicloud.rds.plugins.module_utils._dr import precheck as _precheck
from ansible_collections.alicloud.rds.plugins.module_utils._dr import source as _source
from ansible_collections.alicloud.rds.plugins.module_utils._dr import verification as _verification
from ansible_collections.alicloud.rds.plugins.plugin_utils import _reports
from tests.tools.error_page import page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("tests/**/*.md")]


def test_the_error_page_is_made_from_the_catalogue():
    assert (ROOT / "docs/errors.md").read_text("utf-8") == page()


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
