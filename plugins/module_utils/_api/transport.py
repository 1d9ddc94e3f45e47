# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request under one set of network rules, to whomever it goes. The only file that imports requests.

The rules: certificates are checked against `ca_path`, or what the environment names; proxy and NO_PROXY as requests
reads them, but none for loopback; no redirect is followed; no password of ~/.netrc is sent; an answer has a deadline
and a greatest size. Texts of exceptions quote URLs, which hold secrets: they are never kept.

Time, in seconds: `connect_timeout` and `read_timeout` count per packet, so each request also has a deadline of its own
(`request_timeout`), which a peer that sends one byte at a time cannot stretch.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.alicloud.rds.plugins.module_utils._api import errors as _errors
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import is_loopback

try:
    import requests
    from requests.adapters import HTTPAdapter

    HAS_REQUESTS = True
except ImportError:
    HAS_REQUESTS = False
    HTTPAdapter = object  # type: ignore[misc,assignment]  # a stand-in


MAX_REPLY_BYTES = 4 * 1024 * 1024  # a page of 30 log rows with their reports is below 1 MiB
_ALWAYS = {"accept-encoding": "identity", "user-agent": "alicloud.rds (Ansible collection)"}
_BAD_PROXY = frozenset({"InvalidProxyURL", "InvalidURL", "LocationParseError", "ProxySchemeUnknown", "ValueError"})
METADATA_HOST = "100.100.100.200"  # of an ECS instance
PAUSE = 0.5  # seconds between two tries
_OTHER_PROXY = """Correct the proxy that {} names (HTTP 407: its user and password), or add the host to NO_PROXY. \
Nothing was sent."""
_NO_TLS = """Check host and port: what answers there speaks no TLS, or a version that is too old. \
Nothing was sent."""
_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: (\d{3})\b")
_FOREVER = 10**6  # seconds; more than this, infinity too, is too much for a socket
# Classes of the network libraries that tell a person something, the most telling first.
_TELLING = """
SSLCertVerificationError certificate refused
SSLError TLS failed
NameResolutionError name not found
gaierror name not found
ConnectionRefusedError connection refused
ConnectTimeoutError connect timed out
ReadTimeoutError no answer in time
TimeoutError no answer in time
ConnectionResetError connection reset
RemoteDisconnected connection closed
IncompleteRead answer cut off
TooLargeError answer too large
DecodeError answer damaged
ProxyError no connection
"""


class Limits(NamedTuple):
    """Seconds, and how often one call may be repeated."""

    connect_timeout: float = 5
    read_timeout: float = 10
    request_timeout: float = 30
    max_retries: int = 5


def limits_of(options: Mapping[str, Any]) -> Limits:
    """Return the limits among the connection options; what is None is not given."""
    names = ("connect_timeout", "read_timeout", "request_timeout", "max_retries")
    return Limits(**{name: options[name] for name in names if options.get(name) is not None})


@dataclass
class _Attempt:
    """What is known about the request under way: its deadline, how much may be read, whether a byte of it has left."""

    deadline: float
    read_timeout: float
    room: int = MAX_REPLY_BYTES  # for status lines, headers, chunks and trailers, too
    left: bool = False


