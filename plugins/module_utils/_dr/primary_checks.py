# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the primary of a link: what it sends, a fence, what a promotion ends, a row that was followed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr import facts as meaning
from ansible_collections.alicloud.rds.plugins.module_utils._dr.checklist import blind, check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import (
    Facts,
    people,
    quoted_name,
    quoted_table,
    quoted_text,
    terminate,
)
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import Canary, End, Problem, Seen


def of_primary(seen: Seen) -> Iterator[Check]:
    """Judge the primary of a link: what it sends, whether it can be fenced, what a promotion ends, the row followed."""
    end = seen.primary
    if end is None or not end.facts or seen.link_state == "none":
        return
    facts = end.facts
    is_standby = f"{end.name} is a standby itself (pg_is_in_recovery() is true)." if facts["standby"] else ""
    yield check("source_is_primary", is_standby)
    if is_standby:
        return
    yield _wal_sender(seen, facts, end)
    yield _synchronous(seen, facts, end)
    yield _idle_slots(facts, end)
    yield _not_fenced(seen, facts, end)
    yield _fence_possible(facts, end)
    yield _role_settings(facts, end)
    yield from _what_ends(seen, facts, end)
    yield from _canary(seen, facts, end)


def _wal_sender(seen: Seen, facts: Facts, end: End) -> Check:
    if not facts["monitor"]:
        return blind("wal_sender", facts)
    account = f" as {seen.account}" if seen.account else ""
    states = [str(each["state"]) for each in facts["senders"] or [] if seen.account in (None, each["user"])]
    others = f", only one in state {', '.join(states)}" if states else ""
    text = "" if "streaming" in states else f"{end.name} has no standby that streams{account}{others}."
    return check("wal_sender", text, fine=f"streaming{account}")


def _synchronous(seen: Seen, facts: Facts, end: End) -> Check:
    names, standby = facts["synchronous_standby_names"], seen.standby.facts
    if names and not facts["monitor"]:
        return blind("synchronous_standbys", facts)
    if meaning.lacks_synchronous(facts):
        # Elsewhere the setting may be another one: a role's, a session's.
        is_waited_for = facts["synchronous_commit"] not in ("off", "local")
        sessions = "Each COMMIT" if is_waited_for else "Where synchronous_commit is on, each COMMIT"
        text = f"{sessions} at {end.name} waits without end: synchronous_standby_names is {quoted_text(names)}, and "
        text += "not enough of these standbys are connected."
        error, warning = (text, "") if is_waited_for else ("", text)
        start = "Start that standby, or give the names up. "
        return check("synchronous_standbys", error, warning, start=start, where=end.name)
    later = standby["synchronous_standby_names"] if standby else ""
    text = f"As a primary, {seen.standby.name} would wait in each COMMIT for {quoted_text(later)}."
    return check("synchronous_standbys", warning=text if later else "", start="", where=seen.standby.name)


def _idle_slots(facts: Facts, end: End) -> Check:
    slots = [slot for slot in facts["slots"] or [] if not slot["active"]]
    idle = [slot for slot in slots if slot["held"] or slot["status"] in ("lost", "unreserved")]
    listed = ", ".join(f"{slot['name']} ({slot['held'] or 0} bytes, {slot['status'] or 'inactive'})" for slot in idle)
    text = f"Nobody reads the slots that hold WAL at {end.name}: {listed}." if idle else ""
    drop = " ".join(f"SELECT pg_drop_replication_slot({quoted_text(slot['name'])});" for slot in idle)
    return check("slots_holding_wal", warning=text, primary=end.name, drop=drop)


def _not_fenced(seen: Seen, facts: Facts, end: End) -> Check:
    """Judge whether clients may write at the primary now, and at the standby as a primary."""
    closed = [each["name"] for each in meaning.user_databases(facts) if not each["open"]]
    is_read_only, name, record = meaning.is_read_only(facts), end.name, facts["fence"]
    if record:
        text = f"{name} has a fence of method {record['method']} since {record['since']} (run {record['run']})."
        return check("not_fenced", text, remedy="If no failover is under way: playbook alicloud.rds.unfence.")
    if is_read_only or closed:
        reopen = [f"ALTER DATABASE {quoted_name(each)} ALLOW_CONNECTIONS true;" for each in closed]
        if facts["read_only"] and reopen:
            reopen[0] = meaning.WRITABLE + reopen[0]
        undo = " ".join(reopen + [_writable(facts)] * is_read_only)
        text = f"{name} has default_transaction_read_only = on ({facts['read_only_source']})." if is_read_only else ""
        if closed:
            text = f"{text} {name} accepts no connections to {', '.join(closed)}: they may be fenced.".lstrip()
        error, warning = (text, "") if meaning.is_shut(facts) else ("", text)
        return check("not_fenced", error, warning, where=name, undo=undo)
    if facts["read_only"]:
        return _own_read_only(facts, end)
    later = seen.standby.facts if seen.standby.facts and meaning.is_read_only(seen.standby.facts) else None
    text = f"{seen.standby.name} has default_transaction_read_only = on, and would keep it as a primary."
    undo = _writable(later) if later else ""
    return check("not_fenced", warning=text if later else "", where=seen.standby.name, undo=undo)


