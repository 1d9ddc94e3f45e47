# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts of PostgreSQL servers mean (postgres.facts_of returns them), and names as SQL has them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import MAINTENANCE

Facts = Mapping[str, Any]
Row = Mapping[str, Any]

# A standby does not replay, or not start, if one of these is smaller than at its primary.
SIZES = (
    *("max_connections", "max_worker_processes", "max_wal_senders"),
    *("max_prepared_transactions", "max_locks_per_transaction"),
)
# Where a setting comes from that holds for the account or its session, and not for the server.
_PERSONAL = ("user", "database", "database user", "client", "session")
# What a session needs that is to change a role or a database while the server is read-only.
WRITABLE = "SET default_transaction_read_only = off; "
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
_COUNT = re.compile(r"\s*(?:first\s+|any\s+)?(\d+)\s*\(", re.IGNORECASE)


def position(facts: Facts) -> int:
    """Return the end of what was written, in bytes of WAL.

    At the start of a page or segment the insert position is behind a header that was not written yet (24 and 40 bytes).
    """
    at: int = facts["position"]
    if not facts["standby"]:
        if at % facts["segment_size"] == 40:
            return at - 40
        if at % facts["block_size"] == 24:
            return at - 24
    return at


def lag(primary: Facts | None, standby: Facts | None) -> int | None:
    """Return how far replay is behind, in bytes. None where these are not primary and standby of one database."""
    if not primary or not standby or primary["standby"] or not standby["standby"] or standby["position"] is None:
        return None
    if primary["system_identifier"] != standby["system_identifier"]:
        return None
    return max(0, position(primary) - position(standby))


def is_same_server(one: Facts, other: Facts) -> bool:
    """Whether two logins lead to one server: no two servers start in the same microsecond."""
    return bool(one["started"] == other["started"] and one["standby"] == other["standby"])


