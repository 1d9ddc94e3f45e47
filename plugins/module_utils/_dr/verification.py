# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service and both PostgreSQL servers report about a link, as checks. Pure: facts in, checks out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import MAINTENANCE, Canary, End, Problem, Seen

# One line a check, in the order of the report: id, section, what is checked. Below it, indented, what to do about it.
_TABLE = """
both_sides_reachable: Sides: Both sides answer
direct_session: Sides: Sessions are direct
    Give the server's own port in dr_link_postgres.instances: a promotion needs a direct session.
instance_status: Service: Instances are running and not locked
    Wait until the service has finished, or unlock the instance in the console.
link_state: Service: Link
split_brain: Sides: Only one side accepts writes
    Keep all clients away from {old}: stop it, or fence it. Compare its rows with the other's before any are deleted.
source_is_primary: Sides: The source is a primary
    Find out which PostgreSQL accepts writes before you do anything else.
dr_is_standby: Sides: The DR instance is a standby
    Let no client write to it. Compare its rows with the source's, then rebuild the one that is not wanted.
same_system_identifier: Sides: Both are copies of one database
    These are not source and standby of one link. Correct the addresses in dr_link_postgres.instances.
same_standby: Sides: The standby is that of this link
    Correct host and port of {key} in dr_link_postgres.instances.
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
    Raise {grow} at the DR instance and restart it. Do not resume replay: PostgreSQL would shut down.
replay: Replication: The standby replays WAL
    At {standby}: SELECT pg_wal_replay_resume();
replay_blocked: Replication: No session blocks replay
    Let them end, or at {standby}: {terminate}
lag: Replication: Lag
    Wait until it has caught up. If it does not: see replay and replay_blocked, or a slow network.
synchronous_standbys: Replication: No commit waits for a missing standby
    At {where}: ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf(); On RDS it is a parameter of
    the console.
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
    In each database: COMMIT PREPARED 'gid'; or ROLLBACK PREPARED 'gid';
logical_slots: What a promotion ends: Logical replication slots
    Stop their consumers before a promotion, and create the slots again at the new primary.
subscriptions: What a promotion ends: Subscriptions
    Before a promotion, in each database: ALTER SUBSCRIPTION name DISABLE; never have them enabled at two copies.
unlogged_tables: What a promotion ends: Unlogged tables
    Where the rows matter: ALTER TABLE name SET LOGGED;
canary: Proof: A row is followed
"""
_CHECKS = {
    row[0]: (row[1], row[2], " ".join(row[3].split()))
    for row in re.findall(r"(?m)^(\w+): ([^:\n]+): ([^\n]+)((?:\n    .*)*)", _TABLE)
}
CHECK_IDS = tuple(_CHECKS)
MAX_LAG_BYTES = 16 * 1024 * 1024
_SIZES = (
    *("max_connections", "max_worker_processes", "max_wal_senders"),
    *("max_prepared_transactions", "max_locks_per_transaction"),
)
_CLOCK_SECONDS = 2.0
_SILENT_SECONDS, _TOO_SILENT_SECONDS = 60, 300
Facts = Mapping[str, Any]


def checks(seen: Seen, max_lag_bytes: int = MAX_LAG_BYTES, skip: Collection[str] = ()) -> list[Check]:
    """Return the checks in the order of `CHECK_IDS`. What cannot be judged, since a side does not answer, is left out.

    :param skip: ids that are left out
    """
    found = [*_of_service(seen), *_of_both(seen), *_of_primary(seen), *_of_standby(seen)]
    found += _lag(seen, max_lag_bytes)
    return sorted((check for check in found if check.id not in skip), key=lambda check: CHECK_IDS.index(check.id))


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


def lag_bytes(seen: Seen) -> int | None:
    """Return how far the standby's replay is behind, None where that is not known."""
    primary, standby = _facts(seen)
    if not primary or not standby or primary["standby"] or not standby["standby"] or standby["position"] is None:
        return None
    return max(0, position(primary) - position(standby))


