# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever comes back from the endpoint: one clear failure or a sane success, soon, and in bounded memory."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import run as _run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK, REPLICATION_LINK_INFO
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr import state as _state
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, parse_report
from tests.freeze.recorder import from_heads, frozen

from .scripted_server import ScriptedServer, action_of, http

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = str(Path(_run.__file__).parents[6])
INSTANCE, LOGS, CREATE = "DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs", "CreateReplicationLink"
DR = "pgm-dr"
PASSWORD = "Pä'ss \"w\\o%2Frd+/=&<é"
SECRET = "Key/+Secret%'\"\\&<=~"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
PATIENT = {"request_timeout": 5, "read_timeout": 5}  # seconds: what ends sooner does so for another reason
IMPATIENT = {"request_timeout": 1.0, "read_timeout": 1.0}
HANG = 8.0  # seconds: far more than one request may take on a busy machine, far less than for ever

TOLD = {"sourceCategory": "other", "sourceAddress": "10.0.0.1", "sourcePort": "5432", "replicatorAccount": "dr_sync"}
ROW = {
    "TaskId": 11,
    "TaskName": "ansible-x",
    "TaskType": "create",
    "TaskStatus": "running",
    "TaskStage": "basebackup",
    "ReplicationState": "",
    "ReplicationInfo": "{}",
    "GmtCreated": "2026-11-24T08:00:00Z",
    "GmtModified": "2026-11-24T08:00:00Z",
    "TargetInstanceId": DR,
    "SourceCategory": "other",
    "SourceAddress": "10.0.0.1",
    "SourcePort": 5432,
    "ReplicatorAccount": "dr_sync",
    "Detail": "[Check rds empty]\nCheck rds databases: success\nCheck ip connectable: error(error:no route)",
}


def instance_answer(told=None, **changes):
    row = {
        "DBInstanceId": DR,
        "Engine": "PostgreSQL",
        "EngineVersion": "16.0",
        "DBInstanceStatus": "Running",
        "DBInstanceType": "Primary",
        "LockMode": "Unlock",
        "ConnectionString": "pgm-dr.pg.rds.aliyuncs.com",
        "Port": "5432",
        **changes,
    }
    if told is not None:
        row["DisasterRecoveryInfo"] = told if isinstance(told, str) else json.dumps(told)
    return {"RequestId": "R-1", "Items": {"DBInstanceAttribute": [row]}}


def logs_answer(*rows):
    return {"RequestId": "R-2", "TotalSize": len(rows), "PageSize": 30, "PageNumber": 1, "Items": list(rows)}


def create_answer(**changes):
    return {"RequestId": "R-3", "DBInstanceId": DR, "TaskId": 11, "TaskName": "ansible-x", **changes}


def documents(instance=None, before=None, after=None, create=None):
    """A script: answers by action; the log before and after the create differ. Text and bytes are sent as they are."""
    created = []

    def answer(_unused, head):
        action = action_of(head)
        if action == INSTANCE:
            body = instance_answer() if instance is None else instance
        elif action == CREATE:
            created.append(True)
            body = create_answer() if create is None else create
        elif created:
            body = of_the_type_asked_for(logs_answer(ROW) if after is None else after, head)
        else:
            body = of_the_type_asked_for(logs_answer() if before is None else before, head)
        return http(body if isinstance(body, (bytes, str)) else json.dumps(body))

    return answer


def of_the_type_asked_for(body, head):
    """The log has rows of both types, and shows those that a request asks for."""
    rows = body.get("Items") if isinstance(body, dict) else None
    if not isinstance(rows, list) or "TaskType=create-dryrun" not in head:
        return body
    change = {"TaskType": "create-dryrun"}
    return {
        **body,
        "Items": [{**r, **change} if isinstance(r, dict) and r.get("TaskType") == "create" else r for r in rows],
    }


def only(action, answer):
    """A script: `answer(connection)` for one action, proper documents for the others."""
    proper = documents()
    return lambda connection, head: answer(connection) if action_of(head) == action else proper(connection, head)


def defaults(spec):
    return {name: option.get("default") for name, option in spec["argument_spec"].items()}


