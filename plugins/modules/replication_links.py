#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_links
short_description: Create many links in one task
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Does for each entry of O(links) what M(alicloud.rds.replication_link) does for one link. All are started before one
    is waited for, and they are polled side by side, so that a fleet takes as long as the service's rate limit.
  - Every link ends with its own result in RV(results). If one fails the others go on, and the task fails at the end
    with a line for each that failed.
  - If it is stopped from outside (a time-out of the task, an interrupt), it ends at once. What was started goes on at
    the service, and the next run continues it.
options:
  plans:
    description:
      - Approved dry runs, as returned in RV(plans) by a run in check mode, from the id of the DR instance to the id of
        the dry run. Each link is created as it was checked there. C(dry_run_task_id) of an entry wins.
      - In check mode no new dry run is started for these links; the verdicts of these are reported.
    type: dict
  concurrency:
    description:
      - How many requests may be under way at once.
    type: int
    default: 8
  creates_per_second:
    description:
      - How many creating calls and dry runs are sent in a second. The service permits 10 for an account. Where it
        throttles because of other callers, fewer are sent for a while.
    type: float
    default: 9.5
extends_documentation_fragment:
  - alicloud.rds._link.entries
  - alicloud.rds._link
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Every missing link is previewed with the service's own dry run. If a precheck of one fails, the task fails.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - Entries that cannot be right (an id twice, an unknown key, a missing source) are refused before anything is sent.
seealso:
  - module: alicloud.rds.replication_link
"""

EXAMPLES = r"""
- name: Preview two links
  alicloud.rds.replication_links:
    region_id: cn-shanghai
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
    links:
      - {dr_instance_id: pgm-uf6orders0example, source_address: 10.20.0.15}
      - {dr_instance_id: pgm-uf6stock00example, source_address: 10.20.0.16}
  check_mode: true
  register: preview

- name: Create them as they were checked
  alicloud.rds.replication_links:
    region_id: cn-shanghai
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
    links:
      - {dr_instance_id: pgm-uf6orders0example, source_address: 10.20.0.15}
      - {dr_instance_id: pgm-uf6stock00example, source_address: 10.20.0.16}
    plans: "{{ preview.plans }}"
"""

RETURN = r"""
results:
  description:
    - A result for each entry of O(links), in their order. Its keys are C(dr_instance_id), C(failed), and those that
      M(alicloud.rds.replication_link) returns for a single link, C(msg) and C(error) among them if it failed.
    - Of a link that is unchanged, the checks that passed are left out.
  returned: always
  type: list
  elements: dict
outcomes:
  description: How many links have ended with which C(outcome), those that failed left out if none is known.
  returned: always
  type: dict
  sample: {unchanged: 298, created: 2}
plans:
  description: In check mode, the dry run of each link that would be created, to be applied with O(plans).
  returned: always
  type: dict
  sample: {pgm-uf6orders0example: 439946016}
ended:
  description:
    - The same for instances whose link was ended before, by a promotion most likely. Their links are not recreated
      automatically; applying such a plan does it on purpose.
  returned: always
  type: dict
pending:
  description: The DR instances whose link is planned, or still being created.
  returned: always
  type: list
  elements: str
endpoint:
  description: The endpoint that was called.
  returned: always, null if the options did not lead to one
  type: str
credentials:
  description: The credentials that signed, as in M(alicloud.rds.replication_link).
  returned: always, null if none were found
  type: dict
retries:
  description: Which calls had to be repeated, and why.
  returned: always
  type: list
  elements: str
error:
  description: What went wrong, as in M(alicloud.rds.replication_link). Its code is C(LinksFailed) if links failed.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import LINKS
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**LINKS.spec), LINKS)


if __name__ == "__main__":
    main()
