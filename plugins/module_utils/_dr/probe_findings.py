# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of the RDS API leaves open, read from what the service answered. Pure.

Of a password a finding tells the form, of everything else the words and the names of fields, so that it can be shown to
anybody. Each question says what the collection does under this answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, parse_report
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import CREATE, DRY_RUN, PAGE_SIZE, as_text
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import as_integer as number

UNUSABLE = ("fix_credentials", "fix_controller", "fix_network")  # whoever refuses so refuses the next question as well
_STREAMING = ("steaming", "streaming")
_OPEN = "Still open."
_FORMS = "told by its form alone: plain is all that is neither empty nor asterisks, and may be encrypted"
# Ids of instances, host names of instances, RAM roles, IPv4 addresses, and account ids.
_TELLING = re.compile(
    r"\b(?:(?:pgm|pgr|rm|rr)-\w+(?:\.[\w-]+)*|acs:ram::[\w:/.-]+|(?:\d{1,3}\.){3}\d{1,3}|\d{16,})\b", re.ASCII
)

Row = dict[str, Any]
Told = tuple[str, str]  # answer and evidence


class Finding(NamedTuple):
    """One question with its answer. `meaning` says what the collection does under this answer."""

    id: str
    question: str
    answer: str
    evidence: str
    meaning: str


@dataclass
class Reply:
    """An answer of the service, or its refusal."""

    action: str
    body: dict[str, Any] = field(default_factory=dict)
    error: RdsError | None = None

    def rows(self) -> list[Row]:
        """Return the rows of the task log, also from a form that the collection would not read."""
        items = self.body.get("Items")
        if isinstance(items, dict):
            items = next((value for value in items.values() if isinstance(value, list)), None)
        return [row for row in items if isinstance(row, dict)] if isinstance(items, list) else []

    def attributes(self) -> Row:
        """Return the attributes of the instance, empty if the form is another one."""
        items = self.body.get("Items")
        found = items.get("DBInstanceAttribute") if isinstance(items, dict) else None
        return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


class DryRun(NamedTuple):
    """What became of the one dry run."""

    answer: str
    evidence: str = ""
    task_id: int | None = None


@dataclass
class Seen:
    """All that the service answered."""

    replies: dict[str, Reply] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)  # of all replies, names in lower case
    skew: int | None = None  # seconds that this machine's clock is ahead
    stopped: RdsError | None = None  # after which nothing more was asked
    dry_run: DryRun | None = None


def findings(seen: Seen, secrets: Iterable[str] = (), hidden: Mapping[str, str] | None = None) -> list[Finding]:
    """Return a finding for each question. Never raises, whatever the service answered.

    :param secrets: values that must not be in a finding
    :param hidden: values to replace, and by what; None shows ids and addresses as they are
    """
    rows = [row for reply in seen.replies.values() for row in reply.rows()]
    secrets = [*secrets, *(value for row in rows if isinstance(value := row.get("ReplicatorPassword"), str))]
    clean = cleaner(secrets, hidden)
    found = []
    for name, (text, meanings) in _questions().items():
        answer, evidence = _answer(seen, name)
        is_open = answer.startswith(("not ", "no answer", "nothing ")) and name in READERS
        starts = (start for start in meanings if start == "*" or answer.startswith(start))
        meaning = _OPEN if is_open and name != "signature_accepted" else meanings.get(next(starts, "*"), _OPEN)
        found.append(Finding(name, text, clean(answer), clean(evidence), meaning))
    return found


def cleaner(secrets: Iterable[str], hidden: Mapping[str, str] | None) -> Callable[[str], str]:
    """Return what makes a text fit to be shown: one line without secrets, and without what is hidden."""
    secrets = list(secrets)
    values = sorted((value for value in hidden or {} if len(value) > 1), key=len, reverse=True)

    def clean(text: str) -> str:
        text = " ".join(scrub(text, secrets).split())[:600]
        for value in values:
            text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", (hidden or {})[value], text)
        return text if hidden is None else _TELLING.sub("<hidden>", text)

    return clean


def _answer(seen: Seen, name: str) -> Told:
    """Return what is known of one question, or why nothing is."""
    if name not in READERS:
        return "not asked: needs a write", ""
    asks, read = READERS[name]
    reply = seen.replies.get(asks)
    if asks and reply is None:
        return f"not asked: {f'{seen.stopped.code} came before' if seen.stopped else 'no source was named'}", ""
    if reply and reply.error and name not in _ABOUT_REFUSALS:
        denied = reply.error.category == "grant_permission"
        told = f"not permitted: rds:{reply.action}" if denied else f"no answer: {reply.error.code}"
        return told, _refusal(reply.error)
    try:
        return read(seen)
    except Exception as error:  # an answer that nobody thought of must not cost the other findings
        return "not understood", f"{type(error).__name__} while reading the answer"


