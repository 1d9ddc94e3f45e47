# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who signed a request, and is the signature right?

Two schemes, both sent by official clients: V3 (`ACS3-HMAC-SHA256` in the Authorization header) and V1 (RPC, HMAC-SHA1,
a `Signature` parameter); see https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature.
Parameters are decoded and encoded again before they are hashed: the SDK writes a blank as `+` and signs `%20`.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, quote, urlsplit

from .errors import ApiError
from .models import Key

MAX_SKEW = 900  # seconds between the client's clock and ours, per the documentation of InvalidTimeStamp.Expired
_V3 = "ACS3-HMAC-SHA256"
_AUTHORIZATION = re.compile(_V3 + r" +Credential=([^,\s]+), *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_V3_REQUIRED = ("host", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
_V1_REQUIRED = ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp")
_V1_COMMON = {*_V1_REQUIRED, "Action", "Version", "Format", "SecurityToken", "SignatureType"}


@dataclass(frozen=True)
class Request:
    """A request off the wire. Header names are lower case; query and form parameters are decoded."""

    method: str
    path: str
    query: list[tuple[str, str]]
    form: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @classmethod
    def parse(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Split a request target and form body; ApiError InvalidParameter.Format for what is not proper UTF-8."""
        is_form = headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded"
        try:
            parts = urlsplit(target)
            query = _decode(parts.query)
            form = _decode(body.decode("ascii")) if is_form else []
        except ValueError:
            raise ApiError("InvalidParameter.Format", note="encoding") from None
        return cls(method, parts.path, query, form, headers, body)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Query and form parameters together; V1's own are in here too."""
        return dict(self.query + self.form)

    @cached_property
    def is_v1(self) -> bool:
        """Signed by parameters rather than by the Authorization header."""
        return "authorization" not in self.headers and not self.parameters.keys().isdisjoint(_V1_REQUIRED)

    @property
    def action(self) -> str:
        """The operation asked for, empty if none is named."""
        return self.parameters.get("Action", "") if self.is_v1 else self.headers.get("x-acs-action", "")

    @property
    def version(self) -> str:
        """The API version asked for."""
        return self.parameters.get("Version", "") if self.is_v1 else self.headers.get("x-acs-version", "")

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The operation's own parameters, without those of the V1 envelope."""
        if not self.is_v1:
            return self.parameters
        return {name: value for name, value in self.parameters.items() if name not in _V1_COMMON}

    @property
    def access_key_id(self) -> str:
        """The key that the request claims, verified or not."""
        if self.is_v1:
            return self.parameters.get("AccessKeyId", "")
        match = _AUTHORIZATION.fullmatch(self.headers.get("authorization", ""))
        return match[1] if match else ""


class Verifier:
    """Verifies requests against a set of keys and remembers nonces. `now` returns epoch seconds."""

    def __init__(self, keys: Mapping[str, Key], now: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self._now = now
        self._lock = threading.Lock()
        self._nonces: dict[tuple[str, str], float] = {}

    def verify(self, request: Request) -> Key:
        """Return the key that signed the request; ApiError with the gateway's code if none did."""
        names = [name for name, _unused in request.query + request.form]
        if len(names) != len(set(names)):
            raise ApiError("InvalidParameter.Format", note="a parameter is given twice")
        return self._v1(request) if request.is_v1 else self._v3(request)

    def _v3(self, request: Request) -> Key:
        headers = request.headers
        match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not match:
            raise ApiError("IncompleteSignature", note="Authorization")
        for name in _V3_REQUIRED:
            if not headers.get(name):
                raise ApiError("IncompleteSignature", note=name)
        key_id, signed, signature = match[1], match[2].split(";"), match[3]
        key = self._key(key_id)
        must = {name for name in headers if name.startswith("x-acs-") or name in ("host", "content-type")}
        if signed != sorted(set(signed)) or not must.issubset(signed) or not set(signed).issubset(headers):
            raise ApiError("IncompleteSignature", note="SignedHeaders")
        self._check_time(headers["x-acs-date"])
        body_hash = hashlib.sha256(request.body).hexdigest()
        lines = [request.method, request.path or "/", _encode(request.query)]
        lines += [f"{name}:{headers[name].strip()}" for name in signed]
        lines += ["", ";".join(signed), body_hash]
        text = f"{_V3}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
        expected = hmac.new(key.access_key_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature) or headers["x-acs-content-sha256"] != body_hash:
            raise _mismatch(text)
        if headers.get("x-acs-accesskey-id", key_id) != key_id:
            raise ApiError("SignatureDoesNotMatch", note="x-acs-accesskey-id")
        return self._finish(key, headers.get("x-acs-security-token"), headers["x-acs-signature-nonce"])

    def _v1(self, request: Request) -> Key:
        parameters = request.parameters
        for name in _V1_REQUIRED:
            if not parameters.get(name):
                raise ApiError("IncompleteSignature", note=name)
        if parameters["SignatureMethod"] != "HMAC-SHA1" or parameters["SignatureVersion"] != "1.0":
            raise ApiError("IncompleteSignature", note="SignatureMethod, SignatureVersion")
        key = self._key(parameters["AccessKeyId"])
        self._check_time(parameters["Timestamp"])
        canonical = _encode([pair for pair in parameters.items() if pair[0] != "Signature"])
        text = f"{request.method}&%2F&{_quote(canonical)}"
        digest = hmac.new(f"{key.access_key_secret}&".encode(), text.encode(), hashlib.sha1).digest()
        if not hmac.compare_digest(base64.b64encode(digest), parameters["Signature"].encode()):
            raise _mismatch(text)  # echoes every parameter, the password too: that is what the service does
        return self._finish(key, parameters.get("SecurityToken"), parameters["SignatureNonce"])

    def _key(self, key_id: str) -> Key:
        key = self.keys.get(key_id)
        if key is None:
            raise ApiError("InvalidAccessKeyId.NotFound")
        if not key.active:
            raise ApiError("InvalidAccessKeyId.Inactive")
        return key

    def _check_time(self, text: str) -> None:
        try:
            then = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) if _TIME.fullmatch(text) else None
        except ValueError:
            then = None
        if then is None:
            raise ApiError("InvalidTimeStamp.Format")
        if abs(self._now() - then) > MAX_SKEW:
            raise ApiError("InvalidTimeStamp.Expired")

    def _finish(self, key: Key, token: str | None, nonce: str) -> Key:
        """Check what a right signature still leaves open: the session token and a replay."""
        if token != key.security_token:
            if not token:
                raise ApiError("MissingSecurityToken")
            known = any(other.security_token == token for other in list(self.keys.values()))
            raise ApiError(f"InvalidSecurityToken.{'MismatchWithAccessKey' if known else 'Malformed'}")
        now = self._now()
        if key.expires_at is not None and now >= key.expires_at:
            raise ApiError("InvalidSecurityToken.Expired")
        with self._lock:
            while self._nonces:  # oldest first: stop at the first one that still counts
                oldest = next(iter(self._nonces))
                if now - self._nonces[oldest] <= 2 * MAX_SKEW:
                    break
                del self._nonces[oldest]
            if (key.access_key_id, nonce) in self._nonces:
                raise ApiError("SignatureNonceUsed")
            self._nonces[key.access_key_id, nonce] = now
        return key


def _mismatch(text: str) -> ApiError:
    base = "Specified signature is not matched with our calculation."
    return ApiError("SignatureDoesNotMatch", message=f"{base} server string to sign is:{text}")


def _decode(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _encode(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{_quote(name)}={_quote(value)}" for name, value in sorted(pairs))
