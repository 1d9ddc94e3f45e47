# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the report of a dry run (`Detail` of DescribeReplicationLinkLogs) as a list of checks. Pure.

The report is text: ``[Section]`` lines, ``Name: success``, ``Name: warning(warning:...)``, ``Name: error(error:...)``.
Line breaks may be real or a literal backslash-n. Sources: the example of `Detail` in the operation's reference, and
https://help.aliyun.com/zh/rds/apsaradb-rds-for-postgresql/analyze-the-feasibility-assessment-report-of-disaster-recovery-construction
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub

_SECTION = re.compile(r"^\[(?P<section>[^\]]+)\]$")
_CHECK = re.compile(
    r"^(?P<name>[^:*\[][^:]*):\s*(?P<result>success|warning|error|fail(?:ed|ure)?)\b(?P<note>.*)$", re.IGNORECASE
)
_NOTE = re.compile(r"^[\s:(]*(?:(?:error|warning)\s*:)?(?P<text>.*)$", re.IGNORECASE | re.DOTALL)
# A report has about 40 lines. What is longer than this is not read to its end, so that no answer can be a burden.
LONGEST_REPORT = 256 * 1024
_MOST_CHECKS = 200
_LONGEST_NOTE = 4000


# The ids of documented checks whose names are sentences.
_IDS = {
    "check source glibc version compatible": "glibc_version",
    "check disk size enough": "disk_size",
    "check wal keep size large enough": "wal_keep_size",
    "check if spec params too large": "spec_params",
    "check extensions compatible": "extensions",
    "check logical replication slots": "logical_slots",
    "check triggers compatible": "triggers",
    "check user functions compatible": "user_functions",
}


class Check(NamedTuple):
    """One check. `id` is stable; `result` is success, warning or error; `note` and `remedy` are '' after success."""

    id: str
    section: str
    check: str
    result: str
    note: str
    remedy: str


class Subject(NamedTuple):
    """What remedies speak about."""

    account: str
    dr_instance_id: str


# check id -> ((pattern in the note, remedy), ...); the first that fits is taken. {account} is a quoted identifier.
_REMEDIES: dict[str, tuple[tuple[str, str], ...]] = {
    "rds_databases": (
        (
            "",
            "Empty {instance}: drop all databases and objects made there. A promoted instance is not empty.",
        ),
    ),
    "ip_connectable": (
        ("", "Make source_address reachable from the VPC of {instance}: name, route (CEN, VPN, NAT), security group."),
    ),
    "port_connectable": (
        ("", "Let PostgreSQL listen on source_port (listen_addresses, port) and open the firewall for {instance}."),
    ),
    "database_connectable": (
        (
            "28P01|password authentication",
            "Correct replicator_account or replicator_password, or at the source: ALTER ROLE {account} PASSWORD '...';",
        ),
        (
            "53300|too many|remaining connection slots",
            "Free connections at the source, or raise max_connections there and restart it.",
        ),
        (
            "pg_hba|no entry|28000",
            "Let the account in. pg_hba.conf of the source: host all {account} <network of {instance}> scram-sha-256; "
            "then SELECT pg_reload_conf(); The account also needs LOGIN.",
        ),
        (
            "not a PostgreSQL|unexpected",
            "What listens on source_port is not PostgreSQL: correct source_address or source_port.",
        ),
        ("timed? ?out|57014", "The source does not answer in time: check for load, locks or a proxy in between."),
        ("", "Log in to the source from the DR network as the replication account, and correct what hinders it."),
    ),
    "account_replication_privilege": (("", "At the source: ALTER ROLE {account} REPLICATION;"),),
    "account_createrole_privilege": (("", "At the source: ALTER ROLE {account} CREATEROLE;"),),
    "account_monitor_privilege": (("", "At the source: GRANT pg_monitor TO {account};"),),
    "major_version_consistent": (
        ("", "Both sides need the same PostgreSQL major version: choose a DR instance of the source's version."),
    ),
    "glibc_version": (("", "Sorting may differ between the two C libraries: REINDEX text indexes after a promotion."),),
    "disk_size": (("", "Enlarge the storage of {instance}: the source's data may fill at most 80 % of it."),),
    "wal_keep_size": (
        (
            "",
            "At the source: ALTER SYSTEM SET wal_keep_size = '4GB'; SELECT pg_reload_conf(); "
            "(wal_keep_segments before PostgreSQL 13). It must hold the WAL written during the base backup.",
        ),
    ),
    "spec_params": (
        ("", "Raise max_connections and max_prepared_transactions of {instance} to at least the source's values."),
    ),
    "rds_user": (
        ("", "Rename the roles at the source that RDS needs for itself (alicloud_rds_admin, aurora, replicator)."),
    ),
    "extensions": (
        (
            "",
            "Drop the extension at the source, or ALTER EXTENSION ... UPDATE to a version that {instance} offers.",
        ),
    ),
    "logical_slots": (("", "Logical slots do not move to the DR side: plan to create them again after a promotion."),),
    "triggers": (("", "Review the triggers named; event triggers of superusers do not run on RDS."),),
    "user_functions": (("", "Review the functions named; languages that RDS does not offer fail there."),),
    "replication": (
        ("wal_level", "At the source: ALTER SYSTEM SET wal_level = 'replica'; then restart it."),
        (
            "max_wal_senders|53300",
            "At the source: end replication clients not in use, or ALTER SYSTEM SET max_wal_senders = 20; restart.",
        ),
        (
            "pg_hba|28000|no entry",
            "pg_hba.conf of the source: host replication {account} <network of {instance}> scram-sha-256; "
            "then SELECT pg_reload_conf();",
        ),
        ("standby|recovery", "Name the primary as source: a standby cannot be the source."),
        ("itself|same", "Source and DR instance are the same server: correct source_address."),
        ("", "Make a replication connection from the DR network to the source work (psql 'replication=true ...')."),
    ),
}


