# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of text that people will read. Pure.

The service can echo them: a report names ``user:password``, a signature error quotes the whole request.
Ansible's own masking finds a value only as it was given, not in its percent-encoded or base64 form.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"

# "cannot connect to source database by <user>:<password>": the password may hold anything, so the line ends there.
# A part that is masked already keeps the reason that follows it.
_LOGIN = re.compile(r"(\bby\s+[^\s:]+:)(?!\*{3}).*", re.IGNORECASE)
_PASSWORD = re.compile(r"(password\s*[=:]\s*)(?!\*{3})(?:'[^']*'|\"[^\"]*\"|[^\s,;)]+)", re.IGNORECASE)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with each secret masked, in every form in which a URL, JSON or HTML would carry it."""
    for form in sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return _PASSWORD.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}", text))


def _forms(secret: str) -> Iterable[str]:
    for percent in (quote(secret, safe="-_.~"), quote(secret), quote_plus(secret)):
        yield from (percent, percent.lower(), quote(percent, safe="-_.~"))
    yield from (secret, html.escape(secret), repr(secret)[1:-1])
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (base64.b64encode(secret.encode()).decode(), base64.urlsafe_b64encode(secret.encode()).decode())