def play(server, operation=LINK, check_mode=False, **changes):
    """Run an operation against a server, without retries and with one look where it would wait."""
    spec = REPLICATION_LINK if operation is LINK else REPLICATION_LINK_INFO
    given = {"dr_instance_id": DR, "endpoint": f"http://127.0.0.1:{server.port}", "max_retries": 0}
    given |= {"access_key_id": "LTAI", "access_key_secret": SECRET}
    given |= {**PATIENT, "connect_timeout": 2}
    if operation is LINK:
        given |= {"source_address": "10.0.0.1", "replicator_account": "dr_sync", "replicator_password": PASSWORD}
        given |= {"wait_timeout": 0, "settle_timeout": 0}
    options = {**defaults(spec), **given, **changes}
    return frozen(
        lambda: run(operation, options, check_mode=check_mode, diff=True, environment={}),
        module="replication_link" if operation is LINK else "replication_link_info",
        options=changes,
        check_mode=check_mode,
        requests=lambda: from_heads(server.heads),
    )


def assert_sane(result):
    """One clear failure or a success, that a controller can read."""
    text = json.dumps(result)
    assert json.loads(text)
    assert "Traceback" not in text
    for secret in (PASSWORD, SECRET):
        assert secret not in text and json.dumps(secret)[1:-1] not in text
    if result.get("failed"):
        assert isinstance(result["msg"], str) and result["msg"]
        assert result["error"]["code"] != "Unexpected", result["msg"]
        assert result["error"]["category"] and result["error"]["outcome"]
    else:
        assert "error" not in result and isinstance(result["changed"], bool)
    return result


# -- documents of the wrong shape --------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**18, 10**40, -(10**4000), 10**4200, 1e300, float("inf"), float("nan")]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["success", "failure", "running", "increment", "precheck", "streaming", "disconnect", "11", "9" * 30]
    ),
    st.sampled_from(["null", "[]", "{}", '{"sourceAddress": []}', '{"sourcePort": 1e999}', "{", "[" * 3000]),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
REMOVED = object()


def places(document, path=()):
    """The path of every value in a document."""
    yield path
    entries = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in entries:
        yield from places(value, (*path, key))


def replaced(document, path, value):
    if not path:
        return {} if value is REMOVED else value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


@st.composite
def spoiled(draw, *bases):
    """A document with one or two of its values replaced or removed."""
    document = draw(st.sampled_from(bases))
    for _unused in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(document))))
        document = replaced(document, path, draw(st.just(REMOVED) | JUNK))
    return document


def rows(**changes):
    return logs_answer({**ROW, **changes})


ENDED = {"TaskStatus": "success", "TaskStage": "increment", "ReplicationState": "steaming"}
PROPER = {
    "instance": [instance_answer(), instance_answer(TOLD)],
    "told": [TOLD],
    "before": [logs_answer(), rows(), rows(**ENDED), rows(TaskStatus="failure")],
    "after": [rows(**ENDED), rows(TaskType="create-dryrun", TaskStatus="success"), rows(TaskStatus="failure")],
    "create": [create_answer()],
}
RUNS = {document: [(LINK, True), (LINK, False), (INFO, False)] for document in PROPER}
RUNS |= {document: RUNS[document][:2] for document in ("after", "create")}


def script(document, spoiled_one):
    return documents(
        **{"instance": instance_answer(json.dumps(spoiled_one))} if document == "told" else {document: spoiled_one}
    )


@pytest.fixture(scope="module")
def fuzzing():
    with ScriptedServer(documents()) as server:
        yield server


@pytest.fixture
def fuzzed(fuzzing):
    """One server for all tests, which remembers the requests of this one."""
    fuzzing.heads.clear()
    return fuzzing


@pytest.mark.parametrize("document", PROPER)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_spoiled_document_gives_one_clear_result(fuzzed, document, data):
    fuzzed.heads.clear()
    fuzzed.answer = script(document, data.draw(spoiled(*PROPER[document])))
    operation, check_mode = data.draw(st.sampled_from(RUNS[document]))
    assert_sane(play(fuzzed, operation, check_mode))


ODD = [REMOVED, None, True, -1, 10**40, float("inf"), "", "running", "[", [], {}, [None], {"a": []}]


