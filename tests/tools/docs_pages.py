# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lay the Markdown pages into the source of the site: docs_pages.py FOLDER

They link to each other as in the repository. What they link to besides, such as playbooks, the repository's web site
shows.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(#[^)]*)?\)")
# The README is read on Galaxy, too, so its links are absolute; on the site they lead to the site.
ABSOLUTE = re.compile(
    r"\]\(https://(?:github\.com/[\w-]+/[\w.-]+/blob|raw\.githubusercontent\.com/[\w-]+/[\w.-]+)/main/"
)


def pages() -> list[Path]:
    patterns = ("*.md", "docs/**/*.md", "roles/*/*.md", "tests/rds_emulator/*.md")
    found = {page for pattern in patterns for page in ROOT.glob(pattern)}
    return sorted(page for page in found if "docsite" not in page.parts)


def for_the_site(page: Path, repository: str, known: set[Path]) -> str:
    """Return the text of a page, its links to what is no page of the site replaced."""

    def target(match: re.Match[str]) -> str:
        there = (page.parent / match[1]).resolve()
        if there in known or there.suffix == ".png":
            return match[0]
        return f"]({repository}/{'tree' if there.is_dir() else 'blob'}/main/{there.relative_to(ROOT)}{match[2] or ''})"

    text = page.read_text("utf-8")
    if page.parent == ROOT:
        text = ABSOLUTE.sub("](", text)
    return LINK.sub(target, text)


def main() -> None:
    repository = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["repository"]
    known = set(pages())
    for page in known:
        copy = Path(sys.argv[1]) / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(for_the_site(page, repository, known), "utf-8")
    shutil.copytree(ROOT / "docs/images", Path(sys.argv[1]) / "docs/images")


if __name__ == "__main__":
    main()
