# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A source is prepared for a link and its operation, and what was verified is written for other systems."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import specs
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.prepare import SOURCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run

from .conftest import make_pair
from .operating import linked

__all__ = ["linked"]  # a fixture
ADMIN, OPERATOR, SYNC = "admin's secret", "operator's secret", "sync's secret"


@pytest.fixture
def bare(rds_emulator_postgres):
    """A source that nobody has prepared; `o"brien` owns a database."""
    admin = {"name": "admin", "password": ADMIN, "attributes": ["LOGIN", "SUPERUSER"], "member_of": []}
    weak = {"name": "weak", "password": ADMIN, "attributes": ["LOGIN"], "member_of": []}
    owner = ['CREATE ROLE "o""brien.x" LOGIN', 'CREATE DATABASE "sh""op.1" OWNER "o""brien.x"']
    return make_pair(rds_emulator_postgres, accounts=[admin, weak], sql=owner)


def prepare(bare, login: str = "admin", check_mode: bool = False, **given: Any) -> dict[str, Any]:
    options = {
        "source_address": "127.0.0.1",
        "source_port": bare.port,
        "replicator_account": "dr_sync",
        "replicator_password": SYNC,
        "fence": True,
        "postgres": {
            "login_user": "dr_operator",
            "login_password": OPERATOR,
            "instances": [{"name": "source", "login_user": login, "login_password": ADMIN}],
        },
        **given,
    }
    valid = ArgumentSpecValidator(**specs.validated_by(SOURCE.spec)).validate(options)
    assert valid.error_messages == []
    done = run(SOURCE, valid.validated_parameters, check_mode=check_mode, diff=True, environment=bare.rds.environment)
    for secret in (ADMIN, OPERATOR, SYNC):
        assert secret not in json.dumps(done)
    return done


def states(done: dict[str, Any]) -> set[str]:
    return {step["state"] for step in done["steps"]}


def test_a_source_gets_what_it_lacks_and_then_nothing(bare):
    preview = prepare(bare, check_mode=True)
    assert preview["changed"] and states(preview) <= {"missing", "present"}
    assert bare.rds.sql(bare.source, "SELECT count(*) AS n FROM pg_roles WHERE rolname = 'dr_sync'")[0]["n"] == 0

    made = prepare(bare)
    assert made["outcome"] == "prepared", made.get("msg")
    assert "refused" not in states(made) and "database dr_link" in [step["what"] for step in made["steps"]]
    again = prepare(bare)
    assert (again["changed"], again["outcome"], states(again)) == (False, "unchanged", {"present"})

    member = "SELECT pg_has_role('dr_operator', 'o\"brien.x', 'USAGE') AS yes"
    assert bare.rds.sql(bare.source, member)[0]["yes"]
    more = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication"
    rights = f"SELECT {more} AS more FROM pg_roles WHERE rolname = 'dr_operator'"
    assert not bare.rds.sql(bare.source, rights)[0]["more"], "the operator has no more than it needs"


def test_a_password_that_the_server_refuses_is_set_anew(bare):
    prepare(bare)
    bare.rds.sql(bare.source, "ALTER ROLE dr_sync PASSWORD 'another'")
    done = prepare(bare)
    assert [step["what"] for step in done["steps"] if step["state"] == "created"] == ["password of account dr_sync"]
    assert prepare(bare)["outcome"] == "unchanged"


def test_what_the_login_may_not_do_is_left_to_somebody_who_may(bare):
    done = prepare(bare, "weak")
    assert done["failed"] and done["error"]["code"] == "SourceUnprepared"
    assert "refused" in states(done) and "CREATE DATABASE" in done["msg"] and "somebody who may must run" in done["msg"]
    prepare(bare)
    assert prepare(bare, "weak")["outcome"] in ("unchanged", "failed"), "what is there is seen as such"


def test_a_verification_is_written_for_prometheus_and_as_json(linked, tmp_path):
    alone = linked.rds.add_instance(id=f"{linked.dr}-alone")["id"]
    file, links = tmp_path / "dr.prom", [{"dr_instance_id": linked.dr}, {"dr_instance_id": alone}]
    given = {"dr_link_links": links, "dr_link_metrics_file": str(file), "dr_link_report_dir": str(tmp_path)}
    linked.play("verify", "--check", fails=True, **given)
    assert not file.exists()
    run = linked.play("verify", fails=True, **given)
    assert "1 of 2 links verified" in run.output
    samples = {}
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line)
            continue
        name, labels, value = re.fullmatch(r"([a-z_]+)\{(.*)\} (\S+)", line).groups()
        samples[name, labels] = float(value)
    assert samples["alicloud_rds_link_up", f'dr_instance_id="{linked.dr}"'] == 1
    assert samples["alicloud_rds_link_up", f'dr_instance_id="{alone}"'] == 0
    assert samples["alicloud_rds_link_checks", f'dr_instance_id="{alone}",result="error"'] == 1
    assert ("alicloud_rds_link_lag_bytes", f'dr_instance_id="{alone}"') not in samples, "not known is not zero"
    assert samples["alicloud_rds_link_last_verify_timestamp_seconds", f'dr_instance_id="{alone}"'] > 1.7e9
    assert set(json.loads((tmp_path / "verification.json").read_text())) == {linked.dr, alone}
