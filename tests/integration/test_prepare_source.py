# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A source is prepared by an administrator, and the operator that it gets can do all that a link needs."""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pg8000.native
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import specs
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.prepare import SOURCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation, run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import VERIFY

from .conftest import eventually

_numbers = itertools.count(1)
ADMIN = {"login_user": 'ad"min', "login_password": "4dmin' \\ pw"}
OPERATOR = {"login_user": 'o\'per "ator"', "login_password": '0perator\' "pw" %20'}
REPLICATOR = {"replicator_account": "dr_sync", "replicator_password": 'r3plicator\' "pw" %20'}
SECRETS = [ADMIN["login_password"], OPERATOR["login_password"], REPLICATOR["replicator_password"]]
EVERYTHING = [
    "account dr_sync",
    "membership of dr_sync in pg_monitor",
    'account o\'per "ator"',
    'membership of o\'per "ator" in pg_monitor',
    "database dr_link",
    "table dr_link_canary",
    "rights on table dr_link_canary",
    "table dr_link_fence",
    "rights on table dr_link_fence",
    'membership of o\'per "ator" in pg_signal_backend',
    'membership of o\'per "ator" in own"er\'s',
]


@dataclass
class Place:
    """A source with an administrator and a user database, and an empty DR instance."""

    rds: Any
    name: str
    port: int
    dr: str
    since: int = 0  # the server's log begins here

    def do(self, operation: Operation, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        admin = {"name": "source", **ADMIN}
        usual = {"dr_instance_id": self.dr, "source_address": "127.0.0.1", "source_port": self.port, "fence": True,
                 "wait_interval": 0.1, "postgres": {**OPERATOR, "instances": [admin]}, **REPLICATOR}  # fmt: skip
        known = operation.spec["argument_spec"]
        options = {name: value for name, value in {**usual, **given}.items() if name in known}
        validation = ArgumentSpecValidator(**specs.validated_by(operation.spec)).validate(options)
        assert validation.error_messages == [], validation.error_messages
        done = run(operation, validation.validated_parameters, check_mode=check_mode, diff=True,
                   environment=self.rds.environment)  # fmt: skip
        assert spelled(json.dumps(done)) == []
        return done

    def everything(self) -> str:
        """All that a preparation may change, as text."""
        queries = (
            "SELECT rolname, rolcanlogin, rolreplication, rolcreaterole, rolpassword FROM pg_authid ORDER BY 1",
            "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2",
            "SELECT datname, datacl::text FROM pg_database ORDER BY 1",
        )
        return json.dumps([self.rds.sql(self.name, query) for query in queries])

    def log(self) -> str:
        data = self.rds.sql(self.name, "SELECT current_setting('data_directory') AS it")[0]["it"]
        return (Path(data).parent / "server.log").read_text()[self.since :]


def spelled(text: str) -> list[str]:
    """Which secrets a text holds, however they are written."""
    spellings = {form for secret in SECRETS for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""),
                                                         repr(secret)[1:-1], secret.replace("'", "''"))}  # fmt: skip
    return [form for form in spellings if form in text]


@pytest.fixture
def place(rds_emulator_postgres):
    rds, number = rds_emulator_postgres, next(_numbers)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    admin = {"name": ADMIN["login_user"], "password": ADMIN["login_password"], "attributes": ["LOGIN", "SUPERUSER"]}
    source = rds.add_source(
        name=f"prepared-{worker}-{number}",
        accounts=[admin],
        settings={"log_statement": "all", "log_connections": "on"},
        sql=['CREATE ROLE "own""er\'s" LOGIN', 'CREATE DATABASE "sh\'op"" 1" OWNER "own""er\'s"'],
    )
    dr = rds.add_instance(id=f"pgm-prep-{worker}-{number}")["id"]
    place = Place(rds, source["name"], source["port"], dr)
    place.since = len(place.log())  # without how the emulator has made the administrator
    return place


