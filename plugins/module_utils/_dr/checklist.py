# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a verification: their ids, sections and titles, and what to do where one has failed. Pure."""

from __future__ import annotations

import re

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import printable
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import Facts, quoted_name
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check

# One line a check, in the order of the report: id, section, what is checked. Below it, indented, what to do about it.
_TABLE = """
both_sides_reachable: Sides: Both sides answer
direct_session: Sides: Sessions are direct
    Give the server's own port in dr_link_postgres.instances: a promotion with a fence needs a direct session.
instance_status: Service: Instances are running and not locked
    Wait until the service has finished, or unlock the instance in the console.
link_state: Service: Link
split_brain: Sides: Only one side accepts writes
    Keep all clients away from {old}: stop it, or fence it. Do not rebuild it before its rows are compared with the
    other's.
source_is_primary: Sides: The source is a primary
    Find out which PostgreSQL accepts writes before you do anything else.
dr_is_standby: Sides: The DR instance is a standby
    Let no client write to it. Compare its rows with the source's, then rebuild the one that is not wanted.
same_system_identifier: Sides: Both are copies of one database
    These are not source and standby of one link. Correct the addresses in dr_link_postgres.instances.
same_standby: Sides: The standby is that of this link
    Correct host and port of "{key}" in dr_link_postgres.instances.
clock_difference: Sides: The clocks agree
    Have NTP set the clock that is wrong.
wal_sender: Replication: The primary sends WAL
    Read the log of the standby. If the WAL that it needs has been removed at the primary: playbook
    alicloud.rds.rebuild.
wal_receiver: Replication: The standby receives WAL
    Check that {source} runs, that its pg_hba.conf lets the replication in, that the password is right, and that the
    standby's storage is not full. If the primary no longer has the WAL: playbook alicloud.rds.rebuild.
receiver_silent: Replication: The standby hears from the primary
    Check {source} and the network between: a hung server still holds its connections.
parameter_sizes: Replication: The standby's parameters are large enough
    Raise {grow} at the DR instance and restart it. Do not resume replay before: PostgreSQL would shut down.
replay: Replication: The standby replays WAL
    At {standby}: SELECT pg_wal_replay_resume();
replay_blocked: Replication: No session blocks replay
    Let them end, or at {standby}: {terminate}
lag: Replication: Lag
    Wait until it has caught up. If it does not: see replay and replay_blocked, or a slow network.
synchronous_standbys: Replication: No commit waits for a missing standby
    {start}At {where}: ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf(); On RDS it is a
    parameter of the console.
slots_holding_wal: Replication: No slot holds WAL for nobody
    Start their consumers, or if they are not needed, at {primary}: {drop}
not_fenced: Fence: The primary lets clients write
    At {where}: {undo}
fence_possible: Fence: A fence is possible
    {grants}by a task file of your own: dr_link_fence_method=hook.
role_settings: Fence: No role or database overrides default_transaction_read_only
    off gets past a fence of method system, on stays after a promotion. At {primary}: {undo}
long_transactions: What a promotion ends: Long transactions
    A promotion ends them. Wait, or at {primary}: {terminate}
prepared_transactions: What a promotion ends: Prepared transactions
    At {primary}: {finish}
logical_slots: What a promotion ends: Logical replication slots
    Stop their consumers before a promotion, and create the slots again at the new primary.
subscriptions: What a promotion ends: Subscriptions
    Before a promotion, at {primary}: {disable} Never have them enabled at two copies.
unlogged_tables: What a promotion ends: Unlogged tables
    Where the rows matter, run what this returns in each database: SELECT format('ALTER TABLE %s SET LOGGED;',
    oid::regclass) FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r';
canary: Proof: A row is followed
"""
CHECKS = {
    row[0]: (row[1], row[2], " ".join(row[3].split()))
    for row in re.findall(r"(?m)^(\w+): ([^:\n]+): ([^\n]+)((?:\n    .*)*)", _TABLE)
}
CHECK_IDS = tuple(CHECKS)


def check(
    check_id: str, error: str = "", warning: str = "", fine: str = "", remedy: str | None = None, **names: str
) -> Check:
    """Return a check. Its remedy is that of the table with these names, unless another one is given."""
    section, title, known = CHECKS[check_id]
    if not (error or warning):
        return Check(check_id, section, title, "success", _line(fine), "")
    remedy = known.format(**names) if remedy is None else remedy
    return Check(check_id, section, title, "error" if error else "warning", _line(error or warning), _line(remedy))


def _line(text: str) -> str:
    """Return text as one line: a name at a server may hold what forges another one."""
    return printable(text).replace("\n", " ")


def blind(check_id: str, facts: Facts) -> Check:
    """Return the check of what the account may not see."""
    remedy = f"At the primary: GRANT pg_monitor TO {quoted_name(facts['user'])};"
    return check(check_id, warning="The account may not see it.", remedy=remedy)
