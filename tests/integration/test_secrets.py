# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every way a task can end, and all that Ansible can be made to write, searched for secrets in every spelling."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import ansible_runner
import pytest
import yaml

from rds_emulator.client import Emulator

from .conftest import ANOTHER_PYTHON, LIMIT, ROOT, playbook_environment, show, shown
from .waiting import Playbooks, usual

# Every secret holds this mark at both ends; whatever the spelling, letters and digits stay as they are.
MARK = "C4n4ry"
PASSWORD = f'{MARK}Pw\'1 "q" %41+/=é&<\\{MARK}'
WRONG = f'{MARK}Wr\'2 "q" %42+/=ü&<\\{MARK}'  # wrong at the source: the service's report quotes it
SECRET = f'{MARK}Sk\'3"q"%43+/=&<\\{MARK}'
TOKEN = f'{MARK}St\'4"q"%44+/=&<\\{MARK}'  # as keys, it has no blanks
CANARIES = (PASSWORD, WRONG, SECRET, TOKEN)
KEY, STS_KEY, DR = "LTAI5tCanaryKey0001", "STS.NUCanaryKey0002", "pgm-secrets001"
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda s: s,
    lambda s: quote(s, safe=""),
    lambda s: re.sub("%..", lambda found: found[0].lower(), quote(s, safe="")),
    quote_plus,
    lambda s: quote(quote(s, safe=""), safe=""),
    lambda s: base64.b64encode(s.encode()).decode(),
    lambda s: json.dumps(s)[1:-1],
    lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    lambda s: json.dumps(json.dumps(s))[3:-3],
    html.escape,
    repr,
)


