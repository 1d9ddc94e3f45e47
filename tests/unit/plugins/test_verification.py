# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts of both sides become checks: each in all its results, with remedies that can be carried out as printed."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._dr import postgres
from ansible_collections.alicloud.rds.plugins.module_utils._dr.checklist import CHECKS
from ansible_collections.alicloud.rds.plugins.module_utils._dr.facts import SIZES, fence_methods, lag, position
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import Canary, End, Problem, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import CHECK_IDS, checks, lag_bytes

MIB = 1024 * 1024
SOURCE = "the source 10.0.0.1:5432"
WRITABLE = "SET default_transaction_read_only = off; "


def database(name="app", **changes):
    return {
        "name": name,
        "open": True,
        "limit": -1,
        "owner": "app",
        "of_superuser": False,
        "mine": True,
        "template": False,
        **changes,
    }


def session(pid=7, user="app", name="psql"):
    return {"pid": pid, "user": user, "name": name}


def sender(**changes):
    return {**session(1, "dr_sync", "pgm-dr"), "state": "streaming", "sync": "async", "address": "10.0.0.2", **changes}


def receiver(**changes):
    usual = {"status": "streaming", "host": "10.0.0.1", "port": 5432, "slot": None, "user": "dr_sync", "silent": 1.0}
    return {**usual, **changes}


def slot(name, **changes):
    usual = {"type": "physical", "active": True, "pid": 1, "synced": False, "status": "reserved", "held": 0}
    return {"name": name, **usual, **changes}


def setting(value, role=None, database=None):
    return {"role": role, "database": database, "setting": f"default_transaction_read_only={value}"}


FENCE = {"run": "5e", "dr_instance_id": "pgm-dr", "method": "hook", "since": "2026-11-28 01:02:03 UTC"}
SERVER = {
    "version": "17.2",
    "version_num": 170002,
    "encoding": "UTF8",
    "user": "ops",
    "superuser": False,
    "monitor": True,
    "signal": True,
    "alter_system": False,
    "allow_alter_system": True,
    "reload": True,
    "system_identifier": "74",
    "block_size": 8192,
    "segment_size": 16 * MIB,
    "read_only": False,
    "read_only_source": "default",
    "sizes": dict.fromkeys(SIZES, 100),
    "synchronous_standby_names": "",
    "synchronous_commit": "on",
    "slots": None,
    "long_transactions": None,
    "prepared": None,
    "superuser_sessions": None,
    "startup_waits": None,
    "blockers": None,
    "readers": None,
    "role_settings": None,
    "subscriptions": None,
    "databases": [database(), database("dr_link", mine=False), database("template0", open=False, template=True)],
    "open_databases": ["app", "dr_link"],
    "canary": {"persistence": "p", "row_security": False, "insert": True, "select": True},
    "fence": None,
    "fence_table": True,
    "xmax": None,
    "clock": 0.25,
    "clock_error": 0.01,
    "direct": True,
    "database": "dr_link",
    "replayed_at": None,
}
PRIMARY = {
    **SERVER,
    "standby": False,
    "timeline": 1,
    "started": 1000.5,
    "lsn": "0/5000100",
    "position": 0x5000100,
    "received": None,
    "received_position": None,
    "paused": None,
    "senders": [sender()],
    "receiver": None,
    "oldest_wal": "000000010000000000000004",
    "contents": {"app": {"unlogged": 0, "tables": 3}, "dr_link": {"unlogged": 0, "tables": 0}},
}
STANDBY = {
    **SERVER,
    "standby": True,
    "timeline": 1,
    "started": 2000.5,
    "lsn": "0/5000100",
    "position": 0x5000100,
    "received": "0/5000100",
    "received_position": 0x5000100,
    "paused": False,
    "senders": None,
    "receiver": receiver(),
}
PROMOTED = {**PRIMARY, "timeline": 2, "started": 2000.5, "senders": None}


def look(primary=None, standby=None, **changes):
    """A healthy link, with changes to the facts of a side: None is a side without facts."""
    one = End("source", SOURCE, "10.0.0.1", 5432, facts={**PRIMARY, **(primary or {})})
    two = End("pgm-dr", "pgm-dr", "dr.example", 5432, "cn-beijing", "Running", "Unlock")
    two = replace(two, facts={**STANDBY, **(standby or {})})
    seen = Seen("pgm-dr", "streaming", two, one, "dr_sync", canary=Canary(seconds=0.5, written=True))
    return replace(seen, **changes)


def without(seen, side, kind="refused", text="it was so", sqlstate=None, **changes):
    end = replace(getattr(seen, side), facts=None, problem=Problem(kind, text, sqlstate), **changes)
    return replace(seen, canary=None, **{side: end})


def side(seen, name, **changes):
    return replace(seen, **{name: replace(getattr(seen, name), **changes)})


def by_id(seen, **options):
    return {check.id: check for check in checks(seen, **options)}


def found(check):
    return (check.result, check.note, check.remedy)


def test_the_facts_are_those_that_a_server_reports():
    queried = set(re.findall(r"^  '(\w+)',", postgres.FACTS, re.MULTILINE)) - {"now"}
    added = {"clock", "clock_error", "direct", "database", "fence"}
    assert STANDBY.keys() == queried | added
    assert PRIMARY.keys() == queried | added | {"oldest_wal", "contents"}


def test_a_healthy_link_has_each_check_but_that_of_two_primaries():
    healthy = by_id(look())
    assert list(healthy) == [name for name in CHECK_IDS if name != "split_brain"]
    assert {check.result for check in healthy.values()} == {"success"}
    assert {check.remedy for check in healthy.values()} == {""}
    notes = {name: check.note for name, check in healthy.items() if check.note}
    assert notes == {
        "link_state": "streaming",
        "wal_sender": "streaming as dr_sync",
        "wal_receiver": "streaming",
        "lag": "0 bytes",
        "fence_possible": "database",
        "canary": f"a row written at {SOURCE} was read at pgm-dr after 0.5 s",
    }
    assert all(CHECKS[name][:2] == (check.section, check.check) for name, check in healthy.items())


