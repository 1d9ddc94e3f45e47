# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second door to an operation: inside the playbook's own process instead of a module shipped to a host.

A call to the RDS API needs no interpreter of its own. The module stays the documentation, and the door for tasks that
have to run elsewhere or as somebody else. Results are the same.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase

from ansible_collections.alicloud.rds.plugins.module_utils import _client
from ansible_collections.alicloud.rds.plugins.module_utils._operation import Operation, run
from ansible_collections.alicloud.rds.plugins.plugin_utils._progress import Reporter

_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"  # as AnsibleModule shows it


class OperationDoor(ActionBase):
    """An action plugin that runs `operation` with the options of `arguments`, both given by the subclass."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True

    arguments: dict[str, Any]
    operation: Operation

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._is_for_the_module(task_vars or {}):
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val))}
        spec = self.arguments["argument_spec"]
        rules = {name: rule for name, rule in self.arguments.items() if name.startswith("required_")}
        # Plain values, as a module would read them from JSON: the controller's own carry tags, and may be encrypted.
        plain = json.loads(json.dumps(self._task.args, default=str))
        validation = ArgumentSpecValidator(spec, **rules).validate(plain)
        options = validation.validated_parameters
        if validation.error_messages:
            told = {"failed": True, "msg": self._explain(validation.errors)}
        else:
            environment: dict[str, str] = {}
            self._compute_environment_string(environment)
            told = run(
                type(self).operation,
                options,
                check_mode=bool(self._task.check_mode),
                diff=bool(self._task.diff),
                environment={**os.environ, **{name: str(value) for name, value in environment.items()}},
                tell=None if self._task.no_log else Reporter(self._display),
            )
        secret = {name for name, option in spec.items() if option.get("no_log") and options.get(name)}
        told["invocation"] = {"module_args": {**options, **dict.fromkeys(secret, _HIDDEN)}}
        return {**result, **remove_values(told, {str(options[name]) for name in secret})}

    def _is_for_the_module(self, task_vars: dict[str, Any]) -> bool:
        """Whether the task has to run on another host, in the background, as another user or with another Python."""
        interpreter = task_vars.get("ansible_python_interpreter") or sys.executable
        elsewhere = self._connection.transport != "local" or self._templar.template(interpreter) != sys.executable
        return bool(elsewhere or self._task.async_val or self._task.become or not _client.HAS_REQUESTS)

    def _explain(self, errors: Any) -> str:
        """Word a validation error as the module would."""
        message = str(errors.msg)
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {message}"
        return message
