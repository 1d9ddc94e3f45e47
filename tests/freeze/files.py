# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a recording: one entry a line, and what occurs more than once is kept once, in the part `values`."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

_POOLED = re.compile(r"#[0-9a-f]{10}")
_SHORT = 40  # characters; what is shorter stays where it is


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def pack(entries: dict[str, Any]) -> dict[str, Any]:
    """Keep once what occurs more than once, under a key made of its content."""
    counts: Counter[str] = Counter()

    def count(value: Any) -> None:
        counts[_line(value)] += 1
        if counts[_line(value)] == 1 and isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                count(item)

    def packed(value: Any) -> Any:
        text = _line(value)
        if isinstance(value, dict):
            value = {name: packed(item) for name, item in value.items()}
        elif isinstance(value, list):
            value = [packed(item) for item in value]
        if counts[text] == 1 or len(text) < _SHORT:
            return value
        key = f"#{hashlib.sha256(text.encode()).hexdigest()[:10]}"
        pool[key] = value
        return key

    pool: dict[str, Any] = {}
    count(list(entries.values()))
    return {"entries": {name: packed(entry) for name, entry in entries.items()}, "values": pool}


def unpack(recording: dict[str, Any]) -> dict[str, Any]:
    """Undo `pack`."""

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: whole(item) for name, item in value.items()}
        if isinstance(value, list):
            return [whole(item) for item in value]
        return whole(pool[value]) if isinstance(value, str) and _POOLED.fullmatch(value) else value

    pool = recording["values"]
    return {name: whole(entry) for name, entry in recording["entries"].items()}


def read(path: Path) -> dict[str, Any]:
    """Return the entries of a file, by test."""
    return unpack(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write(path: Path, entries: dict[str, Any]) -> None:
    """Write a file, one entry a line."""
    blocks = []
    for name, values in pack(entries).items():
        lines = ",\n".join(f"{_line(key)}:{_line(values[key])}" for key in sorted(values))
        blocks.append(f"{_line(name)}:{{\n{lines}\n}}")
    path.write_text("{" + ",\n".join(blocks) + "}\n", encoding="utf-8")
