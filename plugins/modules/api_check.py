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
  - Asks an account's RDS API what its documentation leaves open or answers in two ways, such as how a state is spelled
    and whether passwords come back masked, and reports field names, words and forms of the answers.
  - The report is text, ready to paste. Of a value that is not a word of the service only the form is in it, so it holds
    no secret, name, address or id. What answers mean for the collection is in
    U(https://github.com/alicloud-rds/alicloud.rds/blob/main/docs/first_contact.md).
  - It only reads (C(DescribeDBInstanceAttribute), C(DescribeReplicationLinkLogs), C(DescribeHistoryTasks),
    C(DescribeReadDBInstanceDelay)), about a dozen requests in all.
  - If a permission is missing, the questions that need it stay open, and the others are asked.
options:
  dr_instance_id:
    description:
      - Id of an RDS PostgreSQL instance of the account. A DR instance with a link, and a preview of one in its log,
        answers most questions; any other one will do.
    type: str
    required: true
  source_instance_name:
    description:
      - Id of the RDS instance that is the source of the link. It is read as well.
    type: str
  source_instance_region_id:
    description:
      - Region of O(source_instance_name).
    type: str
extends_documentation_fragment:
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
    details:
      - This module changes nothing.
notes:
  - The playbook C(alicloud.rds.verify_cloud) runs this module and writes the report to a file.
seealso:
  - module: alicloud.rds.replication_link
  - module: alicloud.rds.replication_link_info
"""

EXAMPLES = r"""
- name: Ask the API
  alicloud.rds.api_check:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
  register: api

- name: Show the report
  ansible.builtin.debug:
    msg: "{{ api.report.splitlines() }}"

- name: Show how the state of a link is spelled
  ansible.builtin.debug:
    msg: "{{ api.answers.create.fields['Items[].ReplicationState'] | default('no rows') }}"
"""

RETURN = r"""
answers:
  description: What was answered, by the id of the question.
  returned: always, empty if nothing could be sent at all
  type: dict
  contains:
    request: {description: The operation with its parameters., type: str}
    outcome:
      description: V(answered), or the code of the refusal with its HTTP status.
      type: str
      sample: answered
    fields:
      description: The path of each field, with the words and forms that it has.
      type: dict
      sample: {"Items[].ReplicationState": "steaming", "Items[].ReplicatorPassword": "masked"}
report:
  description: All of it as text, ready to paste.
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
