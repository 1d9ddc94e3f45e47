# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that other tools of Alibaba Cloud keep in the home directory: read, checked, and once in a while updated.

Two files: ``config.json`` of the CLI (fields: `Profile` in config/profile.go of aliyun-cli), and ``credentials.ini`` of
the SDKs (provider/profile.py of alibabacloud-credentials), whose names are turned into those of the first.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

# mode -> fields that it cannot do without
MODES: dict[str, tuple[str, ...]] = {
    "AK": ("access_key_id", "access_key_secret"),
    "StsToken": ("access_key_id", "access_key_secret", "sts_token"),
    "RamRoleArn": ("access_key_id", "access_key_secret", "ram_role_arn"),
    "RamRoleArnWithRoleName": ("ram_role_arn",),
    "ChainableRamRoleArn": ("source_profile", "ram_role_arn"),
    "EcsRamRole": (),
    "OIDC": ("ram_role_arn", "oidc_provider_arn", "oidc_token_file"),
    "CredentialsURI": ("credentials_uri",),
    "CloudSSO": (
        "cloud_sso_sign_in_url",
        "cloud_sso_account_id",
        "cloud_sso_access_config",
        "access_token",
        "cloud_sso_access_token_expire",
    ),
    "OAuth": ("oauth_access_token",),
    "External": ("process_command",),
}
_INI_MODES = {
    "access_key": "AK",
    "ram_role_arn": "RamRoleArn",
    "oidc_role_arn": "OIDC",
    "ecs_ram_role": "EcsRamRole",
}
_INI_FIELDS = {
    "role_arn": "ram_role_arn",
    "role_session_name": "ram_session_name",
    "oidc_token_file_path": "oidc_token_file",
    "role_name": "ram_role_name",
}


@dataclass(frozen=True)
class Profile:
    """One profile. `fields` has the names of the CLI; `path` is as a person wrote it."""

    name: str
    mode: str
    path: str
    fields: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"profile {self.name!r} ({self.mode}) of {self.path}"

    def text(self, *names: str) -> str | None:
        """Return the first of these fields that is not empty."""
        return next((str(self.fields[name]) for name in names if self.fields.get(name)), None)

    def number(self, name: str) -> int | None:
        """Return a field that is a whole number, None if it is 0 or not there.

        :raises RdsError: CredentialsUnusable
        """
        try:
            return int(self.fields.get(name) or 0) or None
        except (TypeError, ValueError):
            raise RdsError("CredentialsUnusable", f"{name} in the {self} is not a number.") from None

    def flag(self, name: str) -> bool | None:
        """Return a field that is true or false, None if it is not there."""
        value = self.fields.get(name)
        return value if isinstance(value, bool) else None


def read_profile(path: str, name: str | None) -> Profile:
    """Read profile `name`; None: the file's current one.

    :raises RdsError: CredentialsUnusable, if there is none, or if it lacks a field that its mode needs
    """
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            current, profiles = _parse(file.read())
        name = name or current
        fields = next((fields for fields in profiles if fields.get("name") == name), None)
    except OSError as error:
        raise RdsError("CredentialsUnusable", f"profile_file {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, configparser.Error):
        raise RdsError(
            "CredentialsUnusable", f"profile_file {path} is neither a config.json of the CLI nor a credentials.ini."
        ) from None
    if fields is None:
        raise RdsError("CredentialsUnusable", f"profile {name!r} does not exist in {path}.")
    profile = Profile(name, _mode(fields.get("mode")), path, fields)
    if profile.mode not in MODES:
        raise RdsError("CredentialsUnusable", f"The mode of the {profile} is not supported. Use one of {_list(MODES)}.")
    missing = [needed for needed in MODES[profile.mode] if not fields.get(needed)]
    if missing:
        raise RdsError("CredentialsUnusable", f"{_list(missing)} is missing in the {profile}.")
    return profile


def update_profile(profile: Profile, changes: Mapping[str, Any]) -> None:
    """Write fields of a profile back into its file, which keeps its permissions and everything else that is in it.

    :raises OSError: if it cannot be written; nothing has changed then, and nothing is left lying about
    """
    path = os.path.realpath(os.path.expanduser(profile.path))
    with open(path, encoding="utf-8") as file:
        content = json.load(file)  # anew: another program may have changed it
        permissions = os.fstat(file.fileno()).st_mode & 0o777
    for fields in content["profiles"]:
        if fields.get("name") == profile.name:
            fields.update(changes)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".config-")  # for its owner's eyes only
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent="\t", ensure_ascii=False)
        os.chmod(temporary, permissions)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _parse(text: str) -> tuple[str, list[Mapping[str, Any]]]:
    """Return the name of the current profile and all profiles."""
    try:
        content = json.loads(text)
    except ValueError:
        return "default", _parse_ini(text)
    return str(content.get("current") or "default"), list(content["profiles"])


def _parse_ini(text: str) -> list[Mapping[str, Any]]:
    parser = configparser.ConfigParser(
        delimiters="=", inline_comment_prefixes=("#",), interpolation=None, default_section="\n"
    )
    parser.read_string(text)
    return [
        {
            "name": section,
            "mode": _INI_MODES.get(parser[section].get("type", ""), parser[section].get("type", "AK")),
            **{_INI_FIELDS.get(name, name): value for name, value in parser[section].items()},
        }
        for section in parser.sections()
    ]


def _mode(value: Any) -> str:
    """Return a mode as it is spelt here; the CLI heeds no case, and takes none for AK."""
    wanted = str(value or "AK")
    return next((mode for mode in MODES if mode.lower() == wanted.lower()), wanted)


def _list(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else str(last)
