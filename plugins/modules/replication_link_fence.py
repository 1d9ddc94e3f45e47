#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_fence
short_description: Shut the source of a link for its clients, or open it again
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - A fence keeps the clients of an old primary out until it is taken down.
    M(alicloud.rds.replication_link_promotion) puts one up by itself; this module is for the time before and after.
  - The fence is recorded in the table C(dr_link_fence) of the maintenance database, in one transaction with its effect.
    When it is taken down, the original settings are restored and read back.
  - An old primary whose standby was promoted is not opened.
options:
  dr_instance_id:
    description:
      - Id of the DR instance of the link, or of the instance that was one before it was promoted.
    type: str
    required: true
  state:
    description:
      - V(up) shuts the source, V(down) opens what the record lists as shut. A promoted instance that was left shut is
        opened, too.
    type: str
    choices: [up, down]
    required: true
  method:
    description:
      - V(database) sets C(ALLOW_CONNECTIONS false) at every user database, which their owner may do.
      - V(system) makes the server read-only by C(ALTER SYSTEM). A client can get past it.
      - V(hook) records and proves a fence that was put up by other means.
    type: str
    choices: [database, system, hook]
    default: database
  timeout:
    description:
      - Seconds within which all sessions of clients must have ended.
    type: float
    default: 60.0
extends_documentation_fragment:
  - alicloud.rds._link.former_source
  - alicloud.rds._postgres.login
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Reports what would happen, and what prevents it.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - psycopg >= 3.1
seealso:
  - module: alicloud.rds.replication_link_promotion
"""

EXAMPLES = r"""
- name: Open the source after a promotion was given up
  alicloud.rds.replication_link_fence:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    state: down
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
"""

RETURN = r"""
outcome:
  description: V(fenced), V(unfenced), V(unchanged), or V(previewed) in check mode. After a failure, what is known.
  returned: always
  type: str
fence:
  description: The fence as the servers have it.
  returned: always, null after a failure
  type: dict
  contains:
    state: {description: "V(up) or V(none).", type: str}
    method: {description: Its method., type: str}
    run: {description: Id of the run that has put it up., type: str}
    since: {description: "When, by the clock of the server.", type: str}
    originals: {description: What it has changed., type: dict}
    holes: {description: What it does not stop., type: str}
said:
  description: What each side is now, in sentences.
  returned: always
  type: list
  elements: str
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
  description: What went wrong, as in M(alicloud.rds.replication_link).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fencing import FENCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**FENCE.spec), FENCE)


if __name__ == "__main__":
    main()
