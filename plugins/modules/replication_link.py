#!/usr/bin/python
# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_link
short_description: Create a link that makes an RDS PostgreSQL instance the standby of a source
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Links an existing, empty ApsaraDB RDS for PostgreSQL instance (the DR instance) to a source PostgreSQL, so that it
    becomes the source's streaming standby. Uses the API operation C(CreateReplicationLink).
  - The source is an RDS instance, in another region for example, or any other PostgreSQL of the same major version.
  - Run it in check mode first. That is the service's own dry run, and it reports every precheck with a remedy.
  - An existing link is not changed. A link from another source is never replaced; the task fails and shows both.
  - This module does not remove a link. Removing one promotes the DR instance, which is a failover.
extends_documentation_fragment:
  - alicloud.rds._link.own
  - alicloud.rds._link
  - alicloud.rds._connection
  - alicloud.rds._connection.as_dictionary
  - alicloud.rds._attributes
  - alicloud.rds._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - If there is no link, the task starts the service's dry run (C(DryRun=true)) and waits for its verdict. The dry
        run leaves an entry of type C(create-dryrun) in the task log, and nothing else.
      - If a precheck fails, the task fails.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: alicloud.rds.replication_link_info
  - name: CreateReplicationLink
    description: Reference of the API operation.
    link: https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-createreplicationlink
"""

EXAMPLES = r"""
- name: Link the DR instance to a self-managed PostgreSQL
  alicloud.rds.replication_link:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    source_address: 10.20.0.15
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"

- name: Link the DR instance to an RDS instance in another region
  alicloud.rds.replication_link:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    source_category: aliyunRDS
    source_instance_region_id: cn-hangzhou
    source_instance_name: pgm-bp1trqb4pexample
    source_address: pgm-bp1trqb4pexample.pg.rds.aliyuncs.com
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"

- name: Preview it, whatever mode the play runs in
  alicloud.rds.replication_link:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    source_address: 10.20.0.15
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
  check_mode: true
  register: preview

- name: Apply exactly what was previewed
  alicloud.rds.replication_link:
    region_id: cn-shanghai
    dr_instance_id: pgm-uf6wjk5xexample
    source_address: 10.20.0.15
    replicator_account: dr_sync
    replicator_password: "{{ vault_dr_sync_password }}"
    dry_run_task_id: "{{ preview.plan.task_id }}"
  when: preview.plan is not none
"""

RETURN = r"""
outcome:
  description:
    - What happened. V(unchanged), the link or its task existed. V(created), this run created it.
      V(adopted), a task that appeared meanwhile was found (of another run, or of this one after its reply was lost).
      V(previewed), check mode started a dry run.
    - After a failure it says what is known. V(not_sent), nothing was sent. V(refused), the service said no and did
      nothing. V(failed), a task ran and failed. V(running), a task goes on. V(unknown), a create may have arrived.
  returned: always
  type: str
  sample: created
request_id:
  description: Id of the request that created or previewed the link, or of the last read if nothing was sent.
  returned: always, null if no answer came
  type: str
  sample: 9F8C06AD-3F37-57A0-ABBF-ABD7824F55CE
db_instance_id:
  description: The DR instance, as the service names it in its answer.
  returned: always, null after a failure
  type: str
  sample: pgm-uf6wjk5xexample
task_id:
  description: Id of the task that this run started or found.
  returned: always, null if there is none
  type: int
  sample: 564532302
task_name:
  description: Name of that task.
  returned: always, null if there is none
  type: str
  sample: ansible-0f3c5a8d11f0c2ab
task:
  description: That task, as it stands in the task log. Passwords are left out.
  returned: always, null if there is none
  type: dict
  contains:
    task_id: {description: Id., type: int}
    task_name: {description: Name., type: str}
    task_type: {description: "V(create), or V(create-dryrun) in check mode.", type: str}
    status: {description: "V(running), V(success) or V(failure).", type: str}
    stage: {description: "V(precheck), V(basebackup), V(startup) or V(increment).", type: str}
    replication_state: {description: "V(streaming), V(disconnect) or V(finish).", type: str}
    replication_info: {description: Reserved by the service., type: str}
    created: {description: "When it was created, UTC.", type: str}
    modified: {description: "When it last changed, UTC.", type: str}
    target_instance_id: {description: The DR instance., type: str}
    source_category: {description: Category of the source., type: str}
    source_address: {description: Address of the source., type: str}
    source_port: {description: Port of the source., type: int}
    source_region_id: {description: Region of the source instance., type: str}
    source_instance_name: {description: Id of the source instance., type: str}
    replicator_account: {description: Account of the replication., type: str}
    detail: {description: What the report says beside the checks., type: list, elements: str}