def fence_methods(facts: Facts) -> dict[str, list[str]]:
    """Return for each method of a fence what prevents it at this primary, in sentences; empty: it will work."""
    superuser = facts["superuser"]
    known = {each["name"]: each for each in facts["databases"]}
    foreign = [known[name] for name in databases_to_shut(facts) if not known[name]["mine"] and not superuser]
    owners = [f"{each['name']} belongs to {each['owner']}" for each in foreign]
    table = [] if facts["fence_table"] else ["there is no table dr_link_fence (playbook alicloud.rds.prepare_source)"]
    sessions = [] if superuser or facts["signal"] else [f"{facts['user']} is no member of pg_signal_backend"]
    if not superuser and facts["superuser_sessions"]:
        sessions.append(f"sessions of superusers cannot be ended ({people(facts['superuser_sessions'])})")
    system = [] if superuser or facts["alter_system"] else [f"{facts['user']} may not ALTER SYSTEM"]
    system += [] if facts["allow_alter_system"] else ["allow_alter_system is off"]
    system += [f"{_whose(row)} sets default_transaction_read_only=off" for row in _overrides(facts, "off")]
    return {"database": table + owners + sessions, "system": table + system + sessions, "hook": table}


def databases_to_shut(facts: Facts) -> list[str]:
    """Return the open databases that a fence shuts: all but the maintenance database, and `postgres` if it is empty."""
    names = [each["name"] for each in _user_databases(facts) if each["open"]]
    return [name for name in names if not (name == "postgres" and _is_empty(facts, name))]


def is_shut(facts: Facts) -> bool:
    """Whether no user database accepts connections, or the server is read-only: what a fence leaves."""
    users = [each for each in _user_databases(facts) if each["name"] != "postgres"]
    return bool(facts["read_only"]) or (bool(users) and not any(each["open"] for each in users))


# -- the service -------------------------------------------------------------------------------------------------------


def _of_service(seen: Seen) -> Iterator[Check]:
    ends = [end for end in (seen.primary, seen.standby) if end is not None]
    wrong = [f"{end.name} is {end.status}" for end in ends if end.status not in (None, "Running")]
    wrong += [f"{end.name} is locked: {end.lock_mode}" for end in ends if end.lock_mode not in (None, "Unlock")]
    wrong += [end.unread for end in ends if end.unread]
    yield _check("instance_status", ", ".join(wrong))
    yield _link_state(seen)


def _link_state(seen: Seen) -> Check:
    name, state = seen.dr_instance_id, seen.link_state
    if state == "none":
        others = f"; it is the primary of {seen.primary_of}" if seen.primary_of else ""
        text = f"{name} has no link{others}. Its status is {seen.standby.status}."
        remedy = (
            "The roles have changed: set dr_link_dr_instance_id to the DR instance of today."
            if others
            else "If it was promoted, it is a primary of its own: protect it by a new link onto an empty instance "
            "(playbook alicloud.rds.replication_link)."
        )
        return _check("link_state", error=text, remedy=remedy)
    if state == "creating":
        return _check("link_state", "The service calls the link creating.", remedy="Wait until the link is made.")
    see = "See wal_sender and wal_receiver."
    if state == "disconnect":
        remedy = f"{see} If the link does not come back by itself: playbook alicloud.rds.rebuild."
        return _check("link_state", "The service calls the link disconnect.", remedy=remedy)
    _primary, standby = _facts(seen)
    if state == "unknown" and not (standby and (standby["receiver"] or {}).get("status") == "streaming"):
        return _check("link_state", warning="The service does not report whether the link streams.", remedy=see)
    return _check("link_state", fine="streaming" if state == "streaming" else "streaming, as PostgreSQL reports")


# -- both sides --------------------------------------------------------------------------------------------------------


def _of_both(seen: Seen) -> Iterator[Check]:
    yield from _reachable(seen)
    primary, standby = _facts(seen)
    pooled = [end.name for end in _ends(seen) if end.facts and not end.facts["direct"]]
    if primary or standby:
        yield _check("direct_session", warning=f"A pooler answers for {' and '.join(pooled)}." if pooled else "")
    if not primary or not standby or seen.primary is None:
        return
    one, two = seen.primary.name, seen.standby.name
    same = primary["system_identifier"] == standby["system_identifier"]
    yield from _split_brain(seen, primary, standby, same)
    if seen.link_state == "none":
        return
    text = f"System identifiers differ: {primary['system_identifier']} and {standby['system_identifier']}."
    yield _check("same_system_identifier", "" if same else text)
    yield _same_standby(seen, primary, standby)
    apart = abs(primary["clock"] - standby["clock"]) - primary["clock_error"] - standby["clock_error"]
    text = f"The clocks of {one} and {two} are {apart:.0f} s apart: times in their logs cannot be compared."
    yield _check("clock_difference", warning=text if apart > _CLOCK_SECONDS else "")


