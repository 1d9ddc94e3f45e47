# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A task goes through the action plugin where it can and through the module where it must, with the same results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ANOTHER_PYTHON, PASSWORD, make_pair, show

TASK = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: The task
      alicloud.rds.replication_link:
        dr_instance_id: "{{ dr_link_dr_instance_id }}"
        source_address: "{{ dr_link_source_address }}"
        source_port: "{{ dr_link_source_port }}"
        replicator_account: "{{ dr_link_replicator_account }}"
        replicator_password: "{{ dr_link_replicator_password }}"
        settle_timeout: 1
      register: made
@KEYWORDS@
"""
REMOTE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.add_host: {name: other, ansible_connection: local, ansible_python_interpreter: @PYTHON@}
"""


@pytest.fixture
def pair(rds_emulator):
    return make_pair(rds_emulator, sql=[])


def with_keywords(*lines: str) -> str:
    return keywords_only(*lines) + f"    {show('made')}\n"


def keywords_only(*lines: str) -> str:
    return TASK.replace("@KEYWORDS@", "\n".join(f"      {line}" for line in lines))


def one_play(*texts: str) -> str:
    """The tasks of several plays, each registered under a number of its own, and all results shown as a list."""
    head, start, _unused = TASK.partition("    - name:")
    tasks = [text.partition(start)[2].replace("register: made", f"register: made{n}") for n, text in enumerate(texts)]
    results = ", ".join(f"made{n}" for n in range(len(texts)))
    return head + "".join(start + task for task in tasks) + f"    {show(f'[{results}]')}\n"


def went_through_module(output: str) -> bool:
    """A module is copied to the host before it runs; an action plugin of ours is not."""
    return "AnsiballZ_replication_link" in output


def test_by_default_no_module_is_shipped(pair, play):
    run = play(pair.rds, with_keywords(), pair.variables, "-vvvv")
    assert run.returncode == 0, run.output
    assert run.results["outcome"] == "created"
    assert not went_through_module(run.output)
    assert '"replicator_password": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"' in run.output
    assert PASSWORD not in run.output


@pytest.mark.parametrize(
    "keywords",
    [
        ("async: 60", "poll: 1"),
        ("become: true", "become_method: ansible.builtin.sudo", f"become_exe: {Path(__file__).parent}/as_myself.sh"),
        ("vars:", f"  ansible_python_interpreter: {ANOTHER_PYTHON}"),
    ],
    ids=["async", "become", "another interpreter"],
)
def test_what_must_run_elsewhere_goes_through_the_module(pair, play, keywords):
    run = play(pair.rds, with_keywords(*keywords), pair.variables, "-vvvv")
    assert run.returncode == 0, run.output
    assert went_through_module(run.output)
    assert run.results["outcome"] == "created"
    assert PASSWORD not in run.output


def test_keywords_of_a_task(pair, play):
    tasks = keywords_only("check_mode: true", "diff: true"), keywords_only("no_log: true")
    run = play(pair.rds, one_play(*tasks), pair.variables, "-vvv")
    assert run.returncode == 0, run.output
    preview, hidden = run.results
    assert preview["outcome"] == "previewed"
    assert preview["diff"]["before"] == {}
    assert hidden["outcome"] == "created", "the preview has created nothing"
    assert len(pair.creates()) == 1
    said = run.output.split("TASK [The task]")[2].partition("TASK")[0]
    assert "censored" in said and pair.dr not in said
    quiet = play(pair.rds, with_keywords("diff: false"), pair.variables, "--diff")
    assert quiet.results["changed"] is False


def test_environment_of_a_task(pair, play):
    environment = pair.rds.environment
    lines = ["environment:", *(f"  {name}: '{value}'" for name, value in environment.items())]
    run = play(pair.rds, with_keywords(*lines), pair.variables, **dict.fromkeys(environment, ""))
    assert run.returncode == 0, run.output
    assert run.results["credentials"]["source"] == "environment ALIBABA_CLOUD_ACCESS_KEY_ID"
    without = play(pair.rds, with_keywords(), pair.variables, **dict.fromkeys(environment, ""))
    assert without.returncode == 2
    assert "region_id is missing" in without.output


def test_until_and_retries(pair, play):
    pair.rds.add_fault(
        fault="error", code="CommodityServiceCalling.Exception", match={"DBInstanceId": pair.dr, "DryRun": False}
    )
    run = play(pair.rds, with_keywords("until: made is not failed", "retries: 3", "delay: 0"), pair.variables)
    assert run.returncode == 0, run.output
    assert run.results["outcome"] == "created"
    assert run.results["attempts"] == 2


def test_delegation_to_a_host_and_loops(pair, play):
    another = make_pair(pair.rds, sql=[])
    text = REMOTE.replace("@PYTHON@", sys.executable) + with_keywords(
        "delegate_to: other", "loop: ['{{ dr_link_dr_instance_id }}', '{{ second }}']"
    ).replace('"{{ dr_link_dr_instance_id }}"\n', '"{{ item }}"\n')
    run = play(pair.rds, text, {**pair.variables, "second": another.dr})
    assert run.returncode == 0, run.output
    assert [result["outcome"] for result in run.results["results"]] == ["created", "created"]


WRONG = {
    "port: 5432": "Unsupported parameters for (alicloud.rds.replication_link) module: port.",
    "wait_interval: soon": "and we were unable to convert to float",
    "source_category: aliyunRDS": "all of the following are missing: source_instance_name",
}


def test_wrong_options_are_told_alike_by_both_doors(pair, play):
    doors = ["ignore_errors: true"], ["ignore_errors: true", "async: 30", "poll: 1"]
    tasks = [keywords_only(*door).replace("settle_timeout: 1", option) for option in WRONG for door in doors]
    run = play(pair.rds, one_play(*tasks), pair.variables)
    messages = [result["msg"] for result in run.results]
    for words, here, there in zip(WRONG.values(), messages[::2], messages[1::2], strict=True):
        assert words in here
        assert here == there
    assert pair.journal() == []


def test_an_encrypted_password_is_decrypted_on_the_way(pair, play, tmp_path):
    (tmp_path / "vault").write_text("vault-pass")
    command = ["ansible-vault", "encrypt_string", "--vault-password-file", str(tmp_path / "vault"), PASSWORD]
    vaulted = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text = with_keywords().replace('"{{ dr_link_replicator_password }}"', vaulted.replace("\n", "\n          "))
    run = play(pair.rds, text, pair.variables, "--vault-password-file", str(tmp_path / "vault"))
    assert run.returncode == 0, run.output
    assert run.results["outcome"] == "created"
