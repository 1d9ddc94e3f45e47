# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signs: options, then the environment, then a profile that another tool keeps. docs/credentials.md has the order.

Nothing is picked up silently: what was used is reported (`Credentials.source`), an incomplete setting is an error, and
no metadata service is asked unless the configuration names one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ansible_collections.alicloud.rds.plugins.module_utils._api import profiles as _profiles
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import authority
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import Credentials, Profile, Provider, unusable

if TYPE_CHECKING:
    from ansible_collections.alicloud.rds.plugins.module_utils._api.key_services import KeyServices

_FILES = ("CREDENTIALS_FILE", "SHARED_CREDENTIALS_FILE", "CONFIG_PATH")
_PROFILE_FILES = [_profiles.CLI_FILE, "~/.alibabacloud/credentials.ini"]
_NOTHING = """No credentials found: no option (access_key_id and access_key_secret, ecs_role_name, profile), no \
variable (ALIBABA_CLOUD_ACCESS_KEY_ID and others)"""
_NO_STS = """is no host of STS, as sts.aliyuncs.com is: correct sts_endpoint or sts_region of the profile, or the \
exported ALIBABA_CLOUD_STS_ENDPOINT or ALIBABA_CLOUD_STS_REGION."""
# The CLI reads them. The first are anybody's; the others sign in another way.
_NOT_READ = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN", "ALIBABA_CLOUD_BEARER_TOKEN")


def resolve_credentials(options: Mapping[str, Any], environment: Mapping[str, str]) -> Provider:
    """Return a provider for the first place that has credentials.

    :param options: the connection options, of which those about keys, roles, time-outs and ca_path count
    :raises RdsError: CredentialsMissing, CredentialsUnusable or MissingLibrary
    """
    return _Resolver(options, environment).resolve()


