#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_verify
short_description: Ask the service and both PostgreSQL servers about a link
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Reads the link of a DR instance, logs in at both PostgreSQL servers, and follows a row from the primary to the
    standby. Returns checks, each with a remedy that can be carried out as printed. Fails if a check has failed.
  - Verdicts rest on SQLSTATE and errno, not on the words of a message, so a server may use any language.
  - It changes one row of the canary table, and in check mode nothing.
options:
  dr_instance_id:
    description:
      - Id of the DR instance. Either this or O(links) is required.
    type: str
  skip_checks:
    description:
      - Ids of checks to skip.
    type: list
    elements: str
    default: []
  max_lag_bytes:
    description:
      - Most bytes of WAL that the standby may be behind.
    type: int
    default: 16777216
  canary_timeout:
    description:
      - Seconds within which a row that was written at the primary must be read at the standby.
    type: float
    default: 10.0
  settle_timeout:
    description:
      - Seconds to check again while a check fails. After a change a server may still be starting.
    type: float
    default: 0.0
  concurrency:
    description:
      - How many links are asked at the same time.
    type: int
    default: 8
extends_documentation_fragment:
  - alicloud.rds._link.former_source
  - alicloud.rds._postgres
  - alicloud.rds._link.optional_entries
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Writes no row.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - psycopg >= 3.1, with libpq 18 or newer to name the reason of a refused login precisely
seealso:
  - module: alicloud.rds.replication_link_info
"""

EXAMPLES = r"""
- name: Verify a link
  alicloud.rds.replication_link_verify:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
      ssl_mode: verify-full
      ca_cert: /etc/ssl/apsaradb-ca.pem

- name: Verify many links, one of which is reached otherwise than the service reports
  alicloud.rds.replication_link_verify:
    links: "{{ links }}"
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
      instances:
        - name: pgm-bp1source0example
          host: 10.1.2.3
          port: 3433
"""

RETURN = r"""
dr_instance_id:
  description: The instance that was named.
  returned: if O(links) is not set
  type: str
outcome:
  description: V(verified) if no check has failed, V(failed) if one has. V(not_sent) if the service did not answer.
  returned: always
  type: str
checks:
  description: What was checked, in a fixed order. What cannot be judged, since a side does not answer, is left out.
  returned: always
  type: list
  elements: dict
  contains: &check
    id: {description: Stable id., type: str, sample: wal_receiver}
    section: {description: What it belongs to., type: str, sample: Replication}
    check: {description: What is checked., type: str}
    result: {description: "V(success), V(warning) or V(error).", type: str}
    note: {description: "What is so, with numbers and names.", type: str}
    remedy: {description: What to do about it; empty after success., type: str}
skipped_checks:
  description: The ids that were left out.
  returned: always
  type: list
  elements: str
topology:
  description: Both ends, as the service and PostgreSQL report them.
  returned: always, null if the instance could not be read
  type: dict
  contains:
    primary: &side
      description: The source; null if it is not known.
      type: dict
      contains:
        instance_id: {description: "Id, or V(source) for a source that is no RDS instance.", type: str}
        region_id: {description: Region., type: str}
        status: {description: Status at the service., type: str}
        lock_mode: {description: Lock mode., type: str}
        host: {description: Where PostgreSQL was asked., type: str}
        port: {description: Where PostgreSQL was asked., type: int}
        in_recovery: {description: "C(pg_is_in_recovery()), null if it does not answer.", type: bool}
    dr_instance: *side
    link_state: {description: "V(none), V(creating), V(streaming), V(disconnect) or V(unknown).", type: str}
lag_bytes:
  description: Bytes of WAL between what the primary has written and what the standby has replayed; null if not known.
  returned: always
  type: int
lsn:
  description: Positions in the WAL.
  returned: always, null if the instance could not be read
  type: dict
  contains:
    primary: {description: Written at the primary., type: str, sample: 0/3000148}
    received: {description: Received by the standby., type: str, sample: 0/3000148}
    replayed: {description: Replayed by the standby., type: str, sample: 0/3000148}
    replayed_at: {description: "Commit time of the last transaction replayed, UTC.", type: str}
canary_seconds:
  description: Seconds until the row was read at the standby; null if none was followed, or it was not seen.
  returned: always
  type: float
results:
  description: The same keys for each link.
  returned: always, empty if O(links) is not set
  type: list
  elements: dict
  contains:
    dr_instance_id: {description: The instance., type: str}
    checks:
      description: As above.
      type: list
      elements: dict
      contains: *check
request_id:
  description: Request id of the last call to the service.
  returned: always
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
  description: What went wrong, as in M(alicloud.rds.replication_link). C(VerificationFailed) if a check failed.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import VERIFY


def main() -> None:
    run_module(AnsibleModule(**VERIFY.spec), VERIFY)


if __name__ == "__main__":
    main()
