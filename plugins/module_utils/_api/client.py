# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One `call(action, parameters)`: sign, send, read, decide whether to repeat. The only file that imports requests.

What may be repeated is the heart of it. No operation has a ClientToken, so a write is sent again only when it provably
did not arrive (no byte left) or when the service says that it held it back (rate limit, lock). Everything else that
is not a clear answer is an error with outcome ``unknown``, and the caller looks.

Time: `connect_timeout` and `read_timeout` count per packet, so each attempt also has a deadline of its own
(`request_timeout`), which a peer that sends one byte at a time cannot stretch. All in seconds.
"""

from __future__ import annotations

import io
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import Credentials, Provider
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import Endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import (
    RdsError,
    causes,
    classify,
    is_held_back,
    refused_certificate,
)
from ansible_collections.alicloud.rds.plugins.module_utils._api.pace import Pace
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._api.signature import canonical_query, signed_headers

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
except ImportError:
    HAS_REQUESTS = False
    HTTPAdapter = HTTPConnection = HTTPSConnection = object  # type: ignore[misc,assignment]  # stand-ins
    HTTPConnectionPool = HTTPSConnectionPool = object  # type: ignore[misc,assignment]  # stand-ins
else:
    HAS_REQUESTS = True

API_VERSION = "2014-08-15"
USER_AGENT = "alicloud.rds (Ansible collection)"
MAX_REPLY_BYTES = 4 * 1024 * 1024  # a page of 30 log rows with their reports is below 1 MiB
LONGEST_PAUSE = 30.0
# Classes of the network libraries that tell a person something, the most telling first.
_TELLING = (
    ("SSLCertVerificationError", "certificate refused"),
    ("SSLError", "TLS failed"),
    ("NameResolutionError", "name not found"),
    ("gaierror", "name not found"),
    ("ConnectionRefusedError", "connection refused"),
    ("ProxyError", "proxy failed"),
    ("ConnectTimeoutError", "connect timed out"),
    ("ReadTimeoutError", "no answer in time"),
    ("TimeoutError", "no answer in time"),
    ("ConnectionResetError", "connection reset"),
    ("RemoteDisconnected", "connection closed"),
    ("IncompleteRead", "answer cut off"),
    ("TooLargeError", "answer too large"),
    ("DecodeError", "answer damaged"),
)
_SECRET_PARAMETERS = ("ReplicatorPassword",)
# What asking again does not change.
_SETTLED = frozenset({"CertificateRefused", "CredentialsMissing", "CredentialsUnusable", "MissingLibrary"})


@dataclass(frozen=True)
class Limits:
    """Seconds, and how often one call may be repeated."""

    connect_timeout: float = 5
    read_timeout: float = 10
    request_timeout: float = 30
    max_retries: int = 5


@dataclass
class _Attempt:
    """What is known about the request under way: its deadline, how much may be read, whether a byte of it has left."""

    deadline: float
    read_timeout: float
    room: int = MAX_REPLY_BYTES  # for status lines, headers, chunks and trailers, too
    left: bool = False


class TooLargeError(OSError):
    """The answer has more bytes than any answer of this API."""


class Client:
    """A signed connection to one endpoint. Not for use by two threads at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Provider,
        limits: Limits,
        ca_path: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        pace: Pace | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._pace = pace
        self.retries: list[str] = []  # why each repetition happened, for the result
        self.last_request_id: str | None = None
        self.has_written = False  # whether a call was made that may have changed something
        self.last_headers: dict[str, str] = {}  # of the last reply, names in lower case
        self._credentials = credentials
        self._limits = limits
        self._ca_path = ca_path
        self._verify = ca_path or True  # given with each request: set on the session, REQUESTS_CA_BUNDLE would beat it
        self._sleep = sleep
        self._adapter = _Adapter()
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else requests would sign with a password from ~/.netrc
        self._session.mount(f"{endpoint.scheme}://", self._adapter)
        logging.getLogger("urllib3").propagate = False  # it logs URLs, and ours hold the password
        if endpoint.is_loopback:
            self._session.trust_env = False  # a proxy is not loopback, and would see the password unencrypted

    @property
    def credentials(self) -> Credentials:
        """The keys in use now."""
        return self._credentials()

    def at(self, endpoint: Endpoint, credentials: Provider | None = None, pace: Pace | None = None) -> Client:
        """Return a client of another endpoint, with the same limits, and the same keys if no others are given."""
        return Client(endpoint, credentials or self._credentials, self._limits, self._ca_path, self._sleep, pace)

    def for_threads(self, pace: Pace) -> Callable[[], Client]:
        """Return what makes further clients, one a thread; keys are fetched by one of them at a time."""
        lock = threading.Lock()

        def credentials() -> Credentials:
            with lock:
                return self._credentials()

        return lambda: self.at(self.endpoint, credentials, pace)

    def close(self) -> None:
        self._session.close()

    def call(self, action: str, parameters: Mapping[str, str], *, repeatable: bool) -> dict[str, Any]:
        """Call an operation and return its answer.

        :param parameters: wire names to wire values; they travel in the query, as with the official SDK
        :param repeatable: whether sending it twice does no harm (reads and dry runs)
        :raises RdsError: with outcome ``not_sent``, ``refused`` or ``unknown``
        """
        attempt = 0
        self.has_written = self.has_written or not repeatable
        while True:
            attempt += 1
            if self._pace:
                self._pace.before(action)
            try:
                return self._once(action, parameters)
            except RdsError as error:
                if self._pace and is_held_back(error.code, error.http_status):
                    self._pace.held_back(action)
                if attempt > self._limits.max_retries or not _may_repeat(error, repeatable):
                    raise
                self.retries.append(f"{action}: {error.code}")
                self._sleep(_pause(attempt, error.retry_after))

    def _once(self, action: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        keys = self._credentials()
        secrets = [keys.access_key_secret, keys.security_token or ""]
        secrets += [parameters.get(name, "") for name in _SECRET_PARAMETERS]
        self.last_headers = {}
        status, headers, body = self._exchange(action, parameters, keys)
        self.last_headers = {name.lower(): value for name, value in headers.items()}
        answer = _decode(body)
        if answer is None or 300 <= status < 400:
            raise RdsError(
                "Redirected" if 300 <= status < 400 else "ReplyUnreadable",
                f"{self.endpoint} answered {action} with HTTP {status} and nothing usable ({len(body)} bytes).",
                http_status=status,
                outcome="unknown",
            )
        request_id, code = (_told(answer.get(name), secrets, 200) for name in ("RequestId", "Code"))
        message = _told(answer.get("Message"), secrets, 4000)
        self.last_request_id = request_id or self.last_request_id
        refused = (
            status >= 400
            or answer.get("Success") is False
            or (code and code.lower() not in ("success", "ok", "200", "0"))
        )
        if not refused and 200 <= status < 300:
            return answer
        is_its_word = bool(code)
        code = code or f"HTTP{status}"
        message = _shorten(code, message or "no message")
        if classify(code, status).category == "grant_permission":
            message += f" It was rds:{action} on dbinstance/{parameters.get('DBInstanceId', '*')}."
        # 5xx may come from behind the write, and what has no Code (a proxy's 408) is not the service's word; a nonce
        # seen twice means that another copy of this request arrived.
        unclear = status >= 500 or status < 400 or code == "SignatureNonceUsed" or not is_its_word
        raise RdsError(
            code,
            message,
            http_status=status,
            request_id=request_id,
            outcome="unknown" if unclear and not is_held_back(code, status) else "refused",
            retry_after=_milliseconds(headers.get("x-acs-retry-after")),
        )

    def _exchange(
        self, action: str, parameters: Mapping[str, str], keys: Credentials
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request, read the whole reply. The exception text of requests quotes the URL: it is never kept."""
        headers = signed_headers(
            host=self.endpoint.host,
            action=action,
            version=API_VERSION,
            parameters=parameters,
            access_key_id=keys.access_key_id,
            access_key_secret=keys.access_key_secret,
            security_token=keys.security_token,
            timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            nonce=uuid.uuid4().hex,
        )
        headers.update({"accept": "application/json", "accept-encoding": "identity", "user-agent": USER_AGENT})
        limits = self._limits
        attempt = _Attempt(time.monotonic() + limits.request_timeout, limits.read_timeout)
        self._adapter.attempt = attempt
        try:
            with self._session.post(
                f"{self.endpoint}/?{canonical_query(parameters)}",
                headers=headers,
                timeout=(
                    min(limits.connect_timeout, limits.request_timeout),
                    min(limits.read_timeout, limits.request_timeout),
                ),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as reply:
                return reply.status_code, reply.headers, _read(reply, attempt)
        except (requests.RequestException, OSError, ValueError) as error:
            raise self._not_answered(action, attempt, causes(error)) from None

    def _not_answered(self, action: str, attempt: _Attempt, found: list[BaseException]) -> RdsError:
        kind = _kind(found)
        if attempt.left:
            text = f"{self.endpoint} took {action} but gave no whole reply ({kind})."
            return RdsError("ReplyLost", text, outcome="unknown")
        code = "CertificateRefused" if kind in ("certificate refused", "TLS failed") else "EndpointUnreachable"
        why, advice = refused_certificate(found) or (None, None)
        kind = f"{kind}: {why}" if why else kind
        return RdsError(code, f"{self.endpoint} cannot be reached for {action} ({kind}).", advice=advice)


def _may_repeat(error: RdsError, repeatable: bool) -> bool:
    if error.code in _SETTLED:
        return False
    if error.outcome == "not_sent" or is_held_back(error.code, error.http_status):
        return True
    return repeatable and error.outcome == "unknown" and error.code != "Redirected"


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: what the service asks for, else growing; with jitter, so that a fleet spreads."""
    base = retry_after if retry_after is not None else 0.5 * 2 ** (attempt - 1)
    return (
        min(base, LONGEST_PAUSE) * random.uniform(1.0, 1.25)
        if retry_after
        else min(base, 8.0) * random.uniform(0.5, 1.0)
    )


def _read(reply: Any, attempt: _Attempt) -> bytes:
    """Read a body of bounded size within the deadline; decompressed piece by piece, so that a bomb stays small."""
    body = bytearray()
    for piece in reply.iter_content(16 * 1024):
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            raise TooLargeError
        if time.monotonic() > attempt.deadline:
            raise TimeoutError
    return bytes(body)


def _decode(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _told(value: Any, secrets: list[str], longest: int) -> str | None:
    """Return text of the service as one line, None if there is none. Scrubbed, then cut: half a secret is one, too."""
    return " ".join(scrub(value, secrets).split())[:longest] or None if isinstance(value, str) else None


def _shorten(code: str, message: str) -> str:
    """A signature error quotes the whole signed text, parameters included: keep what comes before it."""
    return message.partition(":")[0] if code == "SignatureDoesNotMatch" else message


def _milliseconds(value: str | None) -> float | None:
    """Read x-acs-retry-after (an integer of milliseconds) as seconds."""
    return int(value) / 1000 if value and value.isascii() and value.isdigit() and len(value) < 9 else None


def _kind(found: list[BaseException]) -> str:
    """Name the cause that tells a person something, by class only."""
    names = [type(item).__name__ for item in found]
    return next((label for name, label in _TELLING if name in names), names[0])


class _DeadlineReader(io.RawIOBase):
    """Reads a socket as http.client does, but never past the attempt's deadline, nor more than an answer can have."""

    def __init__(self, raw: Any, sock: Any, attempt: _Attempt) -> None:
        self._raw, self._sock, self._attempt = raw, sock, attempt

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._attempt.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("deadline")
        self._sock.settimeout(min(self._attempt.read_timeout, remaining))
        count: int | None = self._raw.readinto(buffer)
        self._attempt.room -= count or 0
        if self._attempt.room < 0:
            raise TooLargeError
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _watched(base: Any, adapter: _Adapter) -> Any:
    """Return a connection class that tells the attempt when bytes leave, and that reads within its deadline."""

    class Connection(base):  # type: ignore[misc]  # the base is one of two classes, chosen at run time
        _connecting = False

        def connect(self) -> None:
            self._connecting = True  # a proxy's CONNECT is not yet the request
            try:
                super().connect()
            finally:
                self._connecting = False

        def send(self, data: Any) -> None:
            if self.sock is None and not self._connecting:
                self.connect()
            if not self._connecting and adapter.attempt:
                adapter.attempt.left = True
            super().send(data)

        def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> Any:
            response = base.response_class(sock, *args, **kwargs)
            if adapter.attempt:
                response.fp = io.BufferedReader(_DeadlineReader(response.fp.detach(), sock, adapter.attempt))
            return response

    return Connection


class _Adapter(HTTPAdapter):
    """requests' adapter with watched connections, also through a proxy, and without retries of its own."""

    def __init__(self) -> None:
        self.attempt: _Attempt | None = None
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return self._watch(super().proxy_manager_for(*args, **kwargs))

    def _watch(self, manager: Any) -> Any:
        manager.pool_classes_by_scheme = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": _watched(HTTPConnection, self)}),
            "https": type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": _watched(HTTPSConnection, self)}),
        }
        return manager