def _split_brain(seen: Seen, primary: Facts, standby: Facts, same: bool) -> Iterator[Check]:
    if not same or primary["standby"] or standby["standby"] or seen.primary is None:
        return
    names = [seen.primary.name, seen.standby.name]
    old = seen.primary.name if primary["timeline"] <= standby["timeline"] else seen.standby.name
    shut = is_shut(primary if old == seen.primary.name else standby)
    text = f"{names[0]} and {names[1]} both accept writes (pg_is_in_recovery() is false); {old} is the older one."
    yield _check("split_brain", "" if shut else text, fine=f"{old} is fenced", old=old)


def _same_standby(seen: Seen, primary: Facts, standby: Facts) -> Check:
    receiver = standby["receiver"] or {}
    slots = {slot["name"] for slot in primary["slots"] or [] if slot["active"]}
    sent = [each for each in primary["senders"] or [] if each["user"] == seen.account]
    error = warning = ""
    if primary["started"] == standby["started"] and primary["standby"] == standby["standby"]:
        error = "Both logins lead to the same server."
    elif receiver.get("user") and seen.account and receiver["user"] != seen.account:
        error = f"{seen.standby.name} follows as {receiver['user']}, and the link's account is {seen.account}."
    elif receiver.get("slot") and primary["monitor"] and receiver["slot"] not in slots:
        error = (
            f"{seen.standby.name} follows slot {receiver['slot']}, which is not active at the source that was asked."
        )
    elif seen.standby.is_elsewhere and len(sent) > 1:
        warning = f"{len(sent)} standbys follow as {seen.account}; whether this is that of the link cannot be seen."
    return _check("same_standby", error, warning, key=seen.standby.key)


def _reachable(seen: Seen) -> Iterator[Check]:
    if seen.link_state == "none":
        return  # what has no link is asked to see two primaries, and not expected to let anybody in
    silent = [end for end in _ends(seen) if end.problem]
    notes = [f"{end.name} {said(end, end.problem)}" for end in silent if end.problem]
    remedies = dict.fromkeys(remedy_for(end, end.problem, end is seen.primary) for end in silent if end.problem)
    yield _check("both_sides_reachable", error=" ".join(notes), remedy=" ".join(remedies))


def said(end: End, problem: Problem) -> str:
    """Return why a side could not be asked, as the end of a sentence that begins with its name."""
    state = f", SQLSTATE {problem.sqlstate}" if problem.sqlstate else ""
    if problem.kind == "not_asked":
        return f"was not asked: {problem.text}."
    if problem.kind == "library":
        return f"cannot be asked: {problem.text}."
    verb = "does not answer" if problem.kind in _SILENT else "lets nobody in"
    return f"at {end.host}:{end.port} {verb}: {problem.text.rstrip('.')}{state}."


_SILENT = ("refused", "timeout", "network", "name", "no_answer", "not_postgresql")
# What to do about a side that could not be asked, by the kind of the problem.
_SIDES = """
refused timeout network: Check that {name} runs, and that this machine is let in: white list of the instance, or
    pg_hba.conf and firewall. If its address is another one from here, set dr_link_postgres.instances["{key}"].host.
name: Correct the name, or set dr_link_postgres.instances["{key}"].host.
no_answer: Its port is open, but PostgreSQL does not answer: check its load, and what is at that port.
not_postgresql: What answers is not PostgreSQL: correct dr_link_postgres.instances["{key}"].port.
tls: Correct ssl_mode, ca_cert, ssl_cert and ssl_key in dr_link_postgres.
login: Correct login_user and login_password in dr_link_postgres, or in its instances["{key}"]; the account must exist,
    have LOGIN and CONNECT on the database, and be let in by pg_hba.conf.
auth_method: The server asks for the password in plain text. Have it use scram-sha-256, or set require_auth in
    dr_link_postgres (with ssl_mode=verify-full).
database: Create the maintenance database (playbook alicloud.rds.prepare_source), or set login_db in dr_link_postgres.
full: All its connections are in use: end sessions there, or raise max_connections.
starting: It is starting or stopping: run again in a minute.
closed: Its database does not accept connections: set login_db in dr_link_postgres to the maintenance database.
rejected: The server has refused the session; the text above is its own.
library: Run: python -m pip install "psycopg[binary]", for the Python that runs the task.
not_asked: Give a login: dr_link_postgres with login_user and login_password.
statement: The session was let in, and a query was refused: GRANT pg_monitor to the account.
"""
_REMEDIES = {
    kind: " ".join(text.split())
    for kinds, text in re.findall(r"(?m)^([\w ]+): (.*(?:\n    .*)*)", _SIDES)
    for kind in kinds.split()
}


