# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's door to an operation: what `main` of every module does with its AnsibleModule."""

from __future__ import annotations

from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation, run


def answer(module: Any, operation: Operation) -> None:
    """Run an operation with the options of an AnsibleModule, and end the process with its result."""
    result = run(operation, module.params, check_mode=module.check_mode, diff=module._diff)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)