def encoded_mark(shift: int) -> str:
    """What base64 makes of the mark inside a longer text, by its distance from a multiple of three."""
    text = base64.b64encode(b"x" * shift + MARK.encode() + b"x" * 3).decode()
    return text[-(-8 * shift // 6) : (shift + len(MARK)) * 8 // 6]


LEAKS = {spell(secret) for spell in SPELLINGS for secret in CANARIES} | {MARK} | {encoded_mark(n) for n in range(3)}


def whole_request(password: str = PASSWORD) -> str:
    """The string to sign, as a signature error quotes it: percent-encoded for V3, twice for V1."""
    query = f"DBInstanceId={DR}&ReplicatorPassword={quote(password, safe='')}&SecurityToken={quote(TOKEN, safe='')}"
    return f"Signature is not matched. server string to sign is:POST\n/\n{query}\nPOST&%2F&{quote(query, safe='')}"


def everything() -> str:
    """All secrets that a task knows, in all spellings."""
    return " | ".join(spell(secret) for spell in SPELLINGS for secret in (PASSWORD, SECRET))


@dataclass
class Ending:
    """One way for a task to end, and how it is brought about."""

    code: str | None  # of the error; None: success; "": refused by Ansible itself
    options: dict[str, Any] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    check: bool = False
    again: bool = False  # run the task twice, and read the link
    env: dict[str, str] = field(default_factory=dict)
    stub: tuple[str, str] | None = None  # a file that shadows a library
    module: bool = False  # through the module, not the action plugin


def on_create(**rule: Any) -> list[dict[str, Any]]:
    return [{"action": "CreateReplicationLink", **rule}]


STS = {"access_key_id": STS_KEY, "security_token": TOKEN}
ECHO = f"password = '{PASSWORD}' by dr_sync:{PASSWORD}"
EXPLODE = """
import random
if "AnsiballZ" in open("/proc/self/cmdline").read():
    def explode(*_given):
        import os
        raise RuntimeError("https://127.0.0.1/?ReplicatorPassword=" + os.environ["QUOTED"])
    random.SystemRandom.randbytes = explode
"""
DEBUG = {"ANSIBLE_DEBUG": "1"}
TRACEBACK = {"ANSIBLE_DISPLAY_TRACEBACK": "always"}
PATHS = {
    "preview": Ending(None, check=True),
    "apply, unchanged and info": Ending(None, again=True),
    "apply, unchanged and info, by the module": Ending(None, again=True, module=True),
    "STS token expired": Ending("InvalidSecurityToken.Expired", STS, on_create(fault="expire_token")),
    "STS token missing": Ending("MissingSecurityToken", {**STS, "security_token": None}),
    "wrong password, preview": Ending("PrecheckFailed", {"replicator_password": WRONG}, check=True),
    "wrong password, apply": Ending("PrecheckFailed", {"replicator_password": WRONG}, env=DEBUG),
    "refused": Ending("InvalidSourceAddress.Format", {}, on_create(
        fault="error", code="InvalidSourceAddress.Format", http_status=400, message=everything())),
    "unknown key": Ending("InvalidAccessKeyId.NotFound", {"access_key_id": "LTAI5tNobody"}),
    "wrong secret": Ending("SignatureDoesNotMatch", {"access_key_secret": f"{SECRET}x"}),
    "request quoted, signature": Ending("SignatureDoesNotMatch", {}, on_create(
        fault="error", code="SignatureDoesNotMatch", http_status=400, message=whole_request())),
    "request quoted, other code": Ending("IncompleteSignature", STS, on_create(
        fault="body", http_status=400,
        body={"Code": "IncompleteSignature", "Message": whole_request() + everything()}), env=DEBUG),
    "request id and code": Ending("Odd ***", {}, on_create(
        fault="body", where="before", http_status=400,
        body={"Code": f"Odd {PASSWORD}", "Message": "x", "RequestId": quote(SECRET, safe="")})),
    "reply lost, task found": Ending(None, {}, on_create(fault="lost")),
    "reply lost, nothing found": Ending("ReplyLost", {}, on_create(fault="reset", where="before"), env=TRACEBACK),
    "page": Ending("ReplyUnreadable", {}, on_create(
        fault="body", where="before", body=f"<p>{everything()} {html.escape(whole_request())}</p>")),
    "unreachable": Ending("EndpointUnreachable", {"endpoint": "http://127.0.0.1:9"}, env=TRACEBACK),
    "unknown option": Ending("", {"nonsense": "x"}),
    "wrong type": Ending("", {"source_port": "five", "wait": ["no"]}, env=TRACEBACK),
    "missing library": Ending("MissingLibrary", stub=("requests/__init__.py", "raise ImportError('none')")),
    "unexpected": Ending("Unexpected", stub=("sitecustomize.py", EXPLODE), env={"QUOTED": PASSWORD, **TRACEBACK},
                         module=True),
    "time-out": Ending("WaitTimeout", {"wait_timeout": 0.5}, [{"stage": "basebackup", "fault": "hold"}]),
    "time-out, by the module": Ending("WaitTimeout", {"wait_timeout": 0.5},
                                      [{"stage": "basebackup", "fault": "hold"}], module=True),
    "task failed": Ending("TaskFailed", {}, [{"stage": "basebackup", "fault": "fail", "message": ECHO}]),
}  # fmt: skip


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    account = {"name": "dr_sync", "attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    seed = {
        "keys": [
            {"access_key_id": KEY, "access_key_secret": SECRET},
            {"access_key_id": STS_KEY, "access_key_secret": SECRET, "security_token": TOKEN},
        ],
        "instances": [{"id": DR}, {"id": f"{DR}-b"}],
        "sources": [{"name": "onprem", "accounts": [{**account, "password": PASSWORD}]}],
        "memory": {"stage_seconds": 0.01},
    }
    with Emulator(seed=seed, engine="memory", log_requests=True) as rds:
        yield rds


@pytest.fixture
def rds(emulator: Emulator) -> Iterator[Emulator]:
    emulator.reset()
    yield emulator
    emulator.clear_faults()
    told = [emulator.journal(), emulator.state(), emulator.report(), emulator.stderr()]
    assert_clean("the emulator", json.dumps(told) + json.dumps(told, ensure_ascii=False))


def assert_clean(where: Any, text: str) -> None:
    for leak in LEAKS:
        at = text.find(leak)
        assert at < 0, f"{where}: {text[max(0, at - 300) : at + 100]!r}"


def assert_nothing_written(directory: Path, inputs: dict[str, str]) -> None:
    """Search all files below a directory. `inputs`: files left out, as name endings with the reason."""
    for path in directory.rglob("*"):
        assert not path.name.startswith("core"), f"{path}: a core dump"
        if path.is_file() and not any(str(path).endswith(name) for name in inputs):
            assert_clean(path, path.read_text(encoding="utf-8", errors="replace"))
        assert_clean("a file name", str(path))


def assert_arguments_are_written(key: str, *texts: str) -> None:
    """The access key id is no secret. Where it is, the secrets beside it would be, too: the search was no idle one."""
    assert [key in text for text in texts] == [True] * len(texts)


LEFT_OUT = {
    "vars.json": "the test's own input: the variables",
    "env/extravars": "the test's own input: the variables",
    "env/envvars": "the test's own input: the environment",
    "/output": "searched by itself, without the one line of Ansible's own debugging",
    "/command": "ansible-runner writes down the environment of the job by design, with mode 0600",
}


def options_of(rds: Emulator, changes: dict[str, Any]) -> dict[str, Any]:
    given = {
        "dr_instance_id": DR,
        "source_address": "127.0.0.1",
        "source_port": rds.sources["onprem"]["port"],
        "replicator_account": "dr_sync",
        "replicator_password": PASSWORD,
        "settle_timeout": 0.3,
        "max_retries": 0,
        **connection_of(rds),
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def connection_of(rds: Emulator) -> dict[str, Any]:
    return {"endpoint": rds.endpoint, "access_key_id": KEY, "access_key_secret": SECRET, "max_retries": 0}


def playbook_of(options: dict[str, Any], again: bool, module: bool = False) -> str:
    """A play that shows, keeps and caches the result, and fails at last if the task did."""
    task = [{"name": "Link", "alicloud.rds.replication_link": {n: f"{{{{ given.{n} }}}}" for n in options},
             "register": "dr", "ignore_errors": True}]  # fmt: skip
    common = ("dr_instance_id", "endpoint", "access_key_id", "access_key_secret")
    info = [{"name": "Read", "register": "info",
             "alicloud.rds.replication_link_info": {n: f"{{{{ given.{n} }}}}" for n in common}}]  # fmt: skip
    # Of two paths only: it takes as long as all the others together.
    kept = [{"ansible.builtin.copy": {"content": "{{ dr | to_json }}", "dest": "{{ result_file }}"}}]
    rest = [
        {"ansible.builtin.debug": {"var": "dr"}},
        {"ansible.builtin.set_fact": {"cached": "{{ [dr, info | default({})] }}", "cacheable": True}},
        *yaml.safe_load(show("dr")),
        *(kept if again else []),
        {"ansible.builtin.fail": {"msg": "{{ dr.msg }}"}, "when": "dr is failed"},
    ]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": ANOTHER_PYTHON if module else "{{ ansible_playbook_python }}"},
        "tasks": [*task, *(task + info if again else []), *rest],
    }
    return json.dumps([play], indent=1)  # JSON is YAML, too


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: ansible-core 2.21 makes a socket below TMPDIR, and the path of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="secrets-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def playbooks(emulator: Emulator, folder: Path) -> Iterator[Playbooks]:
    """What starts ansible-playbook with the settings of `loud_environment`."""
    waiting = Playbooks(loud_environment(emulator, folder))
    yield waiting
    waiting.close()


@pytest.fixture
def tmp_path(folder: Path) -> Iterator[Path]:
    """One folder, as Ansible's settings name it, emptied after each test but for a home, and the log, which is open."""
    (folder / "tmp").mkdir()
    yield folder
    for path in folder.iterdir():
        if path.name == "ansible.log":
            os.truncate(path, 0)
        elif path.is_dir() and path.name != ".ansible":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def loud_environment(rds: Emulator, directory: Path, **more: str) -> dict[str, str]:
    """The environment of a run that writes down all that Ansible can write."""
    return {
        **playbook_environment(rds, directory),
        "TMPDIR": str(directory / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(directory / "tmp" / "remote"),  # else in the home of the user, not in HOME
        "ANSIBLE_LOG_PATH": str(directory / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(directory / "facts"),
        "ANSIBLE_RETRY_FILES_ENABLED": "True",
        "ANSIBLE_RETRY_FILES_SAVE_PATH": str(directory / "retries"),
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "True",
        "ANSIBLE_INJECT_INVOCATION": "True",  # before ansible-core 2.21 every result has its arguments
        "ANSIBLE_KEEP_REMOTE_FILES": "False",  # True keeps a module's arguments on disk: that is what it is for
        **more,
    }


LOUD = ["-e", "@vars.json", "-vvvv", "--diff"]


def ended(run: Any, folder: Path) -> str:
    """Wait for a run, and return what it has written."""
    run.wait(LIMIT)
    return (folder / "output").read_text("utf-8")


def without_debugged_arguments(output: str) -> str:
    """Leave out the line in which ansible-core itself, with ANSIBLE_DEBUG, shows a module's arguments as they are."""
    return "\n".join(line for line in output.splitlines() if "done with _execute_module (alicloud.rds." not in line)


@pytest.mark.parametrize("name", PATHS)
def test_no_secret_is_written_on_any_path(rds, tmp_path, playbooks, name):
    path = PATHS[name]
    for rule in path.faults:
        rds.add_fault(**rule)
    environment = loud_environment(rds, tmp_path, **path.env)
    if path.stub:
        stub = tmp_path / "stub" / path.stub[0]
        stub.parent.mkdir(parents=True)
        stub.write_text(path.stub[1])
        environment["PYTHONPATH"] = str(tmp_path / "stub")
    options = options_of(rds, path.options)
    (tmp_path / "site.yml").write_text(playbook_of(options, path.again, path.module))
    (tmp_path / "vars.json").write_text(json.dumps({"given": options, "result_file": str(tmp_path / "result.json")}))
    run = playbooks.start(["site.yml", *LOUD, *(["--check"] if path.check else [])], tmp_path, environment)
    output = ended(run, tmp_path)
    assert_clean("output", without_debugged_arguments(output))
    assert_nothing_written(tmp_path, LEFT_OUT)
    assert (run.returncode == 0) == (path.code is None), output[-3000:]
    assert not path.again or json.loads((tmp_path / "result.json").read_text())
    result = shown(output)
    if path.code:
        assert result["error"]["code"] == path.code, result["msg"]
        assert list((tmp_path / "retries").glob("*.retry"))
    elif path.code == "":
        assert "error" not in result
    assert "module_args" in output or path.code == ""
    assert_arguments_are_written(options["access_key_id"], output, (tmp_path / "ansible.log").read_text())
    assert list((tmp_path / "facts").iterdir())


def several(rds: Emulator, *passwords: str) -> dict[str, Any]:
    """The role's variables in its list form, with a password in each entry."""
    names = [DR, f"{DR}-b"]
    links = [{"dr_instance_id": n, "replicator_password": p} for n, p in zip(names, passwords, strict=True)]
    shared = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
    shared |= {"replicator_account": "dr_sync", "connection": connection_of(rds), "links": links}
    return {f"dr_link_{name}": value for name, value in shared.items()}


def single(rds: Emulator, password: str) -> dict[str, Any]:
    variables = several(rds, password, password)
    return {**variables, "dr_link_links": [], "dr_link_dr_instance_id": DR, "dr_link_replicator_password": password}


ROLE = {
    "single": (lambda rds: single(rds, PASSWORD), "", True),
    "single, wrong type": (lambda rds: {**single(rds, PASSWORD), "dr_link_source_port": "five"}, "", False),
    "list": (lambda rds: several(rds, PASSWORD, PASSWORD), "", True),
    "list, preview, wrong password": (lambda rds: several(rds, PASSWORD, WRONG), "--check", False),
    "list, unknown option": (lambda rds: broken(several(rds, PASSWORD, WRONG)), "", False),
}


def broken(variables: dict[str, Any]) -> dict[str, Any]:
    variables["dr_link_links"][1]["nonsense"] = True
    return variables


@pytest.mark.parametrize("name", ROLE)
def test_no_secret_is_written_by_the_role(rds, tmp_path, playbooks, name):
    variables, option, good = ROLE[name]
    environment = loud_environment(rds, tmp_path)
    (tmp_path / "vars.json").write_text(json.dumps(variables(rds)))
    run = playbooks.start(["alicloud.rds.replication_link", *LOUD, *option.split()], tmp_path, environment)
    output = ended(run, tmp_path)
    assert_clean("output", output)
    assert_nothing_written(tmp_path, LEFT_OUT)
    assert (run.returncode == 0) == good, output[-3000:]
    if good:
        assert "module_args" in output
        assert_arguments_are_written(KEY, output, (tmp_path / "ansible.log").read_text())


@pytest.mark.parametrize(
    ("name", "arguments_shown"),
    [("list", True), ("list, preview, wrong password", False), ("single, wrong type", True)],
)
def test_no_secret_is_in_the_files_and_events_of_a_job(rds, tmp_path, name, arguments_shown):
    """With ANSIBLE_DISPLAY_ARGS_TO_STDOUT ansible-runner records the arguments of tasks as they are, unless hidden."""
    variables, option, good = ROLE[name]
    shown = {"ANSIBLE_DISPLAY_ARGS_TO_STDOUT": str(arguments_shown)}
    (tmp_path / "project").mkdir()
    # A keyword of the play holds inside the role.
    hidden = str(arguments_shown).lower()
    play = f"- hosts: localhost\n  gather_facts: false\n  no_log: {hidden}\n  roles: [alicloud.rds.dr_link]\n"
    (tmp_path / "project" / "site.yml").write_text(play)
    run = ansible_runner.run(
        private_data_dir=str(tmp_path),
        playbook="site.yml",
        inventory="localhost ansible_connection=local",
        envvars=loud_environment(rds, tmp_path, **shown),
        extravars=variables(rds),
        cmdline=f"{option} -vvvv --diff",
        quiet=True,
    )
    assert (run.status == "successful") == good, run.stdout.read()
    output, events = run.stdout.read(), [file.read_text() for file in tmp_path.glob("artifacts/*/job_events/*.json")]
    assert events
    assert_clean("output", output)
    assert_nothing_written(tmp_path, LEFT_OUT)
    if arguments_shown:  # and hidden by the play, whose keyword holds inside the role
        assert "censored" in output
    elif "wrong type" not in name:
        assert_arguments_are_written(KEY, output, (tmp_path / "ansible.log").read_text(), "".join(events))
    if not arguments_shown:  # and so no task of the role is hidden
        assert any("module_args" in event and KEY in event for event in events)


def test_no_secret_is_an_argument_of_any_process(rds, tmp_path):
    rds.add_fault(stage="basebackup", fault="hold")
    options = options_of(rds, {"wait_timeout": 30, "wait_interval": 0.2})
    (tmp_path / "site.yml").write_text(playbook_of(options, False, module=True))
    (tmp_path / "vars.json").write_text(json.dumps({"given": options, "result_file": str(tmp_path / "result.json")}))
    run = usual(["site.yml", *LOUD], tmp_path, loud_environment(rds, tmp_path))
    seen: set[str] = set()
    deadline = time.monotonic() + 30
    released = False
    while run.poll() is None and time.monotonic() < deadline:
        seen |= command_lines()
        if not released and rds.journal("CreateReplicationLink"):
            for _unused in range(20):
                seen |= command_lines()
                time.sleep(0.01)
            rds.release()
            released = True
        if len(seen) > 5000:
            break
        time.sleep(0.005)
    output = ended(run, tmp_path)
    assert run.returncode == 0, output[-3000:]
    assert any("AnsiballZ_replication_link" in line for line in seen), "the module was seen at work"
    assert any("rds_emulator" in line for line in seen)
    for line in seen:
        assert_clean("a command line", line)
    assert not list(ROOT.glob("core*")) and not list(Path.cwd().glob("core*"))


def command_lines() -> set[str]:
    """The command lines of all processes of this machine."""
    lines = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it has ended
            continue
    return lines


def test_the_search_itself_finds_what_it_is_for(tmp_path):
    for spell in SPELLINGS:
        for secret in CANARIES:
            (tmp_path / "file").write_text(f"x {spell(secret)} y")
            with pytest.raises(AssertionError):
                assert_nothing_written(tmp_path, {})
    for shift in range(3):
        with pytest.raises(AssertionError):
            assert_clean("", base64.b64encode(b"u" * shift + PASSWORD.encode()).decode())
