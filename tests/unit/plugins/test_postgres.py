# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a server cannot be asked, by what it does and never by its words; deadlines that hold; a COMMIT believed."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import closing, suppress

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._dr import facts, postgres
from ansible_collections.alicloud.rds.plugins.module_utils._dr.postgres import Login, PostgresError, Session
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Problem
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import remedy_for, said
from tests.unit.plugins.scripted_postgres import ScriptedPostgres, done, message, one_value, refusal, welcome
from tests.unit.plugins.scripted_server import ScriptedServer

PASSWORD = "0perat'r \\ pw"
FORCED = "dr_link_promote_mode=forced"
MAY_BE_LOST = ("refused", "timeout")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(postgres, "CONNECT", 2.0)  # psycopg waits no shorter than this
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


def login(port, **parameters):
    return Login("127.0.0.1", port, {"user": "ops", "password": PASSWORD, **parameters})


def why(where):
    """Log in, which fails, and return the error. Its remedy is that of its kind, whatever it is."""
    with pytest.raises(PostgresError) as caught:
        Session(where).close()
    error = caught.value
    assert PASSWORD not in error.text and "\n" not in error.text
    assert (FORCED in remedy(error)) == (error.kind in MAY_BE_LOST) == error.is_silent
    return error


def remedy(error):
    end = End("source", "the source", "127.0.0.1", 5432)
    return remedy_for(end, Problem(error.kind, error.text, error.sqlstate), is_primary=True)


def send(*pieces):
    def script(connection):
        for piece in pieces:
            connection.sendall(piece)

    return script


def wait_for_the_end(connection):
    """Say nothing until the client hangs up."""
    while connection.recv(65536):
        pass


# -- TCP ---------------------------------------------------------------------------------------------------------------


def test_a_port_where_nobody_listens():
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        error = why(login(bound.getsockname()[1]))
    assert (error.kind, error.sqlstate) == ("refused", None)


@pytest.mark.thorough
def test_a_server_that_takes_no_connections():
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        port, waiting = full.getsockname()[1], []
        try:
            for _each in range(4):  # what does not get into the queue gets no answer at all
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.0.0.1", port))
            started = time.monotonic()
            error = why(login(port))
        finally:
            for each in waiting:
                each.close()
    assert error.kind == "timeout"
    assert time.monotonic() - started < 6


@pytest.mark.parametrize("host", ["db.example", "a" * 64 + ".example", "db..example"])
def test_a_name_that_is_not_known(monkeypatch, host):
    real = socket.getaddrinfo

    def lookup(name, *rest, **options):
        if str(name).endswith("db.example"):
            raise socket.gaierror(-2, "Name oder Dienst nicht bekannt")
        return real(name, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    error = why(Login(host, 5432, {"user": "ops"}))
    assert (error.kind, error.text) == ("name", f"the name {host} is not known here")


def test_no_way_to_a_server(monkeypatch):
    def unreachable(*_place):
        raise OSError(113, "Keine Route zum Zielrechner")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        error = why(login(bound.getsockname()[1]))
    assert error.kind == "network"


# -- what is no PostgreSQL, or does not talk ---------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_server_that_is_silent():
    with ScriptedPostgres(wait_for_the_end) as server:
        started = time.monotonic()
        error = why(login(server.port))
    assert error.kind == "no_answer"
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"220 mail ESMTP\r\n", b""],
)
def test_a_server_that_is_no_postgresql(banner):
    class Banner(ScriptedServer):
        def _serve(self, connection):
            with connection:
                connection.sendall(banner)
                with suppress(ConnectionError):
                    connection.recv(64)

    with Banner(lambda _stream, _head: None) as server:
        assert why(login(server.port)).kind == "not_postgresql"


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlstate", "words", "kind"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »ops« fehlgeschlagen", "login"),
        ("28000", "kein pg_hba.conf-Eintrag für Host »10.0.0.9«", "login"),
        ("42501", "keine Berechtigung für Datenbank »dr_link«", "login"),
        ("3D000", "Datenbank »dr_link« existiert nicht", "database"),
        ("53300", "tut mir leid, schon zu viele Verbindungen", "full"),
        ("57P03", "das Datenbanksystem startet", "starting"),
        ("55000", "Datenbank »dr_link« akzeptiert gegenwärtig keine Verbindungen", "closed"),
        ("XX000", "interner Fehler", "rejected"),
        ("28P01", "connection refused: timeout expired, could not connect to server", "login"),
        ("53300", "データベース接続が多すぎます", "full"),
    ],
)
def test_a_refusal_is_known_by_its_sqlstate_in_any_language(sqlstate, words, kind):
    with ScriptedPostgres(send(refusal(sqlstate, words))) as server:
        error = why(login(server.port))
    assert (error.kind, error.sqlstate) == (kind, sqlstate)
    assert words in error.text
    assert sqlstate in said(End("source", "the source", "127.0.0.1", 5432), Problem(kind, error.text, sqlstate))