# id -> result, what the note says, what the remedy says, look. "..." stands for whatever is in between.
CASES = {
    "direct_session": [
        (
            "warning",
            f"A pooler answers for {SOURCE} and pgm-dr.",
            "...server's own port in dr_link_postgres.instances...",
            look({"direct": False}, {"direct": False}),
        ),
        ("warning", "A pooler answers for pgm-dr.", "...", without(look(standby={"direct": False}), "primary")),
    ],
    "instance_status": [
        (
            "error",
            "pgm-dr is Restarting, pgm-dr is locked: LockByExpiration",
            "Wait until the service has finished, or unlock...",
            side(look(), "standby", status="Restarting", lock_mode="LockByExpiration"),
        ),
        (
            "error",
            "pgm-src could not be read: no such right",
            "Give the key the right to read it...",
            side(look(), "primary", unread="pgm-src could not be read: no such right"),
        ),
    ],
    "link_state": [
        ("error", "The service calls the link creating.", "Wait until the link is made.", look(link_state="creating")),
        (
            "error",
            "The service calls the link disconnect.",
            "...playbook alicloud.rds.rebuild.",
            look(link_state="disconnect"),
        ),
        ("success", "streaming, as PostgreSQL reports", "", look(link_state="unknown")),
        (
            "warning",
            "The service does not report whether the link streams.",
            "See wal_sender and wal_receiver.",
            look(standby={"receiver": receiver(status="waiting")}, link_state="unknown"),
        ),
        (
            "warning",
            "The service does not report whether the link streams.",
            "See wal_sender and wal_receiver.",
            without(look(link_state="unknown"), "standby"),
        ),
        (
            "error",
            "pgm-dr has no link. Its status is Running.",
            "If it was promoted...new link onto an empty instance (playbook alicloud.rds.replication_link).",
            look(link_state="none", primary=None),
        ),
        (
            "error",
            "pgm-dr has no link; it is the primary of pgm-2. Its status is not reported.",
            "The roles have changed: set dr_link_dr_instance_id...",
            side(look(link_state="none", primary=None, primary_of="pgm-2"), "standby", status=None),
        ),
    ],
    "split_brain": [
        (
            "error",
            f"{SOURCE} (timeline 1) and pgm-dr (timeline 2) both accept writes...",
            f"Keep all clients away from {SOURCE}: stop it, or fence it. Do not rebuild it before its rows...",
            look(standby=PROMOTED, link_state="none"),
        ),
        (
            "error",
            f"{SOURCE} (timeline 3) and pgm-dr (timeline 2) both...",
            "Keep all clients away from pgm-dr:...",
            look({"timeline": 3}, PROMOTED),
        ),
        (
            "error",
            "...(timeline 2)...(timeline 2)...",
            "Keep all clients away from one of them:...",
            look({"timeline": 2}, PROMOTED),
        ),
        (
            "success",
            f"{SOURCE} is fenced",
            "",
            look({"databases": [database(open=False), database("dr_link")]}, PROMOTED),
        ),
        (
            "success",
            f"{SOURCE} is fenced",
            "",
            look({"read_only": True, "read_only_source": "configuration file"}, PROMOTED),
        ),
        ("error", "...", "...", look({"read_only": True, "read_only_source": "user"}, PROMOTED)),
        (
            "success",
            f"{SOURCE} is fenced",
            "",
            look(
                {
                    "databases": [database(open=False), database("postgres", mine=False)],
                    "contents": {"postgres": {"tables": 0, "unlogged": 0}},
                },
                PROMOTED,
            ),
        ),
        (
            "error",
            "...",
            "...",
            look(
                {
                    "databases": [database(open=False), database("postgres", mine=False)],
                    "contents": {"postgres": "permission denied"},
                },
                PROMOTED,
            ),
        ),
        ("error", "...", "...", look({"databases": [database("dr_link")]}, PROMOTED)),
    ],
    "source_is_primary": [("error", f"{SOURCE} is a standby itself...", "Find out...", look({"standby": True}))],
    "dr_is_standby": [
        ("error", "pgm-dr accepts writes...though the service reports a link.", "Let no client...", look({}, PROMOTED))
    ],
    "same_system_identifier": [
        (
            "error",
            "System identifiers differ: 74 and 75.",
            "...dr_link_postgres.instances.",
            look(standby={"system_identifier": "75"}),
        )
    ],
    "same_standby": [
        ("error", "Both logins lead to the same server.", 'Correct host and port of "pgm-dr"...', look({}, PRIMARY)),
        ("error", "Both logins lead to the same server.", "...", look(STANDBY, {})),
        ("error", "Both logins lead to the same server.", "...", look({}, PRIMARY, link_state="none")),
        (
            "error",
            "pgm-dr follows as other, and the link's account is dr_sync.",
            'Correct host and port of "pgm-dr"...',
            look(standby={"receiver": receiver(user="other")}),
        ),
        ("success", "", "", look(standby={"started": PRIMARY["started"]})),
        ("success", "", "", look(standby={"receiver": receiver(user="other")}, account=None)),
        (
            "success",
            "",
            "",
            look({"senders": [sender(user="dr sync")]}, {"receiver": receiver(user="dr")}, account="dr sync"),
        ),
        (
            "error",
            f"pgm-dr follows slot mine, which is not active at {SOURCE}.",
            "...",
            look(
                {"slots": [slot("mine", active=False), slot("theirs")]},
                {"receiver": receiver(slot="mine")},
            ),
        ),
        ("success", "", "", look({"slots": [slot("mine")]}, {"receiver": receiver(slot="mine")})),
        (
            "warning",
            "2 standbys follow as dr_sync; whether this is that of the link cannot be seen.",
            "...",
            side(look({"senders": [sender(), sender(pid=2)]}), "standby", is_elsewhere=True),
        ),
        ("success", "", "", look({"senders": [sender(), sender(pid=2)]})),
        (
            "success",
            "",
            "",
            side(look({"senders": [sender(), sender(user="other")]}), "standby", is_elsewhere=True),
        ),
    ],
    "clock_difference": [
        ("warning", "The clocks of...are 3600 s apart...", "Have NTP...", look({"clock": -3600.0}, {"clock": 0.1})),
        ("success", "", "", look({"clock": 0.0, "clock_error": 1.0}, {"clock": 4.0, "clock_error": 1.5})),
    ],
    "wal_sender": [
        ("error", f"{SOURCE} has no standby that streams as dr_sync.", "Read the log of...", look({"senders": None})),
        (
            "error",
            f"{SOURCE} has no standby that streams as dr_sync, only one in state catchup.",
            "...",
            look({"senders": [sender(state="catchup"), sender(user="other")]}),
        ),
        ("success", "streaming", "", look({"senders": [sender(user="other")]}, account=None)),
        (
            "warning",
            "The account may not see it.",
            'At the primary: GRANT pg_monitor TO "ops";',
            look({"monitor": False}),
        ),
    ],
    "wal_receiver": [
        (
            "error",
            "pgm-dr receives nothing (it has no WAL receiver); it has 0/5000100.",
            f"Check that {SOURCE} runs...",
            look(standby={"receiver": None}),
        ),
        (
            "error",
            "pgm-dr receives nothing (its WAL receiver is waiting); it has 0/4000000.",
            "...",
            look(
                standby={
                    "receiver": receiver(status="waiting"),
                    "received": None,
                    "lsn": "0/4000000",
                    "received_position": None,
                    "position": 0x4000000,
                }
            ),
        ),
        (
            "error",
            "...no longer has that WAL (its oldest file is 000000010000000000000006): only a rebuild helps.",
            "playbook alicloud.rds.rebuild",
            look({"oldest_wal": "000000010000000000000006"}, {"receiver": None}),
        ),
        (
            "error",
            "pgm-dr receives nothing (it has no WAL receiver); it has 0/5000100.",
            "Check that...",
            look({"oldest_wal": "000000010000000000000005"}, {"receiver": None}),
        ),
        (
            "error",
            "...; it has 0/5000100.",
            "Check that...",
            look(
                {"oldest_wal": "000000010000000000000005"},
                {"receiver": None, "received_position": 0x3000000},
            ),
        ),
        ("error", "...; it has 0/5000100.", "...", without(look(standby={"receiver": None}), "primary")),
        (
            "warning",
            "The account may not see it.",
            'At the primary: GRANT pg_monitor TO "ops";',
            look(standby={"monitor": False}),
        ),
    ],
    "receiver_silent": [
        ("success", "", "", look(standby={"receiver": receiver(silent=60.0)})),
        (
            "warning",
            f"pgm-dr has heard nothing from {SOURCE} for 61 s.",
            f"Check {SOURCE}...",
            look(standby={"receiver": receiver(silent=61.0)}),
        ),
        ("warning", "...300 s.", "...", look(standby={"receiver": receiver(silent=300.0)})),
        ("error", "...301 s.", "...", look(standby={"receiver": receiver(silent=301.0)})),
    ],
    "parameter_sizes": [
        *(
            (
                "warning",
                f"Parameters of pgm-dr are too small: {name} is 100 (200 at the primary); replay will pause...",
                f"Raise {name} to 200 at the DR instance and restart it. Do not resume...",
                look({"sizes": {**PRIMARY["sizes"], name: 200}}),
            )
            for name in SIZES
        ),
        ("success", "", "", look(standby={"sizes": dict.fromkeys(SIZES, 101)})),
        (
            "error",
            "...PostgreSQL has paused replay by itself.",
            "Raise max_connections to 200, max_wal_senders to 300 at the DR instance and restart it...",
            look({"sizes": {**PRIMARY["sizes"], "max_connections": 200, "max_wal_senders": 300}}, {"paused": True}),
        ),
    ],
    "replay": [
        (
            "error",
            "Replay is paused at pgm-dr.",
            "At pgm-dr: SELECT pg_wal_replay_resume();",
            look(standby={"paused": True}),
        ),
        (
            "error",
            "Replay is paused at pgm-dr.",
            "Raise max_connections to 200 at the DR instance and restart it. Do not resume...",
            look({"sizes": {**PRIMARY["sizes"], "max_connections": 200}}, {"paused": True}),
        ),
        (
            "error",
            "Replay is paused at pgm-dr.",
            "Compare max_connections,...with the primary's. If one is smaller, raise it and restart; only if...",
            without(look(standby={"paused": True}), "primary"),
        ),
    ],
    "replay_blocked": [
        (
            "warning",
            "Replay at pgm-dr waits for pid 7 (app, psql), pid 8 (None, no application name).",
            "Let them end, or at pgm-dr: SELECT pg_terminate_backend(7); SELECT pg_terminate_backend(8);",
            look(
                standby={
                    "blockers": [session(), session(8, None, "")],
                    "readers": [session(9)],
                    "startup_waits": "relation",
                }
            ),
        ),
        (
            "warning",
            "Replay at pgm-dr waits (RecoveryConflictSnapshot) for one of: pid 9 (app, psql).",
            "...at pgm-dr: SELECT pg_terminate_backend(9);",
            look(standby={"readers": [session(9)], "startup_waits": "RecoveryConflictSnapshot"}),
        ),
        (
            "warning",
            "Replay at pgm-dr waits (relation) for one of: sessions that are not seen.",
            "At pgm-dr: SELECT * FROM pg_stat_activity;...",
            look(standby={"startup_waits": "relation"}),
        ),
        ("success", "", "", look(standby={"readers": [session(9)]})),
    ],
    "lag": [
        ("success", f"{16 * MIB} bytes", "", look({"position": STANDBY["position"] + 16 * MIB})),
        (
            "error",
            f"pgm-dr is {16 * MIB + 1} bytes behind (0/5000100 of 0/6000101), more than {16 * MIB}.",
            "Wait until it has caught up...",
            look({"position": STANDBY["position"] + 16 * MIB + 1, "lsn": "0/6000101"}),
        ),
    ],
    "synchronous_standbys": [
        (
            "error",
            f"Each COMMIT at {SOURCE} waits without end: synchronous_standby_names is 'a, \"it''s\"', and...",
            f"Start that standby, or... At {SOURCE}: ALTER SYSTEM SET synchronous_standby_names = '';...",
            look({"synchronous_standby_names": 'a, "it\'s"'}),
        ),
        (
            "success",
            "",
            "",
            look({"synchronous_standby_names": "a", "senders": [sender(sync="sync")]}),
        ),
        ("success", "", "", look({"synchronous_standby_names": "ANY 1 (a, b)", "senders": [sender(sync="quorum")]})),
        ("error", "...", "...", look({"synchronous_standby_names": "any 2(a, b)", "senders": [sender(sync="quorum")]})),
        ("error", "...", "...", look({"synchronous_standby_names": "2 (a, b)", "senders": [sender(sync="sync")]})),
        (
            "error",
            "...",
            "...",
            look(
                {"synchronous_standby_names": "FIRST 2 (*)", "senders": [sender(sync="sync"), sender(sync="potential")]}
            ),
        ),
        *(
            (
                "warning",
                "Where synchronous_commit is on, each COMMIT...",
                "...",
                look({"synchronous_standby_names": "a", "synchronous_commit": commit}),
            )
            for commit in ("off", "local")
        ),
        (
            "warning",
            "The account may not see it.",
            'At the primary: GRANT pg_monitor TO "ops";',
            look({"synchronous_standby_names": "a", "monitor": False}),
        ),
        (
            "warning",
            "As a primary, pgm-dr would wait in each COMMIT for 'b'.",
            "At pgm-dr: ALTER SYSTEM SET synchronous_standby_names = '';...",
            look(standby={"synchronous_standby_names": "b"}),
        ),
    ],
    "slots_holding_wal": [
        (
            "warning",
            f"Nobody reads the slots that hold WAL at {SOURCE}: old (4096 bytes, extended), it's (0 bytes, lost).",
            f"Start their consumers, or if they are not needed, at {SOURCE}: SELECT pg_drop_replication_slot('old'); "
            "SELECT pg_drop_replication_slot('it''s');",
            look(
                {
                    "slots": [
                        slot("old", active=False, held=4096, status="extended"),
                        slot("it's", active=False, held=None, status="lost"),
                    ]
                }
            ),
        ),
        (
            "warning",
            "...new (1 bytes, inactive).",
            "...",
            look({"slots": [slot("new", active=False, held=1, status=None)]}),
        ),
        ("warning", "...", "...", look({"slots": [slot("s", active=False, status="unreserved")]})),
        ("success", "", "", look({"slots": [slot("read", held=4096), slot("unused", active=False, held=None)]})),
    ],
    "not_fenced": [
        (
            "error",
            f"{SOURCE} has default_transaction_read_only = on (configuration file).",
            f"At {SOURCE}: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();...",
            look({"read_only": True, "read_only_source": "configuration file"}),
        ),
        (
            "error",
            f"{SOURCE} has a fence of method hook since 2026-11-28 01:02:03 UTC (run 5e).",
            "If no failover is under way: playbook alicloud.rds.unfence.",
            look({"fence": FENCE}),
        ),
        (
            "error",
            "...(global).",
            f"At {SOURCE}: {WRITABLE}ALTER ROLE ALL RESET default_transaction_read_only;",
            look({"read_only": True, "read_only_source": "global"}),
        ),
        (
            "error",
            "...(command line).",
            "...restart it without default_transaction_read_only in its command line.",
            look({"read_only": True, "read_only_source": "command line"}),
        ),
        (
            "warning",
            f"At {SOURCE} default_transaction_read_only is on for role ops, which is used here.",
            f'At {SOURCE}: {WRITABLE}ALTER ROLE "ops" RESET default_transaction_read_only;',
            look({"read_only": True, "read_only_source": "user"}),
        ),
        (
            "warning",
            "...is on for database dr_link,...",
            '...ALTER DATABASE "dr_link" RESET default_transaction_read_only;',
            look({"read_only": True, "read_only_source": "database"}),
        ),
        (
            "warning",
            "...is on for role ops in database dr_link,...",
            '...ALTER ROLE "ops" IN DATABASE "dr_link" RESET default_transaction_read_only;',
            look({"read_only": True, "read_only_source": "database user"}),
        ),
        (
            "warning",
            "The sessions of ops...are read-only, as their own options say.",
            "...PGOPTIONS.",
            look({"read_only": True, "read_only_source": "client"}),
        ),
        (
            "error",
            f'{SOURCE} accepts no connections to app, the "big" one: they may be fenced.',
            '...ALTER DATABASE "app" ALLOW_CONNECTIONS true; ALTER DATABASE "the ""big"" one" ALLOW_CONNECTIONS true;',
            look({"databases": [database(open=False), database('the "big" one', open=False), database("dr_link")]}),
        ),
        (
            "warning",
            f"{SOURCE} accepts no connections to archive: they may be fenced.",
            '...ALTER DATABASE "archive" ALLOW_CONNECTIONS true;',
            look({"databases": [database(), database("archive", open=False)]}),
        ),
        (
            "error",
            "...accepts no connections to app...",
            f'At {SOURCE}: {WRITABLE}ALTER DATABASE "app" ALLOW_CONNECTIONS true;',
            look({"databases": [database(open=False)], "read_only": True, "read_only_source": "user"}),
        ),
        (
            "warning",
            "pgm-dr has default_transaction_read_only = on, and would keep it as a primary.",
            "At pgm-dr: ALTER SYSTEM RESET default_transaction_read_only;...",
            look(standby={"read_only": True, "read_only_source": "configuration file"}),
        ),
        (
            "error",
            f"{SOURCE} has default_transaction_read_only = on (global)...app...",
            f'At {SOURCE}: {WRITABLE}ALTER DATABASE "app" ALLOW_CONNECTIONS true; {WRITABLE}ALTER ROLE ALL RESET...',
            look({"databases": [database(open=False)], "read_only": True, "read_only_source": "global"}),
        ),
        ("success", "", "", look(standby={"read_only": True, "read_only_source": "user"})),
    ],
    "fence_possible": [
        (
            "success",
            "system (database: app belongs to other)",
            "",
            look({"databases": [database(mine=False, owner="other")], "alter_system": True}),
        ),
        (
            "warning",
            f"No fence of ours works at {SOURCE}. Method database: app belongs to The Owner; ops is no member of "
            "pg_signal_backend. Method system: ops may not ALTER SYSTEM; ops is no member of pg_signal_backend.",
            f'At {SOURCE}: GRANT "The Owner" TO "ops"; GRANT pg_signal_backend TO "ops"; Or fence by a task file of '
            "your own: dr_link_fence_method=hook.",
            look(
                {
                    "signal": False,
                    "databases": [
                        database(mine=False, owner="The Owner"),
                        database("postgres", mine=False, owner="postgres"),
                    ],
                    "contents": {"postgres": {"tables": 0, "unlogged": 0}},
                }
            ),
        ),
        (
            "warning",
            "...theirs belongs to postgres...",
            f'At {SOURCE}: ALTER DATABASE "theirs" OWNER TO "ops"; Or fence by...',
            look({"databases": [database("theirs", mine=False, owner="postgres", of_superuser=True)]}),
        ),
        (
            "warning",
            "...postgres belongs to postgres...",
            "Fence by a task file of your own: dr_link_fence_method=hook.",
            look({"databases": [database(), database("postgres", mine=False, owner="postgres")]}),
        ),
        (
            "warning",
            "...Method database: there is no table dr_link_fence...",
            "playbook alicloud.rds.prepare_source. Fence by a task file of your own: dr_link_fence_method=hook.",
            look({"fence_table": False}),
        ),
    ],
    "role_settings": [
        (
            "warning",
            f"{SOURCE}: role app sets default_transaction_read_only=off; role r in database d sets "
            "default_transaction_read_only=0; every role sets default_transaction_read_only=no; database x sets "
            "default_transaction_read_only=on.",
            f'...At {SOURCE}: {WRITABLE}ALTER ROLE "app" RESET default_transaction_read_only; ALTER ROLE "r" IN '
            'DATABASE "d" RESET default_transaction_read_only; ALTER ROLE ALL RESET default_transaction_read_only; '
            'ALTER DATABASE "x" RESET default_transaction_read_only;',
            look(
                {
                    "role_settings": [
                        setting("on", database="x"),
                        setting("off", "app"),
                        setting("0", "r", "d"),
                        setting("no"),
                    ]
                }
            ),
        )
    ],
    "long_transactions": [
        (
            "warning",
            "Open for more than five minutes: pid 7 (app, psql).",
            f"A promotion ends them. Wait, or at {SOURCE}: SELECT pg_terminate_backend(7);",
            look({"long_transactions": [{**session(), "seconds": 301}]}),
        ),
        ("warning", "The account may not see it.", "...GRANT pg_monitor...", look({"monitor": False})),
    ],
    "prepared_transactions": [
        (
            "warning",
            "Prepared: it's (database app, bob)...",
            f"At {SOURCE}: in database \"app\": COMMIT PREPARED 'it''s'; or ROLLBACK PREPARED 'it''s';",
            look({"prepared": [{"gid": "it's", "database": "app", "owner": "bob"}]}),
        )
    ],
    "logical_slots": [
        (
            "warning",
            "cdc: not carried over to the new primary.",
            "Stop their consumers before a promotion...",
            look(
                {"slots": [slot("cdc", type="logical"), slot("kept", type="logical"), slot("physical")]},
                {"slots": [slot("kept", type="logical", synced=True)]},
            ),
        ),
        (
            "success",
            "synchronized: kept",
            "",
            look(
                {"slots": [slot("kept", type="logical")]},
                {"slots": [slot("kept", type="logical", synced=True)]},
            ),
        ),
        (
            "warning",
            "gone: not carried over...",
            "...",
            look(
                {"slots": [slot("gone", type="logical")]},
                {"slots": [slot("gone", type="logical", synced=True, status="lost")]},
            ),
        ),
        (
            "warning",
            "own: not carried over...",
            "...",
            look({"slots": [slot("own", type="logical", synced=True)]}, {"slots": [slot("own", type="logical")]}),
        ),
        ("warning", "cdc: not carried...", "...", without(look({"slots": [slot("cdc", type="logical")]}), "standby")),
    ],
    "subscriptions": [
        (
            "warning",
            "Enabled: Feed (database app). They start at a promoted copy.",
            f'Before a promotion, at {SOURCE}: in database "app": ALTER SUBSCRIPTION "Feed" DISABLE;...',
            look({"subscriptions": [{"name": "Feed", "database": "app"}]}),
        )
    ],
    "unlogged_tables": [
        (
            "warning",
            "Unlogged tables are empty after a promotion: 2 in app; not seen: locked, shy.",
            "...SET LOGGED...",
            look(
                {
                    "databases": [database(), database("locked"), database("shy"), database("off", open=False)],
                    "contents": {"app": {"unlogged": 2, "tables": 3}, "locked": "permission denied"},
                }
            ),
        ),
        ("success", "not seen: app", "", look({"contents": {"app": "too many clients"}})),
    ],
    "canary": [
        (
            "warning",
            f"{SOURCE} has no table dr_link_canary in database postgres, so no row was followed.",
            "playbook alicloud.rds.prepare_source",
            look({"canary": None, "database": "postgres"}),
        ),
        (
            "error",
            "My.Rows in database dr_link is unlogged: its rows never reach a standby.",
            f'At {SOURCE}, in database dr_link: ALTER TABLE "My"."Rows" SET LOGGED;',
            look({"canary": {**PRIMARY["canary"], "persistence": "u"}}, canary_table="My.Rows"),
        ),
        (
            "warning",
            "ops has no privilege SELECT on dr_link_canary in database dr_link.",
            '...GRANT SELECT, INSERT, DELETE ON "dr_link_canary" TO "ops";',
            look({"canary": {**PRIMARY["canary"], "select": False}}),
        ),
        (
            "warning",
            "ops has no privilege INSERT and SELECT on...",
            "...",
            look({"canary": {**PRIMARY["canary"], "select": False, "insert": False}}),
        ),
        (
            "error",
            f"A row written to dr_link_canary in database dr_link at {SOURCE} was not seen at pgm-dr after 10 s.",
            "See lag and replay.",
            look(canary=Canary(written=True)),
        ),
        (
            "error",
            "...was not seen...Row security is on for this table, and may hide rows.",
            "See lag and replay. ...DISABLE ROW LEVEL SECURITY;",
            look({"canary": {**PRIMARY["canary"], "row_security": True}}, canary=Canary(written=True)),
        ),
        (
            "error",
            f"No row could be written to dr_link_canary in database dr_link at {SOURCE}: nur lesen, SQLSTATE 25006.",
            "See not_fenced.",
            look(canary=Canary(write_problem=Problem("statement", "nur lesen", "25006"))),
        ),
        (
            "error",
            "No row...: the trigger failed, SQLSTATE P0001. The row could not be read from...at pgm-dr: no answer.",
            "Correct what the message names...",
            look(
                canary=Canary(
                    write_problem=Problem("statement", "the trigger failed", "P0001"),
                    read_problem=Problem("no_answer", "no answer"),
                )
            ),
        ),
    ],
}


