#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_check
short_description: Ask the RDS API what its documentation leaves open
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Asks an account's RDS API some twenty questions that its documentation leaves open or answers in two ways, such as
    how a state is spelled and whether passwords come back masked, and says what each answer means for the collection.
  - The findings and the report hold no secrets. Of a password only the form is told.
  - It sends C(DescribeDBInstanceAttribute) and C(DescribeReplicationLinkLogs), about a dozen requests in all, and with
    O(dry_run=true) one C(CreateReplicationLink) with C(DryRun=true). It never sends anything else. What only a write
    could answer is listed as such.
  - A permission that is missing leaves the questions open that need it, and the others are asked.
options:
  dr_instance_id:
    description:
      - Id of an RDS PostgreSQL instance of the account. A DR instance with a link answers most questions; any other one
        will do.
    type: str
    required: true
  source_instance_name:
    description:
      - Id of the RDS instance that is the source of the link, or of the dry run. It is read as well.
    type: str
  source_instance_region_id:
    description:
      - Region of O(source_instance_name).
    type: str
  dry_run:
    description:
      - Whether to send one dry run, as M(alicloud.rds.replication_link) does in check mode. It leaves an entry of type
        C(create-dryrun) in the task log. If the instance has a link, none is sent.
      - Needs O(replicator_account), O(replicator_password), and O(source_address) or O(source_instance_name).
    type: bool
    default: false
  source_address:
    description:
      - Address of the source of the dry run.
    type: str
  source_port:
    description:
      - Port of the source. V(5432) if O(source_address) is given and this is not.
    type: int
  replicator_account:
    description:
      - Account at the source, for the dry run.
    type: str
  replicator_password:
    description:
      - Password of O(replicator_account). It is never returned.
    type: str
  wait_timeout:
    description:
      - Seconds to wait for the verdict of the dry run.
    type: float
    default: 600.0
  anonymise:
    description:
      - Whether to leave ids of instances and accounts, and addresses, out of findings and report.
    type: bool
    default: true
extends_documentation_fragment:
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing. With O(dry_run=true) the dry run is sent in both modes.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
    details:
      - This module changes nothing. With O(dry_run=true) each run leaves an entry in the task log.
notes:
  - The playbook C(alicloud.rds.verify_cloud) runs this module and writes the report to a file.
seealso:
  - module: alicloud.rds.replication_link
  - module: alicloud.rds.replication_link_info
"""

EXAMPLES = r"""
- name: Ask what reads can tell
  alicloud.rds.api_check:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
  register: api

- name: Show the answers
  ansible.builtin.debug:
    msg: "{{ dict(api.findings | map(attribute='id') | zip(api.findings | map(attribute='answer'))) }}"

- name: Ask what a dry run tells as well
  alicloud.rds.api_check:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    dry_run: true
    source_address: 10.20.0.15
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
"""

RETURN = r"""
findings:
  description: The questions with their answers, always the same ones in the same order.
  returned: always, empty if nothing could be sent at all
  type: list
  elements: dict
  contains:
    id: {description: Stable id., type: str, sample: replication_state_spelling}
    question: {description: The question., type: str}
    answer:
      description:
        - The answer. V(not permitted:), V(no answer:), V(not asked:) and V(nothing to read:), each with the reason,
          begin the ones that are no answer.
      type: str
      sample: steaming
    evidence: {description: What it was read from., type: str}
    meaning: {description: What the collection does under this answer., type: str}
report:
  description: All of it as Markdown, for a bug report.
  returned: always, null if nothing could be sent at all
  type: str
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

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.api_check import API_CHECK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**API_CHECK.spec), API_CHECK)


if __name__ == "__main__":
    main()
