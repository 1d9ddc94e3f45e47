# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event source of Event-Driven Ansible: what changes at replication links. It reads, and never changes anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

DOCUMENTATION = r"""
name: replication_link_watch
short_description: Send an event when a replication link changes
version_added: 0.1.0
author:
  - alicloud.rds contributors (@alicloud-rds)
description:
  - Looks at one link or at hundreds in rounds, and sends an event when something has changed. It changes nothing.
  - The first event is a summary, also after a restart. It is sent when each link was read, at the latest after
    O(silent_after). What is as it was sends nothing.
  - A round that fails sends nothing and ends nothing. What cannot be read for O(silent_after) is one event, and so is
    that it can be read again.
  - "Types of events: C(summary); C(link_state) (none, creating, streaming, disconnect, unknown); C(instance_status) and
    C(instance_lock) of either end, in the words of the service; C(lag) (over, under); C(server) (PostgreSQL at either
    end: answering, silent, unusable); C(wal) (kept, removed: the primary has deleted what the standby needs);
    C(service) (readable, unreadable: by region, else by link); C(instances), when the instances found are others.
    C(server), C(wal) and exact lag need O(postgres)."
  - "Keys of every event: C(type), C(dr_instance_id), C(links) (the DR instances that it is about), C(instance_id),
    C(region_id), C(before), C(after), C(since) (UTC), C(problem) (whether it is not as it should be), C(message),
    C(checks) (those that failed, with remedies), C(error) (as of the modules, or null) and C(request_id). Of either end
    besides: C(role) (dr_instance, source) and C(address). A summary has C(states) and C(attention), C(lag) has
    C(lag_bytes) and C(limit), C(instances) has C(added) and C(removed)."
  - An event holds no secret.
options:
  dr_instance_id:
    description: Id of the DR instance, if it is one.
    type: str
  links:
    description:
      - The links, as of M(alicloud.rds.replication_link_verify). C(dr_instance_id) and C(connection) count.
    type: list
    elements: dict
  regions:
    description:
      - Regions in which to find the links. All PostgreSQL instances there, or those that pass O(filters), are watched.
      - If only O(filters) is given, the region is O(region_id), or what the environment says.
    type: list
    elements: str
  filters:
    description: Filters of C(DescribeDBInstances), as of P(alicloud.rds.rds_instances#inventory), for example C(Tags).
    type: dict
  interval:
    description: Seconds from the begin of one round to the next. A round that takes longer is followed at once.
    type: float
    default: 60.0
  lag_for:
    description: Seconds for which lag must stay over O(max_lag_bytes).
    type: float
    default: 60.0
  silent_after:
    description: Seconds after which a service or server that does not answer is an event.
    type: float
    default: 300.0
  reads_per_second:
    description: The most calls of the RDS API in a second, in all regions. A link takes two, with an RDS source three.
    type: float
    default: 10.0
  concurrency:
    description: Links that are looked at side by side.
    type: int
    default: 8
  max_lag_bytes:
    description: Bytes of lag that are too many. At half of it, lag is under the limit again.
    type: int
    default: 16777216
  skip_checks:
    description: Ids of checks that are left out of events.
    type: list
    elements: str
    default: []
  postgres:
    description:
      - How to log in at either end, as of M(alicloud.rds.replication_link_verify). No row is written.
      - If not given, PostgreSQL is not asked, and lag is what the service reports, which may be nothing.
    type: dict
  connection:
    description: The options below as one dictionary, as of the modules.
    type: dict
extends_documentation_fragment:
  - alicloud.rds._connection
requirements:
  - ansible-core >= 2.18, for the Python that runs ansible-rulebook
  - requests >= 2.28
  - psycopg >= 3.1 (with O(postgres))
notes:
  - Needs the RAM actions C(rds:DescribeDBInstanceAttribute) and C(rds:DescribeReplicationLinkLogs), and
    C(rds:DescribeDBInstances) to find links.
"""

EXAMPLES = r"""
# One link, both servers asked. Key and region are taken from the environment.
- alicloud.rds.replication_link_watch:
    dr_instance_id: pgm-uf6wjk5xexample
    postgres:
      login_user: dr_monitor
      login_password: "{{ dr_monitor_password }}"

# All instances with a tag in two regions, every two minutes.
- alicloud.rds.replication_link_watch:
    regions: [cn-shanghai, cn-hangzhou]
    filters:
      Tags: {purpose: dr}
    profile: auditor
    interval: 120
"""

# ansible-rulebook runs this file by its path: nothing has made the collection importable.
_ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 7))
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.watching import Watch


async def main(queue: asyncio.Queue[Any], args: dict[str, Any]) -> None:
    """Put what changes into the queue, for ever.

    :raises RdsError: if an option is wrong
    """
    loop, watch = asyncio.get_running_loop(), await _aside(lambda: Watch(args))
    try:
        while True:
            begun = loop.time()
            for event in await _aside(watch.round):
                await queue.put(event)
            await asyncio.sleep(max(0.0, watch.interval - (loop.time() - begun)))
    finally:
        watch.stop()


async def _aside(function: Callable[[], Any]) -> Any:
    """Run a function in a thread that nobody waits for at the end, as of asyncio.to_thread it would be."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:  # it is raised where the result is awaited
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, daemon=True).start()
    return await future