def parse_report(detail: str, subject: Subject, secrets: Iterable[str] = ()) -> list[Check]:
    """Return the checks of a report in its order; text that is no check is left out. Never raises.

    :param detail: `Detail` as the service sent it
    :param secrets: values that must not come back in a note
    """
    checks: list[Check] = []
    ids: set[str] = set()
    section = ""
    for line in report_lines(scrub(detail, secrets)):
        if len(checks) == _MOST_CHECKS:
            break
        heading = _SECTION.match(line)
        if heading:
            section = heading["section"].strip()
            continue
        found = _CHECK.match(line)
        if not found:
            continue
        name = found["name"].strip()
        result = found["result"].lower()
        result = "error" if result.startswith("fail") else result
        note = _clean_note(found["note"])[:_LONGEST_NOTE] if result != "success" else ""
        check_id = _identify(section, name, ids)
        ids.add(check_id)
        remedy = _remedy(check_id, note, subject) if result != "success" else ""
        checks.append(Check(check_id, section, name, result, note, remedy))
    return checks


def report_lines(detail: str) -> list[str]:
    """Return the lines of a report, whichever way its line breaks are written."""
    return [line.strip() for line in re.split(r"\\n|\n|\r", detail[-LONGEST_REPORT:]) if line.strip()]


def other_lines(detail: str) -> list[str]:
    """Return the lines of a report that are neither a section nor a check, such as the times of the base backup."""
    return [line for line in report_lines(detail) if not (_SECTION.match(line) or _CHECK.match(line))]


def failed(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.result == "error"]


def listed(notes: Iterable[tuple[str, str]]) -> str:
    """Return notes for a message: one a line, its remedy on the next, and the end of a line behind all."""
    lines = []
    for number, (note, remedy) in enumerate(notes, 1):
        lines += [f"  {number}. {note}", *[f"     to fix: {remedy}"] * bool(remedy)]
    return "\n".join(["", *lines, ""])


def warned(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.result == "warning"]


def _clean_note(text: str) -> str:
    found = _NOTE.match(text)
    note = (found["text"] if found else text).strip()
    return note[:-1].rstrip() if note.endswith(")") and note.count(")") > note.count("(") else note


def _identify(section: str, name: str, taken: Set[str]) -> str:
    """Return the id: a short one for a documented check, else the check's name in snake case without 'Check'."""
    check_id = _IDS.get(name.lower()) or _slug(name)
    return f"{_slug(section)}_{check_id}" if check_id in taken else check_id


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").removeprefix("check_")


def _remedy(check_id: str, note: str, subject: Subject) -> str:
    for pattern, remedy in _REMEDIES.get(check_id, ()):
        if re.search(pattern, note, re.IGNORECASE):
            account = subject.account or "<replicator_account>"
            if not re.fullmatch(r"[a-z_][a-z0-9_]*|<replicator_account>", account):
                account = '"{}"'.format(account.replace('"', '""'))
            return remedy.replace("{account}", account).replace("{instance}", subject.dr_instance_id)
    return "See the note; this check is newer than the collection."
