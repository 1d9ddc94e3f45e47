# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports are read as checks, whatever their line breaks, and never fail to be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, parse_report

SUBJECT = Subject("dr_sync", "pgm-dr")

DOCUMENTED = """[Check rds empty]
Check rds databases: success
[Check source connectivity]
Check ip connectable: success
Check port connectable: success
Check database connectable: success
Check account replication privilege: success
Check account createrole privilege: success
Check account monitor privilege: success
[Check source version]
Check major version consistent: success
[Check source glibc version]
Check source glibc version compatible: warning(warning:source glibc version is not compatible with rds pg)
[Check disk size]
Check disk size enough: success
[Check wal keep size]
Check wal keep size large enough: error:wal_keep_size is 0
[Check spec params]
Check if spec params too large: success
[Check triggers]
Check triggers compatible: success
[Check user functions]
Check user functions compatible: success
[Start RDS instance]
2022-02-25 17:00:29 --- Start RDS instance as slave for data replication
*Migrate check failed*
"""


@pytest.mark.parametrize("line_break", ["\n", "\\n", "\r\n"])
def test_the_documented_report(line_break):
    checks = parse_report(DOCUMENTED.replace("\n", line_break), SUBJECT)
    assert [check.id for check in checks] == [
        "rds_databases",
        "ip_connectable",
        "port_connectable",
        "database_connectable",
        "account_replication_privilege",
        "account_createrole_privilege",
        "account_monitor_privilege",
        "major_version_consistent",
        "glibc_version",
        "disk_size",
        "wal_keep_size",
        "spec_params",
        "triggers",
        "user_functions",
    ]
    by_id = {check.id: check for check in checks}
    assert by_id["glibc_version"].result == "warning"
    assert by_id["glibc_version"].note == "source glibc version is not compatible with rds pg"
    assert by_id["wal_keep_size"].result == "error"
    assert by_id["wal_keep_size"].note == "wal_keep_size is 0"
    assert "wal_keep_size" in by_id["wal_keep_size"].remedy
    assert by_id["disk_size"] == ("disk_size", "Check disk size", "Check disk size enough", "success", "", "")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("Check account replication privilege: error(error:no)", "ALTER ROLE dr_sync REPLICATION;"),
        ("Check account createrole privilege: error(error:no)", "ALTER ROLE dr_sync CREATEROLE;"),
        ("Check account monitor privilege: error(error:no)", "GRANT pg_monitor TO dr_sync;"),
        ("Check database connectable: error(error:28P01 password authentication failed)", "PASSWORD"),
        ("Check database connectable: error(error:28000 no pg_hba.conf entry)", "pg_hba.conf"),
        ("Check database connectable: error(error:53300 too many connections)", "max_connections"),
        ("Check replication: error(error:53300 max_wal_senders exceeded)", "max_wal_senders"),
        ("Check replication: error(error:wal_level is minimal)", "wal_level"),
        ("Check major version consistent: error(error:15 and 18)", "same PostgreSQL major version"),
        ("Check a thing of next year: error(error:oh)", "newer than the collection"),
    ],
)
def test_each_failure_has_a_remedy_that_would_fix_it(line, remedy):
    (check,) = parse_report(line, SUBJECT)
    assert check.result == "error"
    assert remedy in check.remedy


def test_an_odd_account_is_quoted_in_sql():
    (check,) = parse_report("Check account monitor privilege: error", Subject('Odd "name"', "pgm-dr"))
    assert 'GRANT pg_monitor TO "Odd ""name""";' in check.remedy


def test_a_note_with_parentheses_stays_whole():
    (check,) = parse_report("Check disk size: error(error:source uses 9 GB (90 %) of 10 GB)", SUBJECT)
    assert check.note == "source uses 9 GB (90 %) of 10 GB"


def test_two_checks_of_one_name_get_two_ids():
    checks = parse_report("[Check a]\nCheck x: success\n[Check b]\nCheck x: success", SUBJECT)
    assert [check.id for check in checks] == ["x", "b_x"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_any_text_can_be_read(text):
    for check in parse_report(text, SUBJECT):
        assert check.id and check.result in ("success", "warning", "error")
