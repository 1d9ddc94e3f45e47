#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_drill
short_description: Rehearse a failover on a spare instance, and measure it
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Links an empty spare instance to the source, writes rows at the source, promotes the spare while they are written,
    and runs your own queries there. Measures RPO and RTO, and writes a report at every event.
  - The production link is read and never operated, and nothing is fenced. Afterwards the source is read again, and
    compared with what it was before.
  - The spare stays, as a primary of its own, and must be released.
options:
  spare_instance_id:
    description:
      - Id of an empty RDS PostgreSQL instance of the major version of the source.
    type: str
    required: true
  spare_region_id:
    description:
      - Its region, if it is another one than O(region_id).
    type: str
  dr_instance_id:
    description:
      - Id of the DR instance of production, which is verified before and after, and not changed.
    type: str
  replicator_account:
    description:
      - Account of the replication.
    type: str
    required: true
  replicator_password:
    description:
      - Its password.
    type: str
    required: true
  rate:
    description:
      - Rows a second that are written at the source, through one connection. They are deleted afterwards.
    type: float
    default: 10.0
  duration:
    description:
      - Seconds to write and to sample before the promotion.
    type: float
    default: 10.0
  queries:
    description:
      - Queries for the promoted spare, run read-only.
    type: list
    elements: dict
    default: []
    suboptions:
      sql:
        description:
          - A query. The first column of its first row counts.
        type: str
        required: true
      expect:
        description:
          - What it must return, as text.
        type: str
        required: true
      database:
        description:
          - Database of the query. The maintenance database if not set.
        type: str
  rpo_target:
    description:
      - Seconds. The drill fails if the largest exposure is longer.
    type: float
  rto_target:
    description:
      - Seconds. The drill fails if the time from the request to the first acknowledged row is longer.
    type: float
  report_dir:
    description:
      - Existing directory for the report, as JSON, Markdown and HTML.
    type: path
extends_documentation_fragment:
  - alicloud.rds._link.source
  - alicloud.rds._postgres.required
  - alicloud.rds._waiting
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Verifies production and previews the link onto the spare. Nothing is created.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run needs a fresh spare.
requirements:
  - psycopg >= 3.1
seealso:
  - module: alicloud.rds.replication_link_promotion
"""

EXAMPLES = r"""
- name: Rehearse the failover of production
  alicloud.rds.replication_link_drill:
    region_id: cn-shanghai
    spare_instance_id: pgm-uf6spare00example
    dr_instance_id: pgm-uf6wjk5xexample
    source_category: aliyunRDS
    source_instance_name: pgm-bp1source0example
    source_instance_region_id: cn-hangzhou
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
    queries:
      - {database: shop, sql: SELECT count(*) > 0 FROM orders, expect: "True"}
    rpo_target: 5
    rto_target: 300
    report_dir: /var/lib/dr_reports
"""

RETURN = r"""
outcome:
  description: V(passed), or V(previewed) in check mode. After a failure what is known.
  returned: always
  type: str
report:
  description: What was done and measured, as it is in the JSON file.
  returned: always, null if the options did not lead to a drill
  type: dict
  contains:
    run: {description: Id of the run., type: str}
    events: {description: What has happened and when., type: list, elements: dict}
    samples: {description: Lag and exposure during the writes., type: list, elements: dict}
    rpo: {description: "Rows and seconds of exposure, with median, 95th percentile and resolution.", type: dict}
    rto: {description: "Seconds from the request to the first row, in parts, and what it leaves out.", type: dict}
    queries: {description: "The queries, what they returned, and whether it was expected.", type: list, elements: dict}
    said: {description: "What is so afterwards, as it was read back.", type: list, elements: str}
    remaining: {description: What remains to be done with the spare., type: str}
report_file:
  description: The report as a page.
  returned: if O(report_dir) is set
  type: str
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
  description: What went wrong, as in M(alicloud.rds.replication_link). Codes C(DrillRefused) and C(DrillFailed).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.rehearse import DRILL
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**DRILL.spec), DRILL)


if __name__ == "__main__":
    main()
