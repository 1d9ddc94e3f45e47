# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a link that one module has once, and another for each entry of a list."""

from __future__ import annotations

from ansible_collections.alicloud.rds.plugins.doc_fragments._connection import ModuleDocFragment as Connection


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  source_category:
    description:
      - What the source is (C(SourceCategory)). V(aliyunRDS) for an ApsaraDB RDS instance, V(other) for anything else.
    type: str
    choices: [other, aliyunRDS]
    default: other
  source_address:
    description:
      - Host name or IP address of the source (C(SourceAddress)), as the DR instance reaches it.
      - Required if O(source_category=other). With V(aliyunRDS) it must be an endpoint of that instance.
    type: str
  source_port:
    description:
      - Port of the source (C(SourcePort)). V(5432) if O(source_address) is given and this is not.
    type: int
  source_instance_region_id:
    description:
      - Region of the source instance (C(SourceInstanceRegionId)). Required if O(source_category=aliyunRDS).
    type: str
  source_instance_name:
    description:
      - Id of the source instance (C(SourceInstanceName)). Required if O(source_category=aliyunRDS).
    type: str
  replicator_account:
    description:
      - Account at the source that the replication uses (C(ReplicatorAccount)).
      - It needs C(LOGIN), C(REPLICATION) and C(CREATEROLE), and membership of C(pg_monitor).
    type: str
  replicator_password:
    description:
      - Password of that account (C(ReplicatorPassword)). It is never returned, and never compared.
    type: str
  wait:
    description:
      - Whether to wait until data is streaming, or in check mode for the verdict of the prechecks. If V(false), the
        task ends when the service has accepted the request, and running it again continues the wait; in check mode
        with C(dry_run_task_id) set to the C(plan) that was started.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait. The base backup of a large source takes hours. After a time-out the work goes on at the
        service, and running the task again resumes the wait.
    type: float
    default: 3600.0
  wait_interval:
    description:
      - Longest pause between two polls, in seconds. Polls are more frequent at first.
    type: float
    default: 30.0
  settle_timeout:
    description:
      - Seconds to search for the new task after the reply to a creating request was lost. The request is not repeated.
    type: float
    default: 30.0
"""

    FORMER_SOURCE = r"""
options:
  source_category:
    description:
      - The source of a link that no longer exists. While the link exists, the service reports it.
    type: str
    choices: [other, aliyunRDS]
  source_address:
    description:
      - Host name or IP address of that source.
    type: str
  source_port:
    description:
      - Port of that source.
    type: int
  source_instance_region_id:
    description:
      - Region of that source, if it is an RDS instance.
    type: str
  source_instance_name:
    description:
      - Id of that source, if it is an RDS instance.
    type: str
"""

    OWN = r"""
options:
  dr_instance_id:
    description:
      - Id of the DR instance (C(DBInstanceId)). It must be a running, unlocked, empty, primary RDS PostgreSQL instance.
    type: str
    required: true
  task_name:
    description:
      - Name of the task (C(TaskName)).
      - If not given, a name that depends on the DR instance and the source alone, so that a task is recognised later.
    type: str
  dry_run_task_id:
    description:
      - Id of a successful dry run (C(TaskId)), as returned in C(plan) by a run in check mode. The link is created as
        it was checked there.
      - It is verified first. A dry run that failed, or that was for another DR instance or source, is refused.
      - A plan is applied once. If the task that applied it failed, that failure is reported again.
      - In check mode no new dry run is started, and the verdict of this one is reported.
      - Ignored if the link exists.
    type: int
"""


# The same for an entry of a list, which has no defaults of its own, and may say how to reach its region.
# Outside of the class: ansible-test reads plain text inside it.
_own, _shared, _connection = (
    text.partition("options:\n")[2]
    for text in (ModuleDocFragment.OWN, ModuleDocFragment.DOCUMENTATION, Connection.AS_DICTIONARY)
)
_lines = (_own + _shared.partition("  settle_timeout:\n")[0] + _connection).splitlines(keepends=True)
ModuleDocFragment.ENTRIES = """
options:
  links:
    description:
      - The links, each with the options of M(alicloud.rds.replication_link). What an entry leaves out is taken from the
        option of the same name beside the list; C(connection) of an entry adds to the options beside it.
    type: list
    elements: dict
    required: true
    suboptions:
""" + "".join(f"    {line}" for line in _lines if line.strip() and not line.startswith("    default:"))
# The same where one link may be described beside the list instead.
ModuleDocFragment.OPTIONAL_ENTRIES = ModuleDocFragment.ENTRIES.replace(
    "    required: true\n    suboptions", "    suboptions"
).replace("O(replicator_account)", "C(replicator_account)")
# The options that say what the source is.
ModuleDocFragment.SOURCE = f"\noptions:\n{_shared.partition('  replicator_account:')[0]}"