@pytest.mark.parametrize(
    ("name", "result", "note", "remedy", "seen"),
    [pytest.param(name, *case, id=f"{name}-{n}") for name, cases in CASES.items() for n, case in enumerate(cases, 1)],
)
def test_check(name, result, note, remedy, seen):
    check = by_id(seen)[name]
    assert check.result == result, found(check)
    for said, wanted in ((check.note, note), (check.remedy, remedy)):
        pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
        assert re.fullmatch(pattern, said), found(check)
    assert "{" not in check.note + check.remedy
    assert bool(check.remedy) == (result != "success")


def test_each_check_has_its_cases():
    assert {*CASES, "both_sides_reachable"} == {*CHECK_IDS}


# What is left out where it cannot be judged.
NEEDS_BOTH = {"same_system_identifier", "same_standby", "clock_difference", "lag", "parameter_sizes", "canary"}
OF_PRIMARY = {
    *("source_is_primary", "wal_sender", "synchronous_standbys", "slots_holding_wal", "not_fenced", "fence_possible"),
    *("role_settings", "long_transactions", "prepared_transactions", "logical_slots", "subscriptions"),
    *("unlogged_tables", "canary"),
}
OF_STANDBY = {"dr_is_standby", "wal_receiver", "receiver_silent", "parameter_sizes", "replay", "replay_blocked"}