def _refusal(error: RdsError) -> str:
    told = [error.code, f"HTTP {error.http_status}" if error.http_status else "", error.request_id or ""]
    return ", ".join(part for part in told if part)


def _words(values: Iterable[Any]) -> str:
    """Return the different values that were seen, as words of a bounded length."""
    words = {"null" if v is None else '""' if v == "" else (as_text(v) or type(v).__name__)[:60] for v in values}
    return ", ".join(sorted(words)[:40])


def _signature(seen: Seen) -> Told:
    first = seen.replies["before"].error
    if first is None or first.category not in UNUSABLE:
        return "yes", "the first request was answered" + (f": {_refusal(first)}" if first else "")
    told = "no answer" if first.category == "fix_network" else "no"
    return f"{told}: {first.code}", f"{_refusal(first)}. {first.message}"


def _clock(seen: Seen) -> Told:
    if seen.skew is None:
        return "not told", "no Date header"
    return f"{seen.skew:+d} s", "this machine's clock less the Date header"


def _unknown_instance(seen: Seen) -> Told:
    told = {name: seen.replies.get(name) for name in ("nobody", "nobody_logs")}
    codes = {n: f"{r.error.code} HTTP {r.error.http_status}" if r.error else "no error" for n, r in told.items() if r}
    return codes["nobody"], "; ".join(f"{told[n].action}: {c}" for n, c in codes.items())  # type: ignore[union-attr]


def _status(seen: Seen) -> Told:
    sides = {name: seen.replies[name].attributes() for name in ("instance", "source") if name in seen.replies}
    told = "; ".join(f"{name}: {_words([row.get('DBInstanceStatus')])}" for name, row in sides.items())
    return _words([sides["instance"].get("DBInstanceStatus")]), told


def _type(seen: Seen) -> Told:
    row = seen.replies["instance"].attributes()
    named = ("Engine", "EngineVersion", "Category", "RegionId")
    return _words([row.get("DBInstanceType")]), "; ".join(f"{name}: {_words([row.get(name)])}" for name in named)


def _link_in_log(seen: Seen) -> bool:
    return any(row.get("ReplicationState") in _STREAMING for row in seen.replies.get("create", Reply("")).rows())


