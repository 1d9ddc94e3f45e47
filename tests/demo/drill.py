# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make demo-drill`: rehearse a failover between two RDS instances of the emulator, there and back, with a report.

Everything runs on loopback, against real PostgreSQL clusters. Against the cloud the same playbooks run with another
endpoint and other keys.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.demo.run import DR, ROOT, expect, paint, playbook, playbook_environment, say, step
from tests.rds_emulator.client import Emulator

SOURCE, REGION = "pgm-src00000000001", "cn-hangzhou"
OPERATOR = {"login_user": "dr_operator", "login_password": "Operator+Passw0rd/2"}
# What an operator needs, and no more.
PREPARED = (
    "CREATE ROLE dr_operator LOGIN PASSWORD 'Operator+Passw0rd/2'",
    "GRANT pg_monitor TO dr_operator",
    "CREATE TABLE dr_link_canary (id text PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    "GRANT SELECT, INSERT ON dr_link_canary TO dr_operator",
)


def main() -> None:
    say("Two RDS instances of PostgreSQL and an RDS endpoint are starting on this machine ...")
    with (
        Emulator(seed=ROOT / "tests/rds_emulator/seeds/pair.yml") as emulator,
        tempfile.TemporaryDirectory() as scratch,
    ):
        for statement in PREPARED:
            emulator.sql(SOURCE, statement)
        link = Path(scratch, "link.yml")
        link.write_text(json.dumps(variables()))
        link.chmod(0o600)
        environment = playbook_environment(emulator, scratch)

        step("1. Link", f"{DR} becomes the standby of {SOURCE}")
        playbook(environment, link)

        step("2. Preview the drill", "what it would do; nothing is changed")
        playbook(environment, link, "--check", name="alicloud.rds.drill")
        expect(not emulator.journal("SwitchReplicationLink"), "no switch was requested by the preview")

        step("3. Drill", "switch over, prove it, switch back, prove it")
        playbook(environment, link, "-e", "dr_link_report_dir=reports", name="alicloud.rds.drill")
        expect(len(emulator.journal("SwitchReplicationLink")) == 2, "exactly two switches arrived at the service")

        (page,) = Path(scratch, "reports").glob("*.md")
        step("4. The report", f"{page.name}, for whoever was not there")
        for line in page.read_text().splitlines():
            say(f"    {paint(line, '1') if line.startswith('**') else line}")
        report = json.loads(page.with_suffix(".json").read_text())
        expect(report["passed"] and report["rpo_rows"] == 0, "no acknowledged row was lost")
        expect(report["primary_now"] == SOURCE, f"{SOURCE} is primary, as before")
    say("\nThe clusters are stopped and their files are gone. Next: docs/operate.md.")


def variables() -> dict[str, object]:
    """What an operator writes into link.yml; the passwords would come from a vault."""
    return {
        "dr_link_dr_instance_id": DR,
        "dr_link_source_category": "aliyunRDS",
        "dr_link_source_instance_name": SOURCE,
        "dr_link_source_instance_region_id": REGION,
        "dr_link_replicator_account": "dr_sync",
        "dr_link_replicator_password": "Dr-Sync+Passw0rd/1",
        "dr_link_postgres": OPERATOR,
    }


if __name__ == "__main__":
    main()