def states(done: dict[str, Any]) -> dict[str, str]:
    return {step["what"]: step["state"] for step in done["steps"]}


def test_a_source_is_prepared_once_and_its_operator_can_do_everything(place):
    before = place.everything()
    preview = place.do(SOURCE, check_mode=True)
    assert (preview["outcome"], preview["changed"]) == ("prepared", True), preview
    assert [what for what, state in states(preview).items() if state == "missing"] == EVERYTHING
    assert place.everything() == before, "check mode changes nothing"

    done = place.do(SOURCE)
    assert (done["outcome"], done["changed"]) == ("prepared", True), done
    assert [what for what, state in states(done).items() if state == "created"] == EVERYTHING
    assert done["diff"] == preview["diff"]
    prepared = place.everything()

    again = place.do(SOURCE)
    assert (again["outcome"], again["changed"]) == ("unchanged", False)
    assert set(states(again).values()) == {"present"} and again["diff"] == {"before": "", "after": ""}
    assert place.do(SOURCE, check_mode=True)["outcome"] == "unchanged"
    assert place.everything() == prepared

    made = place.do(LINK)
    assert made["link"]["state"] == "streaming", made
    verified = place.do(VERIFY, postgres=OPERATOR)
    assert verified["outcome"] == "verified"
    assert {check["id"]: check["result"] for check in verified["checks"] if check["result"] != "success"} == {}
    assert {check["note"] for check in verified["checks"] if check["id"] == "fence_possible"} == {"database"}

    log = place.log()
    assert "CREATE ROLE" in log and spelled(log) == []
    assert spelled(json.dumps(place.rds.journal())) == []


def test_a_password_that_the_server_refuses_is_set_anew(place):
    place.do(SOURCE)
    other = place.do(SOURCE, replicator_password="an0ther pw")
    assert [what for what, state in states(other).items() if state == "created"] == ["password of account dr_sync"]
    with pytest.raises(pg8000.native.DatabaseError, match="28P01"):
        login(place, "dr_sync", REPLICATOR["replicator_password"])
    login(place, "dr_sync", "an0ther pw").close()
    preview = place.do(SOURCE, check_mode=True)
    assert [what for what, state in states(preview).items() if state == "missing"] == ["password of account dr_sync"]
    assert place.do(SOURCE)["changed"] and not place.do(SOURCE)["changed"]
    assert spelled(place.log()) == [] and "an0ther pw" not in place.log()


def login(place: Place, user: str, password: str, database: str = "postgres") -> pg8000.native.Connection:
    return pg8000.native.Connection(user, "127.0.0.1", database, place.port, password)


def test_what_an_account_may_not_do_is_listed_for_somebody_who_may(place):
    place.rds.sql(place.name, "CREATE ROLE small LOGIN PASSWORD 'small'")
    small = {**OPERATOR, "instances": [{"name": "source", "login_user": "small", "login_password": "small"}]}
    before = place.everything()
    done = place.do(SOURCE, postgres=small)
    assert (done["failed"], done["outcome"], done["changed"]) == (True, "failed", False), done
    assert [what for what, state in states(done).items() if state == "refused"] == EVERYTHING
    assert place.everything() == before
    for check_mode in (True, False):
        listed = place.do(SOURCE, check_mode=check_mode, postgres=small)
        assert [step["statement"] for step in listed["steps"]] == [step["statement"] for step in done["steps"]]

    with login(place, ADMIN["login_user"], ADMIN["login_password"]) as admin:
        session = admin
        for step in done["steps"]:
            assert f"{step['statement']};" in done["msg"]
            if "table" in step["what"]:
                continue
            session.run(step["statement"].replace("PASSWORD <password>", "PASSWORD 'x'"))
    with login(place, ADMIN["login_user"], ADMIN["login_password"], "dr_link") as admin:
        for step in done["steps"]:
            if "table" in step["what"]:
                assert re.search(rf"{re.escape(step['what'])}: .*\n  in database dr_link: ", done["msg"])
                admin.run(step["statement"])
    ended = place.do(SOURCE)
    passwords = {"password of account dr_sync", 'password of account o\'per "ator"'}
    assert {what for what, state in states(ended).items() if state != "present"} == passwords


