# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service and both PostgreSQL servers report about a link, as checks. Pure: facts in, checks out."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator

from ansible_collections.alicloud.rds.plugins.module_utils._dr import facts as meaning
from ansible_collections.alicloud.rds.plugins.module_utils._dr.checklist import CHECK_IDS, CHECKS, blind, check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import Facts, people, terminate
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.primary_checks import of_primary
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Problem, Seen

MAX_LAG_BYTES = 16 * 1024 * 1024
_CLOCK_SECONDS = 2.0
_SILENT_SECONDS, _TOO_SILENT_SECONDS = 60, 300


def checks(seen: Seen, max_lag_bytes: int = MAX_LAG_BYTES, skip: Collection[str] = ()) -> list[Check]:
    """Return the checks in the order of `CHECK_IDS`. What cannot be judged, since a side does not answer, is left out.

    :param skip: ids that are left out
    """
    found = [*_of_service(seen), *_of_both(seen), *of_primary(seen), *_of_standby(seen)]
    found += _lag(seen, max_lag_bytes)
    return sorted((each for each in found if each.id not in skip), key=lambda each: CHECK_IDS.index(each.id))


def lag_bytes(seen: Seen) -> int | None:
    """Return how far the standby's replay is behind, None where that is not known."""
    return meaning.lag(*_facts(seen))


def is_wal_removed(seen: Seen) -> bool | None:
    """Return whether the primary has deleted the WAL that the standby still needs, None where that is not known."""
    primary, standby = _facts(seen)
    if not primary or not standby or not standby["monitor"]:
        return None
    is_streaming = (standby["receiver"] or {}).get("status") == "streaming"
    return not is_streaming and meaning.is_removed(primary, standby)


# -- the service -------------------------------------------------------------------------------------------------------


def _of_service(seen: Seen) -> Iterator[Check]:
    ends = _ends(seen)
    wrong = [f"{end.name} is {end.status}" for end in ends if end.status not in (None, "Running")]
    wrong += [f"{end.name} is locked: {end.lock_mode}" for end in ends if end.lock_mode not in (None, "Unlock")]
    unread = [end.unread for end in ends if end.unread]
    remedy = None if wrong else "Give the key the right to read it, and run again when its region answers."
    yield check("instance_status", ", ".join(wrong + unread), remedy=remedy)
    yield _link_state(seen)


def _link_state(seen: Seen) -> Check:
    name, state, standby = seen.dr_instance_id, seen.link_state, seen.standby.facts
    if state == "none":
        others = f"; it is the primary of {seen.primary_of}" if seen.primary_of else ""
        text = f"{name} has no link{others}. Its status is {seen.standby.status or 'not reported'}."
        return check("link_state", text, remedy=_LINK["primary" if others else "none"])
    if state in ("creating", "disconnect"):
        return check("link_state", f"The service calls the link {state}.", remedy=_LINK[state])
    if state == "streaming":
        return check("link_state", fine="streaming")
    if standby and (standby["receiver"] or {}).get("status") == "streaming":
        return check("link_state", fine="streaming, as PostgreSQL reports")
    return check("link_state", warning="The service does not report whether the link streams.", remedy=_LINK[state])


_LINK = {
    "primary": "The roles have changed: set dr_link_dr_instance_id to the DR instance of today.",
    "none": "If it was promoted, it is a primary of its own: protect it by a new link onto an empty instance "
    "(playbook alicloud.rds.replication_link).",
    "creating": "Wait until the link is made.",
    "disconnect": "See wal_sender and wal_receiver. If the link does not come back by itself: playbook "
    "alicloud.rds.rebuild.",
    "unknown": "See wal_sender and wal_receiver.",
}


# -- both sides --------------------------------------------------------------------------------------------------------


