# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signs: options, then the environment, then a profile that another tool keeps.

Nothing is picked up silently: what was used is told (`Credentials.source`), half of a setting is an error, and no
metadata service is asked unless the configuration names one. Keys that are simply there are read here. The others come
by way of the official library, which is imported only for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api import credential_library as _official
from ansible_collections.alicloud.rds.plugins.module_utils._api.credential_library import Credentials, Provider, Role
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import Profile, read_profile, update_profile

DEFAULT_PROFILE_FILE = "~/.aliyun/config.json"
SDK_PROFILE_FILE = "~/.alibabacloud/credentials.ini"

# One family is used as a whole. Each name has its synonyms, the first one that is exported counts: those of the
# official SDKs; of Terraform; of the collection alibaba.alicloud.
_KEYS = (
    (("ALIBABA_CLOUD_ACCESS_KEY_ID",), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET",), ("ALIBABA_CLOUD_SECURITY_TOKEN",)),
    (("ALIBABACLOUD_ACCESS_KEY_ID",), ("ALIBABACLOUD_ACCESS_KEY_SECRET",), ("ALIBABACLOUD_SECURITY_TOKEN",)),
    (
        ("ALICLOUD_ACCESS_KEY", "ALICLOUD_ACCESS_KEY_ID"),
        ("ALICLOUD_SECRET_KEY", "ALICLOUD_SECRET_ACCESS_KEY", "ALICLOUD_ACCESS_KEY_SECRET"),
        ("ALICLOUD_SECURITY_TOKEN",),
    ),
)
_URI = ("ALIBABA_CLOUD_CREDENTIALS_URI", "ALICLOUD_CREDENTIALS_URI")
_ECS_ROLE = ("ALIBABA_CLOUD_ECS_METADATA", "ALICLOUD_ECS_ROLE_NAME")
_PROFILE = ("ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE")
_PROFILE_FILE = ("ALIBABA_CLOUD_CREDENTIALS_FILE", "ALICLOUD_SHARED_CREDENTIALS_FILE")
_KEY_OPTIONS = ("access_key_id", "access_key_secret", "security_token")
_ROLE_OPTIONS = ("role_session_name", "role_session_expiration", "external_id")


def resolve_credentials(options: Mapping[str, Any], environment: Mapping[str, str]) -> Provider:
    """Return a provider for the first place that has credentials.

    :param options: the connection options; of them, access_key_id, access_key_secret, security_token, ecs_role_name,
        profile, profile_file, role_arn, role_session_name, role_session_expiration and external_id count
    :raises RdsError: CredentialsMissing, CredentialsUnusable or MissingLibrary
    """
    role = _role_of_options(options, environment)
    named = _given(options, environment)
    provider = named or _exported(environment) or _stored(options, environment)
    if not named and not role:  # what is named in a task is not changed by what somebody has exported
        role = _exported_role(environment)
    return _official.assume_role(provider, role, f"RAM role {role.arn}") if role else provider


def profile_region(options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """Return the region of the profile that gives the credentials, None if something else gives them.

    :raises RdsError: as `resolve_credentials`
    """
    if any(options.get(name) for name in (*_KEY_OPTIONS, "ecs_role_name")):
        return None
    if not options.get("profile") and _exported(environment):
        return None
    profile = _profile(options, environment)
    return profile.text("region_id") if profile else None


def _given(options: Mapping[str, Any], environment: Mapping[str, str]) -> Provider | None:
    """Return what the options name: keys, the role of the ECS instance, or a profile."""
    keys = any(options.get(name) for name in _KEY_OPTIONS)
    ways = {
        "access key options": keys,
        "ecs_role_name": options.get("ecs_role_name"),
        "profile": options.get("profile"),
    }
    given = [way for way, value in ways.items() if value]
    if len(given) > 1:
        raise RdsError("CredentialsUnusable", f"{' and '.join(given)} are both given: keep one.")
    if options.get("ecs_role_name"):
        return _ecs_role(options["ecs_role_name"], "options", environment)
    if options.get("profile"):
        return _stored(options, environment)
    return _complete([options.get(name) for name in _KEY_OPTIONS], _KEY_OPTIONS, "options")


def _exported(environment: Mapping[str, str]) -> Provider | None:
    """Return what the environment names; the order is that of docs/credentials.md."""
    for family in _KEYS:
        names = [_first(synonyms, environment) or synonyms[0] for synonyms in family]
        keys = _complete([environment.get(name) for name in names], names, f"environment {names[0]}")
        if keys:
            return keys
    token_file, provider_arn = "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
    if environment.get(token_file) or environment.get(provider_arn):
        for name in (token_file, provider_arn, "ALIBABA_CLOUD_ROLE_ARN"):
            if not environment.get(name):
                raise RdsError("CredentialsUnusable", f"{name} is missing in the environment; OIDC needs it as well.")
        arn, session = environment["ALIBABA_CLOUD_ROLE_ARN"], environment.get("ALIBABA_CLOUD_ROLE_SESSION_NAME")
        role = Role(arn, session, sts_host=_sts_host(environment))
        what, place = f"RAM role {arn} by OIDC", f"environment {token_file}: RAM role {arn} by OIDC"
        return _official.assume_role_with_oidc(role, environment[provider_arn], environment[token_file], what, place)
    uri, ecs_role = _first(_URI, environment), _first(_ECS_ROLE, environment)
    if uri:
        return _official.credentials_uri(environment[uri], f"environment {uri}")
    return _ecs_role(environment[ecs_role], f"environment {ecs_role}", environment) if ecs_role else None


def _stored(options: Mapping[str, Any], environment: Mapping[str, str]) -> Provider:
    profile = _profile(options, environment)
    if profile:
        return _of_profile(profile, environment)
    raise RdsError(
        "CredentialsMissing",
        "No credentials found: looked at the options (access_key_id and access_key_secret, ecs_role_name, profile), at "
        f"the environment ({', '.join(family[0][0] for family in _KEYS)}, ALIBABA_CLOUD_OIDC_TOKEN_FILE, "
        f"{_URI[0]}, {_ECS_ROLE[0]}), and for {' and '.join(_profile_files(options, environment))}.",
    )


def _profile(options: Mapping[str, Any], environment: Mapping[str, str]) -> Profile | None:
    """Return the profile that is named, else the current one, if there is one."""
    name = options.get("profile") or environment.get(_first(_PROFILE, environment) or "")
    files = _profile_files(options, environment)
    path = next((path for path in files if os.path.exists(os.path.expanduser(path))), None)
    return read_profile(path or files[0], name) if path or name else None


def _profile_files(options: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    named = options.get("profile_file") or environment.get(_first(_PROFILE_FILE, environment) or "")
    if named:
        return [named]
    without_cli = not options.get("profile") and _is_true(environment, "ALIBABA_CLOUD_CLI_PROFILE_DISABLED")
    return [SDK_PROFILE_FILE] if without_cli else [DEFAULT_PROFILE_FILE, SDK_PROFILE_FILE]


def _of_profile(profile: Profile, environment: Mapping[str, str], seen: tuple[str, ...] = ()) -> Provider:
    """Return what gives the keys of a profile; `_profiles.MODES` are the modes."""
    place, fields = str(profile), profile.fields
    keys = Credentials(
        profile.text("access_key_id") or "",
        profile.text("access_key_secret") or "",
        profile.text("sts_token") if profile.mode == "StsToken" else None,
        place,
    )
    if profile.mode == "EcsRamRole":
        return _ecs_role(profile.text("ram_role_name"), place, environment)
    if profile.mode == "CredentialsURI":
        return _official.credentials_uri(fields["credentials_uri"], place)
    if profile.mode == "External":
        return _official.external(fields["process_command"], place)
    if profile.mode in ("CloudSSO", "OAuth"):
        return _signed_in(profile)
    if profile.mode in ("AK", "StsToken"):
        return lambda: keys
    role = Role(
        fields["ram_role_arn"],
        profile.text("ram_session_name", "role_session_name"),
        profile.number("expired_seconds"),
        profile.text("policy"),
        profile.text("external_id"),
        _sts_host(environment, profile),
    )
    if profile.mode == "OIDC":
        provider_arn, token_file = fields["oidc_provider_arn"], fields["oidc_token_file"]
        return _official.assume_role_with_oidc(role, provider_arn, token_file, place, place)
    base: Provider = lambda: keys  # noqa: E731
    if profile.mode == "RamRoleArnWithRoleName":
        base = _ecs_role(profile.text("ram_role_name"), place, environment)
    if profile.mode == "ChainableRamRoleArn":
        if profile.name in seen:
            raise RdsError("CredentialsUnusable", f"The {place} is a source_profile of itself.")
        source = read_profile(profile.path, fields["source_profile"])
        base = _of_profile(source, environment, (*seen, profile.name))
    return _official.assume_role(base, role, place, place)


def _signed_in(profile: Profile) -> Provider:
    """Return what gives the keys of a sign-in that a person has made with the CLI."""
    place, fields = str(profile), profile.fields
    sign_in = f"sign in again with: aliyun configure --profile {profile.name} --mode {profile.mode}"
    if profile.mode == "CloudSSO":
        names = ("cloud_sso_sign_in_url", "cloud_sso_account_id", "cloud_sso_access_config", "access_token")
        expires = profile.number("cloud_sso_access_token_expire") or 0
        url, account, configuration, token = (str(fields[name]) for name in names)
        return _official.cloud_sso(url, account, configuration, token, expires, sign_in, place)
    tokens = {
        "access_token": profile.text("oauth_access_token"),
        "access_token_expire": profile.number("oauth_access_token_expire") or 0,
        "refresh_token": profile.text("oauth_refresh_token"),
        "access_key_id": profile.text("access_key_id"),
        "access_key_secret": profile.text("access_key_secret"),
        "security_token": profile.text("sts_token"),
        "sts_expiration": profile.number("sts_expiration"),
    }
    site = profile.text("oauth_site_type") or "CN"
    return _official.oauth(site, tokens, lambda changes: update_profile(profile, changes), sign_in, place)


def _ecs_role(name: str | None, place: str, environment: Mapping[str, str]) -> Provider:
    if _is_true(environment, "ALIBABA_CLOUD_ECS_METADATA_DISABLED"):
        raise RdsError(
            "CredentialsUnusable",
            f"An ECS role is named by {place}, but ALIBABA_CLOUD_ECS_METADATA_DISABLED is true: keep one.",
        )
    return _official.ecs_role(name, place, v1_allowed=not _is_true(environment, "ALIBABA_CLOUD_IMDSV1_DISABLED"))


def _role_of_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> Role | None:
    session_name, seconds, external_id = (options.get(name) for name in _ROLE_OPTIONS)
    if options.get("role_arn"):
        host = _sts_host(environment)
        return Role(options["role_arn"], session_name, seconds, None, external_id, host)
    lonely = [name for name in _ROLE_OPTIONS if options.get(name) is not None]
    if lonely:
        raise RdsError("CredentialsUnusable", f"role_arn is missing in the options; {lonely[0]} belongs to it.")
    return None


def _exported_role(environment: Mapping[str, str]) -> Role | None:
    """Return the role that Terraform and alibaba.alicloud take from the environment."""
    arn, session_name, seconds = (
        environment.get(f"ALICLOUD_ASSUME_ROLE_{name}") for name in ("ARN", "SESSION_NAME", "SESSION_EXPIRATION")
    )
    if not arn:
        return None
    if seconds and not seconds.isdecimal():
        raise RdsError("CredentialsUnusable", "ALICLOUD_ASSUME_ROLE_SESSION_EXPIRATION is not a number of seconds.")
    return Role(arn, session_name, int(seconds) if seconds else None, sts_host=_sts_host(environment))


def _sts_host(environment: Mapping[str, str], profile: Profile | None = None) -> str:
    region = (profile.text("sts_region") if profile else None) or environment.get("ALIBABA_CLOUD_STS_REGION")
    in_vpc = profile.flag("enable_vpc") if profile else None
    return _official.sts_host(
        region, _is_true(environment, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED") if in_vpc is None else in_vpc
    )


def _complete(values: list[str | None], names: Any, source: str) -> Provider | None:
    """Return the credentials that these values make, None if none is given; half of a pair is an error."""
    key, secret, token = (value or None for value in values)
    if key and secret:
        keys = Credentials(key, secret, token, source)
        return lambda: keys
    if not (key or secret or token):
        return None
    missing = " and ".join(name for name, value in zip(names[:2], (key, secret), strict=True) if not value)
    raise RdsError("CredentialsUnusable", f"{missing} is missing in the {source}; key id and secret belong together.")


def _first(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """Return the first of these variables that is exported and not empty."""
    return next((name for name in names if environment.get(name)), None)


def _is_true(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() == "true"