def _writable(facts: Facts) -> str:
    """Return what makes a read-only server writable: it depends on where the setting comes from."""
    if facts["read_only_source"] == "global":
        return meaning.WRITABLE + meaning.reset({"role": None, "database": None})
    if facts["read_only_source"] == "command line":
        return "restart it without default_transaction_read_only in its command line."
    return (
        "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); If it is still on, it is set in "
        "postgresql.conf: remove it there."
    )


def _own_read_only(facts: Facts, end: End) -> Check:
    """Say that the sessions of the account that asks are read-only, and nobody else's may be."""
    source = facts["read_only_source"]
    row = {
        "role": facts["user"] if "user" in source else None,
        "database": facts["database"] if "database" in source else None,
    }
    if not any(row.values()):
        text = f"The sessions of {facts['user']} at {end.name} are read-only, as their own options say."
        return check("not_fenced", warning=text, remedy="Remove default_transaction_read_only from PGOPTIONS.")
    text = f"At {end.name} default_transaction_read_only is on for {meaning.whose(row)}, which is used here."
    return check("not_fenced", warning=text, where=end.name, undo=meaning.WRITABLE + meaning.reset(row))


def _fence_possible(facts: Facts, end: End) -> Check:
    methods = meaning.fence_methods(facts)
    obstacles = {name: f"{name}: {'; '.join(methods[name])}" for name in ("database", "system") if methods[name]}
    if "database" not in obstacles:
        return check("fence_possible", fine="database")
    if "system" not in obstacles:
        return check("fence_possible", fine=f"system ({obstacles['database']})")
    text = f"No fence of ours works at {end.name}. {' '.join(f'Method {each}.' for each in obstacles.values())}"
    user = quoted_name(facts["user"])
    foreign = [each for each in meaning.foreign_databases(facts) if each["name"] != "postgres"]
    owners = dict.fromkeys(each["owner"] for each in foreign if not each["of_superuser"])
    grants = [f"GRANT {quoted_name(owner)} TO {user};" for owner in owners]
    # A member of a superuser is one.
    given = [quoted_name(each["name"]) for each in foreign if each["of_superuser"]]
    grants += [f"ALTER DATABASE {name} OWNER TO {user};" for name in given]
    grants += [f"GRANT pg_signal_backend TO {user};"] * (not facts["signal"])
    start = "" if facts["fence_table"] else "playbook alicloud.rds.prepare_source. "
    sql_text = f"{start}At {end.name}: {' '.join(grants)} Or fence " if grants else f"{start}Fence "
    return check("fence_possible", warning=text, grants=sql_text)


def _role_settings(facts: Facts, end: End) -> Check:
    read_only = meaning.read_only_settings(facts, True)
    rows = [*meaning.read_only_settings(facts, False), *read_only]
    text = f"{end.name}: " + "; ".join(f"{meaning.whose(row)} sets {row['setting']}" for row in rows) + "."
    undo = (meaning.WRITABLE if read_only else "") + " ".join(meaning.reset(row) for row in rows)
    return check("role_settings", warning=text if rows else "", primary=end.name, undo=undo)


def _what_ends(seen: Seen, facts: Facts, end: End) -> Iterator[Check]:
    if facts["monitor"]:
        long = facts["long_transactions"] or []
        text = f"Open for more than five minutes: {people(long)}." if long else ""
        yield check("long_transactions", warning=text, primary=end.name, terminate=terminate(long))
    else:
        yield blind("long_transactions", facts)
    prepared = facts["prepared"] or []
    listed = ", ".join(f"{row['gid']} (database {row['database']}, {row['owner']})" for row in prepared)
    text = f"Prepared: {listed}. They hold their locks, at the new primary, too." if prepared else ""
    sql_text = "in database {}: COMMIT PREPARED {}; or ROLLBACK PREPARED {};"
    finish = " ".join(sql_text.format(quoted_name(row["database"]), *[quoted_text(row["gid"])] * 2) for row in prepared)
    yield check("prepared_transactions", warning=text, primary=end.name, finish=finish)
    yield _logical_slots(seen, facts)
    enabled = facts["subscriptions"] or []
    listed = ", ".join(f"{row['name']} (database {row['database']})" for row in enabled)
    text = f"Enabled: {listed}. They start at a promoted copy." if enabled else ""
    sql_text = "in database {}: ALTER SUBSCRIPTION {} DISABLE;"
    disable = " ".join(sql_text.format(quoted_name(row["database"]), quoted_name(row["name"])) for row in enabled)
    yield check("subscriptions", warning=text, primary=end.name, disable=disable)
    yield _unlogged(facts)


