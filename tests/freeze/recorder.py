# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A recording of what the runs of frozen tests report and send, which shows what a change of the code changes.

A test is frozen if it runs a module through `frozen`. What its runs reported and sent is compared with the recording
in this folder whenever the test runs; a difference fails the session and is shown, entry by entry:

    make freeze             run all frozen tests and compare; recorded tests that are gone count, too
    make freeze RECORD=1    write the recording anew
    make freeze RECORD=new  the same with other histories (draw.py), when the rules of the model have changed

What differs from run to run is replaced: see `Normaliser`, `_settled` and `_collapse`. Nothing else is.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.freeze.files import read, write

FOLDER = Path(__file__).parent
SHOWN = 20  # different diffs that are printed
# Parts of test ids that are not recorded: what they report or send differs from run to run for a good reason.
LEFT_OUT = {
    "test_a_spoiled_document_gives_one_clear_result": "hypothesis draws other documents every time",
    "[continue without end": "ends by its time or by its size, whichever comes first",
    "[tiny chunks without end": "ends by its time or by its size",
    "[trailers without end": "ends by its time or by its size",
    "[processing without end-Create": "the next request uses the same connection, unless its end is seen in time",
    "[a body longer than it says-Create": "the next request uses the same connection, unless its end is seen",
}
_SECRET = re.compile(r"password|secret|security_?token", re.IGNORECASE)
_MEASURED = ("seconds", "seen_after")
_VARYING = re.compile(
    r"(?P<request>[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
    r"|(?P<task>\b56453\d{4}\b)"  # the emulator counts from 564532302
    r"|(?P<name>ansible-[0-9a-f]{16})"  # made of the source's port, among others
    r"|(?P<port>(?<=//127\.0\.0\.1:)\d+|\b20\d{3}\b)"  # of a server on loopback; of the emulator's instances
)

Requests = Callable[[], list[str]]


@dataclass
class _Run:
    what: dict[str, Any]  # module, options, check mode, and later the result
    first: int  # requests that came before it
    last: int = 0  # requests that had come when it ended


@dataclass
class _Case:
    """The runs of the test that is running, in the order in which they ended."""

    runs: list[_Run] = field(default_factory=list)
    requests: Requests = list

    def entries(self) -> list[dict[str, Any]]:
        """Return the runs with their requests; a run inside a run has its own, and a latecomer belongs to the last."""
        sent: dict[int, list[str]] = defaultdict(list)
        for place, request in enumerate(self.requests()):
            inside = [n for n, run in enumerate(self.runs) if run.first <= place < run.last]
            before = [n for n, run in enumerate(self.runs) if run.last <= place]
            for number in inside[:1] or before[-1:]:
                sent[number].append(request)
        normaliser = Normaliser()
        told = (_settled(run.what, sent[n]) for n, run in enumerate(self.runs))
        return [normaliser({**what, "requests": _collapse(requests)}) for what, requests in told]


_current: list[_Case] = []


def frozen(
    operate: Callable[[], dict[str, Any]], module: str, options: dict[str, Any], check_mode: bool, requests: Requests
) -> dict[str, Any]:
    """Run a module and note what it did. `requests` returns all that has arrived since the beginning of the test."""
    if not _current:
        return operate()
    case = _current[-1]
    given = {name: "***" if _SECRET.search(name) else value for name, value in options.items()}
    run = _Run({"module": module, "options": given, "check_mode": check_mode}, len(requests()))
    result = operate()
    run.last, run.what["result"] = len(requests()), json.loads(json.dumps(result))
    case.requests = requests
    case.runs.append(run)
    return result


def from_journal(journal: list[dict[str, Any]]) -> list[str]:
    """Return the requests that reached the emulator, one line each."""
    return [
        _request(
            row["action"], row["params"], row["http_status"] or "no answer", row["code"], "committed" * row["committed"]
        )
        for row in journal
    ]


def from_heads(heads: list[str]) -> list[str]:
    """Return the requests of which a scripted server has the heads."""
    targets = [urlsplit(head.split(" ", 2)[1]) for head in heads]
    actions = [re.search(r"^x-acs-action: *(\w+)", head, re.IGNORECASE | re.MULTILINE) for head in heads]
    return [
        _request(action[1] if action else "", dict(parse_qsl(target.query, keep_blank_values=True)))
        for action, target in zip(actions, targets, strict=True)
    ]


def _request(action: str, parameters: dict[str, str], *answer: Any) -> str:
    shown = [f"{name}={'***' if _SECRET.search(name) else value}" for name, value in sorted(parameters.items())]
    return " ".join([action, *shown, *(["->"] if answer else []), *(str(part) for part in answer if part != "")])


