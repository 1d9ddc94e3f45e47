# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the pages say can be pasted and works."""

from __future__ import annotations

import json
import re

from .conftest import PASSWORD, ROOT

QUOTED = "'" + PASSWORD.replace("'", "''") + "'"


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


def readme(pair) -> dict[str, str]:
    """The files that the README has its reader save."""
    link, playbook = blocks("README.md", "yaml")[-2:]
    return {"link.yml": for_this_pair(link, pair), "dr.yml": playbook}


def reported(output: str) -> list[str]:
    """The lines of the last report, without what differs from run to run."""
    (*_, text) = re.findall(r'"msg": (\[.*?\n    \])', output, re.DOTALL)
    return [re.sub(r"plan \d+", "plan ID", line) for line in json.loads(text)]


def quoted(text: str, pair) -> list[str]:
    lines = (
        text.replace("10.20.0.15:5432", f"127.0.0.1:{pair.port}").replace("pgm-uf6wjk5xexample", pair.dr).splitlines()
    )
    return [re.sub(r"plan \d+", "plan ID", line) for line in lines]


def test_the_readmes_playbook_works_when_pasted_and_prints_what_is_quoted(pair, play):
    files, (preview_quoted, failure_quoted) = readme(pair), blocks("README.md", "text")
    given = {"DR_SYNC_PASSWORD": PASSWORD}
    preview = play(pair.rds, files["dr.yml"], {}, "--check", "--diff", beside=files, **given)
    assert preview.returncode == 0, preview.output
    assert reported(preview.output) == quoted(preview_quoted, pair)
    assert pair.creates() == []
    pair.rds.sql(pair.source, "ALTER ROLE dr_sync NOREPLICATION")
    failed = play(pair.rds, files["dr.yml"], {}, "--check", beside=files, **given)
    assert failed.returncode == 2 and reported(failed.output) == quoted(failure_quoted, pair)
    pair.rds.sql(pair.source, "ALTER ROLE dr_sync REPLICATION")
    for changed in (1, 0):
        run = play(pair.rds, files["dr.yml"], {}, beside=files, **given)
        assert run.returncode == 0, run.output
        assert run.changed() == changed


def test_the_ram_policy_allows_the_main_job_and_no_more(pair, play):
    (policy,) = [json.loads(text) for text in blocks("docs/zero_to_streaming.md", "json")]
    allowed = {action.removeprefix("rds:") for action in policy["Statement"][0]["Action"]}
    run = play(pair.rds, "alicloud.rds.replication_link", pair.variables)
    assert run.returncode == 0, run.output
    assert {entry["action"] for entry in pair.journal()} == allowed


def test_the_source_can_be_prepared_as_the_page_says(pair, play):
    account, parameters = blocks("docs/zero_to_streaming.md", "sql")
    pair.rds.sql(pair.source, "DROP ROLE dr_sync")
    paste(pair, account)
    paste(pair, parameters)
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
