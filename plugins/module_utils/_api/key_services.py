# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that something else gives out: STS, the metadata service, a URI, a program. One request each, by our own rules.

Answers hold keys, so none is quoted: a failure names who was asked for what, a status, and a code if STS sent it.
Sources: the wire of alibabacloud-credentials 1.0.12, which is the judge in tests/conformance; for the codes of STS
https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-errorcodes
"""

from __future__ import annotations

import calendar
import os
import re
import shlex
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from ansible_collections.alicloud.rds.plugins.module_utils._api import profiles as _profiles
from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import authority, is_loopback
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import Credentials, Provider, unusable
from ansible_collections.alicloud.rds.plugins.module_utils._api.signature import canonical_query, rpc_signature

# How often a service is tried while no keys are there, and how many seconds before their end keys are renewed, or a
# quarter of their life if that is less.
TRIES, LEAD = 3, 900.0
PROGRAM_SECONDS, MOST_BYTES = 60.0, 64 * 1024  # of a program; and of a token
_WIRE = ("AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration")
PRINTED = ("access_key_id", "access_key_secret", "sts_token", "expiration")
_ON_ECS = """run on an ECS instance that has this role, with its metadata service switched on (in a container, with a \
hop limit of 2 or more)"""
_SESSION = """set role_session_expiration, in a profile expired_seconds, or the exported \
ALIBABA_CLOUD_ASSUME_ROLE_SESSION_EXPIRATION to a whole number from 900 on."""
_OF_URI = """correct the URI, or the program that answers there: GET has to give keys as docs/credentials.md \
shows"""
_BY_HAND = """run that command by hand: it has to print JSON with access_key_id and access_key_secret; it gets \
no terminal and no shell, so ~, $NAME and | have no meaning"""
# By the beginning of a code of STS, or of a status of any of them.
_REMEDIES = """
NoPermission: name the RAM user or role that assumes it (not the account's own key) in the trust policy of the role, \
grant it sts:AssumeRole on the role, and set external_id if the trust policy asks for it
EntityNotExist: correct the ARN of the role: no such role exists
InvalidParameter.RoleArn: correct the ARN of the role
InvalidParameter.DurationSeconds: set role_session_expiration (in a profile expired_seconds) to no more than the \
maximum of the role
InvalidParameter.RoleSessionName: set role_session_name to 2 to 32 letters, digits or . @ - _
InvalidTimeStamp: set the clock of the machine that runs the task (NTP)
AuthenticationFail.OIDCToken: get a new token whose issuer and audience are those of the OIDC provider
AuthenticationFail: name the OIDC provider in the trust policy of the role, and check both ARNs
InvalidAccessKeyId: correct or enable the access key that the role is assumed with
SignatureDoesNotMatch: correct the secret of the access key that the role is assumed with
InvalidSecurityToken: get new temporary keys to assume the role with
MissingSecurityToken: set security_token as well, since the role is assumed with temporary keys
Throttling: run again later
3: name the address to which it redirects instead; curl -sI shows it
5: run again later, and check that service if this stays
"""

Fetched = tuple[Credentials, Any]  # with the time at which they end, None if they do not say


class Asked(NamedTuple):
    """Who is asked for keys, for what, and what a person does if none are given."""

    who: str
    what: str
    remedy: str

    def refused(self, reason: str, remedy: str | None = None, request_id: str | None = None) -> RdsError:
        """Return the error of keys that were not given."""
        text, advice = f"No keys for {self.what}: {self.who} {reason}.", f"To fix: {remedy or self.remedy}."
        return RdsError("CredentialsUnusable", text, request_id=request_id, advice=advice)


class KeyServices:
    """The services, asked with the limits and the certificates that the options of the task name."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._limits, self._ca_path = _transport.limits_of(options), options.get("ca_path")

    def assume_role(self, fields: Mapping[str, Any], host: str, what: str, base: Provider | None) -> Provider:
        """AssumeRole with the keys of `base`; without them AssumeRoleWithOIDC, whose token others renew in its file.

        :param fields: of a profile; `place` is the source of the keys, by default that of `base` with the role
        :param what: names the kind in messages
        """
        asked = Asked(host, what, "check the role, and with whose keys or token it is assumed")
        seconds = str(fields.get("expired_seconds") or 3600)
        if not seconds.isdecimal() or int(seconds) < 900:
            raise unusable(f"The session of {what} cannot last {seconds!r} seconds: {_SESSION}")
        common = {"Format": "JSON", "Version": "2015-04-01", "DurationSeconds": seconds}
        session = fields.get("ram_session_name") or fields.get("role_session_name")
        common["RoleSessionName"] = session or "ansible-alicloud.rds"  # ActionTrail shows it with each call
        wire = {"RoleArn": "ram_role_arn", "Policy": "policy", "ExternalId": "external_id"}
        common |= {name: fields[key] for name, key in wire.items() if fields.get(key)}

        def fetch(tries: int) -> Fetched:
            query, source = {**common, "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}, what
            if base:
                by = base()
                source = f"{by.source}: {what}"
                query |= {"Action": "AssumeRole", "AccessKeyId": by.access_key_id, "SignatureNonce": uuid.uuid4().hex}
                query |= {"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0"}
                query |= {"SecurityToken": by.security_token} if by.security_token else {}
                query["Signature"] = rpc_signature("GET", query, by.access_key_secret)
            else:
                query |= {"Action": "AssumeRoleWithOIDC", "OIDCProviderArn": fields["oidc_provider_arn"]}
                query["OIDCToken"] = _token(fields["oidc_token_file"], what)
            answer = _transport.json_object(self._ask(asked, f"https://{host}/?{canonical_query(query)}", tries))
            return read_keys((answer or {}).get("Credentials"), _WIRE, fields.get("place") or source, asked)

        return renewing(fetch)

    def ecs_role(self, name: str | None, place: str, v1_allowed: bool) -> Provider:
        """The role of the ECS instance that this runs on: by IMDSv2, and by IMDSv1 if the former fails and it may be.

        :param name: the role; None asks the service for it
        """
        what = f"ECS role {name!r}" if name else "the ECS role of this instance"
        asked = Asked(f"the metadata service {_transport.METADATA_HOST}", f"{what} ({place})", _ON_ECS)
        base, roles = f"http://{_transport.METADATA_HOST}/latest/", "meta-data/ram/security-credentials/"

        def fetch(_tries: int) -> Fetched:
            version, headers, lifetime = "IMDSv2", {}, {"X-aliyun-ecs-metadata-token-ttl-seconds": "21600"}
            try:
                token = self._ask(asked, f"{base}api/token", 1, lifetime, "PUT").decode("latin-1")
                headers = {"X-aliyun-ecs-metadata-token": token if _profiles.PLAIN.fullmatch(token) else "none"}
            except RdsError:
                if not v1_allowed:
                    raise
                version = "IMDSv1"
            role = name or self._ask(asked, base + roles, 1, headers).decode("latin-1").partition("\n")[0].strip()
            answer = self._ask(asked, f"{base}{roles}{quote(role, safe='')}", 1, headers)
            return read_keys(_transport.json_object(answer), _WIRE, f"{place}: {what} by {version}", asked)

        return renewing(fetch)

    def credentials_uri(self, uri: str, place: str) -> Provider:
        """A service of one's own that answers GET with keys. Only scheme, host and port of the URI are shown."""
        try:
            parts = urlsplit(uri if _profiles.PLAIN.fullmatch(uri) else "")
            netloc = parts.netloc.rpartition("@")[2]
            is_near = is_loopback(authority(netloc)[0])
        except ValueError:
            raise unusable(f"The URI in the {place} is not an http or https URL.") from None
        shown = f"{parts.scheme}://{netloc}"
        if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
            text = f"The URI in the {place} would have keys sent unencrypted over a network ({shown})"
            raise unusable(f"{text}: use https; plain http is accepted for loopback only.")
        asked = Asked(shown, f"the URI of {place}", _OF_URI)
        url = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))

        def fetch(tries: int) -> Fetched:
            return read_keys(_transport.json_object(self._ask(asked, url, tries)), _WIRE, place, asked)

        return renewing(fetch)

    def _ask(self, asked: Asked, url: str, tries: int, headers: Any = None, method: str = "GET") -> bytes:
        """Return the body of an answer with status 200."""
        tries, is_sts = min(tries, 1 + self._limits.max_retries), asked.who.startswith("sts")
        try:
            reply = _transport.fetch(self._limits, self._ca_path, method, url, headers or {}, tries)
        except _transport.NotAnswered as error:
            code = "CertificateRefused" if error.is_about_tls else "KeyServiceUnreachable"
            advice = error.advice or (None if is_sts else f"To fix: {asked.remedy}. Nothing was sent to RDS.")
            raise RdsError(code, f"No keys for {asked.what}: {asked.who} {error}.", advice=advice) from None
        if reply.status == 200:
            return reply.body
        # A code is believed from STS only, and without digits, which keys have: others may put anything there.
        answer = _transport.json_object(reply.body) or {} if is_sts else {}
        code, request_id = (str(answer.get(name) or "") for name in ("Code", "RequestId"))
        code = code if re.fullmatch("[A-Za-z.]{3,60}", code) else ""
        verb = "redirects, which is not followed" if 300 <= reply.status < 400 else "refused"
        known = (line.partition(": ") for line in _REMEDIES.strip().splitlines())
        remedy = next((text for begin, _unused, text in known if f" {begin}" in f" {code} {reply.status}"), None)
        request_id = request_id if re.fullmatch("[0-9A-Fa-f-]{36}", request_id) else ""
        raise asked.refused(f"{verb} (HTTP {reply.status}{f', {code}' if code else ''})", remedy, request_id or None)