def test_attributes_that_an_account_lacks_are_added(place):
    place.rds.sql(place.name, "CREATE ROLE dr_sync PASSWORD 'x'")
    done = place.do(SOURCE)
    changed = {what for what, state in states(done).items() if state == "created"}
    assert {"attributes of account dr_sync", "password of account dr_sync"} <= changed
    assert not place.do(SOURCE)["changed"]
    assert place.do(LINK)["link"]["state"] == "streaming"


def test_a_superuser_is_never_given_to_the_operator(place):
    """Who is a member of a superuser is one: the database gets another owner, or a fence of another method."""
    place.rds.sql(place.name, "CREATE DATABASE theirs")
    done = place.do(SOURCE)
    assert done["outcome"] == "prepared"
    members = place.rds.sql(place.name, """SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        WHERE r.rolsuper""")  # fmt: skip
    assert members == []
    assert place.do(LINK)["link"]["state"] == "streaming"
    checks = {check["id"]: check for check in place.do(VERIFY, postgres=OPERATOR)["checks"]}
    remedy = checks["fence_possible"]["remedy"]
    assert 'GRANT "postgres"' not in remedy
    assert 'ALTER DATABASE "theirs" OWNER TO' in remedy


def test_another_maintenance_database(place):
    place.rds.sql(place.name, 'CREATE DATABASE "o\'ps"')
    logins = {**OPERATOR, "login_db": "o'ps", "instances": [{"name": "source", **ADMIN}]}
    assert place.do(SOURCE, postgres=logins)["outcome"] == "prepared"
    assert place.do(LINK)["link"]["state"] == "streaming"
    verified = place.do(VERIFY, postgres={**OPERATOR, "login_db": "o'ps"})
    assert {check["id"] for check in verified["checks"] if check["result"] != "success"} == set(), verified["checks"]


def test_what_the_server_refuses_for_any_reason_is_listed_and_the_rest_is_created(place):
    done = place.do(SOURCE, canary_table="ops.canary")
    assert (done["failed"], done["changed"]) == (True, True)
    refused = [what for what, state in states(done).items() if state == "refused"]
    assert refused == ["table ops.canary", "rights on table ops.canary"]
    assert 'schema "ops" does not exist\n  in database dr_link: CREATE TABLE "ops"."canary" (' in done["msg"]


def test_a_server_that_cannot_be_asked_is_named_with_the_reason(place):
    wrong = {**OPERATOR, "instances": [{"name": "source", **ADMIN, "login_password": "wrong"}]}
    done = place.do(SOURCE, postgres=wrong)
    assert (done["failed"], done["outcome"]) == (True, "not_sent")
    assert "SQLSTATE 28P01" in done["msg"] and "forced" not in done["msg"]


def test_the_playbook_prepares_and_says_what_it_has_created(place, play, tmp_path):
    variables = {
        "dr_link_source_address": "127.0.0.1",
        "dr_link_source_port": place.port,
        "dr_link_replicator_account": "dr_sync",
        "dr_link_replicator_password": REPLICATOR["replicator_password"],
        "dr_link_postgres": {**OPERATOR, "instances": {"source": ADMIN}},
        "dr_link_fence": True,
    }
    first = play(place.rds, "alicloud.rds.prepare_source", variables, "-vvv", "--diff")
    assert first.returncode == 0, first.output
    assert first.changed() == 1 and "database dr_link" in first.output
    assert spelled(first.output) == []
    second = play(place.rds, "alicloud.rds.prepare_source", variables, "-vvv", "--diff")
    assert second.changed() == 0
    assert eventually(lambda: place.rds.sql(place.name, "SELECT 1 FROM pg_database WHERE datname = 'dr_link'"))
