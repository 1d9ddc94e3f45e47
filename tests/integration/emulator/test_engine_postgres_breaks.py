# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Links that are broken for real, as the control API and the RDS API show them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pg8000.native")

from rds_emulator.client import Emulator, EmulatorError
from rds_emulator.engines.postgres import install
from tests.unit.emulator.api_helper import ACCOUNT, KEY, PASSWORD, Caller, until

pytestmark = pytest.mark.skipif(not install.find(), reason="no PostgreSQL found")

SEED = {"region_id": "cn-shanghai", "keys": [KEY], "quirks": {"replication_info": "json"}}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(SEED, engine="postgres") as running:
        yield running


class Pair:
    """An RDS instance, and the DR instance that follows it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator, number = emulator, next(_numbers)
        self.call = Caller(emulator, KEY)
        self.source, self.dr = f"pgm-src{number}", f"pgm-dr{number}"
        emulator.add_instance(id=self.source, accounts=[ACCOUNT], sql=["CREATE TABLE t (i int)"])
        emulator.add_instance(id=self.dr)
        self.do(
            "CreateReplicationLink",
            DryRun="false",
            SourceCategory="aliyunRDS",
            SourceInstanceName=self.source,
            SourceInstanceRegionId="cn-shanghai",
            ReplicatorAccount=ACCOUNT["name"],
            ReplicatorPassword=PASSWORD,
        )
        assert self.linked() == "steaming"

    def do(self, action: str, **arguments: Any) -> None:
        """Start a task and wait until it is over."""
        status, answer = self.call(action, **{"DBInstanceId": self.dr, **arguments})
        assert status == 200, answer
        until(lambda: not any(item["busy"] for item in self.emulator.state()["instances"].values()))

    def row(self) -> dict[str, Any]:
        _status, answer = self.call("DescribeReplicationLinkLogs", DBInstanceId=self.dr, TaskType="create")
        return answer["Items"][0]

    def info(self) -> dict[str, str]:
        return json.loads(self.row()["ReplicationInfo"])

    def linked(self) -> str:
        """Both instances run and have their link; return its ReplicationState."""
        _status, answer = self.call("DescribeDBInstanceAttribute", DBInstanceId=f"{self.source},{self.dr}")
        source, dr = answer["Items"]["DBInstanceAttribute"]
        assert (source["DBInstanceStatus"], dr["DBInstanceStatus"]) == ("Running", "Running")
        assert (source["GuardDBInstanceId"], dr["IncrementSourceDBInstanceId"]) == (self.dr, self.source)
        return self.row()["ReplicationState"]

    def write(self) -> None:
        self.emulator.sql(self.source, "INSERT INTO t VALUES (1)")

    def rows(self, name: str) -> int:
        return self.emulator.sql(name, "SELECT count(*) AS n FROM t")[0]["n"]

    def is_whole(self) -> bool:
        return self.linked() == "steaming" and self.rows(self.dr) == self.rows(self.source)


@pytest.fixture
def pair(emulator: Emulator) -> Iterator[Pair]:
    pair = Pair(emulator)
    yield pair
    pair.call.close()
    emulator.delete_instance(pair.dr)
    emulator.delete_instance(pair.source)


@pytest.mark.parametrize("how", ["refused", "source_gone"])
def test_without_its_source_a_link_is_not_rebuilt_until_repaired(pair: Pair, how: str) -> None:
    pair.write()
    until(pair.is_whole)
    pair.emulator.break_link(pair.dr, how)
    assert pair.linked() == "disconnect"
    if how == "refused":
        pair.write()
    else:
        with pytest.raises(EmulatorError, match="does not answer"):
            pair.write()
    pair.do("RebuildReplicationLink")
    assert pair.linked() == "disconnect"
    assert pair.rows(pair.dr) == 1  # what it has, it keeps: it may have to be promoted
    pair.emulator.repair_link(pair.dr)
    until(pair.is_whole)


@pytest.mark.parametrize("how", ["wal_removed", "disk_full"])
def test_a_rebuild_cures_what_does_not_come_back(pair: Pair, how: str) -> None:
    pair.emulator.break_link(pair.dr, how)
    pair.write()
    assert pair.linked() == "disconnect"
    assert pair.rows(pair.dr) == 0
    with pytest.raises(EmulatorError, match="not streaming"):
        pair.emulator.break_link(pair.dr, how)
    pair.emulator.repair_link(pair.dr)
    if how == "disk_full":
        until(pair.is_whole)
        pair.emulator.break_link(pair.dr, how)
    # Failing receivers come and go: none may be taken for one that streams.
    assert {pair.row()["ReplicationState"] for _unused in range(50)} == {"disconnect"}
    pair.do("RebuildReplicationLink")
    assert pair.linked() == "steaming"
    until(pair.is_whole)


def test_paused_replay_lags_until_it_is_repaired(pair: Pair) -> None:
    pair.write()
    until(pair.is_whole)
    assert pair.info()["ReplayLag"] == "0"
    with pytest.raises(EmulatorError, match="here lag is real"):
        pair.emulator.break_link(pair.dr, "replay_paused", lag_bytes=1)
    pair.emulator.break_link(pair.dr, "replay_paused")
    lags = []
    for _unused in range(2):
        pair.write()
        current = pair.emulator.sql(pair.source, "SELECT pg_current_wal_lsn()::text AS lsn")[0]["lsn"]
        until(lambda current=current: pair.info()["LatestEndLsn"] == pair.info()["ReceivedLsn"] == current)
        lags.append(pair.emulator.state()["replication"][pair.dr]["lag_bytes"])
    assert 0 < lags[0] < lags[1]
    info = until(lambda: (now := pair.info())["ReplayLag"] != "0" and now)
    assert (info["Status"], info["Synced"], info["IsSlave"]) == ("streaming", "false", "true")
    assert "password=********" in info["Conninfo"] and f"user={ACCOUNT['name']}" in info["Conninfo"]
    assert all(isinstance(value, str) for value in info.values())
    assert (pair.linked(), pair.rows(pair.dr)) == ("steaming", 1)
    pair.write()
    pair.emulator.repair_link(pair.dr)
    until(pair.is_whole)
    assert until(lambda: (now := pair.info())["Synced"] == "true" and now)["ReplayLag"] == "0"


def test_a_failover_when_the_source_has_gone(pair: Pair) -> None:
    pair.emulator.break_link(pair.dr, "source_gone")
    pair.do("DeleteReplicationLink", PromoteToMaster="true")
    assert pair.row()["ReplicationState"] == "finish"
    pair.emulator.sql(pair.dr, "INSERT INTO t VALUES (2)")
    pair.emulator.repair_link(pair.dr)  # now there are two primaries
    assert (pair.rows(pair.source), pair.rows(pair.dr)) == (0, 1)


def test_an_instance_with_a_full_disk_cannot_be_promoted_before_it_is_repaired(pair: Pair) -> None:
    pair.emulator.break_link(pair.dr, "disk_full")
    pair.do("DeleteReplicationLink", PromoteToMaster="true")
    assert pair.linked() == "disconnect"
    pair.emulator.repair_link(pair.dr)
    until(pair.is_whole)
    pair.do("DeleteReplicationLink", PromoteToMaster="true")
    pair.emulator.sql(pair.dr, "INSERT INTO t VALUES (2)")