def _json(row: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return what a field holds as JSON, None if it is not there; its values are never shown."""
    value = json.loads(row[name]) if isinstance(row.get(name), str) and row[name] else row.get(name) or None
    if value is not None and not isinstance(value, kind):
        raise TypeError
    return value


def _dr_info(seen: Seen) -> Told:
    row = seen.replies["instance"].attributes()
    roles = [name for name in row if re.search("disaster|replica|guard|increment|master", name, re.IGNORECASE)]
    fields = f"fields about roles: {_words(roles) or 'none'}"
    info = _json(row, "DisasterRecoveryInfo", dict)
    if info:
        form = "text that holds JSON" if isinstance(row["DisasterRecoveryInfo"], str) else "an object, no text"
        return f"told, as {form}", f"keys: {_words(info)}; {fields}"
    return ("missing", fields) if _link_in_log(seen) else ("nothing to read: no link is there", fields)


def _dr_instances(seen: Seen) -> Told:
    row = seen.replies["source"].attributes()
    told = [name for name in ("DisasterRecoveryInstances", "GuardDBInstanceId") if row.get(name)]
    if told:
        rows = _json(row, "DisasterRecoveryInstances", list) or []
        return f"told: {_words(told)}", f"keys: {_words(key for item in rows for key in item)}"
    return ("missing", "") if _link_in_log(seen) else ("nothing to read: no link is there", "")


def _logged(seen: Seen) -> list[Row]:
    """Return all rows, each once, in the order of their ids."""
    replies = [seen.replies[name] for name in ("create", "dry_run", "any_type") if name in seen.replies]
    rows = {as_text(row.get("TaskId")): row for reply in replies for row in reply.rows()}
    return sorted(rows.values(), key=lambda row: number(row.get("TaskId")) or 0)


def _from_rows(read: Callable[[list[Row]], Told | None]) -> Callable[[Seen], Told]:
    def reader(seen: Seen) -> Told:
        rows = _logged(seen)
        told = read(rows)
        return told or ("nothing to read: no row of the task log has it", f"rows: {len(rows)}")

    return reader


def _field(name: str, kind: str | None = None, streaming: bool = False) -> Callable[[list[Row]], Told | None]:
    """Read which words a field has in rows of that type (None: of any), and if so wanted only where data streams."""

    def read(rows: list[Row]) -> Told | None:
        wanted = [row for row in rows if kind in (None, row.get("TaskType"))]
        wanted = [row for row in wanted if not streaming or row.get("ReplicationState") in _STREAMING]
        return (_words(row.get(name) for row in wanted), f"rows: {len(wanted)}") if wanted else None

    return read


def _state(rows: list[Row]) -> Told | None:
    values = [value for row in rows if (value := as_text(row.get("ReplicationState")))]
    streaming = [value for value in values if value in _STREAMING]
    return (_words(streaming or values), f"all values: {_words(values)}") if values else None


def _form(value: Any) -> str:
    if not isinstance(value, str):
        return "absent" if value is None else type(value).__name__
    return "empty" if not value else "masked" if not value.strip("*xX") or "***" in value else "plain"


def _forms(values: Iterable[Any]) -> str:
    return ", ".join(sorted({_form(value) for value in values}, key=lambda form: (form != "plain", form)))


def _row_password(rows: list[Row]) -> Told | None:
    return (_forms(row.get("ReplicatorPassword") for row in rows), _FORMS) if rows else None


def _detail_login(rows: list[Row]) -> Told | None:
    logins = [
        found[1] for row in rows for found in re.finditer(r"\bby [^\s:]+:(\S+)", as_text(row.get("Detail")) or "")
    ]
    return (_forms(logins), _FORMS) if logins else None


def _info_password(seen: Seen) -> Told:
    info = _json(seen.replies["instance"].attributes(), "DisasterRecoveryInfo", dict)
    if not info:
        return "nothing to read: no DisasterRecoveryInfo", ""
    return _forms([info.get("replicatorPassword")]), _FORMS


def _newlines(rows: list[Row]) -> Told | None:
    text = "".join(value for row in rows if isinstance(value := row.get("Detail"), str))
    kinds = [name for name, mark in (("real", "\n"), ("backslash-n", "\\n"), ("carriage return", "\r")) if mark in text]
    return (", ".join(kinds) or "one line", f"characters: {len(text)}") if text else None


def _report(rows: list[Row]) -> Told | None:
    details = [value for row in rows if isinstance(value := row.get("Detail"), str) and value]
    checks = [check for detail in details for check in parse_report(detail, Subject("", ""))]
    new = [check.check for check in checks if check.remedy.startswith("See the note")]
    told = f"read: {_words(check.id for check in checks)}" if checks else "none"
    return (told, f"without a remedy of their own: {_words(new) or 'none'}") if details else None


def _replication_info(rows: list[Row]) -> Told | None:
    values = [value for row in rows if row.get("TaskType") == CREATE and (value := as_text(row.get("ReplicationInfo")))]
    keys = [_json({"info": value}, "info", dict) for value in values if value.startswith("{")]
    if keys:
        return f"JSON with the keys {_words(key for info in keys for key in info)}", f"rows: {len(keys)}"
    shown = (value if re.fullmatch(r"\w{1,20}", value) else "other text" for value in values)
    return (f"no JSON: {_words(shown)}", f"rows: {len(values)}") if values else None


def _ids(rows: list[Row]) -> Told | None:
    times = [created for row in rows if (created := as_text(row.get("GmtCreated")))]
    if len(set(times)) < 2:
        return None  # within one second they tell nothing
    kinds = _words(type(row.get("TaskId")).__name__ for row in rows)
    return ("grow with time" if times == sorted(times) else "do not grow with time"), f"rows: {len(times)}; as {kinds}"


def _shape(seen: Seen) -> Told:
    items = seen.replies["create"].body.get("Items")
    if isinstance(items, dict):
        return "an object", f"keys: {_words(items)}"
    return "a list" if isinstance(items, list) else type(items).__name__, ""


def _total(seen: Seen) -> Told:
    told = [(n, number(r.body.get("TotalSize")), len(r.rows())) for n, r in _pages(seen).items() if not r.error]
    good = all(total is not None and count == min(total, size) for size, total, count in told)
    pages = "; ".join(f"page of {size}: {count} rows of {total}" for size, total, count in sorted(told))
    return "matches" if good else "does not match", pages


def _pages(seen: Seen) -> dict[int, Reply]:
    names = {1: "page_1", PAGE_SIZE: "create", 50: "page_50", 100: "page_100"}
    return {size: seen.replies[name] for size, name in names.items() if name in seen.replies}


def _page_sizes(seen: Seen) -> Told:
    pages = _pages(seen)
    refused = {size: reply.error for size, reply in pages.items() if reply.error}
    told = ", ".join(str(size) for size in pages if size not in refused)
    return f"accepted: {told}", "; ".join(f"{size}: {_refusal(error)}" for size, error in refused.items())


def _any_type(seen: Seen) -> Told:
    error = seen.replies["any_type"].error
    if error:
        return f"refused: {error.code} HTTP {error.http_status}", ""
    return "accepted", f"TaskType of its rows: {_words(r.get('TaskType') for r in seen.replies['any_type'].rows())}"


def _throttling(seen: Seen) -> Told:
    if not seen.headers:
        return "not told", "no reply"
    names = [name for name in seen.headers if name.startswith(("x-acs-", "x-ratelimit-", "retry-after"))]
    refused = [r.error for r in seen.replies.values() if r.error and "Throttling" in r.error.code]
    return _words(names) or "none", f"throttled: {'; '.join(map(_refusal, refused)) or 'no'}"


def _dry_run(seen: Seen) -> Told:
    return (seen.dry_run.answer, seen.dry_run.evidence) if seen.dry_run else ("not asked: no dry run was made", "")


def _dryness(seen: Seen) -> Told:
    if seen.dry_run is None or seen.dry_run.task_id is None:
        return "not asked: no dry run was made", ""
    if seen.replies["instance"].error or seen.replies.get("create", Reply("", error=seen.stopped)).error:
        return "not known: what it left could not be read", ""
    before, after = (bool(seen.replies[n].attributes().get("DisasterRecoveryInfo")) for n in ("before", "instance"))
    made = seen.dry_run.task_id in [number(row.get("TaskId")) for row in seen.replies["create"].rows()]
    return ("no" if made or (after and not before) else "yes"), f"a create task: {made}; a link after it: {after}"


_ABOUT_REFUSALS = ("signature_accepted", "unknown_instance", "logs_without_task_type")

# Question -> the reply that it is read from, and how.
READERS: dict[str, tuple[str, Callable[[Seen], Told]]] = {
    "signature_accepted": ("before", _signature),
    "clock_skew": ("", _clock),
    "unknown_instance": ("nobody", _unknown_instance),
    "instance_status": ("instance", _status),
    "dr_instance_type": ("instance", _type),
    "dr_info_told": ("instance", _dr_info),
    "dr_instances_told": ("source", _dr_instances),
    "password_in_attributes": ("instance", _info_password),
    "logs_without_task_type": ("any_type", _any_type),
    "log_items_shape": ("create", _shape),
    "task_types": ("create", _from_rows(_field("TaskType"))),
    "replication_state_spelling": ("create", _from_rows(_state)),
    "finished_task_status": ("create", _from_rows(_field("TaskStatus", CREATE, streaming=True))),
    "dry_run_status": ("dry_run", _from_rows(_field("TaskStatus", DRY_RUN))),
    "detail_newlines": ("create", _from_rows(_newlines)),
    "detail_checks": ("create", _from_rows(_report)),
    "password_in_log": ("create", _from_rows(_row_password)),
    "password_in_detail": ("create", _from_rows(_detail_login)),
    "replication_info": ("create", _from_rows(_replication_info)),
    "task_ids": ("create", _from_rows(_ids)),
    "total_size": ("create", _total),
    "page_sizes": ("create", _page_sizes),
    "throttle_headers": ("", _throttling),
    "dry_run": ("", _dry_run),
    "dry_run_is_dry": ("", _dryness),
}

# Per question: its id, its text, and what the collection does, by how the answer begins ("*": any other answer).
_TEXTS = """
signature_accepted
Is the signature of the collection accepted (ACS3-HMAC-SHA256, all parameters in the query)?
yes = All modules can talk to the service.
* = No module can talk to the service this way.

clock_skew
How far is the clock of this machine from the service's?
* = Requests more than 15 minutes off are refused; the collection then says so.

unknown_instance
What does a read of an instance answer that is not there?
InvalidDBInstance = A misspelt id is named in the message (category fix_input).
Forbidden = The key may see some instances only: a misspelt id is reported as a missing permission.
NoPermission = The key may see some instances only: a misspelt id is reported as a missing permission.
* = The message names the code, and the category comes from the HTTP status.

instance_status
Which DBInstanceStatus has the instance?
Running = It can be worked on.
* = Anything but Running counts as busy: nothing that changes it is sent.

dr_instance_type
Which DBInstanceType has the instance?
Readonly = It is refused as a DR instance (InstanceUnfit) while it has no link.
Temp = It is refused as a DR instance (InstanceUnfit) while it has no link.
* = It is accepted as a DR instance; whether it is one is read from DisasterRecoveryInfo alone.

dr_info_told
Does DescribeDBInstanceAttribute tell the link of a DR instance (DisasterRecoveryInfo)?
told, as text = The link is seen: running again changes nothing.
told = The collection reads text, so it sees no link: running again stops with LinkEnded. Please report.
missing = The collection cannot see the link. Running replication_link again stops with LinkEnded, every night: nothing
  is changed, but it is of no use. Promotion and rebuild refuse. Please report.

dr_instances_told
Does it tell the DR instances of a primary?
told: DisasterRecoveryInstances = A primary leads to its DR instance, also for the inventory.
told = A primary leads to its DR instance by GuardDBInstanceId.
missing = A primary does not lead to its DR instance: start from the DR instance.

password_in_attributes
In which form is the replication password in DisasterRecoveryInfo?
plain = It is left out of all results. Whoever may read the instance can read it: use the account for no more.
* = Nothing to do.

logs_without_task_type
Does DescribeReplicationLinkLogs accept a request without TaskType?
* = TaskType is always sent, so both answers are fine.

log_items_shape
Is Items of the task log a list?
a list = It is read.
* = Whatever reads the log stops with ReplyUnreadable before it changes anything. Please report.

task_types
Which TaskType have the rows of the log?
* = create and create-dryrun are asked for, others are not.

replication_state_spelling
How does ReplicationState spell that data streams?
steaming = It is shown as streaming.
streaming = It is shown as it is.
* = It is shown as it is, and TaskStatus decides whether data streams. Please report, if data streams.

finished_task_status
Which TaskStatus has the task of a link that streams?
success = The wait ends when data streams.
running = The wait ends when data streams, because the stage is increment.
* = The wait ends only if TaskStage is increment. Please report.

dry_run_status
Which TaskStatus have the dry runs?
success = The verdict is read from it.
failure = The verdict is read from it.
running = The verdict is read from it.
* = A dry run with another word for its end is waited for until wait_timeout. Please report.

detail_newlines
How are line breaks written in Detail?
one line = No check could be told from the next. Please report.
* = All of these are read.

detail_checks
Which checks can be read from Detail?
read = They are returned with their remedies.
* = Failures are shown by the last lines of the report. Please report.

password_in_log
In which form is ReplicatorPassword in the rows of the log?
plain = It is left out of all results. Whoever may read the log can read it: use the account for no more.
* = Nothing to do.

password_in_detail
In which form is the password where Detail names a login?
plain = It is masked in all results. Whoever may read the log can read it: use the account for no more.
* = Nothing to do.

replication_info
What does ReplicationInfo hold?
JSON = The lag is read from LatestEndLsn, ReplayLsn and ReplayLag, if these are among the keys.
* = The service tells no lag: limits of lag need measured_lag_bytes, or the role, which asks PostgreSQL.

task_ids
Do task ids grow with time?
grow = Tasks are put in order by time of creation, and those of one second by their ids.
* = Tasks are put in order by time of creation; two of one second may be taken for each other. Please report.

total_size
Is TotalSize the number of all rows, whatever the page?
matches = All pages are read.
* = Tasks on later pages may be missed. Please report.

page_sizes
Which page sizes of 1, 30, 50 and 100 are accepted?
* = The log is read in pages of 30.

throttle_headers
Which headers tell of rate limits, and of the request?
* = x-acs-retry-after is heeded, other headers are not. No limit was sought.

dry_run
What does a dry run answer?
* = The same as check mode of replication_link.

dry_run_is_dry
Does a dry run make no link?
yes = Check mode makes no link.
* = DO NOT USE CHECK MODE: it makes links. Please report this at once.

promote_to_master_false
What does PromoteToMaster=false do?
* = It is never sent; a promotion sends true.

verb_task_ids
Have promotion and rebuild task ids, and rows in the log?
* = Not needed: they are followed by what the DR instance says of itself.

verb_statuses
Which DBInstanceStatus is seen while a link is made, promoted or rebuilt?
* = Anything but Running counts as busy.

parameters_in_body
Does CreateReplicationLink accept its parameters in the body of the request?
* = Not tried: they travel in the query, as the official SDK sends them.
"""


def _questions() -> dict[str, tuple[str, dict[str, str]]]:
    """Return text and meanings of each question, by its id."""
    blocks = [block.replace("\n  ", " ").split("\n") for block in _TEXTS.strip().split("\n\n")]
    return {name: (text, dict(line.split(" = ", 1) for line in lines)) for name, text, *lines in blocks}
