# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A task goes through the action plugin where it can and through the module where it must, with the same results."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import ANOTHER_PYTHON, PASSWORD, make_pair, playbook_environment, show

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


# Ansible writes the interpreter of an async task into a command line as it is.
no_blank = pytest.mark.skipif(
    " " in sys.executable, reason="Ansible runs no async task with an interpreter in such a path"
)


@pytest.mark.parametrize(
    "keywords",
    [
        pytest.param(("async: 60", "poll: 1"), marks=no_blank),
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


# -- the same cases by both ways ---------------------------------------------------------------------------------------

CLOSED = "http://127.0.0.1:9"
FAR = {"endpoint": "https://rds.invalid", "access_key_id": "LTAI", "access_key_secret": "far+secret/1"}


def cases(rds, home):
    """Environment and options of replication_link_info, and what the result has to say."""
    key, secret = (rds.environment[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
    here = {"endpoint": rds.endpoint}
    keyed = {**here, "access_key_id": key, "access_key_secret": secret}
    secure = {**keyed, "endpoint": rds.endpoint.replace("http:", "https:")}
    pair = {"ACCESS_KEY_ID": key, "ACCESS_KEY_SECRET": secret}
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        yield {name: CLOSED}, FAR, "proxy: connection refused"
    for name, value in (("NO_PROXY", "rds.invalid"), ("no_proxy", ".invalid"), ("NO_PROXY", "*")):
        yield {"HTTPS_PROXY": CLOSED, name: value}, FAR, "(name not found)"
    yield {"HTTPS_PROXY": "ftp://127.0.0.1"}, FAR, "HTTPS_PROXY is not the URL of a proxy"
    yield {"ALL_PROXY": CLOSED, "HTTPS_PROXY": CLOSED}, keyed, "answered"
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        yield {name: f"{home}/none.pem"}, secure, f"{name} '{home}/none.pem' cannot be read"
    for prefix in ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"):
        yield {prefix + name: value for name, value in pair.items()}, here, f"environment {prefix}ACCESS_KEY_ID"
    yield {f"ALIBABA_CLOUD_{name}": value for name, value in pair.items()} | {"NO_PROXY": None}, here, "answered"
    yield {"HOME": home}, here, "profile 'dev' (AK) of ~/.aliyun/config.json"
    yield {"HOME": home, "ALIBABACLOUD_PROFILE": "prod"}, here, "profile 'prod' (AK)"
    yield {"HOME": home, "ALIBABA_CLOUD_IGNORE_PROFILE": "TRUE"}, here, "CredentialsMissing"
    yield {"HOME": home}, {**here, "profile_file": "~/.aliyun/config.json"}, f"profile 'dev' (AK) of {home}/.aliyun"
    yield {"PLACE": f"{home}/.aliyun"}, {**here, "profile_file": "$PLACE/config.json"}, f"of {home}/.aliyun/config.json"
    yield {"HOME": home, "ALIBABA_CLOUD_CREDENTIALS_FILE": "~/.aliyun/config.json"}, here, "profile 'dev' (AK) of ~/"
    yield {"HOME": home, "PATH": f"{home}/bin:/usr/bin:/bin"}, {**here, "profile": "program"}, "'program' (External)"
    yield {"HOME": home, "PATH": "/usr/bin:/bin"}, {**here, "profile": "program"}, "process_command cannot be run"
    yield {"HOME": home, "ALIBABA_CLOUD_ACCESS_KEY_ID": None}, here, "profile 'dev' (AK)"
    yield {"HOME": home, "ALIBABA_CLOUD_SECURITY_TOKEN": None, "ALICLOUD_PROFILE": None}, here, "profile 'dev' (AK)"
    yield {"HOME": home, "ALIBABA_CLOUD_ACCESS_KEY_ID": ""}, here, "profile 'dev' (AK)"
    yield {"HOME": f"{home}/nobody", "ALIBABA_CLOUD_ACCESS_KEY_ID": None}, here, "CredentialsMissing"
    yield {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": True}, {**here, "ecs_role_name": "r"}, "METADATA_DISABLED is true"
    yield {"ALIBABA_CLOUD_ACCESS_KEY_ID": f"{key}\n", "ALICLOUD_X": 3}, here, "No value for"
    yield (
        {"ALIBABA_CLOUD_ACCESS_KEY_ID": f"{key} ", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "far+secret/1"},
        here,
        "no key has",
    )
    yield {"ALIBABA_CLOUD_CREDENTIALS_URI": f"{CLOSED}/keys"}, here, "KeyServiceUnreachable"
    yield {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://10.1.2.3/keys"}, here, "plain http is accepted for loopback only"
    yield {"ALIBABA_CLOUD_RDS_ENDPOINT": rds.endpoint}, {**keyed, "endpoint": ""}, "answered"
    yield {"ALIBABACLOUD_REGION_ID": "cn-nowhere"}, {**keyed, "endpoint": ""}, "'cn-nowhere' is not a region"
    yield {"PYTHONWARNINGS": "ignore", "HTTPS_PROXY": CLOSED}, FAR, "proxy: connection refused"
    for name in ("connect_timeout", "read_timeout", "request_timeout"):
        yield {}, {**keyed, name: float("inf")}, "answered"
    yield {}, {**keyed, "region": "cn-x", "region_id": "cn-y"}, "Both option region_id and its alias region are set"
    yield {}, {**keyed, "access_key": key}, "Both option access_key_id and its alias access_key are set"
    yield {}, {**keyed, "conection": 1}, "Unsupported parameters"
    yield {}, {**keyed, "max_retries": "many"}, "unable to convert to int"


def test_both_ways_give_the_same_results(pair, play, tmp_path):
    home = tmp_path / "home"
    (home / ".aliyun").mkdir(parents=True)
    (home / "bin").mkdir()
    key, secret = (pair.rds.environment[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
    keys = {"access_key_id": key, "access_key_secret": secret}
    profiles = [{"name": name, "mode": "AK", **keys} for name in ("dev", "prod")]
    profiles.append({"name": "program", "mode": "External", "process_command": "print-keys"})
    (home / ".aliyun" / "config.json").write_text(json.dumps({"current": "dev", "profiles": profiles}))
    (home / "bin" / "print-keys").write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    (home / "bin" / "print-keys").chmod(0o700)
    every = list(cases(pair.rds, str(home)))
    assert len(every) >= 40
    tasks, names = [], []
    for environment, options, _words in every:
        for interpreter in ("{{ ansible_playbook_python }}", ANOTHER_PYTHON):
            names.append(f"made{len(names)}")
            given = {"dr_instance_id": pair.dr, "max_retries": 0, **options}
            task = {"alicloud.rds.replication_link_info": given, "environment": environment, "register": names[-1]}
            tasks.append({**task, "vars": {"ansible_python_interpreter": interpreter}, "ignore_errors": True})
    tasks += yaml.safe_load(show(f"[{', '.join(names)}]"))
    book = yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    run = play(pair.rds, book, {}, **dict.fromkeys(pair.rds.environment, ""))
    assert run.returncode == 0, run.output
    assert len(run.results) == 2 * len(every)
    for (environment, options, words), here, there in zip(every, run.results[::2], run.results[1::2], strict=True):
        said = [comparable(result) for result in (here, there)]
        assert said[0] == said[1], (environment, options)
        if words == "answered":
            assert not here.get("failed") and here["link"] is None, (environment, options, here)
        else:
            assert words in json.dumps(here, ensure_ascii=False), (environment, options, here)


def comparable(result):
    """What both ways have to say alike."""
    volatile = {"invocation", "request_id", "deprecations", "ansible_facts", "exception", "discovered_interpreter"}
    kept = {name: value for name, value in result.items() if name not in volatile}
    kept["error"] = {name: value for name, value in (result.get("error") or {}).items() if name != "request_id"}
    return json.loads(re.sub(r"request id [\w-]+", "request id", json.dumps(kept)))


@pytest.mark.parametrize("become", ["true", "'yes'"])
def test_become_as_a_variable_counts(pair, play, become):
    """As with the keyword, and the user that is named there."""
    variables = ("vars:", f"  ansible_become: {become}", "  ansible_become_user: nobody")
    variables += (
        "  ansible_become_method: ansible.builtin.sudo",
        f"  ansible_become_exe: {json.dumps(shlex.quote(f'{Path(__file__).parent}/as_myself.sh'))}",
    )
    run = play(pair.rds, with_keywords(*variables), pair.variables, "-vvvv")
    assert run.returncode == 0, run.output
    assert went_through_module(run.output)
    off = play(pair.rds, with_keywords("become: true", "vars: {ansible_become: false}"), pair.variables, "-vvvv")
    assert off.returncode == 0 and not went_through_module(off.output), off.output


def test_stdout_is_for_the_callback_alone(pair, tmp_path):
    """Where stdout is no terminal it may be meant for a program: what shows a wait goes to stderr."""
    pair.rds.add_fault(stage="basebackup", fault="slow", seconds=6, instance=pair.dr)
    (tmp_path / "playbook.yml").write_text(keywords_only())
    (tmp_path / "vars.json").write_text(json.dumps(pair.variables))
    environment = {**playbook_environment(pair.rds, tmp_path), "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbook.yml", "-e", "@vars.json"]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    line = f"{pair.dr}: basebackup, "
    assert line in run.stderr and line not in run.stdout