def _of_both(seen: Seen) -> Iterator[Check]:
    yield from _reachable(seen)
    primary, standby = _facts(seen)
    pooled = [end.name for end in _ends(seen) if end.facts and not end.facts["direct"]]
    if primary or standby:
        yield check("direct_session", warning=f"A pooler answers for {' and '.join(pooled)}." if pooled else "")
    if not primary or not standby or seen.primary is None:
        return
    if meaning.is_same_server(primary, standby):
        yield check("same_standby", "Both logins lead to the same server.", key=seen.standby.key)
        return
    yield from _split_brain(seen, seen.primary, primary, standby)
    if seen.link_state == "none":
        return
    identifiers = [primary["system_identifier"], standby["system_identifier"]]
    text = "" if identifiers[0] == identifiers[1] else f"System identifiers differ: {' and '.join(identifiers)}."
    yield check("same_system_identifier", text)
    yield _same_standby(seen, seen.primary, primary, standby)
    apart = abs(primary["clock"] - standby["clock"]) - primary["clock_error"] - standby["clock_error"]
    text = f"The clocks of {seen.primary.name} and {seen.standby.name} are {apart:.0f} s apart."
    late = f"{text} Times in the reports of both cannot be compared." if apart > _CLOCK_SECONDS else ""
    yield check("clock_difference", warning=late)


def _split_brain(seen: Seen, end: End, primary: Facts, standby: Facts) -> Iterator[Check]:
    """Compare two servers that are both primaries of one database. The older one has the lower timeline."""
    is_one_database = primary["system_identifier"] == standby["system_identifier"]
    if not is_one_database or primary["standby"] or standby["standby"]:
        return
    sides = [(primary["timeline"], end.name, primary), (standby["timeline"], seen.standby.name, standby)]
    oldest = min(timeline for timeline, _name, _facts in sides)
    old = [(name, facts) for timeline, name, facts in sides if timeline == oldest]
    shut = [name for name, facts in old if meaning.is_shut(facts)]
    lines = " and ".join(f"{name} (timeline {timeline})" for timeline, name, _facts in sides)
    text = f"{lines} both accept writes (pg_is_in_recovery() is false)."
    older = old[0][0] if len(old) == 1 else "one of them"
    yield check("split_brain", "" if shut else text, fine=f"{' and '.join(shut)} is fenced", old=older)


def _same_standby(seen: Seen, end: End, primary: Facts, standby: Facts) -> Check:
    receiver = standby["receiver"] or {}
    slots = {slot["name"] for slot in primary["slots"] or [] if slot["active"]}
    sent = [each for each in primary["senders"] or [] if each["user"] == seen.account]
    # PostgreSQL shows the receiver's conninfo without quotes, so that a name in it ends at its first blank.
    account = (seen.account or "").partition(" ")[0]
    error = warning = ""
    if receiver.get("user") and account and receiver["user"] != account:
        error = f"{seen.standby.name} follows as {receiver['user']}, and the link's account is {seen.account}."
    elif receiver.get("slot") and receiver["slot"] not in slots:
        error = f"{seen.standby.name} follows slot {receiver['slot']}, which is not active at {end.name}."
    elif seen.standby.is_elsewhere and len(sent) > 1:
        warning = f"{len(sent)} standbys follow as {seen.account}; whether this is that of the link cannot be seen."
    return check("same_standby", error, warning, key=seen.standby.key)


def _reachable(seen: Seen) -> Iterator[Check]:
    if seen.link_state == "none":
        return  # what has no link is asked to see two primaries, and not expected to let anybody in
    silent = [(end, end.problem) for end in _ends(seen) if end.problem]
    notes = [f"{end.name} {said(end, problem)}" for end, problem in silent]
    remedies = dict.fromkeys(remedy_for(end, problem, end is seen.primary) for end, problem in silent)
    yield check("both_sides_reachable", " ".join(notes), remedy=" ".join(remedies))


