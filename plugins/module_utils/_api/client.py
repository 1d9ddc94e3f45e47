# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One `call(action, parameters)`: sign, send, read, decide whether to repeat.

What may be repeated is the heart of it. No operation has a ClientToken, so a write is sent again only when it provably
did not arrive (no byte left) or when the service says that it held it back (rate limit, lock). Everything else that
is not a clear answer is an error with outcome ``unknown``, and the caller looks.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import Endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError, classify, is_held_back
from ansible_collections.alicloud.rds.plugins.module_utils._api.pace import Pace
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import Credentials, Provider
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._api.signature import canonical_query, signed_headers
from ansible_collections.alicloud.rds.plugins.module_utils._api.transport import Limits, NotAnswered, Reply, Transport

API_VERSION = "2014-08-15"
LONGEST_PAUSE = 30.0
_SECRET_PARAMETERS = ("ReplicatorPassword",)
# What asking again does not change.
_SETTLED = """
CaUnreadable CertificateRefused CredentialsMissing CredentialsUnusable InvalidOptions KeyServiceUnreachable
MissingLibrary ProxyUnusable
"""


class Answer(dict[str, Any]):
    """What the service answered, and how many bytes that took."""

    size = 0


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
        self._sleep = sleep
        self._transport = Transport(limits, ca_path, direct=endpoint.is_loopback)

    @property
    def credentials(self) -> Credentials:
        """The keys in use now."""
        return self._credentials()

    def at(self, endpoint: Endpoint, credentials: Provider | None = None, pace: Pace | None = None) -> Client:
        """Return a client of another endpoint, with the same limits, and the same keys if no others are given."""
        return Client(endpoint, credentials or self._credentials, self._limits, self._ca_path, self._sleep, pace)

    def for_threads(self, pace: Pace | None) -> Callable[[], Client]:
        """Return what makes further clients, one a thread; keys are fetched by one of them at a time."""
        lock = threading.Lock()

        def credentials() -> Credentials:
            with lock:
                return self._credentials()

        return lambda: self.at(self.endpoint, credentials, pace)

    def close(self) -> None:
        self._transport.close()

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
            keys = None
            try:
                keys = self._credentials()
                return self._once(action, parameters, keys)
            except RdsError as error:
                if error.code == "InvalidSecurityToken.Expired" and keys != self._credentials():
                    continue  # the gateway has done nothing, and others have renewed the keys meanwhile
                if self._pace and is_held_back(error.code, error.http_status):
                    self._pace.held_back(action)
                if attempt > self._limits.max_retries or not _may_repeat(error, repeatable):
                    raise
                self.retries.append(f"{action}: {error.code}")
                self._sleep(_pause(attempt, error.retry_after))

    def _once(self, action: str, parameters: Mapping[str, str], keys: Credentials) -> dict[str, Any]:
        secrets = [keys.access_key_secret, keys.security_token or ""]
        secrets += [parameters.get(name, "") for name in _SECRET_PARAMETERS]
        self.last_headers = {}
        status, headers, body = self._exchange(action, parameters, keys)
        self.last_headers = {name.lower(): value for name, value in headers.items()}
        answer = _transport.json_object(body)
        if answer is None or 300 <= status < 400:
            what = "Redirected" if 300 <= status < 400 else "ReplyUnreadable"
            text = f"{self.endpoint} answered {action} with HTTP {status} and nothing usable ({len(body)} bytes)."
            raise RdsError(what, text, http_status=status, outcome="unknown")
        request_id, code = (_told(answer.get(name), secrets, 200) for name in ("RequestId", "Code"))
        message = _told(answer.get("Message"), secrets, 4000)
        self.last_request_id = request_id or self.last_request_id
        says_no = code and code.lower() not in ("success", "ok", "200", "0")
        refused = status >= 400 or answer.get("Success") is False or says_no
        if not refused and 200 <= status < 300:
            given = Answer(answer)
            given.size = len(body)
            return given
        is_its_word = bool(code)
        code = code or f"HTTP{status}"
        message = _shorten(code, message or f"{self.endpoint} answered {action} with HTTP {status} and no reason.")
        if classify(code, status).category == "grant_permission":
            instance = parameters.get("DBInstanceId", "*")
            message = f"{message.rstrip('.')}. It needs rds:{action} on dbinstance/{instance}."
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

    def _exchange(self, action: str, parameters: Mapping[str, str], keys: Credentials) -> Reply:
        headers = signed_headers(
            host=self.endpoint.host,
            action=action,
            version=API_VERSION,
            parameters=parameters,
            access_key_id=keys.access_key_id,
            access_key_secret=keys.access_key_secret,
            security_token=keys.security_token,
            timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            nonce=random.SystemRandom().randbytes(16).hex(),
        )
        try:
            return self._transport.send("POST", f"{self.endpoint}/?{canonical_query(parameters)}", headers)
        except NotAnswered as error:
            failed = error
        if failed.left:
            text = f"{self.endpoint} took {action} but gave no whole reply ({failed.kind})."
            raise RdsError("ReplyLost", text, outcome="unknown")
        code = "CertificateRefused" if failed.is_about_tls else "EndpointUnreachable"
        text = f"{self.endpoint} cannot be reached for {action} ({failed.kind})."
        raise RdsError(code, text, advice=failed.advice)


def _may_repeat(error: RdsError, repeatable: bool) -> bool:
    if error.code in _SETTLED.split():
        return False
    if error.outcome == "not_sent" or is_held_back(error.code, error.http_status):
        return True
    return repeatable and error.outcome == "unknown" and error.code != "Redirected"


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: what the service asks for, else growing; with jitter, so that a fleet spreads."""
    base = retry_after if retry_after is not None else 0.5 * 2 ** (attempt - 1)
    longest, spread = (LONGEST_PAUSE, (1.0, 1.25)) if retry_after else (8.0, (0.5, 1.0))
    return min(base, longest) * random.uniform(*spread)


def _told(value: Any, secrets: list[str], longest: int) -> str | None:
    """Return text of the service as one line, None if there is none. Scrubbed, then cut: half a secret is one, too."""
    return " ".join(scrub(value, secrets).split())[:longest] or None if isinstance(value, str) else None


def _shorten(code: str, message: str) -> str:
    """A signature error quotes the whole signed text, parameters included: keep what comes before it."""
    return message.partition(":")[0] if code == "SignatureDoesNotMatch" else message


def _milliseconds(value: str | None) -> float | None:
    """Read x-acs-retry-after (an integer of milliseconds) as seconds."""
    return int(value) / 1000 if value and value.isascii() and value.isdigit() and len(value) < 9 else None
