# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes text of the service fit for people: no secrets in it, and nothing that steers a terminal. Pure.

The service can echo secrets: a report names ``user:password``, a signature error quotes the whole request.
Ansible's own masking finds a value only as it was given, not in its percent-encoded or base64 form.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import lru_cache

MASK = "***"

# "cannot connect to source database by <user>:<password>": the password may hold anything, so the line ends there,
# also where its end is written as backslash-n. A part that is masked already keeps the reason that follows it.
_LOGIN = re.compile(r"(\bby[ \t]{1,9}[^\s:]+:)(?!\*{3})(?:(?!\\n).)*", re.IGNORECASE)
_PASSWORD = re.compile(
    r"(password[ \t]{0,9}[=:][ \t]{0,9})(?!\*{3})(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,;)]+)", re.IGNORECASE
)
# Control characters but tab and line feed, C1 ones, line separators, marks of writing direction, lone surrogates.
_STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return printable text without these secrets, and without what looks like a password."""
    return _PASSWORD.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}", printable(mask(text, secrets))))


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return text with each secret masked, in every form in which a URL, JSON or HTML would carry it."""
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        text = _every_form(secret).sub(MASK, text)
    return text


def printable(text: str) -> str:
    """Return text without what steers a terminal; a carriage return becomes a line break."""
    return _STEERING.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=32)
def _every_form(secret: str) -> re.Pattern[str]:
    encoded = secret.encode("utf-8", "surrogatepass")
    forms = [base64.b64encode(encoded).decode(), base64.urlsafe_b64encode(encoded).decode()]
    spelled = "".join(_spellings(part) for part in re.findall(r"\\+|[^\\]", secret, re.DOTALL))
    return re.compile("|".join([*map(re.escape, forms), spelled]))


def _spellings(part: str) -> str:
    """Return a pattern for a character, or a run of backslashes, as written by encoders and by encoders of encoders.

    Repetitions are bounded: the text is not ours, and must not make the search slow.
    """
    if part.isascii() and part.isalnum():
        return part
    count, character = len(part), part[0]
    percent = "".join(f"%(?:25){{0,4}}{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    units = character.encode("utf-16-be", "surrogatepass").hex()
    unicode = "".join(rf"\\{{1,4}}u{units[at : at + 4]}" for at in range(0, len(units), 4))
    entity = f"#0{{0,4}}{ord(character)}|#x0{{0,4}}{ord(character):x}|{_ENTITIES.get(character, '#')}"
    forms = [f"(?:{percent}|{unicode}|&(?:amp;){{0,3}}(?:{entity});){{{count}}}"]
    if character == " ":
        forms.append(r"\+|%(?:25){0,4}2b")
    if character in _ESCAPES:
        forms.append(rf"\\{{1,4}}{_ESCAPES[character]}")
    plain = rf"\\{{{count},{4 * count}}}" if character == "\\" else rf"\\{{0,3}}{re.escape(character)}"
    return f"(?:{plain}|(?i:{'|'.join(forms)}))"
