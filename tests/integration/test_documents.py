# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the pages say can be pasted and works."""

from __future__ import annotations

import re

import yaml

from .conftest import PASSWORD, ROOT

QUOTED = "'" + PASSWORD.replace("'", "''") + "'"
MESSAGE = r"The precheck of (?:(?!The precheck of).)*?\[PrecheckFailed,\s+request id [\w-]+\]"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def paste(pair, statements: str, database: str = "postgres") -> None:
    """Run statements at the source, with a password."""
    for statement in re.sub(r"--.*", "", statements).replace("'...'", QUOTED).split(";"):
        if statement.strip():
            pair.rds.sql(pair.source, statement, database)


def for_this_pair(text: str, pair) -> str:
    """Put in one's own instance and address, as the page asks for."""
    replaced = text.replace("pgm-uf6wjk5xexample", pair.dr).replace("10.20.0.15", "127.0.0.1")
    return replaced.replace("source_port: 5432", f"source_port: {pair.port}")


def test_the_readmes_playbook_works_when_pasted(pair, play):
    (text,) = blocks("README.md", "yaml")
    playbook = for_this_pair(text, pair)
    preview = play(pair.rds, playbook, {}, "--check", "--diff", DR_SYNC_PASSWORD=PASSWORD)
    assert preview.returncode == 0, preview.output
    assert pair.creates() == []
    for changed in (1, 0):
        run = play(pair.rds, playbook, {}, DR_SYNC_PASSWORD=PASSWORD)
        assert run.returncode == 0, run.output
        assert run.changed() == changed


def test_the_readmes_preview_of_a_missing_privilege_is_what_is_printed(pair, play):
    (text,) = blocks("README.md", "yaml")
    pair.rds.sql(pair.source, "ALTER ROLE dr_sync NOREPLICATION")
    run = play(pair.rds, for_this_pair(text, pair), {}, "--check", DR_SYNC_PASSWORD=PASSWORD)
    shown = re.search(MESSAGE, (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[0]
    printed = re.search(MESSAGE, run.output, re.DOTALL)[0]
    varying = {
        pair.dr: "pgm-uf6wjk5xexample",
        r"task \d+": "task 564532302",
        r"\s+": " ",
        r"request id [\w-]+": "request id",
    }
    for pattern, constant in varying.items():
        shown, printed = re.sub(pattern, constant, shown), re.sub(pattern, constant, printed)
    assert printed == shown


def test_the_ram_policy_allows_the_main_job_and_names_what_else_is_missing(pair, play):
    (policy,) = [yaml.safe_load(text) for text in blocks("README.md", "json")]
    allowed = {action.removeprefix("rds:") for action in policy["Statement"][0]["Action"]}
    (text,) = blocks("README.md", "yaml")
    assert play(pair.rds, for_this_pair(text, pair), {}, DR_SYNC_PASSWORD=PASSWORD).returncode == 0
    assert {entry["action"] for entry in pair.journal()} == allowed


def test_the_source_can_be_prepared_as_the_readme_says(pair, play):
    (statements,) = blocks("README.md", "sql")
    pair.rds.sql(pair.source, "DROP ROLE dr_sync")
    paste(pair, statements)
    run = play(pair.rds, "alicloud.rds.preview", pair.variables)
    assert run.returncode == 0, run.output


def test_the_source_can_be_prepared_by_hand_as_the_playbook_does(pair, play):
    accounts, tables, _system = blocks("docs/operate.md", "sql")
    paste(pair, "DROP ROLE dr_sync; CREATE ROLE shop_owner; CREATE DATABASE shop OWNER shop_owner")
    paste(pair, "CREATE ROLE admin LOGIN SUPERUSER PASSWORD '...'")
    paste(pair, accounts)
    paste(pair, tables, "dr_link")
    admin = {"source": {"login_user": "admin", "login_password": PASSWORD}}
    login = {"login_user": "dr_operator", "login_password": PASSWORD, "instances": admin}
    variables = {**pair.variables, "dr_link_fence": True, "dr_link_postgres": login}
    run = play(pair.rds, "alicloud.rds.prepare_source", variables)
    assert run.returncode == 0 and run.changed() == 0, run.output
    paste(pair, "REVOKE pg_signal_backend FROM dr_operator")
    assert play(pair.rds, "alicloud.rds.prepare_source", variables).changed() == 1
