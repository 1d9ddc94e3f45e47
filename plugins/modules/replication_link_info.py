#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_info
short_description: Read the replication link of an RDS PostgreSQL instance and its tasks
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Reads which source a DR instance replicates from, and the log of the tasks that created or checked the link, with
    the prechecks of each. Uses the API operations C(DescribeDBInstanceAttribute) and C(DescribeReplicationLinkLogs).
options:
  dr_instance_id:
    description:
      - Id of the DR instance (C(DBInstanceId)).
    type: str
    required: true
  task_type:
    description:
      - Return tasks of this type only (C(TaskType)). Both types if not given.
    type: str
    choices: [create, create-dryrun]
  task_id:
    description:
      - Return this task only (C(TaskId)).
    type: int
  task_name:
    description:
      - Return tasks of this name only (C(TaskName)).
    type: str
extends_documentation_fragment:
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes.info
  - alicloud.rds._attributes.action_group
seealso:
  - module: alicloud.rds.replication_link
"""

EXAMPLES = r"""
- name: Read the link and all its tasks
  alicloud.rds.replication_link_info:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
  register: dr

- name: Stop if data does not flow
  ansible.builtin.assert:
    that:
      - dr.link is not none
      - dr.link.state == 'streaming'

- name: Read what a preview checked
  alicloud.rds.replication_link_info:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    task_type: create-dryrun
    task_id: 439946016
"""

RETURN = r"""
link:
  description: The link that the instance reports now, whatever old tasks say.
  returned: always, null if the instance is no DR instance
  type: dict
  contains:
    dr_instance_id: {description: The DR instance., type: str}
    state: {description: "V(creating), V(streaming), V(disconnect), or V(unknown) if the log has no task.", type: str}
    source_category: {description: Category of the source., type: str}
    source_address: {description: Address of the source., type: str}
    source_port: {description: Port of the source., type: int}
    source_instance_region_id: {description: Region of the source instance., type: str}
    source_instance_name: {description: Id of the source instance., type: str}
    replicator_account: {description: Account of the replication., type: str}
    lag:
      description: How far the DR instance is behind, if the service reports it.
      type: dict
      contains:
        bytes: {description: Bytes of WAL., type: int}
        seconds: {description: Seconds., type: float}
instance:
  description: The DR instance.
  returned: always, null after a failure
  type: dict
  contains:
    db_instance_id: {description: Id., type: str}
    engine: {description: Engine., type: str, sample: PostgreSQL}
    engine_version: {description: Version., type: str, sample: "16.0"}
    status: {description: Status., type: str, sample: Running}
    type: {description: Type., type: str, sample: Primary}
    category: {description: Edition., type: str, sample: HighAvailability}
    lock_mode: {description: Lock mode., type: str, sample: Unlock}
    region_id: {description: Region., type: str}
    connection_string: {description: Endpoint for database clients., type: str}
    port: {description: Port for database clients., type: str}
    description: {description: Description., type: str}
tasks:
  description: The tasks, newest first. Passwords are left out.
  returned: always
  type: list
  elements: dict
  contains:
    task_id: {description: Id., type: int}
    task_name: {description: Name., type: str}
    task_type: {description: "V(create) or V(create-dryrun).", type: str}
    status: {description: "V(running), V(success) or V(failure).", type: str}
    stage: {description: "V(precheck), V(basebackup), V(startup) or V(increment).", type: str}
    replication_state: {description: "V(streaming), V(disconnect) or V(finish).", type: str}
    replication_info: {description: Reserved by the service., type: str}
    created: {description: "When it was created, UTC.", type: str}
    modified: {description: "When it last changed, UTC.", type: str}
    target_instance_id: {description: The DR instance., type: str}
    source_category: {description: Category of the source., type: str}
    source_address: {description: Address of the source., type: str}
    source_port: {description: Port of the source., type: int}
    source_region_id: {description: Region of the source instance., type: str}
    source_instance_name: {description: Id of the source instance., type: str}
    replicator_account: {description: Account of the replication., type: str}
    detail: {description: What the report says beside the checks., type: list, elements: str}
    checks:
      description: The prechecks in the report, as in M(alicloud.rds.replication_link).
      type: list
      elements: dict
check_mode:
  description:
    - Whether the task ran in check mode, as the command line, play, block, role or task had it. The variable
      C(ansible_check_mode) mirrors the command line alone.
  returned: always, null after a failure
  type: bool
request_id:
  description: Id of the last request.
  returned: always, null if no answer came
  type: str
endpoint:
  description: The endpoint that was called.
  returned: always, null if the options did not lead to one
  type: str
credentials:
  description: Whose credentials signed, as in M(alicloud.rds.replication_link).
  returned: always, null if none were found
  type: dict
retries:
  description: Which calls had to be repeated, and why.
  returned: always
  type: list
  elements: str
error:
  description: What went wrong, as in M(alicloud.rds.replication_link).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**INFO.spec), INFO)


if __name__ == "__main__":
    main()