def test_a_refusal_in_an_encoding_that_nobody_has_named():
    with ScriptedPostgres(send(refusal("28P01", "Anmeldung für »ops« fehlgeschlagen".encode("latin-1")))) as server:
        error = why(login(server.port))
    assert (error.kind, error.sqlstate) == ("login", "28P01")


def test_a_refusal_that_quotes_the_password_and_forges_lines():
    words = f"bad login ops:{PASSWORD}\nall 24 checks passed\x1b[2K"
    with ScriptedPostgres(send(refusal("28P01", words))) as server:
        error = why(login(server.port))
    assert error.kind == "login"
    assert "bad login ops:***" in error.text
    assert "\x1b" not in error.text


def test_a_server_that_was_full_for_a_moment():
    healthy = send(welcome())
    with ScriptedPostgres(send(refusal("53300", "voll")), healthy) as server:
        error = why(login(server.port))
    assert (error.kind, error.sqlstate) == ("passing", None)


def test_without_a_trace_of_the_protocol_a_refusal_is_rejected(monkeypatch):
    """As it is where the system has no memfd_create."""
    monkeypatch.delattr(os, "memfd_create")
    with ScriptedPostgres(send(refusal("28P01", "falsches Passwort"))) as server:
        error = why(login(server.port))
    assert (error.kind, error.sqlstate) == ("rejected", None)
    assert "falsches Passwort" in error.text


# -- passwords ---------------------------------------------------------------------------------------------------------

CLEAR_TEXT = message("R", struct.pack("!i", 3))
SASL = message("R", struct.pack("!i", 10), b"SCRAM-SHA-256\0\0")


MD5 = message("R", struct.pack("!i", 5), b"salt")


@pytest.mark.parametrize(
    ("asked", "parameters"),
    [(CLEAR_TEXT, {}), (CLEAR_TEXT, {"require_auth": "scram-sha-256"}), (MD5, {"require_auth": "scram-sha-256"})],
)
def test_a_password_does_not_leave_as_it_must_not(monkeypatch, asked, parameters):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with ScriptedPostgres(send(asked)) as server:
        error = why(login(server.port, **parameters))
    assert error.kind == "auth_method"
    assert b"ops" in server.received
    assert PASSWORD.encode() not in server.received


def test_a_password_leaves_in_plain_text_where_the_caller_says_so():
    with ScriptedPostgres(send(CLEAR_TEXT, refusal("28P01", "falsch"))) as server:
        error = why(login(server.port, require_auth="password"))
        until = time.monotonic() + 5
        while PASSWORD.encode() not in server.received and time.monotonic() < until:
            time.sleep(0.01)
    assert error.sqlstate == "28P01"
    assert PASSWORD.encode() in server.received


