# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dry run: every way to break a source, broken for real, is found, named once, and nothing else is."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pg8000 = pytest.importorskip("pg8000.native")

from rds_emulator.engine import Account, Check, ClusterSpec, SourceLogin  # noqa: E402
from rds_emulator.engines.postgres import PostgresEngine, install, precheck  # noqa: E402

MAJORS = sorted(install.find())
pytestmark = pytest.mark.skipif(not MAJORS, reason="no PostgreSQL found")

GB = 1 << 30
SYNC = Account("dr_sync", "geheim:1", ("LOGIN", "REPLICATION", "CREATEROLE"), ("pg_monitor",))
LOCAL_ALL = "host all all 127.0.0.1/32 scram-sha-256"
C_FUNCTION = (
    "CREATE FUNCTION handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'"
)
EVENT_TRIGGER = (
    "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION f()",
)
REPORT = [  # of a good self-managed source
    "Check rds databases",
    "Check ip connectable",
    "Check port connectable",
    "Check database connectable",
    "Check account replication privilege",
    "Check account createrole privilege",
    "Check account monitor privilege",
    "Check major version consistent",
    "Check source glibc version compatible",
    "Check disk size enough",
    "Check wal keep size large enough",
    "Check if spec params too large",
    "Check rds user",
    "Check extensions compatible",
    "Check logical replication slots",
    "Check triggers compatible",
    "Check user functions compatible",
    "Check replication",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[PostgresEngine]:
    engine = PostgresEngine()
    engine.create(ClusterSpec("target"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def good(engine: PostgresEngine) -> str:
    engine.create(ClusterSpec("good", accounts=(SYNC,), settings={"max_connections": "100"}))
    return "good"


def run(engine: PostgresEngine, source: str, **login: Any) -> list[Check]:
    options = {name: login.pop(name, default) for name, default in (("storage", GB), ("is_rds", False))}
    given = {
        "address": engine.host,
        "port": engine.port(source),
        "account": SYNC.name,
        "password": SYNC.password,
        **login,
    }
    return engine.precheck("target", SourceLogin(**given), options["storage"], options["is_rds"])


def expect(checks: list[Check], name: str, result: str, note: str) -> None:
    found = [check for check in checks if check.result != "success"]
    assert [(check.name, check.result) for check in found] == [(name, result)], checks
    assert re.search(note, found[0].note), found[0].note


def test_a_good_source_passes_every_check_in_order(engine: PostgresEngine, good: str) -> None:
    checks = run(engine, good)
    assert [check for check in checks if check.result != "success" or check.note] == []
    assert [check.name for check in checks] == REPORT


LOGINS = {
    "wrong password": ({"password": "x:y"}, "Check database connectable", r"by dr_sync:x:y \(28P01: password"),
    "unknown account": ({"account": "who"}, "Check database connectable", r"by who:geheim:1 \(28P01"),
    "a name": ({"address": "x" * 64}, "Check ip connectable", "^x{64} is unapproachable: the emulator connects to 127"),
    "off loopback": ({"address": "192.0.2.1"}, "Check ip connectable", "^192.0.2.1 is unapproachable: the emulator"),
    "impossible port": ({"port": 99999}, "Check port connectable", "^99999 is unapproachable$"),
    "too big": ({"storage": 10 << 20}, "Check disk size enough", "exceed 80%"),
}


@pytest.mark.parametrize("case", LOGINS)
def test_the_login_is_wrong(engine: PostgresEngine, good: str, case: str) -> None:
    login, name, note = LOGINS[case]
    expect(run(engine, good, **login), name, "error", note)


SOURCES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "nologin": ({"sql": ["ALTER ROLE dr_sync NOLOGIN"]}, "Check database connectable", "error", "28000.*not permitted"),
    "hba empty": ({"hba": []}, "Check database connectable", "error", "28000.*no pg_hba.conf entry"),
    "no replication": (
        {"sql": ["ALTER ROLE dr_sync NOREPLICATION"]},
        *("Check account replication privilege", "error", "dr_sync has no REPLICATION privilege"),
    ),
    "no createrole": (
        {"sql": ["ALTER ROLE dr_sync NOCREATEROLE"]},
        *("Check account createrole privilege", "error", "dr_sync has no CREATEROLE privilege"),
    ),
    "no monitor": (
        {"sql": ["REVOKE pg_monitor FROM dr_sync"]},
        *("Check account monitor privilege", "error", "not a member of pg_monitor"),
    ),
    "no wal kept": (
        {"settings": {"wal_keep_size": "0"}},
        *("Check wal keep size large enough", "error", "wal_keep_size is 0"),
    ),
    "little wal kept": ({"settings": {"wal_keep_size": "16"}}, "Check wal keep size large enough", "warning", "16 MB"),
    "connections": (
        {"settings": {"max_connections": "201"}},
        *("Check if spec params too large", "error", "max_connections is 201"),
    ),
    "prepared": (
        {"settings": {"max_prepared_transactions": "1"}},
        *("Check if spec params too large", "error", "max_prepared_transactions is 1"),
    ),
    "reserved role": ({"accounts": (SYNC, Account("aurora", "x"))}, "Check rds user", "error", "aurora"),
    "unknown extension": (
        {"sql": ["UPDATE pg_extension SET extname = 'timetravel'"]},
        *("Check extensions compatible", "error", "timetravel .* is not supported"),
    ),
    "newer extension": (
        {"sql": ["UPDATE pg_extension SET extversion = '99.0'"]},
        *("Check extensions compatible", "error", "plpgsql 99.0 is newer"),
    ),
    "older extension": (
        {"sql": ["UPDATE pg_extension SET extversion = '0.9'"]},
        *("Check extensions compatible", "warning", "plpgsql 0.9 is older"),
    ),
    "logical slot": (
        {
            "settings": {"wal_level": "logical"},
            "sql": ["SELECT pg_create_logical_replication_slot('keep', 'pgoutput')"],
        },
        *("Check logical replication slots", "warning", "keep"),
    ),
    "event trigger": ({"sql": EVENT_TRIGGER}, "Check triggers compatible", "error", "et"),
    "function in C": ({"sql": [C_FUNCTION]}, "Check user functions compatible", "error", r"handler\(\)"),
    "wal_level": ({"settings": {"wal_level": "minimal"}}, "Check replication", "error", "minimal"),
    "senders": ({"settings": {"max_wal_senders": "0"}}, "Check replication", "error", "53300"),
    "hba without replication": ({"hba": [LOCAL_ALL]}, "Check replication", "error", "28000"),
    "other major": (
        {"major": MAJORS[0] if MAJORS else 0},
        *("Check major version consistent", "error", "source major version is"),
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_the_source_is_wrong(engine: PostgresEngine, case: str) -> None:
    if case == "other major" and len(MAJORS) < 2:
        pytest.skip("only one PostgreSQL is installed")
    spec, name, result, note = SOURCES[case]
    engine.create(ClusterSpec("source", **{"accounts": (SYNC,), **spec}))
    try:
        expect(run(engine, "source"), name, result, note)
    finally:
        engine.destroy("source")


DECOYS = {
    "refused": ("Check port connectable", "is unapproachable"),
    "blackhole": ("Check port connectable", "is unapproachable"),
    "silent": ("Check database connectable", "did not answer"),
    "http": ("Check database connectable", "did not answer"),
    "ssh": ("Check database connectable", "is not a PostgreSQL server"),
}


@pytest.mark.parametrize("behaviour", DECOYS)
def test_the_port_is_no_postgresql(engine: PostgresEngine, behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if behaviour != "ssh":
        monkeypatch.setattr(precheck, "CONNECT_SECONDS", 0.3)
    engine.create(ClusterSpec(behaviour, behaviour=behaviour))
    name, note = DECOYS[behaviour]
    expect(run(engine, behaviour), name, "error", note)
    engine.destroy(behaviour)


def test_a_stopped_server_is_not_waited_for(engine: PostgresEngine, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precheck, "CONNECT_SECONDS", 0.3)
    server = engine._cluster(good)._server
    assert server is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        expect(run(engine, good), "Check database connectable", "error", "did not answer")
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextlib.contextmanager
def superuser(engine: PostgresEngine, name: str) -> Iterator[Callable[[str], Any]]:
    path = f"{engine.root}/sockets/.s.PGSQL.{engine.port(name)}"
    with pg8000.Connection("postgres", unix_sock=path, database="postgres") as connection:
        yield connection.run


def test_a_query_that_hangs_is_given_up(engine: PostgresEngine, good: str) -> None:
    with superuser(engine, good) as sql:
        sql("BEGIN")
        sql("LOCK TABLE pg_event_trigger")
        note = r"sql command execution failed or timed out \(57014"
        expect(run(engine, good), "Check triggers compatible", "error", note)


def test_no_connection_is_free(engine: PostgresEngine) -> None:
    settings = {"max_connections": "3", "superuser_reserved_connections": "2", "max_wal_senders": "1"}
    engine.create(ClusterSpec("full", accounts=(SYNC,), settings=settings))
    with superuser(engine, "full"):
        note = r"cannot connect to source database by dr_sync:geheim:1 \(53300"
        expect(run(engine, "full"), "Check database connectable", "error", note)
    engine.destroy("full")


def test_the_source_is_a_standby(engine: PostgresEngine, good: str) -> None:
    engine.create(ClusterSpec("standby"))
    engine.base_backup(
        "standby", SourceLogin(engine.host, engine.port(good), SYNC.name, SYNC.password), lambda *_: None
    )
    engine.start_standby("standby")
    expect(run(engine, "standby"), "Check replication", "error", "the source is a standby")
    engine.destroy("standby")


def test_the_source_is_the_target(engine: PostgresEngine) -> None:
    engine.sql("target", "CREATE ROLE dr_sync LOGIN REPLICATION CREATEROLE PASSWORD 'geheim:1' IN ROLE pg_monitor")
    try:
        expect(run(engine, "target"), "Check replication", "error", "instance itself")
    finally:
        engine.sql("target", "DROP ROLE dr_sync")


@pytest.mark.parametrize("thing", ["DATABASE shop", "TABLE thing"])
def test_the_target_is_not_empty(engine: PostgresEngine, good: str, thing: str) -> None:
    engine.sql("target", f"CREATE {thing}" + ("(i int)" if "TABLE" in thing else ""))
    try:
        note = "postgres not empty, check if any table exists" if "TABLE" in thing else "database shop exists"
        expect(run(engine, good), "Check rds databases", "error", note)
    finally:
        engine.sql("target", f"DROP {thing}")


def test_another_rds_instance_may_have_the_reserved_roles(engine: PostgresEngine) -> None:
    engine.create(ClusterSpec("rds", accounts=(SYNC, Account("replicator", "x"))))
    checks = run(engine, "rds", is_rds=True)
    assert [check.name for check in checks if check.result != "success"] == []
    assert [check.name for check in checks] == [name for name in REPORT if name != "Check rds user"]
    engine.destroy("rds")
