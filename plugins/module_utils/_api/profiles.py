# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What names credentials, in one form wherever it stands: options, environment, or a file (`profile_files`).

The names of modes and fields are those of ``config.json`` of the CLI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_")  # of variables of the SDKs, of the CLI, of Terraform
# No key has a blank, a line break, or a character that is not ASCII, and none stands in quotation marks.
PLAIN = re.compile(r"(?!(['\"]).*\1$)[!-~]+")
_NO_KEY = """stands in quotation marks, or holds a blank, a line break or another character that no key has: copy it \
again without that. Nothing was sent."""
CLI_FILE = "~/.aliyun/config.json"
# Mode, and the fields that it cannot do without.
MODES = """
AK access_key_id access_key_secret
StsToken access_key_id access_key_secret sts_token
RamRoleArn access_key_id access_key_secret ram_role_arn
RamRoleArnWithRoleName ram_role_arn
ChainableRamRoleArn source_profile ram_role_arn
EcsRamRole
OIDC ram_role_arn oidc_provider_arn oidc_token_file
CredentialsURI credentials_uri
CloudSSO cloud_sso_sign_in_url cloud_sso_account_id cloud_sso_access_config access_token cloud_sso_access_token_expire
OAuth oauth_access_token
External process_command
"""
# Mode, and its fields with the options, or variables without their prefixes, that hold them. Keys have one prefix.
OPTIONS = """
AK access_key_id=access_key_id access_key_secret=access_key_secret sts_token=security_token
EcsRamRole ram_role_name=ecs_role_name
"""
VARIABLES = """
AK access_key_id=ACCESS_KEY|ACCESS_KEY_ID access_key_secret=SECRET_KEY|SECRET_ACCESS_KEY|ACCESS_KEY_SECRET \
sts_token=SECURITY_TOKEN
OIDC oidc_token_file=OIDC_TOKEN_FILE oidc_provider_arn=OIDC_PROVIDER_ARN ram_role_arn=ROLE_ARN
CredentialsURI credentials_uri=CREDENTIALS_URI
EcsRamRole ram_role_name=ECS_METADATA|ECS_ROLE_NAME
"""


@dataclass(frozen=True)
class Credentials:
    """One set of keys. `source` tells a person where they came from and holds no secret."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(repr=False)
    source: str


Provider = Callable[[], Credentials]  # asked before each request, so that temporary keys can be renewed


@dataclass(frozen=True)
class Profile:
    """One way to credentials. `place` is as a person wrote it, `names` what fields are called there."""

    mode: str
    place: str
    fields: Mapping[str, Any] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    path: str = ""

    def checked(self) -> Profile:
        """Return the profile if nothing is missing, and if its keys have no character that no key has."""
        needed = dict(table(MODES))[self.mode]
        missing = [self.names.get(name, name) for name in needed if not self.fields.get(name)]
        given = [self.names.get(name, name) for name in needed if self.fields.get(name)]
        where = self.place.split(" ")[0] if self.names else self.place  # for short: options, environment
        if missing:
            needed_by = f"beside {' and '.join(given)}" if given else "in this mode"
            raise unusable(f"No value for {' and '.join(missing)} in the {where}, needed {needed_by}.")
        for name in ("access_key_id", "access_key_secret", "sts_token"):
            value = self.fields.get(name) or "-"
            if not (isinstance(value, str) and PLAIN.fullmatch(value)):
                raise unusable(f"{self.names.get(name, name)} in the {where} {_NO_KEY}")
        return self


def exported(environment: Mapping[str, str], *names: str, prefixes: tuple[str, ...] = PREFIXES) -> tuple[str, str]:
    """Return the first variable that is set, of these names with these prefixes, and its value; empty if none is."""
    every = (prefix + name for prefix in prefixes for name in names)
    return next(((name, environment[name]) for name in every if environment.get(name)), ("", ""))


def named(values: Mapping[str, Any], rows: str, prefixes: tuple[str, ...] = ("",)) -> Profile | None:
    """Return the first way that options or variables name.

    :param rows: `OPTIONS` or `VARIABLES`
    """
    for mode, row in table(rows):
        for some in [(prefix,) for prefix in prefixes] if mode == "AK" else [prefixes]:
            fields, names = {}, {}
            for key, _unused, variables in (part.partition("=") for part in row):
                every = variables.split("|")
                names[key], fields[key] = exported(values, *every, prefixes=some)
                names[key] = names[key] or some[0] + every[-1]
            if any(value for key, value in fields.items() if key != "ram_role_arn"):
                place = f"environment {next(iter(names.values()))}" if prefixes[0] else "options"
                place += f": RAM role {fields['ram_role_arn']} by OIDC" if mode == "OIDC" else ""
                fields["ram_session_name"] = exported(values, "ROLE_SESSION_NAME")[1]
                return Profile("StsToken" if fields.get("sts_token") else mode, place, fields, names).checked()
    return None


def table(text: str) -> list[tuple[str, list[str]]]:
    """Return the first word and the others of each line."""
    return [(first, rest) for first, *rest in map(str.split, text.strip().splitlines())]


def unusable(text: str) -> RdsError:
    """Return the error of a setting that gives no keys."""
    return RdsError("CredentialsUnusable", text)