def spoiled_places():
    """Every place of the proper documents, each with a few odd values by turns."""
    odd, number = itertools.cycle(ODD), 0
    for document, bases in PROPER.items():
        for place, base in enumerate(bases):
            for path in places(base):
                name = "-".join(map(str, (document, place, *path)))
                yield pytest.param(document, base, path, [next(odd) for _unused in range(2)], number, id=name)
                number += 1


@pytest.mark.parametrize(("document", "base", "path", "values", "number"), list(spoiled_places()))
def test_an_odd_value_at_any_place_gives_one_clear_result(fuzzed, document, base, path, values, number):
    for turn, value in enumerate(values, number):
        fuzzed.answer = script(document, replaced(base, path, value))
        operation, check_mode = RUNS[document][turn % len(RUNS[document])]
        assert_sane(play(fuzzed, operation, check_mode))


DOCUMENTS = {
    "empty": "",
    "null": "null",
    "text": '"x"',
    "number": "1e999",
    "a very long number": '{"TaskId": 1' + "0" * 5000 + "}",
    "not a number": '{"TaskId": NaN, "Items": NaN}',
    "an infinite task id": '{"RequestId": "x", "TaskId": 1e999, "Items": [{"TaskId": 1e999}]}',
    "brackets without end": "[" * 100_000,
    "objects without end": '{"Items":' * 100_000,
    "100,000 levels": "[" * 100_000 + "]" * 100_000,
    "900 levels": '{"Items":' + "[" * 900 + "]" * 900 + "}",
    "levels in text": json.dumps(instance_answer("[" * 100_000)),
    "duplicate keys": '{"Items": 1, "Items": [], "TaskId": "x", "TaskId": 11, "Code": "", "Code": null}',
    "raw control characters": '{"Code": "\x00\x1b[2J", "Message": "x"}',
    "lone surrogates": '{"Code": "\\ud800", "Message": "\\udfff\\ud800 x", "RequestId": "\\udc00"}',
    "half UTF-8": b'{"Message": "\xc3("}',
    "Latin-1": '{"Items": "é"}'.encode("latin-1"),
    "UTF-16": json.dumps(instance_answer()).encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + json.dumps(instance_answer()).encode(),
    "a page": "<html><body>It works!</body></html>",
    "many rows": '{"TotalSize": 100000, "Items": [' + ",".join(['{"TaskId": 1}'] * 100_000) + "]}",
    "code that is no text": '{"Code": {"a": 1}, "Message": ["x"], "RequestId": 7, "Success": "no"}',
    "success that is false": '{"Success": false}',
}


@pytest.mark.parametrize("action", [INSTANCE, LOGS, CREATE])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_none_gives_one_clear_result(name, action):
    with ScriptedServer(only(action, lambda _unused: http(DOCUMENTS[name]))) as server:
        result = assert_sane(play(server))
        assert sum(action_of(head) == CREATE for head in server.heads) <= 1, "a create is never repeated on doubt"
    assert len(result.get("msg", "")) < 1000


@pytest.mark.parametrize("status", ["100", "101", "103", "199", "204", "205", "206", "304", "400", "418", "599", "999"])
def test_any_status_without_a_body_is_a_failure(status):
    with ScriptedServer(only(CREATE, lambda _unused: http("", status=f"{status} x"))) as server:
        result = assert_sane(play(server))
    assert result["failed"]


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_with_a_proper_document_is_still_a_redirect(status):
    answer = http(json.dumps(create_answer()), "Location: http://127.0.0.1:9/", status=f"{status} x")
    with ScriptedServer(only(CREATE, lambda _unused: answer)) as server:
        result = assert_sane(play(server))
    assert (result["error"]["code"], result["outcome"]) == ("Redirected", "unknown")


def test_pages_that_bring_nothing_new_are_not_read_on():
    page = {"RequestId": "R-2", "Items": [ROW] * 30}
    with ScriptedServer(documents(before=page)) as server:
        assert_sane(play(server))
        assert len(server.heads) < 20


