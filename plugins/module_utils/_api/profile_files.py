# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in which other tools keep profiles. They are read, never written.

``config.json`` of the CLI (fields: `Profile` in config/profile.go of aliyun-cli), and ``credentials.ini`` of the SDKs
(provider/profile.py of alibabacloud-credentials).
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import MODES, Profile, table, unusable

_LONGEST = 1024 * 1024
# Types and fields in credentials.ini, and here.
_INI_TYPES = """
access_key AK
sts StsToken
ram_role_arn RamRoleArn
oidc_role_arn OIDC
ecs_ram_role EcsRamRole
"""
_INI_FIELDS = """
role_arn ram_role_arn
role_session_name ram_session_name
oidc_token_file_path oidc_token_file
role_name ram_role_name
security_token sts_token
"""


def read_profile(path: str, name: str | None) -> Profile:
    """Read profile `name` of a file; None: its current one.

    :raises RdsError: CredentialsUnusable, if there is none, or if it lacks a field that its mode needs
    """
    try:
        current, profiles = _read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, configparser.Error) as error:
        raise unusable(f"profile_file {path} {_damage(error)}") from None
    name = name or current
    fields = next((fields for fields in profiles if fields.get("name") == name), None)
    if fields is None:
        has = ", ".join(repr(fields["name"]) for fields in profiles) or "no profiles"
        raise unusable(f"profile {name!r} does not exist in {path}, which has {has}.")
    modes = [mode for mode, _fields in table(MODES)]
    wanted = str(fields.get("mode") or ("StsToken" if fields.get("sts_token") else "AK"))  # as the CLI takes it
    mode = next((mode for mode in modes if mode.lower() == wanted.lower()), wanted)
    place = f"profile {name!r} ({mode}) of {path}"
    if mode not in modes:
        raise unusable(f"The mode of the {place} is not supported. Use one of {', '.join(modes)}.")
    return Profile(mode, place, fields, {}, name, path).checked()


def _read(path: str) -> tuple[str, list[Mapping[str, Any]]]:
    """Return the name of the current profile and all profiles. The text is UTF-8, or has a byte order mark."""
    with open(os.path.expanduser(path), "rb") as file:
        content = file.read(_LONGEST)
    text = content.decode(json.detect_encoding(content))
    if not text.lstrip().startswith(("{", "[]", '"')):
        return "default", list(_of_ini(text))
    document = json.loads(text)
    return str(document.get("current") or "default"), [fields for fields in document["profiles"] if fields["name"]]


def _damage(error: Any) -> str:
    """Say what is wrong with a file, and where; what a parser says is not shown, since it quotes lines."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}."
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"is not {error.encoding} text in line {line}: save it as UTF-8."
    number = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", ())), (None,))[0]
    where = f"correct line {number}" if number else "it holds no profiles"
    return f"is neither a config.json of the CLI nor a credentials.ini of the SDKs: {where}."


def _of_ini(text: str) -> Iterator[Mapping[str, Any]]:
    parser = configparser.ConfigParser(delimiters="=", inline_comment_prefixes=("#",), interpolation=None)
    parser.default_section = "\n"  # no section is special
    parser.read_string(text)
    types, names = ({name: ours[0] for name, ours in table(rows)} for rows in (_INI_TYPES, _INI_FIELDS))
    for section in parser.sections():
        fields = {names.get(name, name): value for name, value in parser[section].items()}
        yield {**fields, "name": section, "mode": types.get(fields.get("type", ""), fields.get("type"))}