def _settled(what: dict[str, Any], requests: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Leave out how long an adopted task was followed: whether it is at work when found depends on the machine."""
    if what["result"].get("outcome") != "adopted":
        return what, requests
    followed = re.compile(r"DescribeReplicationLinkLogs .* TaskId=\d+ TaskType=create ")
    result = {name: value for name, value in what["result"].items() if name != "timeline"}
    return {**what, "result": result}, [request for request in requests if not followed.match(request)]


def _collapse(requests: list[str]) -> list[str]:
    """Keep one of equal reads in a row, single or in pairs: how many polls there are depends on the machine."""
    kept: list[str] = []
    for request in requests:
        kept.append(request)
        for size in (1, 2):
            group = kept[-size:]
            if group == kept[-2 * size : -size] and all(read.startswith("Describe") for read in group):
                del kept[-size:]
    return kept


class Normaliser:
    """Numbers request ids, task ids, names and ports as they appear; hides times; of a timeline keeps the last stage.

    Which stages a poll has seen before the last one depends on the machine.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def __call__(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self(value[name], name) for name in sorted(value)}
        if isinstance(value, list):
            return [self(item) for item in (value[-1:] if key == "timeline" else value)]
        if isinstance(value, str):
            return _VARYING.sub(self._name, value)
        if key in _MEASURED and isinstance(value, float):
            return "<seconds>"
        if isinstance(value, int) and _VARYING.fullmatch(str(value)):
            return self(str(value))
        return value

    def _name(self, match: re.Match[str]) -> str:
        kind, text = str(match.lastgroup), match[0]
        if kind == "time":
            return "<time>" if _is_recent(text) else text
        if text not in self._names:
            self._counts[kind] += 1
            self._names[text] = f"<{kind}-{self._counts[kind]}>"
        return self._names[text]


def _is_recent(text: str) -> bool:
    now = time.time()
    return time.gmtime(now - 3600) <= time.strptime(text, "%Y-%m-%dT%H:%M:%SZ") <= time.gmtime(now + 60)


# -- pytest ------------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--freeze", choices=["ran", "all", "record"], default="ran", help="see tests/freeze/recorder.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    _current.append(_Case())
    try:
        yield
        if _current[-1].runs and not any(part in item.nodeid for part in LEFT_OUT):
            item.user_properties.append(("freeze", json.dumps(_current[-1].entries())))
    finally:
        _current.pop()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Comparison(config.getoption("--freeze")))


def _file(test: str) -> Path:
    return FOLDER / f"{Path(test.partition('::')[0]).stem.removeprefix('test_')}.json"


class _Comparison:
    """Gathers the entries of all workers, and compares or writes them at the end."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._entries: dict[Path, dict[str, Any]] = defaultdict(dict)
        self._report: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name == "freeze":
                    self._entries[_file(report.nodeid)][report.nodeid] = json.loads(str(value))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._mode != "record":
            self._report = self._differences()
            if self._report and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif session.exitstatus == pytest.ExitCode.OK:
            for path, entries in self._entries.items():
                write(path, entries)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._report:
            terminalreporter.section("not as recorded: make freeze RECORD=1, if that is meant")
            terminalreporter.write_line("\n".join(self._report))

    def _differences(self) -> list[str]:
        names: dict[str, list[str]] = defaultdict(list)  # diff -> entries
        for path, ours in self._entries.items():
            recorded = read(path)
            for name in sorted(ours.keys() | (recorded.keys() if self._mode == "all" else set())):
                pairs = itertools.zip_longest(recorded.get(name, []), ours.get(name, []))
                for number, pair in enumerate(pairs, 1):
                    if diff := _diff(*pair):
                        names[diff].append(f"{name}, run {number}")
        report = [f"\n{entries[0]}{_more(entries)}\n{diff}" for diff, entries in names.items()]
        return report[:SHOWN] + [f"\n... and {len(report) - SHOWN} more differences"] * (len(report) > SHOWN)


def _diff(recorded: Any, ours: Any) -> str:
    if recorded == ours:
        return ""
    if recorded is None or ours is None:
        return "  is not recorded" if recorded is None else "  is recorded, but was not run"
    # A sentence a line, so that one can see what differs in a long message.
    texts = [json.dumps(side, indent=1).replace(". ", ".\n    ").splitlines() for side in (recorded, ours)]
    lines = [line for line in difflib.unified_diff(*texts, n=2, lineterm="") if not line.startswith(("---", "+++"))]
    return "\n".join(f"  {line}" for line in lines)


def _more(entries: list[str]) -> str:
    return f" and {len(entries) - 1} more in the same way: {', '.join(entries[1:4])}" if len(entries) > 1 else ""
