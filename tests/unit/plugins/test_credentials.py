# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who signs: the order of places, half-given pairs, and profiles."""

from __future__ import annotations

import builtins
import json

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

ENVIRONMENT = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}
OLD_ENVIRONMENT = {
    "ALICLOUD_ACCESS_KEY": "old-id",
    "ALICLOUD_SECRET_KEY": "old-secret",
    "ALICLOUD_SECURITY_TOKEN": "old",
}


@pytest.fixture
def profile_file(tmp_path):
    path = tmp_path / "config.json"
    profiles = [
        {"name": "ak", "mode": "AK", "access_key_id": "file-id", "access_key_secret": "file-secret", "sts_token": ""},
        {"name": "sts", "mode": "StsToken", "access_key_id": "STS.id", "access_key_secret": "s", "sts_token": "t"},
        {"name": "half", "mode": "AK", "access_key_id": "file-id", "access_key_secret": ""},
        {"name": "tokenless", "mode": "StsToken", "access_key_id": "STS.id", "access_key_secret": "s"},
        {"name": "role", "mode": "EcsRamRole", "ram_role_name": "r"},
    ]
    path.write_text(json.dumps({"current": "ak", "profiles": profiles}))
    return str(path)


def keys(options=None, environment=None, profile_file="/nonexistent/config.json"):
    credentials = resolve_credentials({"profile_file": profile_file, **(options or {})}, environment or {})()
    return credentials.access_key_id, credentials.access_key_secret, credentials.security_token, credentials.source


def test_options_win_over_everything(profile_file):
    given = {"access_key_id": "opt-id", "access_key_secret": "opt-secret"}
    assert keys(given, ENVIRONMENT, profile_file) == ("opt-id", "opt-secret", None, "options")


def test_a_profile_asked_for_by_option_wins_over_the_environment(profile_file):
    found = keys({"profile": "sts"}, ENVIRONMENT, profile_file)
    assert found == ("STS.id", "s", "t", f"profile 'sts' (StsToken) of {profile_file}")


def test_the_environment_wins_over_the_current_profile(profile_file):
    assert keys({}, ENVIRONMENT, profile_file)[0] == "env-id"


def test_the_older_environment_names_are_read_as_a_family():
    assert keys({}, OLD_ENVIRONMENT) == ("old-id", "old-secret", "old", "environment ALICLOUD_ACCESS_KEY")
    assert keys({}, {**OLD_ENVIRONMENT, **ENVIRONMENT})[:3] == ("env-id", "env-secret", None)


def test_the_current_profile_comes_last(profile_file):
    assert keys({}, {}, profile_file) == ("file-id", "file-secret", None, f"profile 'ak' (AK) of {profile_file}")
    assert keys({}, {"ALIBABA_CLOUD_PROFILE": "sts"}, profile_file)[2] == "t"


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({"access_key_id": "x"}, ENVIRONMENT, "access_key_secret is missing in the options"),
        ({"access_key_secret": "hunter2"}, ENVIRONMENT, "access_key_id is missing in the options"),
        ({"security_token": "hunter2"}, ENVIRONMENT, "access_key_id and access_key_secret is missing"),
        ({}, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}, "ALIBABA_CLOUD_ACCESS_KEY_SECRET is missing"),
        ({"profile": "ak", "access_key_id": "x"}, {}, "keep one"),
        ({"profile": "half"}, {}, "access_key_secret is missing"),
        ({"profile": "tokenless"}, {}, "sts_token is missing"),
        ({"profile": "nobody"}, {}, "profile 'nobody' does not exist"),
    ],
)
def test_what_is_half_given_or_contradictory_is_an_error(profile_file, options, environment, words):
    with pytest.raises(RdsError) as caught:
        keys(options, environment, profile_file)
    assert caught.value.code == "CredentialsUnusable"
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message


def test_nothing_given_says_where_was_looked():
    with pytest.raises(RdsError) as caught:
        keys()
    assert caught.value.code == "CredentialsMissing"
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in caught.value.message
    assert "/nonexistent/config.json" in caught.value.message


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"profiles": 3}', '{"profiles": [3]}', '{"profiles": {}}'])
def test_a_damaged_profile_file_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(RdsError, match=r"config\.json"):
        keys({"profile": "x"}, {}, str(path))


def test_other_kinds_need_the_official_library_and_say_so(profile_file, monkeypatch):
    real_import = builtins.__import__

    def without_library(name, *args, **kwargs):
        if name.startswith("alibabacloud_credentials"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_library)
    with pytest.raises(RdsError) as caught:
        keys({"profile": "role"}, {}, profile_file)
    assert caught.value.code == "MissingLibrary"
    assert "alibabacloud-credentials" in caught.value.message


def test_secrets_are_not_in_the_representation():
    given = {"access_key_id": "i", "access_key_secret": "hunter2", "security_token": "hunter3"}
    text = repr(resolve_credentials(given, {})())
    assert "hunter" not in text
