# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each check of a link is broken on real clusters, its remedy is followed as it is printed, and it is well again."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import threading
import time
from typing import Any

import pg8000.native
import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import VERIFY

from .conftest import account, eventually
from .operating import SECRET, SHOP, do, linked, results

__all__ = ["linked"]  # a fixture
FORCED = "dr_link_promote_mode=forced"
LOGIN = {"login_user": "dr_operator", "login_password": SECRET}
DBA = {"user": "dba", "password": "dba"}
# A statement, whatever is in its quotes, and the database that it is for.
STATEMENT = re.compile(
    r"""in\ database\ "?(?P<database>\w+)"?: |
    (?P<statement>\b(?:ALTER|COMMIT|GRANT|SELECT|SET)\ (?:'(?:[^']|'')*'|"(?:[^"]|"")*"|[^;'"])*;)""",
    re.VERBOSE,
)


@pytest.fixture
def dba(linked) -> Any:
    """A superuser who may log in over TCP, and so keep a session for all statements of a remedy."""
    linked.rds.sql(linked.source, "CREATE ROLE dba LOGIN SUPERUSER PASSWORD 'dba'")
    assert eventually(lambda: linked.rds.sql(linked.dr, "SELECT 1 FROM pg_roles WHERE rolname = 'dba'"))
    return linked


def session(linked, cluster: str, database: str = "postgres", **login: str) -> pg8000.native.Connection:
    place = linked.rds.instances[cluster]
    return pg8000.native.Connection(
        host=place["host"], port=place["port"], database=database, timeout=20, **(login or DBA)
    )


def verify(linked, **options: Any) -> dict[str, dict[str, str]]:
    """Verify, and return what is not well."""
    done = do(linked, VERIFY, **options)
    bad = {check["id"]: check for check in done["checks"] if check["result"] != "success"}
    assert done["failed"] == any(check["result"] == "error" for check in bad.values())
    for check in bad.values():
        assert check["remedy"] and "{" not in check["remedy"]
    return bad


def follow(linked, check: dict[str, str]) -> list[str]:
    """Run the SQL of a remedy where it says, statement by statement in one session as in psql, and return it."""
    remedy = check["remedy"]
    named = [name for name in (linked.source, linked.dr) if re.search(rf"\b[Aa]t {name}[:,]|at {name}:", remedy)]
    place = linked.source if "primary" in remedy and not named else named[0]
    ran, database, sessions = [], "postgres", contextlib.ExitStack()
    with sessions:
        open_sessions: dict[str, pg8000.native.Connection] = {}
        for found in STATEMENT.finditer(remedy.split("; or ")[0] + ";" if "; or " in remedy else remedy):
            database = found["database"] or database
            if not found["statement"]:
                continue
            if database not in open_sessions:
                open_sessions[database] = sessions.enter_context(session(linked, place, database))
            open_sessions[database].run(found["statement"])
            ran.append(found["statement"])
    assert ran, f"no SQL: {remedy}"
    return ran


def sql(linked, *statements: str, database: str = "postgres", at: str | None = None) -> None:
    for statement in statements:
        linked.rds.sql(at or linked.source, statement, database)


def heals(linked, check_id: str, **options: Any) -> dict[str, str]:
    """The check is not well, its remedy is followed, and then all is well."""
    bad = verify(linked, **options)
    assert check_id in bad, bad
    follow(linked, bad[check_id])
    assert eventually(lambda: verify(linked, **options) == {}, 5), verify(linked, **options)
    return bad[check_id]


# -- logins ------------------------------------------------------------------------------------------------------------


