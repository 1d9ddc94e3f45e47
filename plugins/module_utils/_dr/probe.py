# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the service what its documentation leaves open, and reports field names, words and forms. It only reads.

Of a value that is not one of the service's own words only the form is reported, so nothing in a report is a secret, a
name, an address or an id. What answers mean is in docs/first_contact.md.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, parse_report
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import CREATE, DRY_RUN, PAGE_SIZE

NOBODY = "pgm-000000000000000000"  # in the form of an id, and no instance has it
UNUSABLE = ("fix_credentials", "fix_controller", "fix_network")  # who refuses so refuses the next question as well
_LOGS, _ATTRIBUTE = "DescribeReplicationLinkLogs", "DescribeDBInstanceAttribute"
_ROW = ("TaskType", "TaskStatus", "TaskStage", "ReplicationState")  # reported together as well: one depends on another
_SECRET = re.compile("password|secret|token", re.IGNORECASE)
_WORDY = re.compile("(?:Status|State|Stage|Type|Category|Engine|Version|Mode)$", re.IGNORECASE)
_FORMS = {  # the first that fits
    "empty": r"",
    "masked": r"[*xX]+|\*{3}.*",
    "time": r"\d{4}-\d\d-\d\dT[\d:.]+Z",
    "number as text": r"-?\d+(\.\d+)?",
    "LSN": r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}",
    "instance id": r"(?:pgm|pgr|rm|rr)-[\w-]+",
    "task id as text": r"t-\w+",
    "host name": r"[\w-]+(\.[\w-]+)+",
    "one word": r"\w+",
}
Fields = dict[str, set[str]]
Request = tuple[str, Any, str, dict[str, str]]  # id, region, operation, parameters


def probe(
    regions: Callable[[str | None], Any], dr_instance_id: str, source: str | None, source_region: str | None
) -> tuple[dict[str, Any], RdsError | None]:
    """Ask everything; return answers and report, and the error if there was nothing to learn.

    :param regions: returns the client of a region, None: of the region of the DR instance
    """
    answers: dict[str, dict[str, Any]] = {}
    errors: list[RdsError] = []
    headers: dict[str, str] = {}
    for name, region, action, parameters in _requests(dr_instance_id, source, source_region):
        if errors and errors[-1].category in UNUSABLE:
            break
        outcome, fields = "answered", {}
        try:
            client = regions(region)
            try:
                fields = described(client.call(action, parameters, repeatable=True))
            finally:
                headers.update(client.last_headers)
        except RdsError as error:
            error.outcome = "not_sent" if error.outcome == "unknown" else error.outcome  # nothing that writes was sent
            errors.append(error)
            outcome = f"{error.code} HTTP {error.http_status}" if error.http_status else error.code
        shown = ", ".join(key if key.endswith("Id") else f"{key}={value}" for key, value in parameters.items())
        answers[name] = {"request": f"{action}({shown})", "outcome": outcome, "fields": fields}
    first = errors[0] if errors and answers["instance"]["outcome"] != "answered" else None
    is_useless = first and not any(each["outcome"] == "answered" for each in answers.values())
    known = {"answers": answers, "report": _report(answers, _facts(headers))}
    return known, first if first and (is_useless and first.category != "grant_permission") else None


def _requests(
    name: str, source: str | None, region: str | None
) -> Iterator[tuple[str, str | None, str, dict[str, str]]]:
    """Yield all questions; what a service may find odd comes last."""
    page = {"PageSize": str(PAGE_SIZE), "PageNumber": "1"}
    of_instance = {"DBInstanceId": name}
    yield "instance", None, _ATTRIBUTE, of_instance
    yield "create", None, _LOGS, {**of_instance, "TaskType": CREATE, **page}
    yield "dry_run", None, _LOGS, {**of_instance, "TaskType": DRY_RUN, **page}
    if source:
        yield "source", region, _ATTRIBUTE, {"DBInstanceId": source}
        yield "delay", region, "DescribeReadDBInstanceDelay", {"DBInstanceId": source, "ReadInstanceId": name}
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86400)) for days in (29, 0))
    span = {"FromStartTime": begin, "ToStartTime": end}
    yield "history", None, "DescribeHistoryTasks", {"InstanceId": name, **span, "PageSize": "100", "PageNumber": "1"}
    yield "any_type", None, _LOGS, {**of_instance, **page}
    for size in ("1", "50", "100"):
        yield f"page_{size}", None, _LOGS, {**of_instance, "TaskType": CREATE, "PageSize": size, "PageNumber": "1"}
    yield "nobody", None, _ATTRIBUTE, {"DBInstanceId": NOBODY}
    yield "nobody_logs", None, _LOGS, {"DBInstanceId": NOBODY, "TaskType": CREATE, **page}