def is_removed(primary: Facts, standby: Facts) -> bool:
    """Whether the primary has deleted the WAL that the standby needs. A file is named timeline, log, segment."""
    name, size = primary.get("oldest_wal"), primary["segment_size"]
    got = max(standby["received_position"] or 0, standby["position"] or 0)
    if not name or not got:
        return False
    oldest = int(name[8:16], 16) * (2**32 // size) + int(name[16:], 16)
    return bool(got // size < oldest)


def too_small(primary: Facts, standby: Facts) -> dict[str, tuple[int, int]]:
    """Return the parameters of a standby that are smaller than its primary's: name -> its own, the primary's."""
    pairs = {name: (standby["sizes"][name], primary["sizes"][name]) for name in SIZES}
    return {name: (own, wanted) for name, (own, wanted) in pairs.items() if own < wanted}


def lacks_synchronous(facts: Facts) -> bool:
    """Whether fewer standbys are synchronous than `synchronous_standby_names` wants. ``pg_monitor`` sees it."""
    names = facts["synchronous_standby_names"]
    found = _COUNT.match(names)
    there = [each for each in facts["senders"] or [] if each["sync"] in ("sync", "quorum")]
    return bool(names) and len(there) < (int(found[1]) if found else 1)


def is_read_only(facts: Facts) -> bool:
    """Whether the server is read-only, not only the sessions of a role or a database."""
    return bool(facts["read_only"]) and facts["read_only_source"] not in _PERSONAL


def user_databases(facts: Facts) -> list[Row]:
    """Return the databases that clients may use: no templates, and not the maintenance database."""
    own = {MAINTENANCE, facts["database"]} if facts["fence_table"] else {MAINTENANCE}
    return [each for each in facts["databases"] if not each["template"] and each["name"] not in own]


def databases_to_shut(facts: Facts) -> list[str]:
    """Return the open databases that a fence shuts: all but the maintenance database, and `postgres` if it is empty."""
    names = [each["name"] for each in user_databases(facts) if each["open"]]
    return [name for name in names if not (name == "postgres" and _is_empty(facts, name))]


def is_shut(facts: Facts) -> bool:
    """Whether clients cannot write at this server: what a fence leaves."""
    closed = [each for each in user_databases(facts) if not each["open"]]
    return is_read_only(facts) or (bool(closed) and not databases_to_shut(facts))


def foreign_databases(facts: Facts) -> list[Row]:
    """Return the open databases that a fence of this account could not close."""
    names = [] if facts["superuser"] else databases_to_shut(facts)
    return [each for each in facts["databases"] if each["name"] in names and not each["mine"]]


def fence_methods(facts: Facts) -> dict[str, list[str]]:
    """Return for each method of a fence what prevents it at this primary, in sentences; empty: it will work."""
    superuser, user = facts["superuser"], facts["user"]
    owners = [f"{each['name']} belongs to {each['owner']}" for each in foreign_databases(facts)]
    table = [] if facts["fence_table"] else ["there is no table dr_link_fence (playbook alicloud.rds.prepare_source)"]
    sessions = [] if superuser or facts["signal"] else [f"{user} is no member of pg_signal_backend"]
    if not superuser and facts["superuser_sessions"]:
        sessions.append(f"sessions of superusers cannot be ended ({people(facts['superuser_sessions'])})")
    system = [] if superuser or facts["alter_system"] else [f"{user} may not ALTER SYSTEM"]
    system += [] if facts["allow_alter_system"] else ["allow_alter_system is off"]
    where = f"in database {facts['database']}"  # the right on a function is one of its database
    system += [] if facts["reload"] else [f"{facts['user']} may not call pg_reload_conf() {where}"]
    system += [f"{whose(row)} sets {row['setting']}" for row in read_only_settings(facts, False)]
    return {"database": table + owners + sessions, "system": table + system + sessions, "hook": table}


def read_only_settings(facts: Facts, value: bool) -> list[Row]:
    """Return the settings of roles and databases that set `default_transaction_read_only` to a value."""
    return [row for row in facts["role_settings"] or [] if _boolean(row["setting"].partition("=")[2]) is value]


def _boolean(text: str) -> bool | None:
    """Return a value as PostgreSQL reads it: any beginning of true, yes, false and no, and on, off, 1, 0."""
    word = text.strip().lower()
    if word in ("on", "1") or (word and any(each.startswith(word) for each in _TRUE)):
        return True
    if word in ("off", "of", "0") or (word and any(each.startswith(word) for each in _FALSE)):
        return False
    return None


def whose(row: Row) -> str:
    """Return for whom a setting holds: a role, a database, or both."""
    parts = [f"role {row['role']}"] * bool(row["role"]) + [f"database {row['database']}"] * bool(row["database"])
    return " in ".join(parts) or "every role"


def reset(row: Row) -> str:
    """Return the statement that takes back `default_transaction_read_only` for a role, a database, or both."""
    if row["database"] and not row["role"]:
        target = f"DATABASE {quoted_name(row['database'])}"
    else:
        within = f" IN DATABASE {quoted_name(row['database'])}" if row["database"] else ""
        target = f"ROLE {quoted_name(row['role']) if row['role'] else 'ALL'}{within}"
    return f"ALTER {target} RESET default_transaction_read_only;"


def people(sessions: Sequence[Row]) -> str:
    """Return sessions as they are said to people."""
    return ", ".join(
        f"pid {each['pid']} ({each['user']}, {each['name'] or 'no application name'})" for each in sessions
    )


def terminate(sessions: Sequence[Row]) -> str:
    """Return the statements that end sessions."""
    return " ".join(f"SELECT pg_terminate_backend({each['pid']});" for each in sessions)


def quoted_name(name: str) -> str:
    """Return a name as SQL has it: always quoted, since `order` and `user` are names, too."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """Return the name of a table, with its schema if it has one, as SQL has it."""
    return ".".join(map(quoted_name, name.split(".")))


def quoted_text(text: str) -> str:
    """Return text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _is_empty(facts: Facts, database: str) -> bool:
    inside = facts.get("contents", {}).get(database)
    return isinstance(inside, Mapping) and not inside["tables"]