def said(end: End, problem: Problem) -> str:
    """Return why a side could not be asked, as the end of a sentence that begins with its name."""
    text, state = problem.text.rstrip("."), f", SQLSTATE {problem.sqlstate}" if problem.sqlstate else ""
    if problem.kind in ("not_asked", "library", "options", "unproved"):
        verb = "was not asked" if problem.kind == "not_asked" else "cannot be asked"
        return f"{verb}: {text}."
    where = f"{end.host}:{end.port}"
    at = "" if where in end.name else f"at {where} "
    verb = "does not answer" if problem.kind in _SILENT else "refuses a query" if problem.kind == "statement" else ""
    return f"{at}{verb or 'refuses the session'}: {text}{state}."


_SILENT = ("refused", "timeout", "network", "name", "no_answer", "not_postgresql")
# What to do about a side that could not be asked, by the kind of the problem.
_SIDES = """
refused timeout network: Check that {name} runs, and that this machine is let in: white list of the instance, or
    pg_hba.conf and firewall. If its address is another one from here, set dr_link_postgres.instances["{key}"].host.
name: Correct the name, or set dr_link_postgres.instances["{key}"].host.
no_answer: Its port is open, but PostgreSQL does not answer: check its load, and what is at that port.
not_postgresql: What answers is not PostgreSQL: correct dr_link_postgres.instances["{key}"].port.
tls: Correct ssl_mode, ca_cert, ssl_cert and ssl_key in dr_link_postgres.
login: Check login_user and login_password in dr_link_postgres for {key}. The account must exist, have LOGIN, and
    CONNECT on the database, and pg_hba.conf must let it in.
auth_method: The server asks for the password in plain text, or otherwise than require_auth allows. Have it use
    scram-sha-256, or set require_auth in dr_link_postgres (with ssl_mode=verify-full).
options: Correct dr_link_postgres: libpq refuses its options before anything is sent.
unproved: Set ssl_mode=verify-full and ca_cert in dr_link_postgres, or run: {python} -m pip install "psycopg[binary]"
database: Create the maintenance database (playbook alicloud.rds.prepare_source), or set login_db in dr_link_postgres.
full: No connection is left: end sessions there, or raise the limit of the account or database (CONNECTION LIMIT), or
    max_connections and restart it.
starting: It is starting or stopping: run again in a minute.
closed: Its database does not accept connections: set login_db in dr_link_postgres to the maintenance database.
rejected: The server has refused the session; the text is its own.
library: Run: {python} -m pip install "psycopg[binary]"
not_asked: Set login_user and login_password in dr_link_postgres.
nowhere: Set dr_link_postgres.instances["{key}"].host.
statement: The session was let in, and a query was refused: GRANT pg_monitor to the account.
"""
_REMEDIES = {
    kind: " ".join(text.split())
    for kinds, text in re.findall(r"(?m)^([\w ]+): (.*(?:\n    .*)*)", _SIDES)
    for kind in kinds.split()
}


def remedy_for(end: End, problem: Problem, is_primary: bool) -> str:
    """Return what to do about a side without facts. A lost primary is assumed only where nothing answers by TCP."""
    kind = "nowhere" if problem.kind == "not_asked" and not end.host else problem.kind
    text = _REMEDIES.get(kind, "Run again.").format(name=end.name, key=end.key, python=sys.executable)
    if is_primary and kind in ("refused", "timeout"):
        text += " If it is lost for good: playbook alicloud.rds.promote, dr_link_promote_mode=forced."
    return text


# -- the standby -------------------------------------------------------------------------------------------------------


def _of_standby(seen: Seen) -> Iterator[Check]:
    facts, end = seen.standby.facts, seen.standby
    if not facts or seen.link_state == "none":
        return
    text = f"{end.name} accepts writes (pg_is_in_recovery() is false), though the service reports a link."
    yield check("dr_is_standby", "" if facts["standby"] else text)
    if facts["standby"]:
        yield from _receiver(seen, facts)
        yield from _replay(seen, facts)