def external(command: str, place: str) -> Provider:
    """A program that prints keys. It runs without a shell, with bounded time and output."""
    asked = Asked("its process_command", place, _BY_HAND)

    def fetch(_tries: int) -> Fetched:
        quiet: Any = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        try:
            # pylint: disable-next=ansible-bad-function; the playbook's process has no AnsibleModule with run_command
            process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, **quiet)
        except (OSError, ValueError, IndexError):
            raise asked.refused("cannot be run") from None

        def end() -> None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it has started

        timer = threading.Timer(PROGRAM_SECONDS, end)
        timer.start()
        with process:
            printed = process.stdout.read(MOST_BYTES + 1) if process.stdout else b""
            if len(printed) > MOST_BYTES:
                end()
        timer.cancel()
        if process.returncode:
            ended = f"took longer than {PROGRAM_SECONDS:g} seconds, or printed far more than keys"
            raise asked.refused(ended if process.returncode == -signal.SIGKILL else "failed")
        return read_keys(_transport.json_object(printed), PRINTED, place, asked)

    return renewing(fetch)


def renewing(fetch: Callable[[int], Fetched]) -> Provider:
    """Return a provider that renews keys before they end. Keys that are still good outlive a renewal that fails.

    :param fetch: gets how often it may try
    """
    kept, renew, end = None, 0.0, 0.0

    def provide() -> Credentials:
        nonlocal kept, renew, end
        now = time.time()
        if kept is None or now >= renew:
            try:
                kept, told = fetch(1 if now < end else TRIES)
            except RdsError:
                if kept is None or now >= end:
                    raise
            else:  # a plain access key does not end; a token of which that is not known is asked for each time
                end = told if told is not None else now if kept.security_token else float("inf")
                renew = end - min(LEAD, (end - now) / 4)
        return kept

    return provide


def _token(path: str, what: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            [token] = file.read(MOST_BYTES).split()
            return token
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no token"
        raise unusable(f"The file of the OIDC token, {path}, of {what} cannot be read: {reason}.") from None


def read_keys(answer: Any, names: tuple[str, ...], source: str, asked: Asked) -> Fetched:
    found: dict[str, Any] = answer if isinstance(answer, dict) and answer.get("Code", "Success") == "Success" else {}
    *keys, end = (found.get(name) or None for name in names)
    is_plain = names is PRINTED and found.get("mode") != "StsToken" and not keys[2]
    try:
        told = calendar.timegm(time.strptime(end or "", "%Y-%m-%dT%H:%M:%SZ")) if end or names is _WIRE else None
        _profiles.Profile("AK" if is_plain else "StsToken", "", dict(zip(PRINTED[:3], keys, strict=True))).checked()
    except (TypeError, ValueError, OverflowError, RdsError):
        raise asked.refused("answered with something that holds no keys") from None
    if told is not None and told <= time.time():
        raise asked.refused("gave keys that have expired", "have it give new keys, and check the clock of this machine")
    return Credentials(str(keys[0]), str(keys[1]), keys[2], source), told