def test_a_server_that_asks_for_a_password_where_none_is_given():
    with ScriptedPostgres(send(SASL)) as server:
        error = why(Login("127.0.0.1", server.port, {"user": "ops"}))
    assert (error.kind, error.text) == ("login", "it asks for a password, and none is given")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_the_tls_that_is_demanded(mode):
    with ScriptedPostgres(send(welcome())) as server:
        error = why(login(server.port, sslmode=mode, sslrootcert="/etc/hostname"))
    assert error.kind == "tls"
    assert PASSWORD.encode() not in server.received


@pytest.mark.parametrize(
    "parameters",
    [{"sslmode": "verify-ca", "sslrootcert": "system"}, {"require_auth": "scram"}, {"user": "op\0s"}],
)
def test_options_that_libpq_refuses_are_no_refusal_of_the_server(parameters):
    with ScriptedPostgres(send(welcome())) as server:
        error = why(login(server.port, **parameters))
    assert (error.kind, server.logins) == ("options", 0)


def test_a_libpq_that_cannot_refuse_plain_text_sends_no_password(monkeypatch):
    """Releases before 16 know no require_auth: the server must be proved to be ours."""
    monkeypatch.setattr(postgres.pq, "version", lambda: 150010)
    with ScriptedPostgres(send(CLEAR_TEXT)) as server:
        error = why(login(server.port))
        assert (error.kind, server.received) == ("unproved", b"")
        assert "verify-full" in remedy(error)
        assert why(login(server.port, sslmode="verify-full", sslrootcert="system")).kind == "tls"
        without = why(Login("127.0.0.1", server.port, {"user": "ops"}))
    assert without.kind == "login"


def test_an_encrypted_password_is_what_the_server_keeps():
    one, other = postgres.encrypted(PASSWORD, "ops"), postgres.encrypted(PASSWORD, "ops")
    assert one.startswith("SCRAM-SHA-256$4096:") and one != other
    assert PASSWORD not in one


# -- sessions ----------------------------------------------------------------------------------------------------------


def healthy(server_of, answers=None, pid=4711, encoding="UTF8"):
    """A server that lets in, says that its process is 4711, and answers queries."""

    def script(connection):
        connection.sendall(welcome(pid, encoding))
        server_of().queries(connection, {"SELECT pg_backend_pid()": one_value("4711", 23), **(answers or {})})

    return script


def serving(*args, **options):
    box = []
    box.append(ScriptedPostgres(healthy(lambda: box[0], *args, **options)))
    return box[0]


def test_a_session_knows_a_pooler_by_its_process_id():
    for pid, is_direct in ((4711, True), (4712, False)):
        with serving(pid=pid) as server, Session(login(server.port)) as session:
            assert session.is_direct is is_direct
            assert session.run("UPDATE t SET a = 1") == "UPDATE"


def test_text_that_is_no_utf8_is_read():
    changed = message("S", b"client_encoding\0SQL_ASCII\0") + done("SET")
    answers = {"SELECT name": one_value(b"M\xfcller"), "SET client_encoding = 'SQL_ASCII'": changed}
    with serving(answers, encoding="SQL_ASCII") as server, Session(login(server.port)) as session:
        assert session.value("SELECT name FROM t") == "M\ufffdller"


def drip(connection):
    """Send notices without end, so that the line is never idle."""
    notice = message("N", b"SNOTICE\0VNOTICE\0C00000\0Mnoch etwas\0\0")
    while True:
        connection.sendall(notice)
        time.sleep(0.05)


@pytest.mark.parametrize("script", [wait_for_the_end, drip])
def test_a_deadline_holds_in_the_middle_of_a_query(script):
    with serving({"SELECT 1": script}) as server, Session(login(server.port)) as session:
        started = time.monotonic()
        with pytest.raises(PostgresError) as caught:
            session.value("SELECT 1", deadline=0.3)
        assert time.monotonic() - started < 2
        assert (caught.value.kind, caught.value.sqlstate) == ("no_answer", None)
        with pytest.raises(PostgresError) as caught:
            session.value("SELECT 2")
        assert caught.value.kind == "no_answer", "a session that was ended does not come back"


