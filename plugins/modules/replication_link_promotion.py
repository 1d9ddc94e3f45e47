#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link_promotion
short_description: Promote a DR instance, which ends its link
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Makes a DR instance a primary of its own, permanently (C(DeleteReplicationLink), C(PromoteToMaster=true)). This is
    the failover. The link cannot be resumed; the instance must be emptied and linked again.
  - With O(postgres), both servers are asked. A planned promotion then runs all checks of
    M(alicloud.rds.replication_link_verify), waits until the last byte is replayed, promotes once, and has the new
    primary acknowledge a row. Everything in RV(said) was read back.
  - With O(fence), the old primary is shut first, and stays shut. Without it, rows that clients still write there
    never reach the new primary.
  - An instance that was promoted before is not changed. An instance that never had a link, or that is the primary of
    one, is an error, so that a wrong id is not reported as success.
options:
  dr_instance_id:
    description:
      - Id of the DR instance.
    type: str
    required: true
  mode:
    description:
      - V(planned) refuses unless the link streams, the lag is known, and it is at most O(max_lag_bytes).
      - V(forced) needs the DR instance alone. What the source committed and did not send is lost.
    type: str
    choices: [planned, forced]
    required: true
  confirm:
    description:
      - The id of the DR instance once more. Required if O(mode=forced).
    type: str
  max_lag_bytes:
    description:
      - Most bytes of WAL that the DR instance may be behind if O(mode=planned). Stop all writes at the source first.
    type: int
    default: 0
  measured_lag_bytes:
    description:
      - The lag as measured elsewhere, by the LSNs of both sides for example. The service does not always report it. If
        both are known, the larger one counts.
    type: int
  fence:
    description:
      - Whether to shut the source for its clients before the promotion. Needs O(postgres) and O(mode=planned).
      - It is taken down again if the promotion does not begin. Where it may have begun, the fence stays up, recorded at
        both servers; M(alicloud.rds.replication_link_fence) takes it down.
    type: bool
    default: false
  fence_method:
    description:
      - As O(alicloud.rds.replication_link_fence#module:method).
    type: str
    choices: [database, system, hook]
    default: database
  lag_timeout:
    description:
      - Seconds for the sessions of clients to end, and for the standby to replay the last byte.
    type: float
    default: 60.0
  skip_checks:
    description:
      - Ids of checks to skip.
    type: list
    elements: str
    default: []
  expect:
    description:
      - The RV(digest) of an approved preview. If the roles or a check have changed since then, nothing is done.
    type: str
  rpo_target:
    description:
      - Seconds. The report compares them with what was lost, where that is known. A target changes nothing else.
    type: float
  rto_target:
    description:
      - Seconds. The report compares them with the time from the request to the first row that the new primary
        acknowledged. A target changes nothing else.
    type: float
  report_dir:
    description:
      - Existing directory for the report, as JSON, Markdown and HTML, written at every event. Needs O(postgres).
    type: path
extends_documentation_fragment:
  - alicloud.rds._postgres
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
  - The page does not say how to follow a promotion. It is taken to be over when the instance is C(Running) and has no
    C(DisasterRecoveryInfo) any more.
requirements:
  - psycopg >= 3.1, if O(postgres) is set
seealso:
  - module: alicloud.rds.replication_link_verify
  - module: alicloud.rds.replication_link_fence
  - module: alicloud.rds.replication_link
  - name: DeleteReplicationLink
    description: Reference of the API operation.
    link: https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-deletereplicationlink
"""

EXAMPLES = r"""
- name: Preview a planned promotion with a fence
  alicloud.rds.replication_link_promotion: &promotion
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    mode: planned
    fence: true
    postgres:
      login_user: dr_operator
      login_password: "{{ vault_dr_operator_password }}"
      ssl_mode: verify-full
      ca_cert: /etc/ssl/apsaradb-ca.pem
  check_mode: true
  register: preview

- name: Promote, unless anything has changed since then
  alicloud.rds.replication_link_promotion:
    <<: *promotion
    expect: "{{ preview.digest }}"

- name: Promote by the service alone, after writes were stopped and the lag was measured
  alicloud.rds.replication_link_promotion:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    mode: planned
    measured_lag_bytes: "{{ lag_bytes }}"

- name: The region of the source is lost
  alicloud.rds.replication_link_promotion:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    mode: forced
    confirm: pgm-uf6wjk5xexample
"""

RETURN = r"""
said:
  description: What each side is now, in sentences, as it was read back.
  returned: always, empty without O(postgres)
  type: list
  elements: str
digest:
  description: What an approval of this preview is for, to be given as O(expect).
  returned: always, null without O(postgres)
  type: str
events:
  description: What has happened, in order.
  returned: always, empty without O(postgres)
  type: list
  elements: dict
  contains:
    event: {description: What., type: str, sample: fence up}
    at: {description: "When, by the clock of the machine that runs the task, UTC.", type: str}
    seconds: {description: Seconds since the start., type: float}
report:
  description: What was done and measured, as it is in the JSON file.
  returned: always, null without O(postgres)
  type: dict
  contains:
    loss: {description: "What is known of data that was lost, in a sentence; null before that is known.", type: str}
    rto: {description: "Seconds from the request to the first row, in parts, and what it leaves out.", type: dict}
    stopped_at: {description: The last event., type: str}
report_file:
  description: The report as a page.
  returned: if O(report_dir) is set
  type: str
fence:
  description: The fence of this run.
  returned: always, null without O(postgres)
  type: dict
  contains:
    state: {description: "V(none), V(up), V(down) or V(unknown).", type: str}
    method: {description: Its method., type: str}
    holes: {description: What it does not stop., type: str}
run:
  description: Id of this run, as it is recorded with the fence.
  returned: always, null without O(postgres)
  type: str
transactions_after_fence:
  description: How many transactions began at the old primary after its last byte was read; null if it does not answer.
  returned: always
  type: int
outcome:
  description:
    - What happened. V(unchanged), it was so already. V(promoted), the instance is a primary now.
    - V(adopted), another run has done it meanwhile, or this one whose reply was lost. V(previewed), check mode.
      V(running), it was sent and O(wait=false).
    - After a failure it says what is known. V(not_sent), nothing was sent. V(refused), the service said no and did
      nothing. V(failed), it was accepted and did not take place. V(running), it goes on. V(unknown), the request may
      have arrived.
  returned: always
  type: str
  sample: promoted
topology:
  description: Who is what, before and after. In check mode C(after) is what is expected.
  returned: always, null if the instances could not be read
  type: dict
  contains:
    before:
      description: The roles as the instances reported them first.
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
            - V(streaming), V(creating), V(disconnect), V(none), or V(unknown) where the task log does not say.
          type: str
    after:
      description: The roles as the instances reported them last.
      type: dict
      contains: *topology
checks:
  description:
    - What was checked, each with a stable id. With O(postgres) the checks of
      M(alicloud.rds.replication_link_verify), without it the guards of the service. Empty if there was nothing to do.
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
  description: How far the DR instance was behind, as measured or as the service reports it; null if neither is known.
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

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**PROMOTION.spec), PROMOTION)


if __name__ == "__main__":
    main()