def remedy_for(end: End, problem: Problem, is_primary: bool) -> str:
    """Return what to do about a side without facts. A lost primary is assumed only where nothing answers by TCP."""
    text = _REMEDIES.get(problem.kind, "Run again.").format(name=end.name, key=end.key)
    if is_primary and problem.kind in ("refused", "timeout"):
        text += " If it is lost for good: playbook alicloud.rds.promote, dr_link_promote_mode=forced."
    return text


# -- the primary -------------------------------------------------------------------------------------------------------


def _of_primary(seen: Seen) -> Iterator[Check]:
    facts, end = _facts(seen)[0], seen.primary
    if not facts or end is None or seen.link_state == "none":
        return
    is_standby = f"{end.name} is a standby itself (pg_is_in_recovery() is true)." if facts["standby"] else ""
    yield _check("source_is_primary", is_standby)
    if is_standby:
        return
    yield _wal_sender(seen, facts, end)
    yield _not_fenced(seen, facts, end)
    yield _fence_possible(facts, end)
    yield _role_settings(facts, end)
    yield _synchronous(seen, facts)
    yield from _what_ends(facts, end)
    yield from _canary(seen, facts, end)


def _wal_sender(seen: Seen, facts: Facts, end: End) -> Check:
    if not facts["monitor"]:
        return _blind("wal_sender", facts)
    states = [each["state"] for each in facts["senders"] or [] if each["user"] == seen.account]
    others = f", only one in state {', '.join(map(str, states))}" if states else ""
    text = "" if "streaming" in states else f"{end.name} has no standby that streams as {seen.account}{others}."
    return _check("wal_sender", text, fine=f"streaming to {seen.account}")


def _not_fenced(seen: Seen, facts: Facts, end: End) -> Check:
    """Judge whether clients may write at the primary now, and at the standby as a primary."""
    shut = [each["name"] for each in _user_databases(facts) if not each["open"]]
    undo = "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();"
    if not facts["read_only"]:
        undo = " ".join(f"ALTER DATABASE {quoted_name(name)} ALLOW_CONNECTIONS true;" for name in shut)
    record = facts["fence"]
    if record:
        text = f"{end.name} has a fence of method {record['method']} since {record['since']} (run {record['run']})."
        return _check("not_fenced", text, remedy="If no failover is under way: playbook alicloud.rds.unfence.")
    if _is_read_only(facts):
        text = f"{end.name} has default_transaction_read_only = on."
        return _check("not_fenced", text, where=end.name, undo=undo)
    if facts["read_only"]:
        text = f"Sessions of {facts['user']} are read-only (set for the {facts['read_only_source']})."
        return _check("not_fenced", warning=text, remedy="See role_settings.")
    if shut:
        text = f"Databases of {end.name} accept no connections: {', '.join(shut)}."
        return _check("not_fenced", text, where=end.name, undo=undo)
    later = seen.standby.facts is not None and _is_read_only(seen.standby.facts)
    text = f"{seen.standby.name} has default_transaction_read_only = on, and would keep it as a primary."
    undo = "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();"
    return _check("not_fenced", warning=text if later else "", where=seen.standby.name, undo=undo)


def _is_read_only(facts: Facts) -> bool:
    """Whether the server is read-only, not only the sessions of a role or a database."""
    return bool(facts["read_only"]) and facts["read_only_source"] not in ("user", "database", "database user")