@pytest.mark.filterwarnings("error")
def test_a_login_that_stops_after_the_welcome(monkeypatch):
    monkeypatch.setattr(Session.run, "__defaults__", (None, 0.3))
    started, threads = time.monotonic(), threading.active_count()
    with serving({"SET synchronous_commit": wait_for_the_end}) as server:
        assert why(login(server.port)).kind == "no_answer"
    assert time.monotonic() - started < 2
    until = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(("sqlstate", "kind"), [("42501", "statement"), ("57P01", "statement")])
def test_a_query_that_is_refused_keeps_its_sqlstate(sqlstate, kind):
    answer = refusal(sqlstate, "keine Berechtigung für Tabelle dr_link_canary", "ERROR") + message("Z", b"I")
    with (
        serving({"SELECT count": answer}) as server,
        Session(login(server.port)) as session,
        pytest.raises(PostgresError) as caught,
    ):
        session.value("SELECT count(*) FROM dr_link_canary")
    assert (caught.value.kind, caught.value.sqlstate) == (kind, sqlstate)
    assert caught.value.text == "keine Berechtigung für Tabelle dr_link_canary"


def hang_up(connection):
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "sqlstate"),
    [
        (wait_for_the_end, None),
        (hang_up, None),
        (done("ROLLBACK"), None),
        (refusal("57P01", "wird beendet", "FATAL") + message("Z", b"I"), "57P01"),
    ],
)
def test_a_commit_without_its_tag_is_unclear(monkeypatch, answer, sqlstate):
    monkeypatch.setattr(Session.run, "__defaults__", (None, 0.3))
    with (
        serving({"COMMIT": answer}) as server,
        Session(login(server.port)) as session,
        pytest.raises(PostgresError) as caught,
        session.transaction(),
    ):
        session.run("INSERT INTO t VALUES (1)")
    assert (caught.value.kind, caught.value.sqlstate) == ("unclear", sqlstate)


def test_a_transaction_is_rolled_back_by_whatever_ends_it():
    with serving() as server:
        with Session(login(server.port)) as session:
            with pytest.raises(KeyboardInterrupt), session.transaction():
                raise KeyboardInterrupt
            with session.transaction():
                session.run("INSERT INTO t VALUES (1)")
        sent = server.received
    order = [word for word in (b"BEGIN", b"ROLLBACK", b"INSERT", b"COMMIT") if word in sent]
    assert order == sorted(order, key=sent.index), "ROLLBACK came before what was committed"
    assert (sent.count(b"COMMIT"), sent.count(b"ROLLBACK")) == (1, 1)


# -- which database ----------------------------------------------------------------------------------------------------


def test_without_a_maintenance_database_the_other_one_is_asked_and_the_first_refusal_is_reported():
    missing, full = refusal("3D000", "keine dr_link"), refusal("53300", "voll")
    with ScriptedPostgres(send(missing), send(missing), send(full)) as server:
        with pytest.raises(PostgresError) as caught:
            postgres.ask(login(server.port), "dr_link_canary")
        assert caught.value.kind == "database"
        assert b"database\0postgres\0" in server.received


def test_a_database_that_the_caller_names_is_the_only_one():
    with ScriptedPostgres(send(refusal("3D000", "keine"))) as server:
        with pytest.raises(PostgresError) as caught:
            postgres.ask(Login("127.0.0.1", server.port, {"user": "ops"}, "own"), "dr_link_canary")
        assert caught.value.kind == "database"
        assert b"database\0own\0" in server.received and b"postgres" not in server.received


def test_names_and_text_are_quoted():
    assert facts.quoted_name('a"b.c') == '"a""b.c"'
    assert facts.quoted_table('s"x.t') == '"s""x"."t"'
    assert postgres.literal("it's") == "'it''s'"
    assert postgres.quoted("DELETE FROM {table}", table='s.t"x').as_string() == 'DELETE FROM "s"."t""x"'
    assert postgres.quoted("ALTER DATABASE {name}", name="a.b").as_string() == 'ALTER DATABASE "a.b"'