def endless_log(junk="", pause=0.0, told=None):
    """A script: a log of which each page brings thirty new rows."""
    numbers = itertools.count(1)

    def answer(_unused, head):
        if action_of(head) == INSTANCE:
            return http(json.dumps(instance_answer()))
        time.sleep(pause)
        page = [{**ROW, "TaskId": next(numbers), "Junk": junk} for _row in range(30)]
        return http(json.dumps({"RequestId": "R-2", "TotalSize": 10**9, "Items": page}))

    return answer


@pytest.mark.parametrize("where", ["Junk", "Detail", "TaskName"])
def test_pages_without_end_fill_no_memory(where, monkeypatch):
    monkeypatch.setitem(ROW, "Detail", "x" * 130_000 if where == "Detail" else ROW["Detail"])
    monkeypatch.setitem(ROW, "TaskName", "x" * 130_000 if where == "TaskName" else ROW["TaskName"])
    with ScriptedServer(endless_log("x" * 130_000 if where == "Junk" else "")) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = play(server, INFO)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert (result["error"]["code"], result["outcome"]) == ("ListTooLong", "not_sent")
        assert len(server.heads) < 12
    assert grown < 120 * 1024, "KiB"


def test_slow_pages_end_at_one_deadline(monkeypatch):
    assert _state.MOST_SECONDS <= 60
    monkeypatch.setattr(_state, "MOST_SECONDS", 1.0)
    with ScriptedServer(endless_log(pause=0.7)) as server:
        began = time.monotonic()
        result = play(server, INFO)
        assert time.monotonic() - began < 4
        assert result["error"]["code"] == "ListTooLong" and "after 2 pages" in result["msg"]


def test_a_report_longer_than_any_is_cut_at_a_line():
    long = "password=hunter2 x\n" * 40_000
    (task,) = _state.read_tasks(
        OnePage({**ROW, "Detail": f"{long}[Check rds empty]\nCheck disk size enough: success"}), DR, "create"
    )
    assert len(task.detail) <= 256 * 1024 and task.detail.startswith("password=")
    assert task.detail.endswith("Check disk size enough: success")


class OnePage:
    """A client that knows one row."""

    last_request_id = None

    def __init__(self, row):
        self._row = row

    def call(self, action, parameters, *, repeatable):
        return logs_answer(self._row)


# -- transports that misbehave -----------------------------------------------------------------------------------------


def endless(prefix, piece, pause=0.0):
    """Send a beginning, and then a piece again and again until the client hangs up."""

    def answer(connection):
        connection.sendall(prefix)
        for part in itertools.repeat(piece):
            connection.sendall(part)
            time.sleep(pause)

    return answer


def piecewise(content, pause=0.1):
    def answer(connection):
        for at in range(len(content)):
            connection.sendall(content[at : at + 1])
            time.sleep(pause)

    return answer


def exactly(content):
    return lambda _unused: content


def silent(connection):
    connection.recv(1)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = json.dumps(instance_answer()).encode()