def _fence_possible(facts: Facts, end: End) -> Check:
    methods = fence_methods(facts)
    possible = [name for name in ("database", "system") if not methods[name]]
    if possible:
        return _check("fence_possible", fine=f"method {possible[0]}")
    text = " ".join(f"Method {name}: {'; '.join(methods[name])}." for name in ("database", "system"))
    user = quoted_name(facts["user"])
    owners = dict.fromkeys(each["owner"] for each in _user_databases(facts) if each["open"] and not each["mine"])
    grants = [f"GRANT {quoted_name(owner)} TO {user};" for owner in owners]
    grants += [f"GRANT pg_signal_backend TO {user};"] * (not facts["signal"])
    sql_text = f"At {end.name}: {' '.join(grants)} Or fence" if grants else "Fence"
    return _check("fence_possible", warning=f"No fence of ours works at {end.name}. {text}", grants=f"{sql_text} ")


def _role_settings(facts: Facts, end: End) -> Check:
    rows = [*_overrides(facts, "off"), *_overrides(facts, "on")]
    text = f"{end.name}: " + "; ".join(f"{_whose(row)} has {row['setting']}" for row in rows) + "."
    undo = " ".join(f"ALTER {_altered(row)} RESET default_transaction_read_only;" for row in rows)
    return _check("role_settings", warning=text if rows else "", primary=end.name, undo=undo)


def _synchronous(seen: Seen, facts: Facts) -> Check:
    names, standby = facts["synchronous_standby_names"], seen.standby.facts
    there = any(each["sync"] in ("sync", "quorum") for each in facts["senders"] or [])
    if names and facts["monitor"] and not there:
        text = f"Each commit waits for synchronous_standby_names = {names!r}, and no such standby is connected."
        return _check("synchronous_standbys", text, where="the primary, or start that standby")
    later = standby["synchronous_standby_names"] if standby else ""
    text = f"As a primary, {seen.standby.name} would wait for synchronous_standby_names = {later!r} in each commit."
    return _check("synchronous_standbys", warning=text if later else "", where="the DR instance")


def _what_ends(facts: Facts, end: End) -> Iterator[Check]:
    if facts["monitor"]:
        long = facts["long_transactions"] or []
        text = f"Open for more than five minutes: {people(long)}." if long else ""
        yield _check("long_transactions", warning=text, primary=end.name, terminate=_terminate(long))
    else:
        yield _blind("long_transactions", facts)
    prepared = [f"{row['gid']} (database {row['database']}, {row['owner']})" for row in facts["prepared"] or []]
    text = f"Prepared: {', '.join(prepared)}. They hold their locks, at the new primary, too." if prepared else ""
    yield _check("prepared_transactions", warning=text)
    slots = facts["slots"] or []
    lost = [slot["name"] for slot in slots if slot["type"] == "logical" and not slot["synced"]]
    yield _check("logical_slots", warning=f"{', '.join(lost)}: not carried over to the new primary." if lost else "")
    idle = [slot for slot in slots if not slot["active"] and (slot["held"] or slot["status"] in ("lost", "unreserved"))]
    told = ", ".join(f"{slot['name']} ({slot['held'] or 0} bytes, {slot['status'] or 'inactive'})" for slot in idle)
    text = f"Nobody reads the slots that hold WAL at {end.name}: {told}." if idle else ""
    drop = " ".join(f"SELECT pg_drop_replication_slot({_literal(slot['name'])});" for slot in idle)
    yield _check("slots_holding_wal", warning=text, primary=end.name, drop=drop)
    enabled = ", ".join(f"{row['name']} (database {row['database']})" for row in facts["subscriptions"] or [])
    yield _check("subscriptions", warning=f"Enabled: {enabled}. They start at a promoted copy." if enabled else "")
    yield _unlogged(facts)


def _unlogged(facts: Facts) -> Check:
    contents: Mapping[str, Any] = facts.get("contents", {})
    inside = {name: row for name, row in contents.items() if isinstance(row, Mapping)}
    found = ", ".join(f"{row['unlogged']} in {name}" for name, row in inside.items() if row["unlogged"])
    unseen = ", ".join(name for name in contents if name not in inside)
    text = f"Unlogged tables are empty after a promotion: {found}." if found else ""
    return _check("unlogged_tables", warning=text, fine=f"not seen: {unseen}" if unseen else "")


