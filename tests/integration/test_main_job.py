# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Preview, apply, apply again, and a row that goes across: the collection's playbooks on real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys

import pg8000.dbapi

from .conftest import PASSWORD, ROOT, account, eventually, make_pair, show

PLAYBOOK = "alicloud.rds.replication_link"
READS = ["DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"]


def test_preview_apply_and_apply_again_with_a_row_going_across(pair, play):
    preview = play(pair.rds, PLAYBOOK, pair.variables, "--check", "--diff")
    assert preview.returncode == 0, preview.output
    assert preview.changed() == 1
    assert "would be linked" in preview.output and "18 of 18 checks passed, plan " in preview.output
    assert f'+        "dr_instance_id": "{pair.dr}"' in preview.output
    assert pair.creates() == []
    assert pair.rds.sql(pair.dr, "SELECT pg_is_in_recovery() AS standby") == [{"standby": False}]

    apply = play(pair.rds, PLAYBOOK, pair.variables)
    assert apply.returncode == 0, apply.output
    assert apply.changed() == 1
    (create,) = pair.creates()
    assert create["params"]["DryRun"] == "false"
    assert create["params"]["TaskId"], "it applies the preview it made"

    pair.forget()
    again = play(pair.rds, PLAYBOOK, pair.variables)
    assert again.returncode == 0, again.output
    assert again.changed() == 0
    assert [entry["action"] for entry in pair.journal()] == READS

    pair.rds.sql(pair.source, "INSERT INTO orders VALUES (2, 'rocket skates')")
    rows = "SELECT id, item FROM orders ORDER BY id"
    expected = [{"id": 1, "item": "anvil"}, {"id": 2, "item": "rocket skates"}]
    assert eventually(lambda: pair.rds.sql(pair.dr, rows) == expected)
    standbys = pair.rds.sql(pair.source, "SELECT application_name, state FROM pg_stat_replication")
    assert standbys == [{"application_name": pair.dr, "state": "streaming"}]


def break_password(rds):
    return make_pair(rds), {"dr_link_replicator_password": "not-the-password"}


def break_privilege(rds):
    return make_pair(rds, accounts=[account(attributes=["LOGIN", "CREATEROLE"])]), {}


def break_version(rds):
    return make_pair(rds, version=16), {}


def use_up_walsenders(rds):
    pair = make_pair(rds, settings={"max_wal_senders": "1"})
    pair.hold = pg8000.dbapi.connect(
        user="dr_sync", password=PASSWORD, host="127.0.0.1", port=pair.port, database="postgres", replication="database"
    )
    return pair, {}


def make_unreachable(rds):
    return make_pair(rds, behaviour="refused", accounts=[], sql=[]), {}


BROKEN = [
    (break_password, "database_connectable", "ALTER ROLE dr_sync PASSWORD"),
    (break_privilege, "account_replication_privilege", "ALTER ROLE dr_sync REPLICATION;"),
    (break_version, "major_version_consistent", "same PostgreSQL major version"),
    (use_up_walsenders, "replication", "max_wal_senders"),
    (make_unreachable, "port_connectable", "listen_addresses"),
]


def test_a_preview_of_broken_sources_names_check_and_remedy_of_each(rds_emulator_postgres, play):
    made = [make(rds_emulator_postgres) for make, _check, _remedy in BROKEN]
    links = [
        {
            "dr_instance_id": pair.dr,
            "source_port": pair.port,
            "replicator_password": options.get("dr_link_replicator_password", PASSWORD),
        }
        for pair, options in made
    ]
    playbook = """
- hosts: localhost
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role: {name: alicloud.rds.dr_link}
      always:
        @SHOW@
""".replace("@SHOW@", show("dr_link_results"))
    variables = {
        "dr_link_source_address": "127.0.0.1",
        "dr_link_replicator_account": "dr_sync",
        "dr_link_links": links,
    }
    run = play(rds_emulator_postgres, playbook, variables, "--check")
    assert run.returncode == 2, run.output
    for (pair, _options), (_make, check, remedy) in zip(made, BROKEN, strict=True):
        result = run.results[pair.dr]
        assert result["error"]["code"] == "PrecheckFailed"
        failed = [entry for entry in result["checks"] if entry["result"] == "error"]
        assert [entry["id"] for entry in failed] == [check]
        assert remedy in failed[0]["remedy"]
        assert remedy in run.output
        assert pair.creates() == []
    assert PASSWORD not in run.output and "not-the-password" not in run.output


def test_the_remedy_of_a_missing_privilege_fixes_it(rds_emulator_postgres, play):
    pair = break_privilege(rds_emulator_postgres)[0]
    assert play(pair.rds, PLAYBOOK, pair.variables).returncode == 2
    assert pair.creates() == []
    pair.rds.sql(pair.source, "ALTER ROLE dr_sync REPLICATION")
    assert play(pair.rds, PLAYBOOK, pair.variables).returncode == 0


def test_the_demo_runs_and_cleans_up():
    command = [sys.executable, "-m", "tests.demo.run"]
    demo = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "seen: the row has arrived at the DR instance" in demo.stdout
    assert "\x1b[" not in demo.stdout, "no colours without a terminal"
