# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a standby says about its replication."""

from __future__ import annotations

import re
from typing import Any

from ...engine import LinkState
from .cluster import Cluster

ANSWER_SECONDS = 2.0  # for a question to a cluster that may be stuck
# A receiver that will fail, because the WAL that it asks for has gone or cannot be written here, is "streaming" for
# some milliseconds, again and again. So it counts only once it has written something that was sent to it (until the
# first message both times are the same), or has lived too long to be one of those.
STREAMS = (
    "coalesce(status = 'streaming' AND (last_msg_send_time <> last_msg_receipt_time AND flushed_lsn > receive_start_lsn"
    " OR clock_timestamp() - backend_start > interval '150 ms'), false)"
)
FROM = "FROM (VALUES (1)) AS one LEFT JOIN pg_stat_wal_receiver ON true LEFT JOIN pg_stat_activity USING (pid)"
# Keys of ReplicationInfo, as documented for DescribeCloudMigrationResult. A commit that has not been replayed is
# at least as old as the last one that has, or as the server if there is none: the most that a standby can know.
INFO = {
    "Status": "status",
    "ReceiveStartLsn": "receive_start_lsn",
    "ReceiveStartTli": "receive_start_tli",
    "ReceivedLsn": "pg_last_wal_receive_lsn()",
    "ReceivedTli": "received_tli",
    "LastMsgSendTime": "last_msg_send_time",
    "LastMsgReceiptTime": "last_msg_receipt_time",
    "LatestEndLsn": "latest_end_lsn",
    "LatestEndTime": "latest_end_time",
    "Conninfo": "conninfo",
    "ReplayLsn": "pg_last_wal_replay_lsn()",
    "ReplayTimestamp": "pg_last_xact_replay_timestamp()",
    "ReplayLag": "CASE WHEN pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() THEN floor(extract(epoch FROM"
    " clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))) ELSE 0 END",
    "IsSlave": "pg_is_in_recovery()",
    "Synced": f"{STREAMS} AND pg_last_wal_replay_lsn() >= coalesce(latest_end_lsn, pg_last_wal_receive_lsn())",
}


def streams(cluster: Cluster) -> bool:
    """Say whether the cluster receives WAL; EngineError when it does not answer."""
    return bool(cluster.sql(f"SELECT {STREAMS} AS streams {FROM}", timeout=ANSWER_SECONDS)[0]["streams"])


def state(cluster: Cluster) -> LinkState:
    """Return the state without the lag, which the source knows; EngineError when the cluster does not answer."""
    columns = ", ".join(f'({expression})::text AS "{name}"' for name, expression in INFO.items())
    row: dict[str, Any] = cluster.sql(f"SELECT {STREAMS} AS streams, {columns} {FROM}", timeout=ANSWER_SECONDS)[0]
    if row["IsSlave"] != "true":
        return LinkState("none")
    info = {name: "null" if row[name] is None else str(row[name]) for name in INFO}
    info["Conninfo"] = re.sub(r"passfile=\S+", "password=********", info["Conninfo"])
    return LinkState("streaming" if row["streams"] else "disconnect", row["ReceivedLsn"], row["ReplayLsn"], info=info)
