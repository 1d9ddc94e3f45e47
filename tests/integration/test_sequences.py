# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verbs one after the other on real clusters: the data are where the result says."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION, REBUILD
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation, run
from rds_emulator.client import Emulator

from .conftest import PASSWORD, account, eventually

_numbers = itertools.count(1)
HOME = {"a": "cn-hangzhou", "b": "cn-shanghai"}


@dataclass
class Two:
    """Two RDS instances, `a` with data and `b` empty, and the verbs as a playbook would run them on their link."""

    rds: Emulator
    names: dict[str, str]
    rows: list[int] = field(default_factory=list)
    primary: str = "a"

    def run(self, operation: Operation, **options: Any) -> dict[str, Any]:
        arguments = operation.spec["argument_spec"]
        defaults = {name: option.get("default") for name, option in arguments.items()}
        quick = {"wait_interval": 0.2, "settle_timeout": 3.0, "wait_timeout": 60.0}
        given = {**defaults, **quick, **options}
        return run(operation, given, check_mode=False, diff=False, environment=self.rds.environment)

    def create(self, source: str = "a", to: str = "b") -> dict[str, Any]:
        place = {"source_instance_name": self.names[source], "source_instance_region_id": HOME[source]}
        target = {"source_category": "aliyunRDS", "dr_instance_id": self.names[to], "region_id": HOME[to]}
        login = {"replicator_account": "dr_sync", "replicator_password": PASSWORD}
        return self.run(LINK, **place, **target, **login)

    def replace(self, which: str) -> None:
        """Put a new, empty instance in the place of one."""
        self.rds.delete_instance(self.names[which])
        self.names[which] = f"pgm-{which}{next(_numbers):04d}"
        self.rds.add_instance(id=self.names[which], region_id=HOME[which])

    def promote(self, which: str) -> dict[str, Any]:
        name, region = self.names[which], HOME[which]
        options = {"dr_instance_id": name, "mode": "planned", "measured_lag_bytes": 0, "region_id": region}
        return self.run(PROMOTION, **options)

    def rebuild(self, which: str, **options: Any) -> dict[str, Any]:
        return self.run(REBUILD, dr_instance_id=self.names[which], region_id=HOME[which], **options)

    def write(self) -> None:
        number = len(self.rows) + 1
        self.rds.sql(self.names[self.primary], f"INSERT INTO kept VALUES ({number})")
        self.rows.append(number)

    def holds(self, which: str) -> bool:
        """Whether all rows written so far are there, soon."""
        query = "SELECT n FROM kept ORDER BY n"
        return bool(eventually(lambda: [row["n"] for row in self.rds.sql(self.names[which], query)] == self.rows))

    def is_standby(self, which: str) -> bool:
        return bool(self.rds.sql(self.names[which], "SELECT pg_is_in_recovery() AS standby")[0]["standby"])


@pytest.fixture
def two(rds_emulator_postgres: Emulator) -> Two:
    names = {side: f"pgm-{side}{next(_numbers):04d}" for side in "ab"}
    table = {"accounts": [account()], "sql": ["CREATE TABLE kept (n bigint PRIMARY KEY)"]}
    for side in "ab":
        rds_emulator_postgres.add_instance(id=names[side], region_id=HOME[side], **(table if side == "a" else {}))
    return Two(rds_emulator_postgres, names)


# Each verb is followed by each other one at least once, where that makes sense: c create, r break and rebuild, p
# promote, n a new link from the promoted instance to an empty one in the old primary's place; a verb in capitals is run
# a second time and has to find nothing to do.
@pytest.mark.parametrize("verbs", ["cCrRpPnNrpPn", "crpPc", "cpc", "cpnpc"])
def test_after_each_verb_the_data_are_where_the_result_says(two, verbs):
    promoted = False
    for verb in verbs:
        other = "b" if two.primary == "a" else "a"
        if not promoted and verb != "c":
            two.write()
        if verb == "c" and promoted:
            ended = two.create()
            # a was never a DR instance of b by this play's word, b may have been promoted: it is never linked unasked.
            assert ended["failed"] and ended["outcome"] in ("not_sent", "refused"), ended
            assert not two.is_standby("a") and not two.is_standby("b")
            continue
        if verb in "cC":
            done = two.create()
            assert done["outcome"] == ("created" if verb == "c" else "unchanged"), done
        elif verb in "nN":
            if verb == "n":
                two.replace(other)
            done, promoted = two.create(two.primary, other), False
            assert done["outcome"] == ("created" if verb == "n" else "unchanged"), done
        elif verb == "r":
            two.rds.break_link(two.names[other], "wal_removed")
            two.write()
            done = two.rebuild(other, confirm=two.names[other])
            assert done["outcome"] == "rebuilt", done
        elif verb == "R":
            assert two.rebuild(other)["outcome"] == "unchanged"
        elif verb == "p":
            assert two.holds(other)
            done = two.promote(other)
            assert done["outcome"] == "promoted", done
            assert done["topology"]["after"] == {
                "primary": done["topology"]["after"]["primary"],
                "dr_instance": None,
                "link_state": "none",
            }
            promoted, two.primary = True, other
        elif verb == "P":
            assert two.promote(two.primary)["outcome"] == "unchanged"
        if verb in "pP":
            two.write()
            assert not two.is_standby("a") and not two.is_standby("b") and two.holds(two.primary)
        else:
            two.write()
            other = "b" if two.primary == "a" else "a"
            assert two.holds(other) and two.is_standby(other) and not two.is_standby(two.primary)
