#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_rebuild
short_description: Copy the source again to a DR instance whose link is broken
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Rebuilds a broken link (C(RebuildReplicationLink)), and waits until data streams. The service copies the whole
    source again, with the account that the link has; until then there is no standby.
  - A link that streams is not changed.
options:
  dr_instance_id:
    description:
      - Id of the DR instance.
    type: str
    required: true
  confirm:
    description:
      - The id of the DR instance once more. Needed if the task log reports neither that the link streams nor that it is
        broken; query C(pg_stat_wal_receiver) on the DR instance before.
    type: str
extends_documentation_fragment:
  - alicloud.rds._waiting
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
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
  - The service's page does not describe how to follow a rebuild. It is over when the instance is C(Running) again and
    the task log reports that data streams, or reports nothing.
seealso:
  - module: alicloud.rds.replication_link
  - name: RebuildReplicationLink
    description: Reference of the API operation.
    link: https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-rebuildreplicationlink
"""

EXAMPLES = r"""
- name: Rebuild a link that the task log calls broken
  alicloud.rds.replication_link_rebuild:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample

- name: Rebuild a link whose state the log does not report
  alicloud.rds.replication_link_rebuild:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    confirm: pgm-uf6wjk5xexample
"""

RETURN = r"""
outcome:
  description:
    - What happened. V(unchanged), it was so already. V(rebuilt), the source was copied again.
    - V(adopted), another run has done it meanwhile, or this one whose reply was lost. V(previewed), check mode.
      V(running), it was sent and O(wait=false).
    - After a failure it says what is known. V(not_sent), nothing was sent. V(refused), the service said no and did
      nothing. V(failed), it was accepted and did not take place. V(running), it goes on. V(unknown), the request may
      have arrived.
  returned: always
  type: str
  sample: rebuilt
topology:
  description: Who is what, before and after. In check mode C(after) is what is expected.
  returned: always, null if the instances could not be read
  type: dict
  contains:
    before:
      description: The roles before, as the instances reported them.
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
            - V(streaming), V(creating), V(disconnect), V(none), or V(unknown) if the task log does not report it.
          type: str
    after:
      description: The roles after, as the instances reported them.
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
  description: How far the DR instance was behind, as the service reported it; null if it did not.
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

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import REBUILD
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**REBUILD.spec), REBUILD)


if __name__ == "__main__":
    main()