@pytest.mark.parametrize(
    ("seen", "missing"),
    [
        (without(look(), "primary"), OF_PRIMARY | NEEDS_BOTH),
        (without(look(), "standby"), OF_STANDBY | NEEDS_BOTH),
        (without(without(look(), "standby"), "primary"), OF_PRIMARY | OF_STANDBY | NEEDS_BOTH | {"direct_session"}),
        (look(canary=None), {"canary"}),
        (look({"standby": True}), OF_PRIMARY - {"source_is_primary"} | {"lag", "parameter_sizes"}),
        (look(standby={"position": None}), {"lag"}),
        (look(standby={"system_identifier": "75"}), {"lag"}),
        (look(standby={"receiver": receiver(silent=None)}), {"receiver_silent"}),
        (look(standby={"receiver": receiver(status="waiting")}), {"receiver_silent"}),
        (look(standby={"monitor": False}), {"receiver_silent"}),
    ],
)
def test_what_cannot_be_judged_is_left_out(seen, missing):
    assert {*CHECK_IDS} - by_id(seen).keys() - {"split_brain"} == missing


def test_no_link_has_no_checks_of_a_link():
    assert list(by_id(look(link_state="none", primary=None))) == ["direct_session", "instance_status", "link_state"]
    ended = look(standby=PROMOTED, link_state="none")
    assert list(by_id(ended)) == ["direct_session", "instance_status", "link_state", "split_brain"]
    assert list(by_id(without(ended, "primary"))) == ["direct_session", "instance_status", "link_state"]