TRANSPORTS = {
    "nothing": exactly(b""),
    "silence": silent,
    "HTTP/0.9": exactly(b"hello\r\n"),
    "a banner": exactly(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "half a status line": exactly(b"HTTP/1.1 20"),
    "a status that is no number": exactly(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a status line without end": endless(b"HTTP/1.1 200 ", b"x" * 4096),
    "a dripping status line": piecewise(b"HTTP/1.1 200 " + b"x" * 1000),
    "a header line without end": endless(OK + b"X-A: ", b"x" * 4096),
    "headers without end": endless(OK, b"X-A: b\r\n" * 10),
    "dripping headers": endless(OK + b"X-A: ", b"b", 0.1),
    "headers that are none": exactly(OK + b"no colon\r\n: no name\r\nX\x00: \xff\r\n folded\r\n\r\n" + GOOD),
    "101 headers": exactly(OK + b"X-A: b\r\n" * 101 + b"\r\n{}"),
    "continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    "slow continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    "processing without end": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 10),
    "a body without end": endless(OK + b"\r\n", b" " * 65536),
    "a dripping body": endless(OK + b"\r\n", b" ", 0.1),
    "a body shorter than it says": exactly(OK + b"Content-Length: 5000\r\n\r\n" + GOOD),
    "a body longer than it says": exactly(OK + b"Content-Length: 10\r\n\r\n" + GOOD),
    "a negative length": exactly(OK + b"Content-Length: -1\r\n\r\n" + GOOD),
    "a length that is none": exactly(OK + b"Content-Length: ten\r\n\r\n" + GOOD),
    "two lengths": exactly(OK + b"Content-Length: 5\r\nContent-Length: 10\r\n\r\n" + GOOD),
    "a length of 10^30": exactly(OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n" + GOOD),
    "chunks that are none": exactly(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk": exactly(CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n"),
    "a chunk of 2^64 bytes": exactly(CHUNKED + b"FFFFFFFFFFFFFFFF\r\n{}"),
    "a chunk size without end": endless(CHUNKED, b"0" * 4096),
    "empty lines for chunks": endless(CHUNKED, b"\r\n" * 100),
    "tiny chunks without end": endless(CHUNKED, b"1\r\n \r\n" * 100),
    "trailers without end": endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 10),
    "dripping trailers": endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n", 0.1),
    "gzip that is none": exactly(http(GOOD, "Content-Encoding: gzip")),
    "half a gzip": exactly(http(gzip.compress(GOOD)[:-20], "Content-Encoding: gzip")),
    "deflate that is none": exactly(http(b"\x00\x01\x02", "Content-Encoding: deflate")),
    "an encoding nobody knows": exactly(http(GOOD, "Content-Encoding: br, zstd, what")),
    "a hundred encodings": exactly(http(GOOD, "Content-Encoding: " + ", ".join(["gzip"] * 100))),
    "a charset that is none": exactly(http(GOOD, "Content-Type: application/json; charset=\x01nope")),
    "cookies": exactly(http(GOOD, *["Set-Cookie: a=" + "b" * 4000 + "; expires=" + "1" * 1000 + "; domain=com"] * 50)),
    "a retry-after that is none": exactly(http(b"{}", "x-acs-retry-after: 9e99", status="503 x")),
}


# Only the time ends these; the last three may also end by their size, on a machine that reads fast enough.
TIMED = {"silence", *(name for name in TRANSPORTS if "dripping" in name), "slow continue without end"}
TIMED |= {"continue without end", "tiny chunks without end", "trailers without end"}


@pytest.mark.parametrize("action", [INSTANCE, CREATE])
@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_transport_that_misbehaves_ends_soon_with_one_clear_result(name, action):
    began = time.monotonic()
    with ScriptedServer(only(action, TRANSPORTS[name])) as server:
        result = assert_sane(play(server, **(IMPATIENT if name in TIMED else {})))
        assert sum(action_of(head) == CREATE for head in server.heads) <= 1
    assert time.monotonic() - began < HANG
    if action == CREATE and result.get("failed"):
        assert result["outcome"] in ("unknown", "running"), "bytes have left, so nobody knows"


def test_a_reply_that_keeps_its_connection_does_not_answer_the_next_request():
    """What is sent beyond the end of one answer must not be taken for the next one."""
    smuggled = http(json.dumps(logs_answer({**ROW, "SourceAddress": "smuggled"})))
    body = json.dumps(instance_answer()).encode()

    def answer(connection):
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body + smuggled)
        connection.recv(65536)  # the next request, if it comes on this connection
        connection.sendall(http(json.dumps(logs_answer())))

    with ScriptedServer(only(INSTANCE, answer)) as server:
        result = assert_sane(play(server, INFO))
    assert "smuggled" not in json.dumps(result)


# -- what people read --------------------------------------------------------------------------------------------------

ESCAPES = "a\x1b[2J\x1b]0;title\x07\x00b\x9b31mc\x7f\u202ed\ud800e\rf\u2028g"


def read_texts(result):
    """What is written to a screen as it is: messages, warnings and the texts of checks."""
    yield from (result.get("msg", ""), *result.get("warnings", []), *result["retries"])
    yield from (value for value in (result.get("error") or {}).values() if isinstance(value, str))
    for check in result.get("checks", []):
        yield from check.values()


def assert_steady(result):
    for text in read_texts(assert_sane(result)):
        assert not STEERING.search(text), repr(text)


