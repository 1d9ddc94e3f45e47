#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_source
short_description: Create at a source PostgreSQL what a link and its operation need
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Creates the account of the replication, the account of the operator, the maintenance database C(dr_link) with its
    tables, and the rights for them. What exists is not changed.
  - What the login may not do is reported with the statement for a login that may.
  - Does not touch C(postgresql.conf) and C(pg_hba.conf); a preview of the link reports what is wrong there.
options:
  replicator_account:
    description:
      - Account of the replication.
    type: str
    required: true
  replicator_password:
    description:
      - Its password. It is set if the account is new, or if the server refuses it.
    type: str
    required: true
  fence:
    description:
      - Whether to grant the operator what a fence needs. That is membership in C(pg_signal_backend), and in the role of
        every owner of a database, since the owner of a database may shut it.
    type: bool
    default: false
extends_documentation_fragment:
  - alicloud.rds._link.source
  - alicloud.rds._postgres.required
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Reads, and returns what is missing.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - psycopg >= 3.1
seealso:
  - module: alicloud.rds.replication_link
"""

EXAMPLES = r"""
- name: Prepare a source, as an administrator, for an operator
  alicloud.rds.replication_source:
    source_address: 10.20.0.15
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
      instances:
        - name: source
          login_user: postgres
          login_password: "{{ vault_admin_password }}"
"""

RETURN = r"""
outcome:
  description: V(prepared) if something was missing, V(unchanged), or after a failure V(failed) or V(not_sent).
  returned: always
  type: str
steps:
  description: What the source must have, in order.
  returned: always
  type: list
  elements: dict
  contains:
    what: {description: What it is., type: str, sample: database dr_link}
    state: {description: "V(present), V(created), V(missing) in check mode, or V(refused).", type: str}
    database: {description: The database where the statement is run., type: str, sample: postgres}
    statement: {description: The statement that creates it. A password is left out., type: str}
    message: {description: Why it was refused., type: str}
endpoint:
  description: The endpoint of the service.
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
  description: What went wrong, as in M(alicloud.rds.replication_link). C(SourceUnprepared) if something is missing.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.prepare import SOURCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**SOURCE.spec), SOURCE)


if __name__ == "__main__":
    main()