def described(answer: Any) -> dict[str, str]:
    """Return the path of each field of an answer, with the words and forms that it has in all rows."""
    fields: Fields = {}
    _walk(answer, "", "", fields)
    rows = answer.get("Items") if isinstance(answer, dict) else None
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    for row in known:
        together = ", ".join(_form(name, row.get(name)) for name in _ROW)
        fields.setdefault(f"Items[].({', '.join(_ROW)})", set()).add(together)
    times = [str(row.get("GmtCreated")) for row in sorted(known, key=lambda row: str(row.get("TaskId")).rjust(20))]
    if len(set(times)) > 1:  # within one second they say nothing
        fields.setdefault("Items[].TaskId", set()).add(
            "grows with time" if times == sorted(times) else "does not grow with time"
        )
    return {path: " | ".join(sorted(forms)) for path, forms in fields.items()}


def _walk(value: Any, path: str, name: str, fields: Fields) -> None:
    text = value if isinstance(value, str) and value[:1] in ("{", "[") else "-"
    with suppress(ValueError, RecursionError):
        value, path = json.loads(text), f"{path}(JSON as text)"
    parts: list[tuple[str, str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{path}.{_name(key)}".lstrip("."), str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [(f"{path}[]", name, part) for part in value]
        fields.setdefault(f"{path}[]", set()).add(f"{len(value)} rows")
    elif path:
        fields.setdefault(path, set()).add(_form(name, value))
    for part in parts[:200]:
        if part[0].count(".") < 9:
            _walk(part[2], part[0], part[1], fields)


def _form(name: str, value: Any) -> str:
    """Return a word of the service as it is, of anything else the form."""
    if not isinstance(value, str):
        told = value if isinstance(value, (bool, int)) and name.startswith(("Total", "Page")) else type(value).__name__
        return "absent" if value is None else str(told)
    if name == "Detail":
        marks = {"real": "\n", "backslash-n": "\\n", "carriage return": "\r"}
        breaks = [word for word, mark in marks.items() if mark in value]
        checks = " ".join(f"{check.id}={check.result}" for check in parse_report(value, Subject("", "")))
        login = re.search(r"\bby [^\s:]+:(\S+)", value)
        form = f"; login {'masked' if '***' in login[1] else 'plain'}" if login else ""
        return f"line breaks {', '.join(breaks) or 'none'}{form}; {_name(checks, 2000)}"
    if _WORDY.search(name) and re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", value):
        return value
    form = next((form for form, pattern in _FORMS.items() if re.fullmatch(pattern, value, re.ASCII)), "text")
    return "plain" if _SECRET.search(name) and form not in ("empty", "masked") else form


def _name(text: Any, longest: int = 60) -> str:
    """Return what the service calls a thing, fit to be pasted anywhere."""
    return re.sub(r"[^A-Za-z0-9_.= -]", "?", str(text))[:longest]


def _facts(headers: Mapping[str, str]) -> dict[str, str]:
    names = sorted(_name(name) for name in headers if name.startswith(("x-acs-", "x-ratelimit", "retry-after")))
    skew = "unknown"
    with suppress(ValueError, TypeError, OverflowError):
        skew = f"{round(time.time() - parsedate_to_datetime(headers.get('date', '')).timestamp()):+d} s"
    return {"headers": ", ".join(names) or "none", "clock of this machine": skew}


def _report(answers: Mapping[str, dict[str, Any]], facts: Mapping[str, str]) -> str:
    """Return all of it as one block of text, ready to paste."""
    lines = ["```text", *(f"{name}: {value}" for name, value in facts.items())]
    for name, answer in answers.items():
        lines += ["", f"{name}: {answer['request']}: {answer['outcome']}"]
        lines += [f"  {path}: {forms}" for path, forms in answer["fields"].items()]
    return "\n".join([*lines, "```", ""])