def _canary(seen: Seen, facts: Facts, end: End) -> Iterator[Check]:
    table, told = seen.canary_table, facts["canary"]
    where, at = f"{table} in database {facts['database']}", f"At {end.name}, in that database:"
    if told is None:
        text = f"{end.name} has no table {where}, so no row was followed."
        yield _check("canary", warning=text, remedy="playbook alicloud.rds.prepare_source")
    elif told["persistence"] != "p":
        text = f"{where} is unlogged: its rows never reach a standby."
        yield _check("canary", text, remedy=f"{at} ALTER TABLE {table} SET LOGGED;")
    elif not (told["insert"] and told["select"]):
        remedy = f"{at} GRANT SELECT, INSERT, DELETE ON {table} TO {quoted_name(facts['user'])};"
        yield _check("canary", warning=f"{facts['user']} may not read and write {where}.", remedy=remedy)
    elif seen.canary is not None:
        hint = f" {at} ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;" if told["row_security"] else ""
        yield _followed(seen.canary, where, end.name, seen.standby.name, hint)


def _followed(row: Canary, where: str, primary: str, standby: str, hint: str) -> Check:
    own = f"The message is PostgreSQL's own.{hint}"
    if row.write_problem:
        text = f"No row could be written to {where} at {primary}: {row.write_problem.text}"
        return _check("canary", text, remedy=own)
    if row.read_problem:
        text = f"A row was written at {primary}, and could not be read at {standby}: {row.read_problem.text}"
        return _check("canary", text, remedy=own)
    if row.seconds is None:
        text = f"A row written to {where} at {primary} was not seen at {standby} after {row.patience:g} s."
        return _check("canary", text, remedy=f"See lag and replay.{hint}")
    return _check("canary", fine=f"a row written at {primary} was read at {standby} after {row.seconds:g} s")


# -- the standby -------------------------------------------------------------------------------------------------------


def _of_standby(seen: Seen) -> Iterator[Check]:
    facts, end = seen.standby.facts, seen.standby
    if not facts or seen.link_state == "none":
        return
    text = f"{end.name} accepts writes (pg_is_in_recovery() is false), though the service reports a link."
    yield _check("dr_is_standby", "" if facts["standby"] else text)
    if facts["standby"]:
        yield from _receiver(seen, facts)
        yield from _replay(seen, facts)


def _receiver(seen: Seen, facts: Facts) -> Iterator[Check]:
    if not facts["monitor"]:
        yield _blind("wal_receiver", facts)
        return
    end, receiver = seen.standby, facts["receiver"]
    source = seen.primary.name if seen.primary else "the source"
    got = receiver["status"] if receiver else None
    state = f"its WAL receiver is {got}" if receiver else "it has no WAL receiver"
    text = f"{end.name} receives nothing ({state}); it has {facts['received'] or facts['lsn']}."
    primary = _facts(seen)[0]
    if got != "streaming" and primary and _is_removed(primary, facts):
        text += f" {source} no longer has that WAL (its oldest file is {primary['oldest_wal']}): only a rebuild helps."
        yield _check("wal_receiver", text, remedy="playbook alicloud.rds.rebuild")
        return
    yield _check("wal_receiver", "" if got == "streaming" else text, fine="streaming", source=source)
    silent = receiver and receiver["silent"]
    if silent is not None and got == "streaming":
        text = f"{end.name} has heard nothing from {source} for {silent:.0f} s."
        error = text if silent > _TOO_SILENT_SECONDS else ""
        yield _check("receiver_silent", error, text if silent > _SILENT_SECONDS else "", source=source)


