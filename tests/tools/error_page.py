"""Print docs/errors.md from the catalogue that the code uses: tests/tools/run.sh python tests/tools/error_page.py"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "link"))

from ansible_collections.alicloud.rds.plugins.module_utils._api import errors as _errors  # the path comes first

HEAD = """\
# Error catalogue

`error.code`, `error.category` and `error.remedy` of a failed task. A code that is not listed gets its
category from the HTTP status. This page is made by `tests/tools/error_page.py` from the data of the modules.

| category | what to do next |
| --- | --- |
"""
SECTIONS = (
    ("Codes of the operation", "The error table of `CreateReplicationLink`, by code.", _errors.SERVICE),
    ("Codes of the gateway", "Signature, permission, rate limit and the like, for every operation.", _errors.GATEWAY),
    ("Codes of this collection", "What is found out before, between and after requests.", _errors.COLLECTION),
)


def page() -> str:
    """Return the page as Markdown."""
    text = HEAD + "".join(f"| `{name}` | {meaning} |\n" for name, meaning in _errors.CATEGORIES.items())
    for title, introduction, rows in SECTIONS:
        text += f"\n## {title}\n\n{introduction}\n\n| code | HTTP | category | remedy |\n| --- | --- | --- | --- |\n"
        for row in sorted(rows, key=lambda row: row.code.lower()):
            text += f"| `{row.code}` | {row.http_status or ''} | `{row.category}` | {row.remedy} |\n"
    return text


if __name__ == "__main__":
    sys.stdout.write(page())
