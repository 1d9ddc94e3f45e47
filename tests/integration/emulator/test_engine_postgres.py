# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The postgres engine against real PostgreSQL: links, promotion, and giving up."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pg8000 = pytest.importorskip("pg8000.native")

from rds_emulator.engine import Account, ClusterSpec, EngineError, SourceLogin  # noqa: E402
from rds_emulator.engines.postgres import PostgresEngine, install  # noqa: E402

MAJORS = sorted(install.find())
pytestmark = pytest.mark.skipif(not MAJORS, reason="no PostgreSQL found")

PATIENCE = 30.0
PASSWORD = "p:a\\ss'w rd"
SYNC = Account("dr_sync", PASSWORD, ("LOGIN", "REPLICATION", "CREATEROLE"), ("pg_monitor",))
APP = Account("app", "application", ("LOGIN",))
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine() -> Iterator[PostgresEngine]:
    engine = PostgresEngine()
    yield engine
    engine.close()
    assert not engine.root.exists()


def eventually(predicate: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := predicate()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return value


def cluster(engine: PostgresEngine, kind: str, **spec: Any) -> str:
    name = f"{kind}-{next(_numbers)}"
    engine.create(ClusterSpec(name, **{"accounts": (SYNC, APP), **spec}))
    return name


def login(engine: PostgresEngine, source: str) -> SourceLogin:
    return SourceLogin(engine.host, engine.port(source), SYNC.name, SYNC.password)


def link(engine: PostgresEngine, source: str, target: str) -> None:
    engine.base_backup(target, login(engine, source), lambda done, total: None)
    engine.start_standby(target)
    engine.wait_streaming(target, PATIENCE)


@pytest.fixture
def pair(engine: PostgresEngine) -> Iterator[tuple[str, str]]:
    source, target = cluster(engine, "source"), cluster(engine, "target", accounts=(APP,))
    yield source, target
    engine.destroy(target)
    engine.destroy(source)


def client(engine: PostgresEngine, name: str) -> Any:
    return pg8000.Connection(
        APP.name, host=engine.host, port=engine.port(name), database="postgres", password=APP.password
    )


@pytest.mark.parametrize("major", MAJORS)
def test_a_link_lives_from_base_backup_to_promotion(engine: PostgresEngine, major: int) -> None:
    source, target = cluster(engine, "source", major=major), cluster(engine, "target", major=major)
    assert engine.major(target) == major
    port = engine.port(target)
    engine.sql(source, "CREATE TABLE t AS SELECT 1 AS i")
    progress: list[tuple[int, int]] = []
    engine.base_backup(target, login(engine, source), lambda done, total: progress.append((done, total)))
    assert progress[-1][0] == progress[-1][1] > 1 << 20
    engine.start_standby(target)
    engine.wait_streaming(target, PATIENCE)

    engine.sql(source, "INSERT INTO t VALUES (2)")
    eventually(lambda: engine.sql(target, "SELECT count(*) AS n FROM t")[0]["n"] == 2, "the row crosses")
    senders = engine.sql(source, "SELECT application_name, state FROM pg_stat_replication")
    assert senders == [{"application_name": target, "state": "streaming"}]
    state = eventually(lambda: (now := engine.link_state(target)).lag_bytes == 0 and now, "no lag")
    assert state.state == "streaming"
    assert state.replayed_lsn == state.received_lsn

    engine.promote(target)
    assert engine.sql(target, "INSERT INTO t VALUES (3) RETURNING i") == [{"i": 3}]
    assert engine.link_state(target).state == "none"
    assert engine.port(target) == port
    with pytest.raises(EngineError, match="not a standby"):
        engine.promote(target)
    engine.destroy(source)
    engine.destroy(target)


def test_clusters_have_identities_of_their_own(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    query = "SELECT system_identifier::text AS id FROM pg_control_system()"
    assert len({engine.sql(name, query)[0]["id"] for name in pair}) == 2


def test_a_broken_link_is_seen_and_comes_back(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    link(engine, source, target)
    engine.sql(source, f"ALTER ROLE {SYNC.name} NOLOGIN")
    engine.sql(source, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    eventually(lambda: engine.link_state(target).state == "disconnect", "the loss is seen")
    engine.sql(source, "CREATE TABLE missed (i int)")
    state = engine.link_state(target)
    assert state.lag_bytes is not None and state.lag_bytes > 0
    engine.sql(source, f"ALTER ROLE {SYNC.name} LOGIN")
    engine.wait_streaming(target, PATIENCE)
    eventually(lambda: engine.link_state(target).lag_bytes == 0, "the standby catches up")
    assert engine.sql(target, "SELECT * FROM missed") == []


def test_a_standby_that_cannot_stream_says_so(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    engine.base_backup(target, login(engine, source), lambda done, total: None)
    engine.sql(source, f"ALTER ROLE {SYNC.name} NOLOGIN")
    engine.start_standby(target)
    with pytest.raises(EngineError, match="not streaming"):
        engine.wait_streaming(target, 0.5)


def test_cancel_gives_back_an_empty_primary(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    engine.sql(source, "CREATE TABLE t (i int)")
    port = engine.port(target)
    link(engine, source, target)
    engine.cancel(target)
    assert engine.link_state(target).state == "none"
    assert engine.sql(target, "SELECT to_regclass('t') AS t") == [{"t": None}]
    assert engine.port(target) == port
    with client(engine, target) as connection:
        assert connection.run("SELECT 1") == [[1]]


def in_flight(engine: PostgresEngine, target: str) -> tuple[threading.Thread, list[str]]:
    """Start a base backup that does not get on, from a port that never answers."""
    silent = f"silent-{next(_numbers)}"
    engine.create(ClusterSpec(silent, behaviour="silent"))
    failures: list[str] = []

    def work() -> None:
        try:
            engine.base_backup(target, login(engine, silent), lambda done, total: None)
        except EngineError as err:
            failures.append(str(err))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    eventually(lambda: engine._cluster(target)._tool, "the backup runs")
    return thread, failures


@pytest.mark.parametrize("end", ["cancel", "destroy"])
def test_a_backup_in_flight_can_be_ended(engine: PostgresEngine, end: str) -> None:
    target = cluster(engine, "target")
    thread, failures = in_flight(engine, target)
    getattr(engine, end)(target)
    thread.join(PATIENCE)
    assert len(failures) == 1 and "given up" in failures[0]
    if end == "cancel":
        assert engine.link_state(target).state == "none"
        engine.destroy(target)
    with pytest.raises(EngineError, match="no cluster"):
        engine.start_standby(target)


def test_a_failed_backup_says_why_and_can_be_cancelled(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    wrong = SourceLogin(engine.host, engine.port(source), SYNC.name, "not this one")
    with pytest.raises(EngineError, match="password authentication failed") as error:
        engine.base_backup(target, wrong, lambda done, total: None)
    assert wrong.password not in str(error.value)
    with pytest.raises(EngineError, match="no copy of a source"):
        engine.start_standby(target)
    assert engine.link_state(target).state == "disconnect"
    with pytest.raises(ConnectionRefusedError):  # the port stays ours, and closed
        socket.create_connection((engine.host, engine.port(target)), PATIENCE).close()
    engine.cancel(target)
    assert engine.link_state(target).state == "none"


def test_backups_run_side_by_side(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    other = cluster(engine, "target")
    thread, _unused = in_flight(engine, other)
    link(engine, source, target)
    assert thread.is_alive()
    engine.destroy(other)
    thread.join(PATIENCE)


def test_passwords_are_kept_in_one_private_file(engine: PostgresEngine, pair: tuple[str, str]) -> None:
    source, target = pair
    link(engine, source, target)

    def holders() -> list[Path]:
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        forms = [form.encode() for form in (PASSWORD, escaped)]
        files = [path for path in engine.root.rglob("*") if path.is_file() and not path.is_symlink()]
        return [path for path in files if any(form in path.read_bytes() for form in forms)]

    assert [(path.name, path.stat().st_mode & 0o777) for path in holders()] == [("passfile", 0o600)]
    engine.promote(target)
    assert holders() == []


def test_superuser_access_does_not_depend_on_pg_hba(engine: PostgresEngine) -> None:
    source = cluster(engine, "source", hba=[])
    assert engine.sql(source, "SELECT 1 AS one, current_user::text AS who") == [{"one": 1, "who": "postgres"}]
    with pytest.raises(pg8000.DatabaseError, match=r"pg_hba\.conf"):
        client(engine, source)
    engine.destroy(source)


def test_mistakes_are_errors_with_a_reason(engine: PostgresEngine) -> None:
    name = cluster(engine, "source")
    with pytest.raises(EngineError, match="exists already"):
        engine.create(ClusterSpec(name))
    with pytest.raises(EngineError, match=r"PostgreSQL 9 is not installed \(found: .*pip install"):
        engine.create(ClusterSpec("old", major=9))
    with pytest.raises(EngineError, match=r'unrecognized configuration parameter "nonsense"'):
        engine.create(ClusterSpec("wrong", settings={"nonsense": "1"}))
    with pytest.raises(EngineError, match="no cluster wrong"):
        engine.port("wrong")
    with pytest.raises(EngineError, match="unknown behaviour"):
        engine.create(ClusterSpec("strange", behaviour="strange"))
    with pytest.raises(EngineError, match="cannot be used"):
        engine.create(ClusterSpec("second", port=engine.port(name)))
    with pytest.raises(EngineError, match="no role attribute"):
        engine.create(ClusterSpec("inject", accounts=(Account("a", "b", ("LOGIN; DROP TABLE t",)),)))
    with pytest.raises(EngineError, match="42P01"):
        engine.sql(name, "SELECT * FROM nowhere")
    engine.destroy(name)
    engine.destroy(name)
