# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make demo-drill`: a failover is rehearsed on a spare instance, on real PostgreSQL clusters, with its report.

Production is a link between two clusters. Everything runs on loopback.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from rds_emulator.client import Emulator

from .run import DR, ROOT, SOURCE, expect, link_variables, playbook, playbook_environment, say, step

SPARE = "pgm-spare00000001"
REPORTS = ROOT / ".build/drill"


def main() -> None:
    say("Three PostgreSQL clusters and an RDS endpoint are starting on this machine ...")
    with (
        Emulator() as emulator,
        tempfile.TemporaryDirectory() as scratch,
    ):
        emulator.add_instance(id=SPARE)
        emulator.sql(SOURCE, "CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'made-up-admin'")
        REPORTS.mkdir(parents=True, exist_ok=True)
        login = {"login_user": "dr_operator", "login_password": "made-up-operator"}
        admin = {"source": {"login_user": "admin", "login_password": "made-up-admin"}}
        common = {**link_variables(emulator.sources[SOURCE]["port"]), "dr_link_postgres": login}
        query = {"database": "postgres", "sql": "SELECT count(*) FROM orders", "expect": "3"}
        drill = {"dr_link_drill_instance_id": SPARE, "dr_link_drill_queries": [query], "dr_link_drill_duration": 5,
                 "dr_link_rpo_target": 5, "dr_link_rto_target": 60, "dr_link_report_dir": str(REPORTS)}  # fmt: skip
        files = {
            "admin.yml": {**common, "dr_link_postgres": {**login, "instances": admin}},
            "link.yml": common,
            "drill.yml": {**common, **drill},
        }
        for name, variables in files.items():
            Path(scratch, name).write_text(json.dumps(variables))
            Path(scratch, name).chmod(0o600)
        environment = playbook_environment(emulator, scratch)

        step("1. Production", "the source is prepared and linked")
        playbook(environment, Path(scratch, "admin.yml"), name="alicloud.rds.prepare_source")
        emulator.sql(SOURCE, "GRANT SELECT ON orders TO dr_operator")
        playbook(environment, Path(scratch, "link.yml"))

        step("2. Drill", f"{SPARE} is linked to the source, promoted while rows are written, and asked")
        playbook(environment, Path(scratch, "drill.yml"), name="alicloud.rds.drill")
        reports = sorted(REPORTS.glob(f"drill-{SPARE}-*.html"), key=lambda path: path.stat().st_mtime)
        expect(bool(reports), "the drill has left a report")

        step("3. Production", "as before")
        playbook(environment, Path(scratch, "link.yml"), name="alicloud.rds.verify")
        standby = emulator.sql(DR, "SELECT pg_is_in_recovery() AS standby")[0]["standby"]
        expect(bool(standby), f"{DR} is the standby of {SOURCE} still")
    say(f"\nThe clusters are stopped and their files are gone. The report: {reports[-1]}")


if __name__ == "__main__":
    main()
