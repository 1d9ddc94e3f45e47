# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an exception of alibabacloud-credentials means, in words of our own. Pure.

The text of such an exception may quote a URL with a token, what a program printed, or a whole answer with keys. It is
searched for words that are known, and thrown away. Sources: provider/*.py of the library (1.0.12) for the texts;
https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-errorcodes for the codes of STS.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import causes, refused_certificate

_CODE = re.compile(r'"Code"\s*:\s*"([A-Za-z.]{3,60})"')  # no digits: neither key nor token looks like that
_STATUS = re.compile(r"(?:http_code[:=]|HttpCode=|status code:) ?(\d{3})\b")
_REQUEST_ID = re.compile(r'"RequestId"\s*:\s*"([0-9A-Fa-f-]{36})"')
_CLASSES = (  # of the exception or what caused it, the most telling first
    ("SSLError", "showed a certificate that is not trusted"),
    ("ProxyError", "cannot be reached: the proxy failed"),
    ("NameResolutionError", "cannot be reached: name not found"),
    ("gaierror", "cannot be reached: name not found"),
    ("ConnectionRefusedError", "cannot be reached: connection refused"),
    ("ConnectTimeout", "cannot be reached: connect timed out"),
    ("ReadTimeout", "gave no answer in time"),
    ("RetryError", "cannot be reached: connection failed"),
)
_BEGINNINGS = (  # of texts that provider/external.py, ecs_ram_role.py and refreshable.py make
    ("command process timed out", "took longer than 60 seconds"),
    ("failed to execute external command: exit status", "failed"),
    ("failed to execute external command", "cannot be run"),
    ("IMDS credentials is disabled", "is switched off by ALIBABA_CLOUD_ECS_METADATA_DISABLED"),
    ("No cached value", "gave keys that have expired"),
    ("expired", "gave keys that have expired"),
)
_TRUST = "let the trust policy of the role name who assumes it, and grant sts:AssumeRole on the role to the latter"
_REMEDIES = (  # by the beginning of a code of STS
    ("NoPermission", _TRUST),
    ("EntityNotExist", "correct the ARN: there is no such role"),
    ("InvalidParameter.RoleArn", "correct the ARN of the role"),
    ("InvalidParameter.DurationSeconds", "ask for a session no longer than the maximum that is set for the role"),
    ("AuthenticationFail.OIDCToken", "get a new token whose issuer and audience are those of the OIDC provider"),
    ("AuthenticationFail", "let the trust policy of the role name the OIDC provider, and check both ARNs"),
    ("InvalidAccessKeyId", "correct the access key that the role is assumed with"),
    ("SignatureDoesNotMatch", "correct the secret of the access key that the role is assumed with"),
    ("InvalidSecurityToken", "get new temporary keys to assume the role with"),
    ("Throttling", "run again later"),
)


class Meaning(NamedTuple):
    """What a person reads, after the name of who was asked; and what else is known."""

    reason: str
    remedy: str | None = None
    request_id: str | None = None
    reached: bool = True


def meaning(error: BaseException, *, from_sts: bool) -> Meaning:
    """Return what a failure means. Codes are believed only `from_sts`: others may put anything there."""
    text = str(error)
    status, code, request_id = (
        found[1] if found else None for found in (pattern.search(text) for pattern in (_STATUS, _CODE, _REQUEST_ID))
    )
    if status:
        code = code if from_sts else None
        remedy = next((told for begin, told in _REMEDIES if (code or "").startswith(begin)), None)
        return Meaning(f"refused (HTTP {status}{f', {code}' if code else ''})", remedy, request_id)
    found = causes(error)
    classes = {base.__name__ for item in found for base in type(item).__mro__}
    unreached = next((told for name, told in _CLASSES if name in classes), None)
    if unreached:
        certificate = refused_certificate(found)
        return Meaning(f"{unreached} ({certificate[0]})" if certificate else unreached, reached=False)
    reason = next((told for begin, told in _BEGINNINGS if text.startswith(begin)), None)
    return Meaning(reason or "answered with something that holds no keys")