@pytest.mark.parametrize(
    "seen",
    [
        look({}, {**PROMOTED, "system_identifier": "75"}, link_state="none"),  # a database of its own
        look({}, PRIMARY),  # one server, asked twice
        look(link_state="none"),
    ],
)
def test_what_is_no_split_brain(seen):
    assert "split_brain" not in by_id(seen)


def test_position_without_the_header_that_was_not_written():
    assert position({**PRIMARY, "position": 5 * 8192 + 24}) == 5 * 8192
    assert position({**PRIMARY, "position": 3 * 16 * MIB + 40}) == 3 * 16 * MIB
    assert position({**PRIMARY, "position": 5 * 8192 + 40}) == 5 * 8192 + 40
    assert position({**STANDBY, "position": 5 * 8192 + 24}) == 5 * 8192 + 24
    page = 0x5002000
    assert lag_bytes(look({"position": page + 24}, {"position": page})) == 0
    assert lag_bytes(look({"position": page + 25}, {"position": page})) == 25
    assert lag_bytes(look({"position": page}, {"position": page + 8})) == 0


def test_lag_needs_a_primary_and_its_standby():
    assert lag(PRIMARY, STANDBY) == 0
    assert lag(None, STANDBY) is lag(PRIMARY, None) is lag(PRIMARY, PROMOTED) is lag(STANDBY, STANDBY) is None


