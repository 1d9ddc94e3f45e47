# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A preview is a preview however it was asked for, and whatever the caller says elsewhere holds inside the role."""

from __future__ import annotations

import json

from .conftest import PASSWORD, show
from .operating import linked

__all__ = ["linked"]  # a fixture
# Every level at which a caller can say `check_mode: true`.
LEVELS = {
    "play": "  check_mode: true\n  tasks:\n    - ansible.builtin.include_role: {role}",
    "block": "  tasks:\n    - check_mode: true\n      block:\n        - ansible.builtin.include_role: {role}",
    "import": "  tasks:\n    - ansible.builtin.import_role: {role}\n      check_mode: true",
    "apply": "  tasks:\n    - ansible.builtin.include_role: {role_and_apply}",
    "role": "  roles:\n    - role: alicloud.rds.dr_link\n      check_mode: true",
}
PLAY = (
    "- hosts: localhost\n  gather_facts: false\n  vars: {ansible_python_interpreter: '{{ ansible_playbook_python }}'}\n"
)
REALLY = {"dr_link_replicator_account": "dr_sync", "dr_link_replicator_password": PASSWORD}


def plays(entry: str) -> str:
    """A playbook with one play a level; the level of roles has no other entry point than main."""
    role = {"name": "alicloud.rds.dr_link", "tasks_from": entry}
    forms = {"role": json.dumps(role), "role_and_apply": json.dumps({**role, "apply": {"check_mode": True}})}
    texts = [PLAY + text.replace("{role}", forms["role"]).replace("{role_and_apply}", forms["role_and_apply"])
             for level, text in LEVELS.items() if level != "role" or entry == "main"]  # fmt: skip
    return "\n".join(texts) + "\n"


def write_nothing(linked, play, *entries, **variables):
    """Play entry points at every level; nothing but reads and dry runs may have been sent, and nothing have changed."""
    before, started = state(linked), max(entry["seq"] for entry in linked.rds.journal())
    run = play(linked.rds, "".join(map(plays, entries)), {**linked.variables, **REALLY, **variables})
    assert run.returncode == 0, run.output
    assert run.output.count("PLAY [") == 4 * len(entries), run.output
    sent = [entry for entry in linked.rds.journal() if entry["seq"] > started]
    assert len(sent) >= 4 * len(entries), "each play has asked the service"
    assert [entry for entry in sent if not entry["action"].startswith("Describe")] == []
    assert state(linked) == before
    return run


def test_no_level_of_check_mode_lets_a_write_through(linked, play):
    linked.rds.sql(linked.source, "ALTER ROLE dr_operator SUPERUSER")  # as prepare_source needs
    entries = ("verify", "preflight", "info", "prepare_source")
    write_nothing(linked, play, *entries, dr_link_canary_table="another_canary")
    planned = write_nothing(linked, play, "promote", dr_link_promote_mode="planned", dr_link_fence="true")
    forced = {"dr_link_promote_mode": "forced", "dr_link_promote_confirm": linked.dr}
    for run in (planned, write_nothing(linked, play, "promote", **forced)):
        assert run.output.count("changed: [") == 4, "the preview says what would change"
    linked.rds.break_link(linked.dr, "wal_removed")
    assert write_nothing(linked, play, "rebuild").output.count("changed: [") == 4


def state(linked):
    """What a write would have left at the source."""
    columns = "(SELECT count(*) FROM dr_link_canary) AS rows, to_regclass('another_canary') IS NULL AS no_table"
    fence = "(SELECT count(*) FROM dr_link_fence) AS fences, (SELECT array_agg(datallowconn) FROM pg_database) AS open"
    reading = "current_setting('default_transaction_read_only') AS fence, pg_postmaster_start_time()::text AS started"
    return linked.rds.sql(linked.source, f"SELECT {columns}, {fence}, {reading}", "dr_link")


def test_no_level_of_check_mode_creates_a_link(pair, play):
    run = play(pair.rds, plays("main"), pair.variables)
    assert run.returncode == 0, run.output
    assert run.output.count("PLAY [") == 5
    assert run.output.count("18 of 18 checks passed, plan ") == 5
    assert run.output.count("changed: [") == 5
    assert pair.creates() == []
    previews = [entry for entry in pair.journal() if entry["action"] == "CreateReplicationLink"]
    assert len(previews) == 5, "one dry run a preview: the plan is verified, and not made again"


def test_the_callers_module_defaults_hold_inside_the_role(pair, play):
    """The environment has a key that may create; the play says another, which may only read."""
    pair.rds.add_key(
        access_key_id="LTAI5tReadOnly", access_key_secret="readonly'secret+=/", deny=["CreateReplicationLink"]
    )
    text = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/alicloud.rds.all: {access_key_id: LTAI5tReadOnly, access_key_secret: "readonly'secret+=/"}
  tasks:
    - block:
        - ansible.builtin.include_role: {name: alicloud.rds.dr_link}
      always:
        @SHOW@
""".replace("@SHOW@", show("dr_link_results"))
    for connection in ({}, {"region_id": "cn-shanghai"}, None):
        run = play(pair.rds, text, {**pair.variables, "dr_link_connection": connection}, "-vvv")
        assert run.returncode == 2, run.output
        assert {entry["access_key_id"] for entry in pair.journal()} == {"LTAI5tReadOnly"}
        assert run.results[pair.dr]["error"]["code"] == "Forbidden.RAM"
        assert "readonly'secret" not in run.output
    assert pair.creates() == []


def test_no_log_on_the_play_hides_every_task_of_the_role(pair, play):
    text = """
- hosts: localhost
  gather_facts: false
  no_log: true
  roles: [alicloud.rds.dr_link]
"""
    run = play(pair.rds, text, pair.variables, "-vvv")
    assert run.returncode == 0, run.output
    said = run.output.partition("PLAY [")[2]
    assert "censored" in said and pair.dr not in said and "127.0.0.1" not in said
    assert len(pair.creates()) == 1


def test_extra_variables_are_text_or_null_and_count_as_meant(linked):
    """As `-e name=value`, surveys of AWX, and JSON give them."""
    text = ["-e", "dr_link_fence=false dr_link_promote_mode=planned dr_link_lag_timeout=20 dr_link_wait_timeout=60"]
    text += ["-e", "dr_link_skip_checks=canary,logical_slots"]
    null = dict.fromkeys(
        ["dr_link_promote_confirm", "dr_link_max_lag_bytes", "dr_link_canary_table", "dr_link_connection"]
    )
    run = linked.play("promote", *text, **null, dr_link_rebuild_confirm="", dr_link_links=None)
    assert run.results["done"]["outcome"] == "promoted"
    assert linked.value(linked.source, "current_setting('default_transaction_read_only')") == "off"
    assert "and takes rows" not in run.output, "the canary was left out"


def test_a_part_of_a_playbook_is_refused(pair, play):
    for name, option in (("preview", "--tags"), ("promote", "--tags"), ("info", "--skip-tags")):
        run = play(pair.rds, f"alicloud.rds.{name}", pair.variables, option, "x")
        assert run.returncode == 2, f"{name}: {run.output}"
        assert "Run it without --tags and --skip-tags. Nothing was sent." in run.output
    assert pair.journal() == []
