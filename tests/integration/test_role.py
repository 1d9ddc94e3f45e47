# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role and the two modules in playbooks, from the command line and from ansible-runner."""

from __future__ import annotations

from .conftest import PASSWORD, account, make_pair, show

PLAYBOOK = "alicloud.rds.replication_link"


def several(*pairs):
    """Two or more links in the list form; what they share stands beside the list."""
    shared = {"dr_link_source_address": "127.0.0.1", "dr_link_replicator_account": "dr_sync"}
    links = [{"dr_instance_id": pair.dr, "source_port": pair.port, "replicator_password": PASSWORD} for pair in pairs]
    return {**shared, "dr_link_links": links}


def test_one_play_makes_several_links(rds_emulator_postgres, play):
    one, two = make_pair(rds_emulator_postgres), make_pair(rds_emulator_postgres)
    run = play(one.rds, PLAYBOOK, several(one, two))
    assert run.returncode == 0, run.output
    assert f"{one.dr}: created, streaming" in run.output and f"{two.dr}: created, streaming" in run.output
    assert (len(one.creates()), len(two.creates())) == (1, 1)
    assert PASSWORD not in run.output
    assert play(one.rds, PLAYBOOK, several(one, two)).changed() == 0


def test_no_link_is_made_if_the_precheck_of_another_fails(rds_emulator_postgres, play):
    good = make_pair(rds_emulator_postgres)
    bad = make_pair(rds_emulator_postgres, accounts=[account(member_of=[])])
    run = play(good.rds, PLAYBOOK, several(good, bad))
    assert run.returncode == 2
    assert "GRANT pg_monitor TO dr_sync;" in run.output
    assert f"{good.dr}: would be linked" in run.output
    assert good.creates() == [] and bad.creates() == []


def test_the_preview_playbook_changes_nothing_even_without_check(pair, play):
    run = play(pair.rds, "alicloud.rds.preview", pair.variables)
    assert run.returncode == 0, run.output
    assert run.changed() == 0
    assert "would be linked" in run.output
    assert pair.creates() == []


def test_an_approved_plan_is_applied_as_it_is(pair, play):
    text = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: alicloud.rds.dr_link, tasks_from: preflight}
    @SHOW@
""".replace("@SHOW@", show("dr_link_results"))
    plan = play(pair.rds, text, pair.variables).results[pair.dr]["plan"]["task_id"]
    run = play(pair.rds, PLAYBOOK, {**pair.variables, "dr_link_dry_run_task_id": plan})
    assert run.returncode == 0, run.output
    (create,) = pair.creates()
    assert create["params"]["TaskId"] == str(plan)


def test_a_missing_instance_id_is_named(pair, play):
    run = play(pair.rds, PLAYBOOK, {**pair.variables, "dr_link_dr_instance_id": ""})
    assert run.returncode == 2
    assert "Set dr_link_dr_instance_id" in run.output
    wrong = play(pair.rds, PLAYBOOK, {**pair.variables, "dr_link_source_category": "mysql"})
    assert wrong.returncode == 2
    assert "aliyunRDS" in wrong.output


def test_module_defaults_reach_both_modules(pair, play):
    text = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/alicloud.rds.all: {endpoint: "{{ endpoint }}", access_key_id: "{{ key }}", access_key_secret: "{{ secret }}"}
  tasks:
    - alicloud.rds.replication_link:
        dr_instance_id: "{{ dr_link_dr_instance_id }}"
        source_address: "{{ dr_link_source_address }}"
        source_port: "{{ dr_link_source_port }}"
        replicator_account: "{{ dr_link_replicator_account }}"
        replicator_password: "{{ dr_link_replicator_password }}"
      register: made
    - alicloud.rds.replication_link_info:
        dr_instance_id: "{{ dr_link_dr_instance_id }}"
      register: seen
    @SHOW@
""".replace("@SHOW@", show("dict(made=made, seen=seen)"))
    environment = pair.rds.environment
    given = {
        "endpoint": environment["ALIBABA_CLOUD_RDS_ENDPOINT"],
        "key": environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        "secret": environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    }
    run = play(pair.rds, text, {**pair.variables, **given}, **dict.fromkeys(environment, ""))
    assert run.returncode == 0, run.output
    assert run.results["made"]["credentials"]["source"] == "options"
    assert run.results["seen"]["link"]["state"] == "streaming"


def test_role_options_for_the_connection(pair, play):
    environment = pair.rds.environment
    connection = {
        "endpoint": environment["ALIBABA_CLOUD_RDS_ENDPOINT"],
        "access_key_id": environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        "access_key_secret": environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    }
    variables = {**pair.variables, "dr_link_connection": connection}
    run = play(pair.rds, PLAYBOOK, variables, "-vvvv", **dict.fromkeys(environment, ""))
    assert run.returncode == 0, run.output
    assert connection["access_key_secret"] not in run.output
    assert PASSWORD not in run.output
