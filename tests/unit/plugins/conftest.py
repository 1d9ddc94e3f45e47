# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modules run here as Ansible runs them (real AnsibleModule, real HTTP), against the emulator on its memory engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import action_loader, connection_loader
from ansible.template import Templar

from ansible_collections.alicloud.rds.plugins.modules import replication_link, replication_link_info
from rds_emulator.client import Emulator

DR = "pgm-dr000000000001"
RDS_SOURCE = "pgm-src00000000001"
ACCOUNT = {"replicator_account": "dr_sync", "replicator_password": "Dr-Sync+Passw0rd/1"}
QUICK = {"settle_timeout": 0.5, "wait_timeout": 20, "max_retries": 2}

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def rds(rds_emulator: Emulator) -> Iterator[Emulator]:
    """The emulator as its seed describes it."""
    rds_emulator.reset()
    yield rds_emulator


@pytest.fixture(params=["module", "action"])
def run_module(request: pytest.FixtureRequest) -> Run:
    """Run a module with options and return its result, through each of its two doors."""
    runner: Run = request.getfixturevalue(f"run_as_{request.param}")
    return runner


@pytest.fixture
def run_as_action() -> Run:
    """In this process, as the controller runs an action plugin."""

    def run(
        module: Any,
        options: dict[str, Any],
        check_mode: bool = False,
        diff: bool = False,
        task_vars: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        task = Task()
        task.action = f"alicloud.rds.{module.__name__.rpartition('.')[2]}"
        task.args, task.check_mode, task.diff = options, check_mode, diff
        loader, play_context = DataLoader(), PlayContext()
        connection = connection_loader.get("local", play_context)
        given = {"task": task, "connection": connection, "play_context": play_context, "loader": loader}
        action = action_loader.get(task.action, templar=Templar(loader=loader), shared_loader_obj=None, **given)
        result: dict[str, Any] = json.loads(json.dumps(action.run(task_vars=task_vars or {})))
        return result

    return run


@pytest.fixture
def run_as_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """As on a managed host: arguments in, JSON on stdout."""
    with contextlib.suppress(ImportError, AttributeError):  # from ansible-core 2.19 on it would warn on the screen
        monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)

    def run(module: Any, options: dict[str, Any], check_mode: bool = False, diff: bool = False) -> dict[str, Any]:
        arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
        if "inject_invocation" in PASS_VARS:  # from ansible-core 2.21 on a result has it on request only
            arguments["_ansible_inject_invocation"] = True
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        with pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        return result

    return run


@pytest.fixture
def link(rds: Emulator, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run replication_link for the seed's pair; keywords change or (None) remove options."""
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)

    def run(check_mode: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        source = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
        merged = {"dr_instance_id": DR, **source, **ACCOUNT, **QUICK, **options}
        given = {name: value for name, value in merged.items() if value is not None}
        return run_module(replication_link, given, check_mode, diff)

    return run


@pytest.fixture
def info(rds: Emulator, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run replication_link_info for the seed's DR instance."""
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)
    return lambda **options: run_module(replication_link_info, {"dr_instance_id": DR, **options})


def creates(rds: Emulator, dry_run: str = "false") -> list[dict[str, Any]]:
    """The create requests that arrived with DryRun=<dry_run>, the literal wire value."""
    return [entry for entry in rds.journal("CreateReplicationLink") if entry["params"].get("DryRun") == dry_run]