def profile_region(options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """Return the region of the profile that gives the credentials, None if something else gives them.

    :raises RdsError: as `resolve_credentials`
    """
    found = _Resolver(options, environment).find()
    return found.fields.get("region_id") or None if found and found.path else None


class _Resolver:
    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._options, self._environment = options, environment

    @cached_property
    def _services(self) -> KeyServices:
        # Loaded where they are needed: a module compiles all that it imports, every time.
        from ansible_collections.alicloud.rds.plugins.module_utils._api.key_services import KeyServices

        return KeyServices(self._options)

    def resolve(self) -> Provider:
        found, role = self.find(), self._role_of_options()
        if not found:
            files = ", ".join(self._files()) or f"{self._switch('IGNORE_PROFILE')} is set"
            text = f"{_NOTHING}, no profile file ({files})."
            unread = ", ".join(name for name in _NOT_READ if self._environment.get(name))
            raise RdsError("CredentialsMissing", f"{text} Set, but not read here: {unread}." if unread else text)
        # What is named in a task is not changed by what somebody has exported.
        if not role and found.place != "options" and not self._options.get("profile"):
            role = self._exported_role()
        if not role:
            return self._provider(found)
        what = f"RAM role {role['ram_role_arn']}"
        return self._services.assume_role(role, self._sts_host(role), what, self._provider(found))

    def find(self) -> Profile | None:
        """Return what the options name, or else the environment, or else a profile."""
        get, profile = self._options.get, self._options.get("profile")
        keys = get("access_key_id") or get("access_key_secret") or get("security_token")
        if sum(map(bool, (keys, get("ecs_role_name"), profile))) > 1:
            raise unusable("access key options, ecs_role_name and profile exclude each other: keep one.")
        places = ((self._options, _profiles.OPTIONS), (self._environment, _profiles.VARIABLES, _profiles.PREFIXES))
        found = None if profile else next(filter(None, (_profiles.named(*place) for place in places)), None)
        if found:
            return found
        name, files = profile or self._value("PROFILE"), self._files()
        path = next((path for path in files if os.path.exists(os.path.expanduser(path))), None)
        return _read_profile(path or files[0], name) if path or (name and files) else None

    def _files(self) -> list[str]:
        named = self._options.get("profile_file") or self._options.get("profile")
        if not named and self._switch("IGNORE_PROFILE"):
            return []
        file = self._options.get("profile_file") or self._value(*_FILES)
        return [file] if file else _PROFILE_FILES[bool(not named and self._switch("CLI_PROFILE_DISABLED")) :]

    def _provider(self, profile: Profile, seen: tuple[str, ...] = ()) -> Provider:
        mode, fields, place = profile.mode, profile.fields, profile.place
        if mode in ("External", "CredentialsURI") and (switch := self._switch("DISABLE_EXTERNAL_PROCESS")):
            raise unusable(f"{switch} forbids the program or URI of {place}: unset one of them.")
        if mode == "External":
            from ansible_collections.alicloud.rds.plugins.module_utils._api.key_services import external

            return external(fields["process_command"], place)
        if mode == "CredentialsURI":
            return self._services.credentials_uri(fields["credentials_uri"], place)
        if mode in ("CloudSSO", "OAuth"):
            from ansible_collections.alicloud.rds.plugins.module_utils._api.credential_library import signed_in

            return signed_in(profile)
        base: Provider | None = None
        if mode == "ChainableRamRoleArn":
            if profile.name in seen:
                raise unusable(f"The {place} is a source_profile of itself.")
            base = self._provider(_read_profile(profile.path, fields["source_profile"]), (*seen, profile.name))
        elif mode in ("EcsRamRole", "RamRoleArnWithRoleName"):
            if switch := self._switch("ECS_METADATA_DISABLED"):
                raise unusable(f"{switch} is true, and an ECS role is named ({place}): unset one of them.")
            base = self._services.ecs_role(fields.get("ram_role_name"), place, not self._switch("IMDSV1_DISABLED"))
        elif mode != "OIDC":
            base = _kept_in(profile)
        if base and mode in ("AK", "StsToken", "EcsRamRole"):
            return base
        return self._services.assume_role({**fields, "place": place}, self._sts_host(fields), place, base)

    def _role_of_options(self) -> Mapping[str, Any] | None:
        names = {"role_arn": "ram_role_arn", "role_session_name": "ram_session_name", "external_id": "external_id"}
        names["role_session_expiration"] = "expired_seconds"
        given = {names[name]: self._options[name] for name in names if self._options.get(name) is not None}
        if given and "ram_role_arn" not in given:
            raise unusable("role_arn is missing in the options, or empty; role_session_name and the like belong to it.")
        return given or None

    def _exported_role(self) -> Mapping[str, Any] | None:
        """Return the role that the CLI and Terraform take from the environment; beside OIDC it belongs to that."""
        value = self._value
        arn = value("ASSUME_ROLE_ARN", *(() if value("OIDC_TOKEN_FILE") else ("ROLE_ARN",)))
        fields = {"ram_role_arn": arn, "ram_session_name": value("ASSUME_ROLE_SESSION_NAME", "ROLE_SESSION_NAME")}
        fields |= {"expired_seconds": value("ASSUME_ROLE_SESSION_EXPIRATION"), "external_id": value("EXTERNAL_ID")}
        return fields if arn else None

    def _sts_host(self, fields: Mapping[str, Any]) -> str:
        """Return the host of STS. Without a region it is the central one, in a VPC as well."""
        host, region = (
            fields.get(f"sts_{name}") or self._value(f"STS_{name.upper()}") for name in ("endpoint", "region")
        )
        in_vpc = fields.get("enable_vpc", bool(self._switch("VPC_ENDPOINT_ENABLED"))) is True
        host = host or (f"sts{'-vpc' if in_vpc else ''}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com")
        host = host.removeprefix("https://").removesuffix("/")
        try:
            authority(host)
        except ValueError:
            raise unusable(f"{host!r} {_NO_STS}") from None
        return str(host)

    def _value(self, *names: str) -> str:
        return _profiles.exported(self._environment, *names)[1]

    def _switch(self, name: str) -> str:
        """Return the variable that switches this on, empty if none does."""
        variable, value = _profiles.exported(self._environment, name)
        return variable if value.lower() in ("true", "1") else ""


def _read_profile(path: str, name: str | None) -> Profile:
    # Loaded where it is needed, as the services are.
    from ansible_collections.alicloud.rds.plugins.module_utils._api import profile_files

    return profile_files.read_profile(path, name)


def _kept_in(profile: Profile) -> Provider:
    """Return the keys that a profile holds. A file is read for each request: others renew keys there."""

    def keys_of(profile: Profile) -> Credentials:
        key, secret, token = (profile.fields.get(name) for name in ("access_key_id", "access_key_secret", "sts_token"))
        return Credentials(str(key), str(secret), token or None if profile.mode != "AK" else None, profile.place)

    kept = keys_of(profile)

    def provide() -> Credentials:
        nonlocal kept
        if profile.path:
            with suppress(RdsError):  # while it is being written
                found = _read_profile(profile.path, profile.name)
                kept = keys_of(found) if found.mode == profile.mode else kept
        return kept

    return provide