def _logical_slots(seen: Seen, facts: Facts) -> Check:
    """Judge the slots of the primary. Which of them are synchronized, the standby knows (PostgreSQL 17 and newer)."""
    names = [slot["name"] for slot in facts["slots"] or [] if slot["type"] == "logical"]
    there = (seen.standby.facts["slots"] if seen.standby.facts else None) or []
    synced = {slot["name"] for slot in there if slot["synced"] and slot["status"] != "lost"}
    lost = ", ".join(name for name in names if name not in synced)
    kept = ", ".join(name for name in names if name in synced)
    text = f"{lost}: not carried over to the new primary." if lost else ""
    return check("logical_slots", warning=text, fine=f"synchronized: {kept}" if kept else "")


def _unlogged(facts: Facts) -> Check:
    contents: Mapping[str, Any] = facts.get("contents", {})
    counts = {name: row["unlogged"] for name, row in contents.items() if isinstance(row, Mapping)}
    found = ", ".join(f"{count} in {name}" for name, count in counts.items() if count)
    unseen = [each["name"] for each in meaning.user_databases(facts) if each["open"] and each["name"] not in counts]
    hint = f"not seen: {', '.join(unseen)}" if unseen else ""
    text = f"Unlogged tables are empty after a promotion: {found}{hint and f'; {hint}'}." if found else ""
    return check("unlogged_tables", warning=text, fine=hint)


def _canary(seen: Seen, facts: Facts, end: End) -> Iterator[Check]:
    table, rights = seen.canary_table, facts["canary"]
    where, at = f"{table} in database {facts['database']}", f"At {end.name}, in database {facts['database']}:"
    if rights is None:
        text = f"{end.name} has no table {where}, so no row was followed."
        yield check("canary", warning=text, remedy="playbook alicloud.rds.prepare_source")
    elif rights["persistence"] != "p":
        text = f"{where} is unlogged: its rows never reach a standby."
        yield check("canary", text, remedy=f"{at} ALTER TABLE {quoted_table(table)} SET LOGGED;")
    elif not (rights["insert"] and rights["select"]):
        missing = " and ".join(right.upper() for right in ("insert", "select") if not rights[right])
        remedy = f"{at} GRANT SELECT, INSERT, DELETE ON {quoted_table(table)} TO {quoted_name(facts['user'])};"
        yield check("canary", warning=f"{facts['user']} has no privilege {missing} on {where}.", remedy=remedy)
    elif seen.canary is not None:
        hint = f"{at} ALTER TABLE {quoted_table(table)} DISABLE ROW LEVEL SECURITY;" if rights["row_security"] else ""
        yield _followed(seen.canary, where, end.name, seen.standby.name, hint)


def _followed(row: Canary, where: str, primary: str, standby: str, hint: str) -> Check:
    security = " Row security is on for this table, and may hide rows." if hint else ""
    notes = []
    if row.write_problem:
        notes.append(f"No row could be written to {where} at {primary}: {_problem(row.write_problem)}")
    if row.read_problem:
        notes.append(f"The row could not be read from {where} at {standby}: {_problem(row.read_problem)}")
    if notes:
        is_read_only = row.write_problem and row.write_problem.sqlstate == "25006"
        remedy = "See not_fenced." if is_read_only else hint or "Correct what the message names: it is PostgreSQL's."
        return check("canary", " ".join(notes) + security, remedy=remedy)
    if row.seconds is None:
        text = f"A row written to {where} at {primary} was not seen at {standby} after {row.patience:g} s.{security}"
        return check("canary", text, remedy=f"See lag and replay. {hint}".rstrip())
    return check("canary", fine=f"a row written at {primary} was read at {standby} after {row.seconds:g} s")


def _problem(problem: Problem) -> str:
    return problem.text.rstrip(".") + (f", SQLSTATE {problem.sqlstate}." if problem.sqlstate else ".")