plan:
  description: The dry run. In check mode that of this run; else the one that O(dry_run_task_id) named.
  returned: always, null if there is none
  type: dict
  contains:
    task_id: {description: "Its id, for O(dry_run_task_id).", type: int}
    task_name: {description: Its name., type: str}
    status: {description: "V(success), or null if it was not waited for.", type: str}
    created: {description: "When it was created, UTC.", type: str}
    ended_link_task_id:
      description:
        - If not null, the DR instance had a link, created by this task, that was ended by a promotion or a deletion.
          Applying the plan would link it again, so a person should decide first.
      type: int
checks:
  description: The prechecks of the task, in the service's order.
  returned: always, empty if there is no report
  type: list
  elements: dict
  contains:
    id: {description: Stable id., type: str, sample: account_replication_privilege}
    section: {description: Section of the report., type: str, sample: Check source connectivity}
    check: {description: Name of the check., type: str, sample: Check account replication privilege}
    result: {description: "V(success), V(warning) or V(error).", type: str}
    note: {description: "What the service says about it; empty after success.", type: str}
    remedy: {description: "What to do about it; empty after success.", type: str}
timeline:
  description: Which stages the wait has seen.
  returned: always, empty if nothing was waited for
  type: list
  elements: dict
  contains:
    stage: {description: Stage., type: str}
    seen_after: {description: Seconds from the begin of the wait until it was first seen., type: float}
    seconds: {description: Seconds for which it was seen., type: float}
link:
  description: The link as it is, or in check mode as it would be.
  returned: always, null after most failures
  type: dict
  contains:
    dr_instance_id: {description: The DR instance., type: str}
    state:
      description: V(planned) in check mode, V(creating), V(streaming), V(disconnect), V(unknown) if the log is empty.
      type: str
    source_category: {description: Category of the source., type: str}
    source_address: {description: Address of the source., type: str}
    source_port: {description: Port of the source., type: int}
    source_instance_region_id: {description: Region of the source instance., type: str}
    source_instance_name: {description: Id of the source instance., type: str}
    replicator_account: {description: Account of the replication., type: str}
    lag:
      description: How far the DR instance is behind, if the service reports it.
      type: dict
      contains:
        bytes: {description: Bytes of WAL., type: int}
        seconds: {description: Seconds., type: float}
endpoint:
  description: The endpoint that was called.
  returned: always, null if the options did not lead to one
  type: str
  sample: https://rds.aliyuncs.com
credentials:
  description: The credentials that signed.
  returned: always, null if none were found
  type: dict
  contains:
    source: {description: Where they came from., type: str, sample: environment ALIBABA_CLOUD_ACCESS_KEY_ID}
    access_key_id: {description: Id of the access key., type: str}
retries:
  description: Which calls had to be repeated, and why.
  returned: always
  type: list
  elements: str
  sample: ["DescribeReplicationLinkLogs: Throttling.User"]
error:
  description: What went wrong, for a playbook to branch on.
  returned: failure
  type: dict
  contains:
    code: {description: "Code of the service, or of this collection.", type: str, sample: IncorrectDBInstanceState}
    message: {description: Message., type: str}
    http_status: {description: HTTP status., type: int}
    request_id: {description: "Request id, for a support ticket.", type: str}
    category:
      description:
        - What a person does next. One of V(fix_input), V(fix_source), V(fix_instance), V(fix_checks),
          V(fix_credentials), V(fix_network), V(fix_controller), V(grant_permission), V(settle_account),
          V(retry_later), V(decide), V(contact_support).
      type: str
    retryable: {description: Whether the same task can succeed later with nothing changed., type: bool}
    remedy: {description: What to do., type: str}
    outcome: {description: As RV(outcome)., type: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run_module


def main() -> None:
    run_module(AnsibleModule(**LINK.spec), LINK)


if __name__ == "__main__":
    main()
