#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_switchover
short_description: Let the primary and the DR instance of a link change places
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Makes the DR instance of a link the primary, and the primary its DR instance (C(SwitchReplicationLink)). For planned
    work; both instances must be up, and both must be RDS instances.
  - Names the state that is wanted. If O(primary) is the primary of its link already, nothing is sent.
  - All guards come first, and all that fail are named at once. The request is sent once, and never again on doubt.
  - Afterwards both instances are asked for their role. If they do not agree the task fails, and shows what each says.
options:
  primary:
    description:
      - Id of the instance that is to be the primary; today the DR instance of the link.
    type: str
    required: true
  expect_primary:
    description:
      - Id of the instance that is the primary now. If another one is, the switchover is refused.
    type: str
  require_streaming:
    description:
      - Whether the task log of the DR instance has to say that data streams. The log may have no row that tells, after
        an earlier switchover for example. V(false) accepts that; ask PostgreSQL before (C(pg_stat_replication)).
      - A link that the log calls broken, or not finished, is refused in any case.
    type: bool
    default: true
  max_lag_bytes:
    description:
      - Most bytes of WAL that the DR instance may be behind. If the lag is not known, the switchover is refused.
      - The service waits for the rest of the WAL by itself; a limit keeps that wait, in which nobody can write, short.
    type: int
  max_lag_seconds:
    description:
      - The same in seconds, where the service tells them.
    type: float
  measured_lag_bytes:
    description:
      - The lag as measured elsewhere, by the LSNs of both sides for example. The service does not always tell it. If
        both are known, the larger one counts.
    type: int
extends_documentation_fragment:
  - alicloud.rds._waiting
  - alicloud.rds._connection
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Reads both sides, shows the roles before and after, and fails if a guard would refuse. Sends nothing else.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - The page does not tell how to follow a switchover. It is taken to be over when both instances are C(Running) and
    agree on their roles (C(DisasterRecoveryInfo)).
  - O(region_id) is the region of O(primary). The other instance is asked in its own region; with O(endpoint), there.
seealso:
  - module: alicloud.rds.replication_link
  - name: SwitchReplicationLink
    description: Reference of the API operation.
    link: https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-switchreplicationlink
"""

EXAMPLES = r"""
- name: See what a switchover would do, and what stands in its way
  alicloud.rds.replication_link_switchover:
    region_id: cn-shanghai
    primary: pgm-uf6wjk5xexample
    expect_primary: pgm-bp1trqb4pexample
  check_mode: true

- name: Make the DR instance the primary
  alicloud.rds.replication_link_switchover:
    region_id: cn-shanghai
    primary: pgm-uf6wjk5xexample
    expect_primary: pgm-bp1trqb4pexample

- name: Switch back, no more than 1 MiB behind as measured with SQL
  alicloud.rds.replication_link_switchover:
    region_id: cn-hangzhou
    primary: pgm-bp1trqb4pexample
    max_lag_bytes: 1048576
    measured_lag_bytes: "{{ lag_bytes }}"
"""

RETURN = r"""
outcome:
  description:
    - What happened. V(unchanged), it was so already. V(switched), the two have changed places.
    - V(adopted), another run has done it meanwhile, or this one whose reply was lost. V(previewed), check mode.
      V(running), it was sent and O(wait=false).
    - After a failure it says what is known. V(not_sent), nothing was sent. V(refused), the service said no and did
      nothing. V(failed), it was accepted and did not take place. V(running), it goes on. V(unknown), the request may
      have arrived.
  returned: always
  type: str
  sample: switched
topology:
  description: Who is what, before and after. In check mode C(after) is what is expected.
  returned: always, null if the instances could not be read
  type: dict
  contains:
    before:
      description: The roles as the instances told them first.
      type: dict
      contains: &topology
        primary:
          description: The primary; null if the source is no RDS instance. What was not asked is null.
          type: dict
          contains: &side
            instance_id: {description: Id., type: str}
            region_id: {description: Region., type: str}
            status: {description: Status., type: str, sample: Running}
            engine_version: {description: Version., type: str, sample: "16.0"}
            lock_mode: {description: Lock mode., type: str, sample: Unlock}
            connection_string: {description: Endpoint for database clients., type: str}
            port: {description: Port for database clients., type: str}
        dr_instance:
          description: The DR instance; null if there is no link (any more).
          type: dict
          contains: *side
        link_state:
          description:
            - V(streaming), V(creating), V(disconnect), V(none), or V(unknown) where the task log does not tell.
          type: str
    after:
      description: The roles as the instances told them last.
      type: dict
      contains: *topology
checks:
  description: The guards, each with a stable id. Empty if there was nothing to do.
  returned: always
  type: list
  elements: dict
  contains:
    id: {description: Stable id., type: str, sample: link_streaming}
    section: {description: When it is checked., type: str}
    check: {description: What is checked., type: str}
    result: {description: "V(success) or V(error).", type: str}
    note: {description: What is wrong., type: str}
    remedy: {description: What to do about it., type: str}
lag:
  description: How far the DR instance was behind, as the service told it; null where it does not tell.
  returned: always
  type: dict
  contains:
    bytes: {description: Bytes of WAL., type: int}
    seconds: {description: Seconds., type: float}
seconds:
  description: Seconds from the request to the end of the wait.
  returned: always, null if nothing was sent
  type: float
task_id:
  description: Id that the service gave the task. It has no row in the task log.
  returned: always, null if nothing was sent
  type: int
task_name:
  description: Name that the service gave the task.
  returned: always, null if nothing was sent
  type: str
request_id:
  description: Id of the request that was sent.
  returned: always, null if nothing was sent
  type: str
endpoint:
  description: The endpoint of O(region_id).
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

from ansible_collections.alicloud.rds.plugins.module_utils._answer import answer
from ansible_collections.alicloud.rds.plugins.module_utils._arguments import REPLICATION_LINK_SWITCHOVER
from ansible_collections.alicloud.rds.plugins.module_utils._operation import switch_over


def main() -> None:
    answer(AnsibleModule(**REPLICATION_LINK_SWITCHOVER), switch_over)


if __name__ == "__main__":
    main()
