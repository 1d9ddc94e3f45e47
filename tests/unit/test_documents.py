# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pages agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.alicloud.rds.plugins.module_utils import _errors, _precheck
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