def test_why_a_side_cannot_be_asked(linked):
    def why(**postgres: Any) -> dict[str, str]:
        bad = verify(linked, postgres=postgres or None)
        assert set(bad) == {"both_sides_reachable"}, bad
        assert FORCED not in bad["both_sides_reachable"]["remedy"]
        return bad["both_sides_reachable"]

    wrong = why(**{**LOGIN, "login_password": "wrong"})
    assert wrong["note"].count("SQLSTATE 28P01") == 2 and "login_password" in wrong["remedy"]
    assert "it asks for a password, and none is given" in why(login_user="dr_operator")["note"]
    assert "SQLSTATE 28P01" in why(login_user="nobody", login_password="x")["note"]
    assert "was not asked: no login is given" in why()["note"]
    assert "SQLSTATE 3D000" in why(**LOGIN, login_db="nowhere")["note"]

    sql(linked, "ALTER ROLE dr_operator CONNECTION LIMIT 0")
    assert eventually(lambda: why(**LOGIN)["note"].count("SQLSTATE 53300") == 2)
    full = why(**LOGIN)
    assert "CONNECTION LIMIT" in full["remedy"]
    sql(linked, "ALTER ROLE dr_operator CONNECTION LIMIT -1", "ALTER DATABASE dr_link ALLOW_CONNECTIONS false")
    assert eventually(lambda: why(**LOGIN)["note"].count("SQLSTATE 55000") == 2)
    sql(linked, "ALTER DATABASE dr_link ALLOW_CONNECTIONS true", "ALTER ROLE dr_operator NOLOGIN")
    assert eventually(lambda: why(**LOGIN)["note"].count("SQLSTATE 28000") == 2)
    sql(linked, "ALTER ROLE dr_operator LOGIN", "REVOKE CONNECT ON DATABASE dr_link FROM public")
    assert eventually(lambda: why(**LOGIN)["note"].count("SQLSTATE 42501") == 2)
    sql(linked, "GRANT CONNECT ON DATABASE dr_link TO public")

    stranger = {**LOGIN, "instances": [{"name": "pgm-other", "host": "127.0.0.1"}]}
    refused = do(linked, VERIFY, postgres=stranger)
    assert refused["failed"] and "postgres.instances names pgm-other, and the sides are" in refused["msg"]
    assert eventually(lambda: verify(linked) == {}, 5), verify(linked)

    linked.rds.break_link(linked.dr, "source_gone")
    bad = verify(linked)["both_sides_reachable"]
    assert "does not answer" in bad["note"] and FORCED in bad["remedy"]