def test_the_largest_lag_is_the_caller_s():
    seen = look({"position": STANDBY["position"] + 1})
    assert by_id(seen, max_lag_bytes=0)["lag"].result == "error"
    assert by_id(seen, max_lag_bytes=1)["lag"].result == "success"


# -- a side that cannot be asked ---------------------------------------------------------------------------------------

PROMOTE = "playbook alicloud.rds.promote, dr_link_promote_mode=forced"
# kind -> what is said of the side, a part of the remedy
KINDS = {
    "refused": ("at dr.example:5432 does not answer: it was so.", 'dr_link_postgres.instances["pgm-dr"].host'),
    "timeout": ("at dr.example:5432 does not answer: it was so.", 'dr_link_postgres.instances["pgm-dr"].host'),
    "network": ("at dr.example:5432 does not answer: it was so.", "white list of the instance, or pg_hba.conf"),
    "name": ("at dr.example:5432 does not answer: it was so.", "Correct the name, or set dr_link_postgres.instances"),
    "no_answer": ("at dr.example:5432 does not answer: it was so.", "check its load"),
    "not_postgresql": ("at dr.example:5432 does not answer: it was so.", 'instances["pgm-dr"].port'),
    "tls": ("at dr.example:5432 refuses the session: it was so.", "ssl_mode, ca_cert"),
    "login": ("at dr.example:5432 refuses the session: it was so.", "login_password in dr_link_postgres for pgm-dr"),
    "auth_method": ("at dr.example:5432 refuses the session: it was so.", "require_auth"),
    "database": ("at dr.example:5432 refuses the session: it was so.", "playbook alicloud.rds.prepare_source"),
    "full": ("at dr.example:5432 refuses the session: it was so.", "CONNECTION LIMIT"),
    "starting": ("at dr.example:5432 refuses the session: it was so.", "run again in a minute"),
    "closed": ("at dr.example:5432 refuses the session: it was so.", "set login_db"),
    "rejected": ("at dr.example:5432 refuses the session: it was so.", "the text is its own"),
    "options": ("cannot be asked: it was so.", "Correct dr_link_postgres"),
    "unproved": ("cannot be asked: it was so.", "ssl_mode=verify-full"),
    "passing": ("at dr.example:5432 refuses the session: it was so.", "Run again."),
    "unclear": ("at dr.example:5432 refuses the session: it was so.", "Run again."),
    "statement": ("at dr.example:5432 refuses a query: it was so.", "GRANT pg_monitor"),
    "library": ("cannot be asked: it was so.", f'Run: {sys.executable} -m pip install "psycopg[binary]"'),
    "not_asked": ("was not asked: it was so.", "Set login_user and login_password in dr_link_postgres."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_side(kind):
    said, remedy = KINDS[kind]
    check = by_id(without(look(), "standby", kind, "it was so."))["both_sides_reachable"]
    assert (check.result, check.note) == ("error", f"pgm-dr {said}")
    assert remedy in check.remedy
    assert PROMOTE not in check.remedy, "a lost standby is no reason to promote"
    primary = by_id(without(look(), "primary", kind))["both_sides_reachable"]
    assert (PROMOTE in primary.remedy) == (kind in ("refused", "timeout"))


def test_every_kind_of_problem_is_known():
    source = re.sub(r"\s+", " ", postgres.PostgresError.__doc__ + " " + Problem.__doc__)
    listed = set(re.findall(r"\w+", source.split("`kind`:")[1].split(". `sqlstate`")[0])) - {"or", "by", "TCP"}
    assert {*KINDS} == listed | {"unclear", "not_asked"}, "unclear comes from COMMIT, not_asked from whoever looks"


def test_a_silent_side_is_said_with_sqlstate_and_place_once():
    password = without(look(), "standby", "login", "Passwort-Authentifizierung fehlgeschlagen", "28P01")
    note = by_id(password)["both_sides_reachable"].note
    wanted = "refuses the session: Passwort-Authentifizierung fehlgeschlagen, SQLSTATE 28P01."
    assert note == f"pgm-dr at dr.example:5432 {wanted}"
    refused = without(look(), "primary", "refused", "10.0.0.1:5432 refuses connections")
    note = by_id(refused)["both_sides_reachable"].note
    assert note == f"{SOURCE} does not answer: 10.0.0.1:5432 refuses connections."


def test_both_sides_silent_are_both_named():
    missing = without(without(look(), "primary", "library", "it is missing"), "standby", "library", "it is missing")
    check = by_id(missing)["both_sides_reachable"]
    assert check.note == f"{SOURCE} cannot be asked: it is missing. pgm-dr cannot be asked: it is missing."
    assert check.remedy.count("pip install") == 1
    two = without(without(look(), "primary", "timeout"), "standby", "login")
    remedy = by_id(two)["both_sides_reachable"].remedy
    assert PROMOTE in remedy and "login_password in dr_link_postgres for pgm-dr" in remedy


def test_a_side_without_an_address_needs_one():
    seen = without(look(), "standby", "not_asked", "its address is not known", host=None)
    check = by_id(seen)["both_sides_reachable"]
    assert check.remedy == 'Set dr_link_postgres.instances["pgm-dr"].host.'


# -- the methods of a fence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "database_obstacles", "system_obstacles"),
    [
        ({}, [], ["ops may not ALTER SYSTEM"]),
        ({"alter_system": True}, [], []),
        ({"alter_system": None}, [], ["ops may not ALTER SYSTEM"]),
        ({"alter_system": True, "allow_alter_system": False}, [], ["allow_alter_system is off"]),
        (
            {"alter_system": True, "reload": False},
            [],
            ["ops may not call pg_reload_conf() in database dr_link"],
        ),
        ({"superuser": True, "allow_alter_system": False}, [], ["allow_alter_system is off"]),
        (
            {
                "superuser": True,
                "signal": False,
                "superuser_sessions": [session()],
                "databases": [database(mine=False)],
            },
            [],
            [],
        ),
        (
            {"alter_system": True, "superuser_sessions": [session()]},
            ["sessions of superusers cannot be ended (pid 7 (app, psql))"],
            ["sessions of superusers cannot be ended (pid 7 (app, psql))"],
        ),
        ({"alter_system": True, "databases": [database(mine=False, open=False)]}, [], []),
        ({"alter_system": True, "databases": [database("dr_link", mine=False)]}, [], []),
        ({"alter_system": True, "databases": [database("ours", mine=False)], "database": "ours"}, [], []),
        ({"alter_system": True, "databases": [database("template1", mine=False, template=True)]}, [], []),
        ({"alter_system": True, "databases": [database("postgres", mine=False)]}, ["postgres belongs to app"], []),
        (
            {
                "alter_system": True,
                "databases": [database("postgres", mine=False)],
                "contents": {"postgres": {"tables": 1, "unlogged": 0}},
            },
            ["postgres belongs to app"],
            [],
        ),
        (
            {
                "alter_system": True,
                "databases": [database("postgres", mine=False)],
                "contents": {"postgres": {"tables": 0, "unlogged": 0}},
            },
            [],
            [],
        ),
        (
            {"superuser": True, "role_settings": [setting("off", "app"), setting("on", "report")]},
            [],
            ["role app sets default_transaction_read_only=off"],
        ),
    ],
)
def test_methods_of_a_fence(changes, database_obstacles, system_obstacles):
    methods = {"database": database_obstacles, "system": system_obstacles, "hook": []}
    assert fence_methods({**PRIMARY, **changes}) == methods


def test_no_fence_without_the_table_of_its_record():
    missing = "there is no table dr_link_fence (playbook alicloud.rds.prepare_source)"
    methods = fence_methods({**PRIMARY, "fence_table": False, "database": "app", "databases": [database(mine=False)]})
    assert methods == {
        "database": [missing, "app belongs to app"],
        "system": [missing, "ops may not ALTER SYSTEM"],
        "hook": [missing],
    }


@pytest.mark.parametrize("value", ["off", "OFF", "of", "0", "n", "no", "f", "fal", "false"])
def test_each_way_to_write_off_gets_past_a_fence_of_the_system(value):
    methods = fence_methods({**PRIMARY, "superuser": True, "role_settings": [setting(value, "app")]})
    assert methods["system"] == [f"role app sets default_transaction_read_only={value}"]


@pytest.mark.parametrize("value", ["on", "1", "y", "Yes", "t", "tru", "TRUE"])
def test_each_way_to_write_on_stays_read_only(value):
    facts = {**PRIMARY, "superuser": True, "role_settings": [setting(value, "app")]}
    assert fence_methods(facts)["system"] == []
    assert by_id(look({"role_settings": facts["role_settings"]}))["role_settings"].result == "warning"


# -- whatever the facts are --------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["app", 'a "b"', "it's", "{old}", "a\nforged: line", "order", "\x1b[31mred"])
MAYBE = st.booleans()


@st.composite
def looks(draw):
    """Looks at a link of every shape: what is true of all of them is tested below."""
    name, small = draw(NAMES), draw(st.sets(st.sampled_from(SIZES)))
    shared = {
        "monitor": draw(MAYBE),
        "user": draw(NAMES),
        "read_only": draw(MAYBE),
        "read_only_source": draw(st.sampled_from(["configuration file", "user", "client", "global", "default"])),
        "slots": [slot(name, type="logical", active=draw(MAYBE), held=draw(st.sampled_from([None, 5])))],
        "synchronous_standby_names": draw(st.sampled_from(["", name])),
        "superuser_sessions": draw(st.sampled_from([None, [session(user=name)]])),
        "canary": draw(st.sampled_from([None, {**PRIMARY["canary"], "row_security": draw(MAYBE)}])),
    }
    primary = {
        **shared,
        "standby": draw(MAYBE),
        "timeline": draw(st.integers(1, 3)),
        "sizes": {each: 200 if each in small else 100 for each in SIZES},
        "role_settings": [setting(draw(st.sampled_from(["on", "off"])), draw(st.sampled_from([None, name])))],
        "fence": draw(st.sampled_from([None, FENCE])),
        "fence_table": draw(MAYBE),
        "databases": [database(name, open=draw(MAYBE), mine=draw(MAYBE), owner=draw(NAMES))],
        "prepared": [{"gid": name, "database": name, "owner": name}],
        "subscriptions": [{"name": name, "database": name}],
    }
    standby = {
        **shared,
        "standby": draw(MAYBE),
        "paused": draw(MAYBE),
        "receiver": draw(st.sampled_from([None, receiver(), receiver(user=name), receiver(slot=name, silent=100)])),
        "startup_waits": draw(st.sampled_from([None, "relation"])),
    }
    state = draw(st.sampled_from(["none", "creating", "streaming", "disconnect", "unknown"]))
    seen = look(primary, standby, link_state=state, canary_table=name)
    for end in draw(st.sets(st.sampled_from(["primary", "standby"]))):
        seen = without(seen, end, draw(st.sampled_from([*KINDS])), draw(NAMES))
    return replace(seen, primary=None) if draw(MAYBE) and state == "none" else seen


@given(looks(), st.sets(st.sampled_from(CHECK_IDS)))
def test_properties(seen, skipped):
    judged = checks(seen)
    ids = [check.id for check in judged]
    assert ids == [name for name in CHECK_IDS if name in ids], "in the order of the report, each once"
    assert checks(seen, skip=skipped) == [check for check in judged if check.id not in skipped]
    for check in judged:
        assert check.result in ("success", "warning", "error")
        assert bool(check.remedy) == (check.result != "success")
        assert check.note or check.result == "success"
        assert "\n" not in check.note + check.remedy and "\x1b" not in check.note + check.remedy
        assert check.id == "both_sides_reachable" or PROMOTE not in check.remedy
    sides = [end for end in (seen.primary, seen.standby) if end]
    lost = seen.primary is not None and seen.primary.problem and seen.primary.problem.kind in ("refused", "timeout")
    suggested = any(PROMOTE in check.remedy for check in judged)
    assert suggested == bool(lost and seen.link_state != "none")
    primary, standby = (end.facts for end in (sides[0], seen.standby))
    if primary and standby and any(standby["sizes"][name] < primary["sizes"][name] for name in SIZES):
        is_pair = len(sides) == 2 and not primary["standby"]
        assert not is_pair or not any("pg_wal_replay_resume" in check.remedy for check in judged)
