# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second way into an operation: inside the playbook's own process instead of a module shipped to a host.

A call to the RDS API needs no interpreter of its own. The module stays the documentation, and the way for tasks that
have to run elsewhere or as somebody else. Results are the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import not_utf8
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation, hidden, run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import validated_by
from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.plugin_utils._progress import Reporter

_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"  # as AnsibleModule shows it


_AT_START = ("PYTHON", "LD_", "OPENSSL_")  # variables that a process reads once, when it starts


@contextlib.contextmanager
def _exported(environment: Mapping[str, str]) -> Iterator[None]:
    """Export the environment of the task: libraries read their own variables. Items of a loop share the process."""
    before = {name: os.environ.get(name) for name in environment}
    try:
        os.environ.update(environment)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


class OperationAction(ActionBase):
    """An action plugin that runs `operation`, which the subclass gives."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True

    operation: Operation

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        with _exported({name: str(value) for name, value in environment.items()}):
            return {**result, **self._run(task_vars or {}, environment)}

    def _run(self, task_vars: dict[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
        spec = self.operation.spec["argument_spec"]
        # Plain values, as a module would read them from JSON: the controller's own carry tags, and may be encrypted.
        plain = json.loads(json.dumps(self._task.args, default=str))
        valid = ArgumentSpecValidator(**validated_by(self.operation.spec)).validate(plain)
        options = valid.validated_parameters
        secrets: set[str] = set()
        invocation = {"module_args": shown(options, spec, secrets)}
        if valid.error_messages:  # also for the module, which would echo what it does not know
            done: dict[str, Any] = {"failed": True, "msg": self._explain(valid.errors)}
        elif self._is_for_the_module(task_vars, environment) and not not_utf8(options):  # no module can be given that
            return dict(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
        else:
            done = run(
                self.operation,
                options,
                check_mode=bool(self._task.check_mode),
                diff=bool(self._task.diff),
                report=None if self._task.no_log else Reporter(self._display),
            )
        twice = [f"Both option {each['option']} and its alias {each['alias']} are set." for each in valid._warnings]
        done |= {"warnings": [*done.get("warnings", []), *twice]} if twice else {}
        done = hidden(done) if self._task.no_log else done
        return dict(remove_values({**done, "invocation": invocation}, secrets))

    def _compute_environment_string(self, raw_environment_out: dict[str, Any] | None = None) -> str:
        """Leave out what is null, also for the module, whose shell would export it as the text None."""
        environment: dict[str, Any] = {}
        super()._compute_environment_string(environment)
        environment = {name: value for name, value in environment.items() if value is not None}
        if raw_environment_out is not None:
            raw_environment_out.update(environment)
        prefix: str = self._connection._shell.env_prefix(**environment)
        return prefix

    def _is_for_the_module(self, task_vars: dict[str, Any], environment: Mapping[str, Any]) -> bool:
        """Whether the task has to run on another host, in the background, as another user or with another Python."""
        interpreter = task_vars.get("ansible_python_interpreter") or sys.executable
        elsewhere = self._connection.transport != "local" or self._templar.template(interpreter) != sys.executable
        at_start = any(name.startswith(_AT_START) for name in environment)
        become = self._connection.become  # by keyword or by variable
        return bool(elsewhere or self._task.async_val or become or at_start or not _transport.HAS_REQUESTS)

    def _explain(self, errors: Any) -> str:
        """Word a validation error as the module would."""
        message = str(errors.msg)
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {message}"
        return message


def shown(options: Mapping[str, Any], spec: Mapping[str, Any], secrets: set[str]) -> dict[str, Any]:
    """Return options as a result may show them: secrets masked at every depth, and nothing that the spec does not know.

    :param secrets: gets the values that were masked
    """
    known = {alias: rule for name, rule in spec.items() for alias in (name, *rule.get("aliases", ()))}
    return {name: _shown_value(value, known[name], secrets) for name, value in options.items() if name in known}


def _shown_value(value: Any, rule: Mapping[str, Any], secrets: set[str]) -> Any:
    if value in (None, ""):
        return value
    if rule.get("no_log"):
        secrets.add(str(value))
        return _HIDDEN
    if "options" not in rule:
        return value.encode(errors="replace").decode() if isinstance(value, str) else value
    if isinstance(value, list):
        return [_shown_value(item, rule, secrets) for item in value]
    # Text that could not be read as options may hold a secret anywhere.
    return shown(value, rule["options"], secrets) if isinstance(value, dict) else _HIDDEN
