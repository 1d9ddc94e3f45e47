# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""An answer, before any server sends it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """Status, body and headers; `wire` tells the server to mistreat the transport, `pace` is its seconds per byte.

    wire: "" | lost (close, nothing sent) | reset (RST) | truncated (half of the body) | stale (sent as usual, but the
    next request on this connection is dropped) | drip-body | drip-headers. `code` is for the journal.
    """

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    wire: str = ""
    pace: float = 0.0


def json_reply(status: int, body: Any, code: str = "", headers: dict[str, str] | None = None) -> Reply:
    """Return a reply with a JSON body."""
    kind = {"Content-Type": "application/json;charset=utf-8"}
    return Reply(status, json.dumps(body, ensure_ascii=False).encode(), kind | (headers or {}), code)
