# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the emulator remembers: keys, instances, sources, links and tasks. Plain data; the rules are in service.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .engine import Check, ClusterSpec

MASK = "***"


def timestamp() -> str:
    """Return the time as the API writes it, e.g. 2026-11-24T08:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass
class Key:
    """An access key; with `security_token` it is a temporary (STS) one that ends at `expires_at` (epoch seconds)."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    active: bool = True
    deny: Sequence[str] = ()  # actions refused with Forbidden.RAM
    ram_user: str = "emulator"


@dataclass
class Link:
    """The replication relation source -> DR instance, kept on the DR instance."""

    source_address: str
    source_port: int
    account: str
    password: str = field(repr=False)
    category: str  # other | aliyunRDS
    source_instance: str = ""
    source_region: str = ""
    task_id: int = 0  # the create task whose log row shows this link


@dataclass
class Task:
    """A row of DescribeReplicationLinkLogs."""

    id: int
    name: str
    type: str  # create | create-dryrun
    instance_id: str
    link: Link
    status: str = "running"  # running | success | failure
    stage: str = "precheck"  # precheck | basebackup | startup | increment
    checks: Sequence[Check] = ()
    failure: str = ""  # why a stage failed, when it was not a check
    created: str = field(default_factory=timestamp)
    modified: str = field(default_factory=timestamp)


@dataclass
class Instance:
    """An RDS instance. `busy` while a task works on it; `gone` is set once it is being deleted (its task stops)."""

    id: str
    region_id: str
    engine: str
    engine_version: str  # as shown, e.g. 18.0; filled from the engine when the seed gave none
    storage_gb: int
    status: str
    lock_mode: str
    type: str
    category: str
    deletion_protection: bool
    description: str
    cluster: ClusterSpec | None = field(repr=False)  # None: an engine other than PostgreSQL, which has no cluster
    port: int = 0
    created: str = field(default_factory=timestamp)
    link: Link | None = None
    busy: bool = False
    gone: threading.Event = field(default_factory=threading.Event, repr=False)

    def public(self) -> dict[str, Any]:
        """Return what the control API shows, secrets masked."""
        link = self.link and {
            "source_address": self.link.source_address,
            "source_port": self.link.source_port,
            "account": self.link.account,
            "password": MASK,
            "category": self.link.category,
            "source_instance": self.link.source_instance,
            "source_region": self.link.source_region,
            "task_id": self.link.task_id,
        }
        hidden = ("cluster", "link", "gone")
        return {name: value for name, value in vars(self).items() if name not in hidden} | {"link": link}


@dataclass
class Source:
    """A self-managed PostgreSQL; the API knows nothing about it."""

    name: str
    cluster: ClusterSpec = field(repr=False)
    port: int = 0
