# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page of a drill: complete, escaped, and true to its figures."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._dr.report import html, markdown

SAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/drill_report.json").read_text("utf-8"))
PROMOTION: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/promotion_report.json").read_text("utf-8"))
EVIL = '<script>alert("1")</script>|`x`\n\x1b[31m\'&'


class Page(HTMLParser):
    """Fails on tags that do not match; collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "line", "polyline", "path"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everywhere(value: Any, text: str) -> Any:
    """Put a text in place of every text, at every depth."""
    if isinstance(value, dict):
        return {key: everywhere(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [everywhere(item, text) for item in value]
    return text if isinstance(value, str) else value


def test_a_reader_finds_the_answers():
    for text in (Page(html(SAMPLE)).text, markdown(SAMPLE)):
        for answer in ("PASSED", "RPO", "RTO", "PASS", "dba@runner1", "2026-11-29T01:00:00Z", "costs money",
                       "not in these times", "pgm-uf6prod00example", "SELECT count"):  # fmt: skip
            assert answer in text, answer


def test_a_promotion_says_first_what_was_lost():
    for text in (Page(html(PROMOTION)).text, markdown(PROMOTION)):
        for answer in ("DR planned promotion of pgm-uf6prod00example", "PROMOTED. Data lost: Nothing: the last byte",
                       "no client could write", "67.9 s", "fence up", "stays so", "0B8B3C5E"):  # fmt: skip
            assert answer in text, answer
    unsure = {**PROMOTION, "outcome": "unknown", "message": "no answer.", "loss": None, "rto": None}
    assert "UNKNOWN, read both sides before anything else: no answer." in Page(html(unsure)).text
    assert "Data lost" not in Page(html(unsure)).text, "what was not seen is not said"


@pytest.mark.parametrize("report", [{}, {"kind": "drill"}, SAMPLE, everywhere(SAMPLE, EVIL),
                                    PROMOTION, everywhere(PROMOTION, EVIL),
                                    *({**PROMOTION, name: None} for name in PROMOTION),
                                    *({**SAMPLE, name: None} for name in SAMPLE)])  # fmt: skip
def test_every_report_is_a_page_without_script_or_network(report):
    page = Page(html(report))
    assert "script" not in page.tags and not re.search(r"https?://|url\(|@import", html(report))
    assert not any(name.startswith("on") or name in ("src", "href") for name, _value in page.attributes)
    assert "\x1b" not in html(report) + markdown(report)
    assert "<script" not in markdown(report)


def test_tables_in_markdown_keep_their_columns():
    width = None
    for line in markdown(everywhere(SAMPLE, EVIL)).split("\n"):
        if not line.startswith("|"):
            width = None
            continue
        columns = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, columns), line
        width = columns


def test_targets_pass_fail_or_are_not_set():
    for target, word in ((5.0, "PASS"), (0.0001, "FAIL"), (None, "no target")):
        report = copy.deepcopy(SAMPLE)
        report["targets"] = {"rpo_seconds": target, "rto_seconds": target}
        assert Page(html(report)).text.count(word) >= 1


def test_a_run_that_was_killed_says_where_it_stood():
    report = {**SAMPLE, "ended": None, "outcome": "running", "stopped_at": "spare streams"}
    assert "NOT FINISHED. The last event is: spare streams." in Page(html(report)).text


def test_the_picture_stays_within_its_frame_and_is_small():
    samples = [{"seconds": n / 10, "lag_bytes": n, "exposed_rows": 1, "exposed_seconds": 0.1} for n in range(2000)]
    text = html({**SAMPLE, "samples": samples})
    assert len(text) < 200 * 1024
    for points in re.findall(r'points="([^"]*)"', text):
        for pair in points.split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 1000 and 0 <= y <= 330