def _receiver(seen: Seen, facts: Facts) -> Iterator[Check]:
    if not facts["monitor"]:
        yield blind("wal_receiver", facts)
        return
    end, receiver = seen.standby, facts["receiver"]
    source = seen.primary.name if seen.primary else "the source"
    got = receiver["status"] if receiver else None
    state = f"its WAL receiver is {got}" if receiver else "it has no WAL receiver"
    text = f"{end.name} receives nothing ({state}); it has {facts['received'] or facts['lsn']}."
    primary = _facts(seen)[0]
    if primary and is_wal_removed(seen):
        text += f" {source} no longer has that WAL (its oldest file is {primary['oldest_wal']}): only a rebuild helps."
        yield check("wal_receiver", text, remedy="playbook alicloud.rds.rebuild")
        return
    yield check("wal_receiver", "" if got == "streaming" else text, fine="streaming", source=source)
    silent = receiver and receiver["silent"]
    if silent is not None and got == "streaming":
        text = f"{end.name} has heard nothing from {source} for {silent:.0f} s."
        error = text if silent > _TOO_SILENT_SECONDS else ""
        yield check("receiver_silent", error, text if silent > _SILENT_SECONDS else "", source=source)


def _replay(seen: Seen, facts: Facts) -> Iterator[Check]:
    end, primary, paused = seen.standby, _facts(seen)[0], facts["paused"]
    is_known = primary is not None and not primary["standby"]
    small = meaning.too_small(primary, facts) if primary and is_known else {}
    grow = ", ".join(f"{name} to {wanted}" for name, (_own, wanted) in small.items())
    if is_known:
        sizes = ", ".join(f"{name} is {own} ({wanted} at the primary)" for name, (own, wanted) in small.items())
        text = f"Parameters of {end.name} are too small: {sizes}; " if small else ""
        error = f"{text}PostgreSQL has paused replay by itself." if small and paused else ""
        yield check("parameter_sizes", error, text and f"{text}replay will pause, or not start again.", grow=grow)
    remedy = None if is_known else _UNCOMPARED.format(standby=end.name, sizes=", ".join(meaning.SIZES))
    remedy = CHECKS["parameter_sizes"][2].format(grow=grow) if small else remedy
    yield check("replay", f"Replay is paused at {end.name}." if paused else "", remedy=remedy, standby=end.name)
    yield _blocked(facts, end)


# Resuming may shut the standby down; without the primary's answer nobody knows.
_UNCOMPARED = (
    "Compare {sizes} of {standby} with the primary's. If one is smaller, raise it and restart; only if none is: "
    "SELECT pg_wal_replay_resume();"
)


def _blocked(facts: Facts, end: End) -> Check:
    blockers, waits = facts["blockers"] or [], facts["startup_waits"]
    readers = [] if blockers else facts["readers"] or []
    text = f"Replay at {end.name} waits for {people(blockers)}." if blockers else ""
    if waits and not blockers:
        text = f"Replay at {end.name} waits ({waits}) for one of: {people(readers) or 'sessions that are not seen'}."
    remedy = None if blockers or readers else f"At {end.name}: SELECT * FROM pg_stat_activity; shows what it waits for."
    ending = terminate(blockers or readers)
    return check("replay_blocked", warning=text, remedy=remedy, standby=end.name, terminate=ending)


def _lag(seen: Seen, most: int) -> Iterator[Check]:
    lag, (primary, standby) = lag_bytes(seen), _facts(seen)
    if lag is not None and primary and standby and seen.link_state != "none":
        text = f"{seen.standby.name} is {lag} bytes behind ({standby['lsn']} of {primary['lsn']}), more than {most}."
        yield check("lag", text if lag > most else "", fine=f"{lag} bytes")


def _ends(seen: Seen) -> list[End]:
    return [end for end in (seen.primary, seen.standby) if end is not None]


def _facts(seen: Seen) -> tuple[Facts | None, Facts | None]:
    return seen.primary.facts if seen.primary else None, seen.standby.facts