class TooLargeError(OSError):
    """The answer has more bytes than any answer of this API."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class NotAnswered(Exception):
    """No whole reply came.

    `left` says whether a byte of the request had left; `kind` and `advice` are for a person and hold no secret.
    """

    def __init__(self, left: bool, kind: str, advice: str | None = None) -> None:
        super().__init__(kind)
        self.left, self.kind, self.advice = left, kind, advice

    def __str__(self) -> str:
        """Say what happened, after the name of who was asked."""
        if self.is_about_tls:
            return f"showed no certificate that is trusted ({self.kind})"
        return f"{'gave no whole answer' if self.left else 'cannot be reached'} ({self.kind})"

    @property
    def is_about_tls(self) -> bool:
        return self.kind.startswith(("certificate refused", "TLS failed"))


class Transport:
    """Connections that keep to the rules. Not for use by two threads at once."""

    def __init__(self, limits: Limits, ca_path: str | None, direct: bool) -> None:
        """
        :param direct: never through a proxy: for loopback and the metadata service, which a proxy is not
        """
        self._limits = limits
        self._connect, self._read, self._total = (
            min(seconds, _FOREVER) for seconds in (limits.connect_timeout, limits.read_timeout, limits.request_timeout)
        )
        # Given with each request: set on the session, or left out, REQUESTS_CA_BUNDLE would count in some cases only.
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        exported = next(((name, os.environ[name]) for name in names if os.environ.get(name)), None)
        self._ca = ("ca_path", ca_path) if ca_path else exported
        self._adapter = _Adapter()
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else requests would sign with a password from ~/.netrc
        self._session.trust_env = not direct
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)
        logging.getLogger("urllib3").propagate = False  # it logs URLs, and ours hold passwords

    def close(self) -> None:
        self._session.close()

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        """Send one request without a body, read the whole reply.

        :raises NotAnswered: if no whole reply came
        :raises RdsError: about a mistake in the settings of this machine, which asking again does not change
        """
        attempt = _Attempt(time.monotonic() + self._total, self._read)
        found: list[BaseException] = []
        self._adapter.attempt = attempt
        try:
            with self._session.request(
                method,
                url,
                headers={"accept": "application/json", **headers, **_ALWAYS},
                timeout=(min(self._connect, self._total), min(self._read, self._total)),
                verify=self._ca[1] if self._ca else True,
                allow_redirects=False,
                stream=True,
            ) as reply:
                return Reply(reply.status_code, reply.headers, _read(reply, attempt))
        except (requests.RequestException, OSError, ValueError) as error:
            found = _errors.causes(error)
        if not attempt.left:
            self._name_local_mistake(url, found)
        kind = kind_of(found)
        advices = {"proxy": _OTHER_PROXY.format(_proxy_variable(url)), "TLS failed": _NO_TLS}
        why, advice = _errors.refused_certificate(found) or (None, advices.get(kind.partition(":")[0]))
        raise NotAnswered(attempt.left, f"{kind}: {why}" if why else kind, advice)

    def _name_local_mistake(self, url: str, found: list[BaseException]) -> None:
        names, variable = {type(item).__name__ for item in found}, _proxy_variable(url)
        if "InvalidSchema" in names:  # of a proxy: our own URLs are http and https
            what = f"{variable} names a SOCKS proxy, which needs requests[socks]"
            raise _errors.missing_library(what, "'requests[socks]'")
        if names & _BAD_PROXY and variable:
            raise _errors.RdsError("ProxyUnusable", f"{variable} is not the URL of a proxy, as http://HOST:PORT.")
        if self._ca and url.startswith("https:"):
            name, path = self._ca
            try:
                place = {"capath" if os.path.isdir(path) else "cafile": path}
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**place)
            except OSError as error:  # of OpenSSL, too: the file is there, and holds no certificates
                reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
                raise _errors.RdsError("CaUnreadable", f"{name} {path!r} cannot be read: {reason}.") from None


def fetch(limits: Limits, ca_path: str | None, method: str, url: str, headers: Mapping[str, str], tries: int) -> Reply:
    """Send a request of which a second one does no harm, again if no answer came or the service had no time.

    :param tries: 1 or more
    :raises NotAnswered, RdsError: as `Transport.send`
    """
    host = urlsplit(url).hostname or ""
    if host == METADATA_HOST:  # near, or not there
        limits = Limits(min(1, limits.connect_timeout), min(1, limits.read_timeout), min(2, limits.request_timeout))
    with closing(Transport(limits, ca_path, direct=host == METADATA_HOST or is_loopback(host))) as transport:
        while True:
            tries -= 1
            try:
                reply = transport.send(method, url, headers)
                if not tries or reply.status < 500:
                    return reply
            except NotAnswered as error:
                if not tries or error.is_about_tls:
                    raise
            time.sleep(PAUSE)


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the object that an answer holds as JSON, None if it holds none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _proxy_variable(url: str) -> str | None:
    """Return the variable that names the proxy for this URL, in the order of requests."""
    scheme = url.partition(":")[0]
    names = [spelled for name in (f"{scheme}_proxy", "all_proxy") for spelled in (name, name.upper())]
    return next((name for name in names if os.environ.get(name)), None)


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


def kind_of(found: list[BaseException]) -> str:
    """Name the cause that tells a person something, by class, and by the status that a proxy gave."""
    names = [type(item).__name__ for item in found]
    known = (line.partition(" ") for line in _TELLING.strip().splitlines())
    kind = next((label for name, _unused, label in known if name in names), names[0])
    kind = next((f"HTTP {seen[1]}" for item in found if (seen := _REFUSED_BY_PROXY.match(str(item)))), kind)
    return f"proxy: {kind}" if any("Proxy" in name for name in names) else kind


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

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return manager if is_known else self._watch(manager)

    def _watch(self, manager: Any) -> Any:
        """Have a manager make watched connections of its own kind: one for SOCKS has others."""
        manager.pool_classes_by_scheme = {
            scheme: type("Pool", (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, self)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }
        return manager
