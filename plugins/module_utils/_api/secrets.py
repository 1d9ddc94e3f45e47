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

_MASKED = "\x00"  # stands for what is masked already, until all patterns have been searched for

# "cannot connect to source database by <user>:<password>": the user may hold blanks, and the password may hold
# anything, line breaks too, so it ends where the report goes on: at a section, a check, or the verdict. A known one is
# masked before, and keeps the reason that follows it. Line breaks may be written as backslash-n.
_GOES_ON = r"(?:\n|\\n)[ \t]*(?:\[[^\]\n]{1,80}\]|\*[^*\n]{1,80}\*|\w[\w .()/-]{0,80}: ?(?:success|warning|error|fail))"
_USER = r"(?:\bby[ \t]{1,9}[^\s:]{1,200}|connect[^\n:]{0,80}?\bby[ \t]{1,9}[^\n:]{1,200})"
_LOGIN = re.compile(rf"({_USER}:)(?!{_MASKED})(?:(?!{_GOES_ON}).)*", re.IGNORECASE | re.DOTALL)
_PASSWORD = re.compile(
    r"(password[\"']?[ \t]{0,9}[=:][ \t]{0,9})"
    rf"(?!{_MASKED})(?:'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?|[^\s,;)&]+)",
    re.IGNORECASE,
)
# Control characters but tab, line feed and the mark of what is masked; C1 ones, line separators, marks of writing
# direction, lone surrogates.
_STEERING = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return printable text without these secrets, and without what looks like a password."""
    text = _printable(_masked(text, secrets))
    return _PASSWORD.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}", text)).replace(_MASKED, MASK)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return text with each secret masked, in every form in which a URL, JSON or HTML would carry it."""
    return _masked(text, secrets).replace(_MASKED, MASK)


def printable(text: str) -> str:
    """Return text without what steers a terminal; a carriage return becomes a line break."""
    return _printable(text).replace(_MASKED, "")


def one_line(text: str) -> str:
    """Return printable text as one line."""
    return " ".join(printable(text).split())


def _masked(text: str, secrets: Iterable[str]) -> str:
    text = text.replace(_MASKED, "")
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        text = _every_form(secret).sub(_MASKED, text)
    return text


def _printable(text: str) -> str:
    return _STEERING.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=32)
def _every_form(secret: str) -> re.Pattern[str]:
    encoded = secret.encode("utf-8", "surrogatepass")
    forms = [base64.b64encode(encoded).decode(), base64.urlsafe_b64encode(encoded).decode()]
    spelled = "".join(_spellings(part) for part in re.findall(r"\\*[^\\]|\\+$", secret, re.DOTALL))
    return re.compile("|".join([*map(re.escape, forms), spelled]))


def _spellings(part: str) -> str:
    """Return a pattern for a character with the backslashes before it, as encoders, and encoders of encoders, write it.

    The text is not ours, and must not make the search slow: each text matches in one way only, since backslashes are
    one run with what follows them, and repetitions are bounded.
    """
    character = part.lstrip("\\")
    count = len(part) - len(character)
    if not count and character.isascii() and character.isalnum():
        return character
    if not character:
        return _backslashes(count, 4 * count)
    forms = f"{re.escape(character)}|{_encoded(character)}" + (r"|\+|%(?:25){0,4}2b" if character == " " else "")
    escaped = f"u{_utf16(character)}" + (f"|{_ESCAPES[character]}" if character in _ESCAPES else "")
    after = f"{_backslashes(count or 1, 4 * count + 4)}(?i:{forms}|{escaped})"
    return after if count else f"(?:{after}|(?i:{forms}))"


def _backslashes(least: int, most: int) -> str:
    return rf"(?:\\{{{least},{most}}}|(?i:{_encoded(chr(92))}){{{least},{most}}})"


def _utf16(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return f"{_backslashes(1, 4)}u".join(units[at : at + 4] for at in range(0, len(units), 4))


def _encoded(character: str) -> str:
    """Return a pattern for a character as a URL or HTML would carry it."""
    percent = "".join(f"%(?:25){{0,4}}{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    name = f"|{_ENTITIES[character]}" if character in _ENTITIES else ""
    return f"(?:{percent}|&(?:amp;){{0,3}}(?:#0{{0,4}}{ord(character)}|#x0{{0,4}}{ord(character):x}{name});)"
