# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signs: options, then the environment, then a profile of the Alibaba Cloud CLI.

Nothing is picked up silently: what was used is told (`Credentials.source`), a half-given pair is an error, and no
metadata service is asked unless the configuration names one. Kinds that need a further service (RAM role, ECS role,
OIDC, URI, chained, external program) are the official library's; it is imported only for them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._errors import RdsError

DEFAULT_PROFILE_FILE = "~/.aliyun/config.json"

_ENVIRONMENT = (  # one family is used as a whole: (id, secret, token)
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
    ("ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY", "ALICLOUD_SECURITY_TOKEN"),
)
# The presence of one of these asks for the named provider of the official library: variable -> (class, its arguments).
_ENVIRONMENT_ELSEWHERE = {
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": (
        "OIDCRoleArnCredentialsProvider",
        {
            "oidc_token_file_path": "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            "oidc_provider_arn": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "role_arn": "ALIBABA_CLOUD_ROLE_ARN",
            "role_session_name": "ALIBABA_CLOUD_ROLE_SESSION_NAME",
        },
    ),
    "ALIBABA_CLOUD_CREDENTIALS_URI": ("URLCredentialsProvider", {"uri": "ALIBABA_CLOUD_CREDENTIALS_URI"}),
    "ALIBABA_CLOUD_ECS_METADATA": ("EcsRamRoleCredentialsProvider", {"role_name": "ALIBABA_CLOUD_ECS_METADATA"}),
}


@dataclass(frozen=True)
class Credentials:
    """One set of keys. `source` tells a person where they came from and holds no secret."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(repr=False)
    source: str


Provider = Callable[[], Credentials]  # asked before each request, so that temporary keys can be renewed


def resolve_credentials(options: Mapping[str, Any], environment: Mapping[str, str]) -> Provider:
    """Return a provider for the first place that has credentials.

    :param options: access_key_id, access_key_secret, security_token, profile, profile_file
    :raises RdsError: CredentialsMissing, CredentialsUnusable or MissingLibrary
    """
    profile = options.get("profile")
    key_options = ("access_key_id", "access_key_secret", "security_token")
    if profile and any(options.get(name) for name in key_options):
        raise RdsError("CredentialsUnusable", f"profile {profile!r} and access key options are both given: keep one.")
    given = _complete([options.get(name) for name in key_options], key_options, "options")
    if given:
        return lambda: given
    profile_file = os.path.expanduser(options.get("profile_file") or DEFAULT_PROFILE_FILE)
    if profile:
        return _from_profile(profile_file, profile)
    for names in _ENVIRONMENT:
        exported = _complete([environment.get(name) for name in names], names, f"environment {names[0]}")
        if exported:
            return lambda: exported
    for name, (provider, arguments) in _ENVIRONMENT_ELSEWHERE.items():
        if environment.get(name):
            values = {argument: environment.get(variable) for argument, variable in arguments.items()}
            return _official(provider, values, f"environment {name}")
    wanted = environment.get("ALIBABA_CLOUD_PROFILE") or environment.get("ALICLOUD_PROFILE")
    if wanted or os.path.exists(profile_file):
        return _from_profile(profile_file, wanted)
    raise RdsError(
        "CredentialsMissing",
        "No credentials found: looked at access_key_id/access_key_secret and profile, at the environment "
        f"(ALIBABA_CLOUD_ACCESS_KEY_ID, ALICLOUD_ACCESS_KEY), and for {profile_file}.",
    )


def _complete(values: list[str | None], names: tuple[str, str, str], source: str) -> Credentials | None:
    """Return the credentials that these values make, None if none is given; half of a pair is an error."""
    key, secret, token = (value or None for value in values)
    if key and secret:
        return Credentials(key, secret, token, source)
    if not (key or secret or token):
        return None
    missing = " and ".join(name for name, value in zip(names[:2], (key, secret), strict=True) if not value)
    raise RdsError("CredentialsUnusable", f"{missing} is missing in the {source}; key id and secret belong together.")


def _from_profile(path: str, name: str | None) -> Provider:
    """Read profile `name` (None: the file's current one) of the CLI's ``config.json``."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        name = str(name or content.get("current") or "default")
        profile = next(entry for entry in content["profiles"] if entry.get("name") == name)
    except OSError as error:
        raise RdsError("CredentialsUnusable", f"profile_file {path} cannot be read: {error.strerror}.") from None
    except StopIteration:
        raise RdsError("CredentialsUnusable", f"profile {name!r} does not exist in {path}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RdsError("CredentialsUnusable", f"profile_file {path} is not a config.json of the CLI.") from None
    mode = str(profile.get("mode") or "AK")
    source = f"profile {name} of {path}"
    if mode in ("AK", "StsToken"):
        names = ("access_key_id", "access_key_secret", "sts_token")
        token = profile.get("sts_token") if mode == "StsToken" else None
        if mode == "StsToken" and not token:
            raise RdsError("CredentialsUnusable", f"sts_token is missing in the {source}.")
        keys = _complete([profile.get(names[0]), profile.get(names[1]), token], names, source)
        if not keys:
            raise RdsError("CredentialsUnusable", f"access_key_id and access_key_secret are missing in the {source}.")
        return lambda: keys
    arguments = {"profile_name": name, "profile_file": path}
    return _official("CLIProfileCredentialsProvider", arguments, f"{source} ({mode})")


def _official(class_name: str, arguments: Mapping[str, str | None], source: str) -> Provider:
    """Return a provider that asks a class of alibabacloud-credentials, which renews what expires."""
    try:
        from alibabacloud_credentials import provider as library
    except ImportError:
        raise RdsError(
            "MissingLibrary",
            f"The credentials in the {source} need the Python library alibabacloud-credentials for {sys.executable}.",
        ) from None

    def ask(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # the library raises exceptions of many kinds, and their text may quote a URL
            text = f"The {source} gave no credentials: alibabacloud-credentials failed ({type(error).__name__})."
            raise RdsError("CredentialsUnusable", text) from None

    chosen = ask(lambda: getattr(library, class_name)(**arguments))

    def provide() -> Credentials:
        keys = ask(chosen.get_credentials)
        token = keys.get_security_token() or None
        return Credentials(keys.get_access_key_id(), keys.get_access_key_secret(), token, source)

    return provide