class Pooler:
    """Hands each session on to a server, and says that its process is another one, as poolers do."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _unused = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            buffer: bytes | None = b""  # None: BackendKeyData has passed
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    piece = ready.recv(65536)
                    if not piece:
                        return
                    if ready is client:
                        server.sendall(piece)
                    elif buffer is None or (piece == b"N" and not buffer):
                        client.sendall(piece)
                    else:
                        buffer += piece
                        while buffer and len(buffer) >= 5 and len(buffer) > (size := _size(buffer)):
                            whole, buffer = buffer[: size + 1], buffer[size + 1 :]
                            if whole[:1] == b"K":
                                whole = whole[:5] + struct.pack("!i", 1) + whole[9:]
                                client.sendall(whole + buffer)
                                buffer = None
                            else:
                                client.sendall(whole)


def _size(buffer: bytes) -> int:
    return int(struct.unpack("!i", buffer[1:5])[0])


def test_a_pooler_is_named(linked):
    pooler = Pooler(linked.rds.instances[linked.source]["port"])
    with contextlib.closing(pooler.listener):
        place = {"name": linked.source, "host": "127.0.0.1", "port": pooler.port}
        bad = verify(linked, postgres={**LOGIN, "instances": [place]})
    assert set(bad) == {"direct_session"}
    assert bad["direct_session"]["note"] == f"A pooler answers for {linked.source}."
    own = {"name": linked.source, "host": "127.0.0.1", "port": linked.rds.instances[linked.source]["port"]}
    assert verify(linked, postgres={**LOGIN, "instances": [own]}) == {}, "as the remedy says"


def test_both_logins_lead_to_one_server(linked):
    place = {"name": linked.dr, "host": "127.0.0.1", "port": linked.rds.instances[linked.source]["port"]}
    bad = verify(linked, postgres={**LOGIN, "instances": [place]})
    assert bad["same_standby"]["note"] == "Both logins lead to the same server."
    assert FORCED not in str(bad)


# -- remedies that are SQL ---------------------------------------------------------------------------------------------


def test_remedies_of_the_primary(dba):
    linked, odd = dba, '''"o'dd ""role"""'''
    sql(linked, f"CREATE ROLE {odd}")
    for target in (odd, "ALL", "DATABASE shop", f"{odd} IN DATABASE shop"):
        kind = "" if target.startswith("DATABASE") else "ROLE "
        sql(linked, f"ALTER {kind}{target} SET default_transaction_read_only = off")
    assert heals(linked, "role_settings")["note"].count("default_transaction_read_only=off") == 4

    sql(linked, "SELECT pg_create_physical_replication_slot('o_ld', true)")
    assert heals(linked, "slots_holding_wal")["note"].startswith(
        f"Nobody reads the slots that hold WAL at {linked.source}: o_ld ("
    )

    options = "CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = x)"
    sql(linked, f"""CREATE SUBSCRIPTION "s'ub ""1" {options}""", database=SHOP)
    sql(linked, """ALTER SUBSCRIPTION "s'ub ""1" ENABLE""", database=SHOP)
    heals(linked, "subscriptions")

    sql(linked, "REVOKE pg_signal_backend FROM dr_operator", "REVOKE shop_owner FROM dr_operator")
    assert "shop belongs to shop_owner" in heals(linked, "fence_possible")["note"]

    sql(linked, "REVOKE pg_monitor FROM dr_operator")
    blind = verify(linked)
    assert {"wal_sender", "long_transactions"} <= set(blind)
    follow(linked, blind["wal_sender"])
    assert eventually(lambda: verify(linked) == {}, 5), verify(linked)


def test_remedies_of_a_primary_that_is_read_only(dba):
    linked = dba
    ways = {
        "configuration file": "ALTER SYSTEM SET default_transaction_read_only = on",
        "global": "ALTER ROLE ALL SET default_transaction_read_only = on",
        "user": "ALTER ROLE dr_operator SET default_transaction_read_only = on",
        "database": "ALTER DATABASE dr_link SET default_transaction_read_only = on",
        "closed": "ALTER DATABASE shop ALLOW_CONNECTIONS false",
        "closed, and global": "ALTER DATABASE shop ALLOW_CONNECTIONS false;ALTER ROLE ALL SET "
        "default_transaction_read_only = on",
    }
    for way, statement in ways.items():
        sql(linked, *statement.split(";"), "SELECT pg_reload_conf()")
        assert eventually(lambda: "not_fenced" in verify(linked), 5), way
        bad = verify(linked)["not_fenced"]
        assert bad["result"] == ("warning" if way in ("user", "database") else "error"), bad
        follow(linked, bad)
        assert eventually(lambda: verify(linked) == {}, 5), (way, verify(linked))


def test_remedies_of_unlogged_tables(dba):
    linked = dba
    sql(
        linked,
        """CREATE UNLOGGED TABLE "un'logged ""t" (id int)""",
        "CREATE UNLOGGED TABLE plain (id int)",
        database=SHOP,
    )
    bad = verify(linked)
    assert set(bad) == {"unlogged_tables"} and "2 in shop" in bad["unlogged_tables"]["note"]
    (query,) = [each["statement"] for each in STATEMENT.finditer(bad["unlogged_tables"]["remedy"]) if each["statement"]]
    with session(linked, linked.source, SHOP) as shop:
        for (statement,) in shop.run(query):
            shop.run(statement)
    assert verify(linked) == {}


def test_remedies_of_the_canary(dba):
    linked, quick = dba, {"canary_timeout": 2.0}

    def canary(*statements: str) -> None:
        sql(linked, *statements, database="dr_link")

    canary("ALTER TABLE dr_link_canary SET UNLOGGED")
    heals(linked, "canary", **quick)
    for right in ("SELECT", "INSERT"):
        canary(f"REVOKE {right} ON dr_link_canary FROM dr_operator")
        assert f"no privilege {right} on" in heals(linked, "canary", **quick)["note"]

    canary("ALTER TABLE dr_link_canary ENABLE ROW LEVEL SECURITY")
    assert "SQLSTATE 42501" in heals(linked, "canary", **quick)["note"], "the writer's message"
    canary("CREATE POLICY p ON dr_link_canary FOR INSERT WITH CHECK (true)",
           "ALTER TABLE dr_link_canary ENABLE ROW LEVEL SECURITY")  # fmt: skip
    hidden = heals(linked, "canary", **quick)["note"]
    assert "was not seen" in hidden and "may hide rows" in hidden

    canary("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not today''; END'",
           "CREATE TRIGGER no BEFORE INSERT ON dr_link_canary FOR EACH ROW EXECUTE FUNCTION no()")  # fmt: skip
    failed = verify(linked, **quick)["canary"]
    assert (failed["result"], "not today, SQLSTATE P0001" in failed["note"]) == ("error", True)
    canary("DROP TRIGGER no ON dr_link_canary", "ALTER TABLE dr_link_canary RENAME TO other")
    missing = verify(linked, **quick)["canary"]
    assert (missing["result"], missing["remedy"]) == ("warning", "playbook alicloud.rds.prepare_source")
    assert "canary" not in verify(linked, skip_checks=["canary"])


def test_commits_that_wait_for_nobody(dba):
    linked = dba
    names = "ALTER SYSTEM SET synchronous_standby_names = '\"no body\"'"
    sql(linked, names, "SELECT pg_reload_conf()")
    assert eventually(lambda: "synchronous_standbys" in verify(linked), 5)
    started = time.monotonic()
    bad = verify(linked)
    assert time.monotonic() - started < 5, "although each COMMIT of others hangs"
    assert set(bad) == {"synchronous_standbys"} and bad["synchronous_standbys"]["result"] == "error"
    waiting = threading.Thread(target=lambda: linked.write(linked.source, 2), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    heals(linked, "synchronous_standbys")
    waiting.join(20)
    assert not waiting.is_alive()

    sql(linked, names, "SELECT pg_reload_conf()", at=linked.dr)
    assert eventually(lambda: "synchronous_standbys" in verify(linked), 5)
    later = heals(linked, "synchronous_standbys")
    assert later["note"].startswith(f"As a primary, {linked.dr} would wait")


def test_an_asynchronous_commit_in_memory_is_lag(dba):
    linked = dba
    sql(linked, "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
    with session(linked, linked.source, SHOP) as shop:
        shop.run("SET synchronous_commit = off")
        for number in range(10, 20):  # the WAL writer may wake up for one of them, and not for the next
            shop.run(f"INSERT INTO orders VALUES ({number}, 'acknowledged')")
            seen = do(linked, VERIFY, skip_checks=["canary"], max_lag_bytes=0)
            if linked.orders(linked.dr) < linked.orders(linked.source):
                break
        assert {check["id"] for check in seen["checks"] if check["result"] == "error"} == {"lag"}, (
            "no row was held back"
        )
        assert seen["lag_bytes"] > 0

        def no_lag() -> bool:
            shop.run("CHECKPOINT")  # again: whoever reads a page for the first time may write to it
            return do(linked, VERIFY, skip_checks=["canary"])["lag_bytes"] == 0

        assert eventually(no_lag, 5)


def test_replay_that_is_paused_or_blocked(dba):
    linked = dba
    linked.rds.break_link(linked.dr, "replay_paused")
    paused = heals(linked, "replay")
    assert paused["result"] == "error"

    with session(linked, linked.dr, SHOP) as reader:
        reader.run("BEGIN")
        reader.run("SELECT count(*) FROM orders")
        sql(linked, "ALTER TABLE orders ADD note text", database=SHOP)
        assert eventually(lambda: "replay_blocked" in verify(linked, skip_checks=["canary"]), 10)
        blocked = heals(linked, "replay_blocked", canary_timeout=0.5)
        pid = reader._backend_key_data and struct.unpack("!i", reader._backend_key_data[:4])[0]
        assert f"pid {pid} (dba, " in blocked["note"]


# -- parameters --------------------------------------------------------------------------------------------------------


def restart(linked, name: str) -> None:
    """Restart a server: the source by the emulator, the standby as one whose process has ended."""
    if name == linked.source:
        linked.rds.break_link(linked.dr, "source_gone")
    else:
        data = linked.value(name, "current_setting('data_directory')")
        with contextlib.suppress(Exception):  # the session that asks ends, too
            linked.rds.sql(name, f"COPY (SELECT 1) TO PROGRAM 'kill -QUIT $(head -1 {data}/postmaster.pid)'")
    linked.rds.repair_link(linked.dr)
    assert eventually(lambda: linked.value(name, "1"))


def test_parameters_that_were_raised_at_the_primary_only(dba):
    linked = dba
    sql(linked, "ALTER SYSTEM SET max_connections = 210", "ALTER SYSTEM SET max_prepared_transactions = 5",
        "ALTER SYSTEM SET wal_level = logical")  # fmt: skip
    restart(linked, linked.source)
    sql(linked, "CHECKPOINT")
    assert eventually(lambda: "replay" in verify(linked, skip_checks=["canary"]), 20)
    bad = verify(linked)
    assert bad["parameter_sizes"]["result"] == "error"
    assert "max_connections is 200 (210 at the primary)" in bad["parameter_sizes"]["note"]
    assert not any("pg_wal_replay_resume" in check["remedy"] for check in bad.values()), "it would shut down"
    assert bad["replay"]["remedy"] == bad["parameter_sizes"]["remedy"]
    grow = re.findall(r"(max_\w+) to (\d+)", bad["parameter_sizes"]["remedy"])
    assert dict(grow) == {"max_connections": "210", "max_prepared_transactions": "5"}
    for name, value in grow:
        sql(linked, f"ALTER SYSTEM SET {name} = {value}", at=linked.dr)
    restart(linked, linked.dr)
    assert eventually(lambda: verify(linked) == {}, 20), verify(linked)

    with session(linked, linked.source, SHOP) as shop:
        for gid in ("o''ne", 'tw"o'):
            shop.run("BEGIN")
            shop.run(f"INSERT INTO orders VALUES ({len(gid)}00, 'prepared')")
            shop.run(f"PREPARE TRANSACTION '{gid}'")
    bad = verify(linked)["prepared_transactions"]
    first, second = re.split(r"(?<=;) (?=in database)", bad["remedy"].removeprefix(f"At {linked.source}: "))
    for remedy in (first, second):
        follow(linked, {"remedy": f"At {linked.source}: {remedy}"})
    assert verify(linked) == {}

    sql(linked, "SELECT pg_create_logical_replication_slot('logical', 'pgoutput')", database=SHOP)
    assert set(verify(linked)) <= {"logical_slots", "slots_holding_wal"}
    sql(linked, "SELECT pg_drop_replication_slot('logical')")
    assert verify(linked) == {}


# -- encodings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_server_with_names_in_any_encoding(dba, encoding):
    """Names of roles and databases are bytes to PostgreSQL: what one database has named, another one reads."""
    linked = dba
    sql(linked, f"CREATE DATABASE other ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0", "CREATE DATABASE later")
    named = r"convert_from('\x4dfc6c6c6572'::bytea, getdatabaseencoding())"  # "Müller" in Latin-1
    with session(linked, linked.source, "other") as other:
        for statement in (
            "CREATE ROLE %I",
            "ALTER ROLE %I SET default_transaction_read_only = off",
            "ALTER DATABASE later RENAME TO %I",
        ):
            other.run(f"DO $$ BEGIN EXECUTE format('{statement}', {named}); END $$")
    for database in ("dr_link", "other"):
        bad = verify(linked, postgres={**LOGIN, "login_db": database})
        assert "role_settings" in bad
        assert set(bad) <= {"role_settings", "canary", "fence_possible"}, bad
        assert re.search("role M.+ller sets", bad["role_settings"]["note"])


# -- two primaries -----------------------------------------------------------------------------------------------------


def test_after_a_promotion_without_a_fence_both_sides_take_rows(linked):
    assert do(linked, PROMOTION, mode="planned")["outcome"] == "promoted"
    bad = verify(linked)
    assert set(bad) == {"link_state", "split_brain"} and bad["split_brain"]["result"] == "error"
    assert f"Keep all clients away from {linked.source}: stop it, or fence it." in bad["split_brain"]["remedy"]
    assert bad["split_brain"]["note"].startswith(f"{linked.source} (timeline 1) and {linked.dr} (timeline 2)")
    sql(linked, "ALTER DATABASE shop ALLOW_CONNECTIONS false")
    assert set(verify(linked)) == {"link_state"}


def test_the_old_source_comes_back_after_a_forced_promotion(linked):
    linked.rds.break_link(linked.dr, "source_gone")
    lost = verify(linked)
    assert FORCED in lost["both_sides_reachable"]["remedy"]
    done = do(linked, PROMOTION, mode="forced", confirm=linked.dr)
    assert done["outcome"] == "promoted", done
    assert set(verify(linked)) == {"link_state"}, "it is not expected to answer"
    linked.rds.repair_link(linked.dr)
    assert set(verify(linked)) == {"link_state", "split_brain"}


def test_a_fenced_old_source_is_no_second_primary(linked):
    done = do(linked, PROMOTION, mode="planned", fence=True)
    assert done["outcome"] == "promoted", done
    seen = do(linked, VERIFY)
    found = {check["id"]: check for check in seen["checks"]}
    assert found["split_brain"]["result"] == "success"
    assert found["split_brain"]["note"] == f"{linked.source} is fenced"
    assert {name for name, check in found.items() if check["result"] != "success"} == {"link_state"}


# -- several links -----------------------------------------------------------------------------------------------------


def test_two_dr_instances_of_one_source_are_two_links(linked):
    second = linked.rds.add_instance(id=f"{linked.dr}-2")["id"]
    made = do(linked, LINK, dr_instance_id=second, replicator_account="dr_sync",
              replicator_password=account()["password"])  # fmt: skip
    assert made["link"]["state"] == "streaming", made
    both = do(linked, VERIFY, links=[{"dr_instance_id": each} for each in (linked.dr, second)])
    assert [each["outcome"] for each in both["results"]] == ["verified"] * 2
    for name, result in zip((linked.dr, second), both["results"], strict=True):
        sides = [result["topology"][side]["instance_id"] for side in ("primary", "dr_instance")]
        assert sides == [linked.source, name]
        assert {check["result"] for check in result["checks"]} == {"success"}

    linked.rds.break_link(second, "replay_paused")
    both = do(linked, VERIFY, links=[{"dr_instance_id": each} for each in (linked.dr, second)])
    assert [each["failed"] for each in both["results"]] == [False, True]
    assert both["failed"] and both["msg"].startswith("1 of 2 links failed.\n" + second)
    linked.rds.repair_link(second)


# -- variables of the role ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_blank_variables_are_not_set(linked, nothing):
    """The source of a link is known to the service: nothing but the instance and a login has to be given."""
    names = ["source_instance_name", "source_category", "source_address", "source_port", "source_instance_region_id",
             "connection", "skip_checks", "max_lag_bytes", "canary_timeout", "report_dir", "metrics_file"]  # fmt: skip
    postgres = {**LOGIN, "login_db": nothing, "ssl_mode": nothing, "ca_cert": nothing, "instances": nothing or None}
    run = linked.play("verify", **{f"dr_link_{name}": nothing for name in names}, dr_link_postgres=postgres)
    assert set(results(run).values()) == {"success"}, results(run)


# -- files for other systems -------------------------------------------------------------------------------------------

SAMPLE = re.compile(r'(?P<name>[a-z_]+)\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\} (?P<value>\S+)')


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Parse the text format of Prometheus: each family once, with HELP and TYPE above all its samples."""
    found: dict[tuple[str, ...], float] = {}
    families: list[str] = []
    assert text.endswith("\n") and "\n\n" not in text
    for line in text.splitlines():
        if line.startswith("# HELP "):
            families.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {families[-1]} gauge"
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample and sample["name"] == families[-1], line
            labels = re.findall(r'="((?:[^"\\\n]|\\.)*)"', sample["labels"])
            key = (sample["name"], *labels)
            assert key not in found
            found[key] = float(sample["value"])
    assert len(set(families)) == len(families)
    return found


def test_metrics_and_json_of_two_links_of_which_one_has_failed(linked, tmp_path):
    second = linked.rds.add_instance(id=f"{linked.dr}-2")["id"]
    made = do(linked, LINK, dr_instance_id=second, replicator_account="dr_sync",
              replicator_password=account()["password"])  # fmt: skip
    assert made["link"]["state"] == "streaming", made
    linked.rds.break_link(second, "replay_paused")
    linked.write(linked.source, 2)
    report, metrics = tmp_path / "verification.json", tmp_path / "rds.prom"
    variables = {"dr_link_links": [{"dr_instance_id": each} for each in (linked.dr, second)],
                 "dr_link_report_dir": str(tmp_path), "dr_link_metrics_file": str(metrics),
                 "dr_link_canary_timeout": 0.5, "dr_link_dr_instance_id": None}  # fmt: skip
    linked.play("verify", "--check", fails=True, **variables)
    assert list(tmp_path.glob("*.json")) + list(tmp_path.glob("*.prom")) == [], "check mode writes nothing"

    before = time.time()
    run = linked.play("verify", fails=True, **variables)
    assert f"1 of 2 links failed.\\n{second}: " in run.output.replace("\\\\n", "\\n")
    written = samples(metrics.read_text())
    names = ("alicloud_rds_link_up", "alicloud_rds_link_lag_bytes", "alicloud_rds_link_last_verify_timestamp_seconds")
    up, lag, at = ({link: written[(name, link)] for link in (linked.dr, second)} for name in names)
    assert up == {linked.dr: 1, second: 0}
    assert lag[linked.dr] == 0 and lag[second] > 0
    assert all(before - 1 <= when <= time.time() + 1 for when in at.values())
    checks = {key: value for key, value in written.items() if key[0] == "alicloud_rds_link_checks"}
    assert {key[2] for key in checks} == {"success", "warning", "error"} and len(checks) == 6
    assert checks[("alicloud_rds_link_checks", second, "error")] >= 1
    assert len(written) == 2 * 3 + 6

    kept = json.loads(report.read_text())
    assert list(kept) == [linked.dr, second]
    assert [result["failed"] for result in kept.values()] == [False, True]
    for link, result in kept.items():
        assert len(result["checks"]) == sum(value for key, value in checks.items() if key[1] == link)
        assert SECRET not in json.dumps(result, ensure_ascii=False)

    linked.rds.repair_link(second)
    inodes, texts = [each.stat().st_ino for each in (report, metrics)], report.read_text()
    reader = metrics.open()  # whoever reads while it is written reads the old one to its end
    linked.play("verify", **variables)
    assert samples(reader.read()) == written
    reader.close()
    assert samples(metrics.read_text())[("alicloud_rds_link_up", second)] == 1
    assert report.read_text() != texts and [each.stat().st_ino for each in (report, metrics)] != inodes

    good = metrics.read_text()
    wrong = linked.play("verify", fails=True, **variables, dr_link_connection={"access_key_id": "only half"})
    assert "access_key_secret" in wrong.output
    assert "No first item" not in wrong.output and "sequence was empty" not in wrong.output
    assert metrics.read_text() == good, "nobody was asked: the time in the file shows how old it is"