@pytest.mark.parametrize("status", ["200 OK", "400 x", "403 x", "500 x"])
def test_a_message_cannot_steer_the_terminal(status):
    answer = {"Code": f"Odd{ESCAPES}", "Message": f"line 1\nline 2 {ESCAPES}", "RequestId": f"R{ESCAPES}"}
    with ScriptedServer(only(CREATE, lambda _unused: http(json.dumps(answer), status=status))) as server:
        result = play(server)
    assert result["failed"]
    assert_steady(result)
    assert "\n" not in result["msg"]
    assert not STEERING.search(result["request_id"])


def test_a_report_cannot_steer_the_terminal():
    detail = f"[Section {ESCAPES}]\nCheck {ESCAPES} x: error(error:{ESCAPES} by dr_sync:{ESCAPES})\nOther {ESCAPES}"
    with ScriptedServer(documents(after=rows(TaskStatus="failure", TaskStage="precheck", Detail=detail))) as server:
        result = play(server)
    assert result["error"]["code"] == "PrecheckFailed"
    assert_steady(result)
    assert not STEERING.search("".join(result["task"]["detail"]))


def percent(text, digits, times):
    """Percent-encoding by UTF-8, applied several times."""
    plain = {character for character in text if character.isascii() and character.isalnum()}
    once = "".join(c if c in plain else "".join(f"%{byte:{digits}}" for byte in c.encode()) for c in text)
    return once.replace("%", "%" + "25" * (times - 1))


@pytest.mark.parametrize(
    "script",
    [
        {"instance": instance_answer(Engine=ESCAPES)},
        {"instance": instance_answer(DBInstanceStatus=ESCAPES)},
        {"instance": instance_answer({**TOLD, "sourceAddress": ESCAPES})},
        {"after": rows(TaskStage=ESCAPES)},
    ],
    ids=["engine", "status", "source", "stage"],
)
def test_a_field_cannot_steer_the_terminal(script):
    with ScriptedServer(documents(**script)) as server:
        result = play(server)
    assert result["failed"]
    assert_steady(result)


