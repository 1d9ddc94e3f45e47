# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that a further service gives out, by way of the official library alibabacloud-credentials.

The library speaks to the services and renews what expires. It is imported when one of these functions is called, and
kept on a short lead, for reasons seen in its source (1.0.12):

- What a provider is not given it takes from the environment as it was at import. So each one is given everything.
- It prints answers of services and URLs on stderr. So its loggers are switched off.
- It sends through HTTP_PROXY whatever NO_PROXY says, the metadata service included. So the proxy is hidden there.
- Texts of its exceptions quote answers and URLs. They are never shown, see `_refusals`.
- It starts a thread for ECS roles, and rewrites the profile file. Both are left out (but see `oauth`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.alicloud.rds.plugins.module_utils._api.credential_errors import meaning
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

METADATA_HOST = "100.100.100.200"
SESSION_NAME = "ansible-alicloud.rds"  # ActionTrail shows it with each call
SHORTEST_SESSION = 900  # seconds; AssumeRole refuses less
_OAUTH = {  # site -> (host, client id of the CLI); provider/cli_profile.py
    "CN": ("oauth.aliyun.com", "4038181954557748008"),
    "INTL": ("oauth.alibabacloud.com", "4103531455503354461"),
}
_LOGGERS = ("credentials", "alibabacloud-tea")


@dataclass(frozen=True)
class Credentials:
    """One set of keys. `source` tells a person where they came from and holds no secret."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(repr=False)
    source: str


Provider = Callable[[], Credentials]  # asked before each request, so that temporary keys can be renewed


class Role(NamedTuple):
    """A RAM role, and how to assume it."""

    arn: str
    session_name: str | None = None
    seconds: int | None = None
    policy: str | None = None
    external_id: str | None = None
    sts_host: str = "sts.aliyuncs.com"


class _Asked(NamedTuple):
    """Who is asked for keys, for what, and what a person does if none are given or nobody answers."""

    who: str
    what: str
    remedy: str
    host: str | None = None
    unreached: str = "make it reachable from this machine (DNS, firewall, HTTPS_PROXY)"


def sts_host(region: str | None, vpc: bool) -> str:
    """Return the host of STS. Without a region it is the central one, in a VPC as well (provider/ram_role_arn.py)."""
    return f"sts{'-vpc' if vpc else ''}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"


def assume_role(base: Provider, role: Role, what: str, place: str | None = None) -> Provider:
    """AssumeRole with other keys.

    :param what: names the kind in messages
    :param place: the source of the keys; by default that of `base`, with the role
    :raises RdsError: MissingLibrary or CredentialsUnusable, at once or from the provider; so does each function here
    """
    other = _OtherKeys(base)
    arguments = {
        "credentials_provider": other,
        "role_arn": role.arn,
        "role_session_name": role.session_name or SESSION_NAME,
        "duration_seconds": _checked(role.seconds, what),
        "policy": _compact(role.policy),
        "external_id": role.external_id,
        "sts_endpoint": role.sts_host,
    }
    asked = _Asked(role.sts_host, what, "check the role, and with whose keys it is assumed", role.sts_host)
    source = (lambda: place) if place else lambda: f"{other.source}: RAM role {role.arn}"
    return _provider("RamRoleArnCredentialsProvider", arguments, asked, source)


def assume_role_with_oidc(role: Role, provider_arn: str, token_file: str, what: str, place: str) -> Provider:
    """AssumeRoleWithOIDC. The token is read anew from its file each time, since others renew it there."""
    if not os.access(token_file, os.R_OK):
        raise RdsError("CredentialsUnusable", f"The file of the OIDC token, {token_file}, of {what} cannot be read.")
    arguments = {
        "role_arn": role.arn,
        "oidc_provider_arn": provider_arn,
        "oidc_token_file_path": token_file,
        "role_session_name": role.session_name or SESSION_NAME,
        "duration_seconds": _checked(role.seconds, what),
        "policy": role.policy,
        "sts_endpoint": role.sts_host,
    }
    asked = _Asked(role.sts_host, what, "check the role, its OIDC provider and the token", role.sts_host)
    return _provider("OIDCRoleArnCredentialsProvider", arguments, asked, lambda: place)


def ecs_role(name: str | None, place: str, *, v1_allowed: bool) -> Provider:
    """The role of the ECS instance that this runs on: by IMDSv2, and by IMDSv1 if the former fails and it may be.

    :param name: the role; None asks the service for it
    """
    what = f"ECS role {name!r}" if name else "the ECS role of this instance"
    remedy = (
        "run on an ECS instance that has this role, with its metadata service switched on (in a container, with a hop "
        "limit of 2 or more)"
    )
    asked = _Asked(f"the metadata service {METADATA_HOST}", f"{what} ({place})", remedy, METADATA_HOST, remedy)
    versions = ("IMDSv2", "IMDSv1") if v1_allowed else ("IMDSv2",)
    chosen: Provider | None = None

    def by(version: str) -> Provider:
        source = f"{place}: {what} by {version}"
        arguments = {"role_name": name, "disable_imds_v1": version == "IMDSv2", "async_update_enabled": False}
        return _provider("EcsRamRoleCredentialsProvider", arguments, asked, lambda: source)

    def provide() -> Credentials:
        nonlocal chosen
        if chosen:
            return chosen()
        for version in versions:
            candidate = by(version)
            try:
                keys = candidate()
            except RdsError:
                if version == versions[-1]:
                    raise
            else:
                chosen = candidate
                break
        return keys

    _library(what)
    return provide


def credentials_uri(uri: str, place: str) -> Provider:
    """A service of one's own that answers GET with keys. Only scheme, host and port of the URI are shown."""
    try:
        parts = urlsplit(uri)
        shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        parts, shown = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RdsError("CredentialsUnusable", f"The URI in the {place} is not an http or https URL.")
    remedy = "correct the URI, or start what answers there"
    asked = _Asked(shown, f"the URI of {place}", remedy, parts.hostname, remedy)
    return _provider("URLCredentialsProvider", {"uri": uri}, asked, lambda: place)


def cloud_sso(
    sign_in_url: str, account: str, configuration: str, token: str, expires: int, sign_in: str, place: str
) -> Provider:
    """Single sign-on. It ends with the sign-in, which a person renews with the CLI (command `sign_in`)."""
    if expires <= time.time():
        raise RdsError("CredentialsUnusable", f"The sign-in of {place} has ended. To fix: {sign_in}.")
    arguments = {
        "sign_in_url": sign_in_url,
        "account_id": account,
        "access_config": configuration,
        "access_token": token,
        "access_token_expire": expires,
    }
    match = re.fullmatch(r"https://([A-Za-z0-9.-]+)(:\d+)?/?", sign_in_url)
    if not match:
        raise RdsError("CredentialsUnusable", f"cloud_sso_sign_in_url of {place} is not https://HOST.")
    host = match[1]
    return _provider("CloudSSOCredentialsProvider", arguments, _Asked(host, place, sign_in, host), lambda: place)


def oauth(
    site: str, tokens: Mapping[str, Any], save: Callable[[Mapping[str, Any]], None], sign_in: str, place: str
) -> Provider:
    """A sign-in of the CLI in a browser. `save` gets new tokens: the old ones may be void, for the CLI as well."""
    if site.upper() not in _OAUTH:
        raise RdsError("CredentialsUnusable", f"oauth_site_type of {place} is not one of CN and INTL.")
    host, client_id = _OAUTH[site.upper()]

    def saved(refresh: str, access: str, key: str, secret: str, token: str, access_expires: int, expires: int) -> None:
        save(
            {
                "oauth_refresh_token": refresh,
                "oauth_access_token": access,
                "oauth_access_token_expire": access_expires,
                "access_key_id": key,
                "access_key_secret": secret,
                "sts_token": token,
                "sts_expiration": expires,
            }
        )

    arguments = {"client_id": client_id, "sign_in_url": f"https://{host}", **tokens, "token_update_callback": saved}
    return _provider("OAuthCredentialsProvider", arguments, _Asked(host, place, sign_in, host), lambda: place)


def external(command: str, place: str) -> Provider:
    """A program that prints keys. It runs without a shell, for at most 60 seconds, before each request if need be."""
    remedy = "run that command by hand: it has to print JSON with access_key_id and access_key_secret"
    asked = _Asked("its process_command", place, remedy)
    return _provider("ExternalCredentialsProvider", {"process_command": command}, asked, lambda: place)


class _OtherKeys:
    """Keys of ours in the shape in which the library takes those that a role is assumed with."""

    source = ""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def get_credentials(self) -> _OtherKeys:
        self._keys = self._provider()
        self.source = self._keys.source
        return self

    def get_access_key_id(self) -> str:
        return self._keys.access_key_id

    def get_access_key_secret(self) -> str:
        return self._keys.access_key_secret

    def get_security_token(self) -> str | None:
        return self._keys.security_token

    def get_provider_name(self) -> str:
        return "alicloud.rds"


def _library(what: str) -> Any:
    """Import the library, and make it keep quiet."""
    try:
        from alibabacloud_credentials import provider
    except ImportError:
        raise RdsError(
            "MissingLibrary",
            f"{what[:1].upper()}{what[1:]} needs the Python library alibabacloud-credentials: "
            f"{sys.executable} -m pip install alibabacloud-credentials",
        ) from None
    for name in _LOGGERS:
        logging.getLogger(name).disabled = True
    logging.getLogger("urllib3").propagate = False  # it logs URLs, and these hold signatures and tokens
    return provider


def _provider(class_name: str, arguments: Mapping[str, Any], asked: _Asked, source: Callable[[], str]) -> Provider:
    """Return a provider that asks a class of the library. Keys that are still good outlive a failed renewal."""
    library = _library(asked.what)
    try:
        chosen = getattr(library, class_name)(**arguments)
    except (AttributeError, TypeError):
        text = f"alibabacloud-credentials is too old for {asked.what}: "
        upgrade = f"{sys.executable} -m pip install --upgrade alibabacloud-credentials"
        raise RdsError("MissingLibrary", text + upgrade) from None
    except Exception as error:
        raise _failure(error, asked) from None
    kept: Credentials | None = None
    expires: float | None = None

    def provide() -> Credentials:
        nonlocal kept, expires
        if kept and not kept.security_token and not expires:
            return kept  # a plain access key, which does not expire
        try:
            with _proxy_hidden_from(asked.host):
                keys = chosen.get_credentials()
            key, secret, token = keys.get_access_key_id(), keys.get_access_key_secret(), keys.get_security_token()
            if not (key and secret and all(isinstance(text, str) for text in (key, secret, token or ""))):
                raise ValueError("no keys")
            expiration = keys.get_expiration()
            if expiration and expiration <= time.time():
                raise ValueError("expired")
        except Exception as error:  # the library raises exceptions of many kinds
            if kept and expires and expires > time.time():
                return kept
            raise _failure(error, asked) from None
        kept, expires = Credentials(key, secret, token or None, source()), expiration
        return kept

    return provide


@contextlib.contextmanager
def _proxy_hidden_from(host: str | None) -> Iterator[None]:
    """Take the proxies out of the environment while somebody is asked whom no proxy may come between."""
    hidden = {}
    if host and (host == METADATA_HOST or _is_loopback(host) or urllib.request.proxy_bypass(host)):
        names = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy")]
        hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(seconds: int | None, what: str) -> int | None:
    if seconds is not None and seconds < SHORTEST_SESSION:
        raise RdsError(
            "CredentialsUnusable",
            f"The session of {what} would last {seconds} seconds; {SHORTEST_SESSION} is the least.",
        )
    return seconds


def _compact(policy: str | None) -> str | None:
    """Take the spaces out of a policy: the library signs a space in another way than STS does."""
    try:
        return json.dumps(json.loads(policy), separators=(",", ":")) if policy else None
    except ValueError:
        return policy


def _failure(error: Exception, asked: _Asked) -> RdsError:
    """Say in our own words that no keys were given."""
    if isinstance(error, RdsError):
        return error  # about the keys that a role is assumed with
    found = meaning(error, from_sts=asked.who.startswith("sts"))
    remedy = found.remedy or (asked.remedy if found.reached else asked.unreached)
    message = f"No keys for {asked.what}: {asked.who} {found.reason}. To fix: {remedy}."
    return RdsError("CredentialsUnusable", message, request_id=found.request_id)