def _is_removed(primary: Facts, standby: Facts) -> bool:
    """Whether the primary has deleted the WAL that the standby needs. A file is named timeline, log, segment."""
    name, size = primary.get("oldest_wal"), primary["segment_size"]
    if not name:
        return False
    oldest = int(name[8:16], 16) * (2**32 // size) + int(name[16:], 16)
    return bool((standby["received_position"] or standby["position"] or 0) // size < oldest)


def _replay(seen: Seen, facts: Facts) -> Iterator[Check]:
    end, primary, paused = seen.standby, _facts(seen)[0], facts["paused"]
    sizes = primary["sizes"] if primary and not primary["standby"] else {}
    small = {name: sizes[name] for name in _SIZES if facts["sizes"][name] < sizes.get(name, 0)}
    grow = ", ".join(f"{name} to {size}" for name, size in small.items())
    if primary:
        text = f"Parameters of {end.name} are smaller than the primary's: {', '.join(small)}; " if small else ""
        error = f"{text}replay is paused by it." if small and paused else ""
        yield _check("parameter_sizes", error, text and f"{text}replay pauses, or it does not start again.", grow=grow)
    remedy = _CHECKS["parameter_sizes"][2].format(grow=grow) if small else None
    yield _check("replay", f"Replay is paused at {end.name}." if paused else "", remedy=remedy, standby=end.name)
    blockers = facts["blockers"] or (facts["readers"] if facts["startup_waits"] else None) or []
    text = f"Replay at {end.name} waits for {people(blockers)}." if blockers else ""
    yield _check("replay_blocked", warning=text, standby=end.name, terminate=_terminate(blockers))


def _lag(seen: Seen, most: int) -> Iterator[Check]:
    lag, (primary, standby) = lag_bytes(seen), _facts(seen)
    if lag is not None and primary and standby and seen.link_state != "none":
        text = f"{seen.standby.name} is {lag} bytes behind ({standby['lsn']} of {primary['lsn']}), more than {most}."
        yield _check("lag", text if lag > most else "", fine=f"{lag} bytes")


# -- words -------------------------------------------------------------------------------------------------------------


def _check(
    check_id: str, error: str = "", warning: str = "", fine: str = "", remedy: str | None = None, **names: str
) -> Check:
    """Return a check. Its remedy is that of the table with these names, unless another one is given."""
    section, title, known = _CHECKS[check_id]
    if not (error or warning):
        return Check(check_id, section, title, "success", fine, "")
    remedy = known.format(**names) if remedy is None else remedy
    return Check(check_id, section, title, "error" if error else "warning", error or warning, remedy)


def _blind(check_id: str, facts: Facts) -> Check:
    remedy = f"At the primary: GRANT pg_monitor TO {quoted_name(facts['user'])};"
    return _check(check_id, warning="The account may not see it.", remedy=remedy)


def _ends(seen: Seen) -> list[End]:
    return [end for end in (seen.primary, seen.standby) if end is not None]


def _facts(seen: Seen) -> tuple[Facts | None, Facts | None]:
    return seen.primary.facts if seen.primary else None, seen.standby.facts


def _user_databases(facts: Facts) -> list[Mapping[str, Any]]:
    own = {MAINTENANCE, facts["database"]} if facts["fence_table"] else {MAINTENANCE}
    return [each for each in facts["databases"] if not each["template"] and each["name"] not in own]


def _is_empty(facts: Facts, database: str) -> bool:
    inside = facts.get("contents", {}).get(database)
    return isinstance(inside, Mapping) and not inside["tables"]


def _overrides(facts: Facts, value: str) -> list[Mapping[str, Any]]:
    words = {"on": ("on", "true", "yes", "1", "t"), "off": ("off", "false", "no", "0", "f")}[value]
    return [row for row in facts["role_settings"] or [] if row["setting"].partition("=")[2].lower() in words]


def _whose(row: Mapping[str, Any]) -> str:
    parts = [f"role {row['role']}" if row["role"] else "", f"database {row['database']}" if row["database"] else ""]
    return " in ".join(part for part in parts if part)


def _altered(row: Mapping[str, Any]) -> str:
    if not row["role"]:
        return f"DATABASE {quoted_name(row['database'])}"
    within = f" IN DATABASE {quoted_name(row['database'])}" if row["database"] else ""
    return f"ROLE {quoted_name(row['role'])}{within}"


def people(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return who they are: pid, user and application."""
    return ", ".join(
        f"pid {each['pid']} ({each['user']}, {each['name'] or 'no application name'})" for each in sessions
    )


def _terminate(sessions: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(f"SELECT pg_terminate_backend({each['pid']});" for each in sessions)


def quoted_name(name: str) -> str:
    """Return a name as SQL has it in a remedy; plain names stay plain."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