def test_secrets_are_found_in_every_text_and_spelling_of_an_answer():
    forms = [lambda s: s, lambda s: json.dumps(s)[1:-1], lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1]]
    for digits in ("02X", "02x"):
        forms += [lambda s, d=digits, times=times: percent(s, d, times) for times in (1, 2, 3)]
    forms.append(lambda s: "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in s))
    forms.append(lambda s: "".join(f"&amp;#x{ord(c):X};" if not c.isalnum() else c for c in s))
    for form in forms:
        for secret in (PASSWORD, SECRET):
            assert scrub(f"<{form(secret)}>", [PASSWORD, SECRET]) == "<***>", form(secret)


def test_a_long_message_is_cut_but_no_secret_is_cut_in_two():
    """Were it cut first, the half of a password at the cut would not be found."""
    for at in range(3950, 4010, 7):
        message = "x" * at + PASSWORD + "y" * 100_000
        answer = http(json.dumps({"Code": "Odd", "Message": message}), status="400 x")
        with ScriptedServer(only(CREATE, lambda _unused, answer=answer: answer)) as server:
            result = assert_sane(play(server))
        assert PASSWORD[:2] not in json.dumps(result, ensure_ascii=False)
        assert len(result["msg"]) < 6000


@pytest.mark.parametrize("code", ["Odd", "IncompleteSignature", "SignatureDoesNotMatch"])
def test_code_and_request_id_are_no_place_for_a_secret_either(code):
    answer = {"Code": f"{code}{PASSWORD}", "Message": f"x {PASSWORD} {SECRET}", "RequestId": f"R-{SECRET}"}
    with ScriptedServer(only(CREATE, lambda _unused: http(json.dumps(answer), status="400 x"))) as server:
        result = assert_sane(play(server))
    assert result["request_id"] == "R-***"


HEAVY_REPORTS = {
    "blanks": "A b: error(error: x" + " " * 2_000_000 + "x)",
    "checks": "a: success\n" * 300_000,
    "names": "".join(f"a{n}: error\n" for n in range(300_000)),
    "sections": "[a\n" * 1_000_000 + "[a]\n",
    "backslashes": "A b: error: " + "\\" * 3_000_000,
    "logins": "A b: error: " + "by " * 1_000_000,
    "passwords": "A b: error: " + "password " * 400_000 + "password='" * 100_000,
    "percents": "A b: error: " + "%25" * 1_000_000,
    "ampersands": "A b: error: " + "&amp;" * 800_000,
}


@pytest.mark.parametrize("name", HEAVY_REPORTS)
def test_a_heavy_report_is_read_in_no_time(name):
    began = time.monotonic()
    checks = parse_report(HEAVY_REPORTS[name], Subject("dr_sync", DR), [PASSWORD, SECRET])
    scrub(HEAVY_REPORTS[name], [PASSWORD, SECRET])
    assert time.monotonic() - began < 20
    assert len(checks) <= 200
    assert sum(len(check.note) for check in checks) <= 200 * 4000


# -- memory ------------------------------------------------------------------------------------------------------------

CHILD = """
import json, re, sys
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK_INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run

def most():
    with open("/proc/self/status") as status:  # getrusage would tell of the parent, which was larger before exec
        return int(re.search(r"VmHWM:\\s*([0-9]+) kB", status.read())[1]) // 1024

for port in json.loads(sys.argv[1]):
    options = {name: option.get("default") for name, option in REPLICATION_LINK_INFO["argument_spec"].items()}
    options |= {"dr_instance_id": "pgm-dr", "endpoint": f"http://127.0.0.1:{port}", "access_key_id": "LTAI"}
    options |= {"access_key_secret": "x1y2z3", "max_retries": 0, "request_timeout": 10}
    before = most()
    result = run(INFO, options, check_mode=False, diff=False, environment={})
    print(json.dumps([most() - before, (result.get("error") or {}).get("code")]))
"""


def bomb(layers):
    """Blanks, pressed several times over."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = b"".join([squeeze.compress(b" " * (1 << 20)) for _unused in range(512)] + [squeeze.flush()])
    for _unused in range(layers - 1):
        content = gzip.compress(content)
    return content


MIB = 1 << 20


def heavy():
    """Answers that would fill the memory. They are made by the test: every start of pytest reads this file."""
    return {
        "continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "headers": exactly(OK + (b"X-A: " + b"x" * 60_000 + b"\r\n") * 99 + b"\r\n{}"),
        "a body without end": endless(OK + b"\r\n", b" " * 65536),
        "a chunk size without end": endless(CHUNKED, b"0" * 65536),
        "trailers without end": endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 1000),
        "a bomb": exactly(http(bomb(1), "Content-Encoding: gzip")),
        "a bomb in a bomb": exactly(http(bomb(3), "Content-Encoding: gzip, gzip, gzip")),
        "a long text": exactly(
            http('{"Code": "x", "Message": "' + "\\ud83d\\ude00" * (MIB // 4) + '"}', status="400 x")
        ),
        "brackets": exactly(http("[" * (3 * MIB))),
        "lists": exactly(http(b'{"Items": {"DBInstanceAttribute": [' + b"[[]]," * (3 * MIB // 5) + b"1]}}")),
        "objects": exactly(http(b'{"Items": {"DBInstanceAttribute": [' + b'{"a":1},' * (3 * MIB // 8) + b"1]}}")),
    }


def test_no_answer_takes_memory_without_bound():
    answers = heavy()
    servers = [ScriptedServer(only(INSTANCE, answer)) for answer in answers.values()]
    for server in servers:
        server.__enter__()
    ports = json.dumps([server.port for server in servers])
    try:
        child = subprocess.run(
            [sys.executable, "-c", CHILD, ports],
            env={**os.environ, "PYTHONPATH": COLLECTIONS},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    assert child.returncode == 0, child.stderr
    told = dict(zip(answers, map(json.loads, child.stdout.splitlines()), strict=True))
    assert all(grown < 200 and code != "Unexpected" for grown, code in told.values()), told
    assert sum(grown for grown, _unused in told.values()) < 200, told
    assert told["a bomb"][1] == told["a bomb in a bomb"][1] == told["a body without end"][1] == "ReplyLost"
