# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give a copied data directory a system identifier of its own.

Copies of one initdb are one cluster to PostgreSQL: a standby of one would follow another without a word.
"""

from __future__ import annotations

import secrets
import struct
import time
from pathlib import Path


def give_identity(data: Path) -> int:
    """Write a new system identifier into a stopped cluster's control file and return it.

    The WAL still carries the old one: run ``pg_resetwal -f`` afterwards.
    """
    control = data / "global" / "pg_control"
    # As initdb does it: the time in the upper half, so that identifiers of different days never meet.
    identifier = int(time.time()) << 32 | secrets.randbits(32)
    with control.open("r+b") as file:
        content = bytearray(file.read())
        end = _checksum_offset(content)
        struct.pack_into("<Q", content, 0, identifier)
        struct.pack_into("<I", content, end, _crc32c(content[:end]))
        file.seek(0)
        file.write(content)
    return identifier


def _checksum_offset(content: bytes | bytearray) -> int:
    """Find where the control data end: at the first word that is the checksum of all before it, in every version."""
    crc = 0xFFFFFFFF
    for offset in range(0, len(content), 4):
        if offset and struct.unpack_from("<I", content, offset)[0] == crc ^ 0xFFFFFFFF:
            return offset
        crc = _update(crc, content[offset : offset + 4])
    raise ValueError("the control file has no valid checksum")


def _crc32c(content: bytes | bytearray) -> int:
    return _update(0xFFFFFFFF, content) ^ 0xFFFFFFFF


def _update(crc: int, content: bytes | bytearray) -> int:
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _table_entry(value: int) -> int:
    for _unused in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli, reflected
    return value


_TABLE = [_table_entry(value) for value in range(256)]
