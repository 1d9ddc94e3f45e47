# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ACS3-HMAC-SHA256, the V3 request signature of Alibaba Cloud's OpenAPI, and for STS the older one of RPC.

Pure: no clock, no network, no globals.
Sources: https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature
https://help.aliyun.com/zh/sdk/product-overview/rpc-mechanism
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"


def percent_encode(text: str) -> str:
    """Encode text as RFC 3986 wants it: everything but ``A-Z a-z 0-9 - _ . ~``, as UTF-8."""
    return quote(text, safe="-_.~")


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return the query string sorted by name. It is signed, and the same text is sent."""
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in sorted(parameters.items()))


def canonical_request(method: str, parameters: Mapping[str, str], headers: Mapping[str, str], body: bytes = b"") -> str:
    """Return the text whose hash is signed; every header given is part of it. RPC operations live at ``/``."""
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    header_block = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    names = ";".join(sorted(signed))
    return "\n".join((method, "/", canonical_query(parameters), header_block, names, hash_payload(body)))


def hash_payload(body: bytes) -> str:
    """Return the value of ``x-acs-content-sha256``."""
    return hashlib.sha256(body).hexdigest()


def authorization(access_key_id: str, access_key_secret: str, canonical: str, header_names: list[str]) -> str:
    """Return the ``Authorization`` header for a canonical request that signs `header_names`."""
    string_to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(access_key_secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
    signed_headers = ";".join(sorted(name.lower() for name in header_names))
    return f"{ALGORITHM} Credential={access_key_id},SignedHeaders={signed_headers},Signature={signature}"


def signed_headers(
    *,
    host: str,
    action: str,
    version: str,
    parameters: Mapping[str, str],
    access_key_id: str,
    access_key_secret: str,
    security_token: str | None,
    timestamp: str,
    nonce: str,
) -> dict[str, str]:
    """Return all headers of a signed POST without a body.

    Only what the specification asks for is signed (host and ``x-acs-*``): a proxy may rewrite the rest.

    :param host: as in the URL, with the port where there is one
    :param parameters: the business parameters, which travel in the query
    :param timestamp: UTC, ``YYYY-MM-DDTHH:MM:SSZ``
    :param nonce: never used before; the service refuses it a second time
    """
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hash_payload(b""),
        "x-acs-date": timestamp,
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if security_token:
        headers["x-acs-accesskey-id"] = access_key_id
        headers["x-acs-security-token"] = security_token
    canonical = canonical_request("POST", parameters, headers)
    return {**headers, "authorization": authorization(access_key_id, access_key_secret, canonical, list(headers))}


def rpc_signature(method: str, parameters: Mapping[str, str], access_key_secret: str) -> str:
    """Return the parameter `Signature` for all other parameters of a request (HMAC-SHA1, SignatureVersion 1.0)."""
    string_to_sign = f"{method}&%2F&{percent_encode(canonical_query(parameters))}"
    digest = hmac.new(f"{access_key_secret}&".encode(), string_to_sign.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
