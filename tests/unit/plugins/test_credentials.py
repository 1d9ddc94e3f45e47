# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who signs: the order of places, half-given pairs, and profiles."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import default_region
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import profile_region, resolve_credentials
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
        {
            "name": "sso",
            "mode": "CloudSSO",
            "cloud_sso_sign_in_url": "https://x",
            "cloud_sso_account_id": "1",
            "cloud_sso_access_config": "c",
            "access_token": "t",
            "cloud_sso_access_token_expire": 9999999999,
        },
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
        (
            {"access_key_id": "x"},
            ENVIRONMENT,
            "No value for access_key_secret in the options, needed beside access_key_id",
        ),
        ({"access_key_secret": "hunter2"}, ENVIRONMENT, "No value for access_key_id in the options"),
        ({"security_token": "hunter2"}, ENVIRONMENT, "No value for access_key_id and access_key_secret in the options"),
        ({}, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}, "No value for ALIBABA_CLOUD_ACCESS_KEY_SECRET in the env"),
        ({"profile": "ak", "access_key_id": "x"}, {}, "keep one"),
        ({"profile": "half"}, {}, "No value for access_key_secret in the profile 'half'"),
        ({"profile": "tokenless"}, {}, "No value for sts_token in"),
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


def test_sign_ins_need_the_official_library_and_say_so(profile_file, monkeypatch):
    real_import = builtins.__import__

    def without_library(name, *args, **kwargs):
        if name.startswith("alibabacloud_credentials"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_library)
    with pytest.raises(RdsError) as caught:
        keys({"profile": "sso"}, {}, profile_file)
    assert caught.value.code == "MissingLibrary"
    assert "alibabacloud-credentials" in caught.value.message


def test_secrets_are_not_in_the_representation():
    given = {"access_key_id": "i", "access_key_secret": "hunter2", "security_token": "hunter3"}
    text = repr(resolve_credentials(given, {})())
    assert "hunter" not in text


# -- the variables of the CLI and of Terraform -------------------------------------------------------------------------

PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a profile file of the CLI, whose current profile is dev."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".aliyun" / "config.json"
    path.parent.mkdir()
    profiles = [
        {"name": name, "mode": "AK", "access_key_id": f"{name}-id", "access_key_secret": "s", "region_id": f"cn-{name}"}
        for name in ("dev", "prod")
    ]
    path.write_text(json.dumps({"current": "dev", "profiles": profiles}))
    return tmp_path


def signer(options=None, **environment):
    return resolve_credentials(options or {}, environment)().access_key_id


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_profile_that_is_exported_beats_the_current_one(home, prefix):
    assert signer() == "dev-id"
    assert signer(**{f"{prefix}PROFILE": "prod"}) == "prod-id"
    assert profile_region({}, {f"{prefix}PROFILE": "prod"}) == "cn-prod"
    assert signer({"profile": "dev"}, **{f"{prefix}PROFILE": "prod"}) == "dev-id"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("value", ["TRUE", "true", "1"])
def test_profiles_can_be_ignored(home, prefix, value):
    ignore = {f"{prefix}IGNORE_PROFILE": value}
    for environment in (ignore, {**ignore, "ALIBABA_CLOUD_PROFILE": "prod"}):
        with pytest.raises(RdsError) as caught:
            signer(**environment)
        assert caught.value.code == "CredentialsMissing"
        assert profile_region({}, environment) is None
    assert signer({"profile": "prod"}, **ignore) == "prod-id", "an option is not ignored"
    assert signer(**ignore, **ENVIRONMENT) == "env-id"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["CONFIG_PATH", "CREDENTIALS_FILE", "SHARED_CREDENTIALS_FILE"])
def test_a_profile_file_that_is_exported(home, profile_file, prefix, name):
    assert signer(**{f"{prefix}{name}": profile_file}) == "file-id"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_keys_with_each_prefix(home, prefix):
    keys = {f"{prefix}ACCESS_KEY_ID": "k", f"{prefix}ACCESS_KEY_SECRET": "s", f"{prefix}SECURITY_TOKEN": "t"}
    found = resolve_credentials({}, keys)()
    assert (found.access_key_id, found.access_key_secret, found.security_token) == ("k", "s", "t")
    assert found.source == f"environment {prefix}ACCESS_KEY_ID"


def test_keys_of_two_prefixes_are_not_mixed(home):
    with pytest.raises(RdsError, match="No value for ALIBABA_CLOUD_ACCESS_KEY_SECRET in"):
        signer(ALIBABA_CLOUD_ACCESS_KEY_ID="a", ALICLOUD_SECRET_KEY="b")


def test_anybodys_names_are_not_read_and_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RdsError) as caught:
        signer(ACCESS_KEY_ID="a", ACCESS_KEY_SECRET="hunter2", ALIBABA_CLOUD_BEARER_TOKEN="hunter3")
    assert "not read here: ACCESS_KEY_ID, ACCESS_KEY_SECRET, ALIBABA_CLOUD_BEARER_TOKEN" in caught.value.message
    assert "hunter" not in caught.value.message


# -- the tables of docs/credentials.md ---------------------------------------------------------------------------------


def tables():
    """Return the order of each variable in the first table, and the names in the second, without their prefixes."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "credentials.md").read_text(encoding="utf-8")
    variables, switches = page.partition("## Variables")[2].partition("| switch")[::2]
    rows = [line.split("|")[1:3] for line in variables.splitlines() if line.startswith("|")][2:]
    ordered = [(order.strip(), re.findall(r"`([A-Z0-9_]+)`", names)) for order, names in rows]
    first_cells = [line.split("|")[1] for line in switches.splitlines() if line.startswith("| `")]
    return ordered, set(re.findall(r"`([A-Z0-9_]+)`", " ".join(first_cells)))


class Watched(dict):
    """An environment that notes which names are read."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.read = set()

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)


def test_the_tables_have_what_is_read_and_nothing_else(home):
    read = set()
    for environment in (
        {},
        {**ENVIRONMENT, "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r"},
        {"ALIBABA_CLOUD_ECS_METADATA": "r"},
        {"ALIBABA_CLOUD_CREDENTIALS_URI": "https://keys.example"},
    ):
        watched = Watched(environment)
        default_region({"region_id": None}, watched)
        resolve_credentials({}, watched)
        read |= watched.read
    ordered, switches = tables()
    listed = {name for _order, names in ordered for name in names} | switches
    assert {f"{prefix}{name}" for prefix in PREFIXES for name in listed} == read


def test_the_order_of_the_table(home):
    """Without the variables of one row those of the next count; what would ask a service is forbidden and so named."""
    settings = {
        "1": ({"ACCESS_KEY_ID": "i", "ACCESS_KEY_SECRET": "s"}, "signs"),
        "2": ({"OIDC_TOKEN_FILE": "/none", "OIDC_PROVIDER_ARN": "p", "ROLE_ARN": "r"}, "/none"),
        "3": ({"CREDENTIALS_URI": "https://keys.example"}, "URI of environment"),
        "4": ({"ECS_METADATA": "r"}, "ECS role is named"),
        "5": ({"PROFILE": "prod", "CONFIG_PATH": str(home / ".aliyun" / "config.json")}, "signs"),
    }
    ordered, _switches = tables()
    assert list(dict.fromkeys(order for order, _names in ordered))[:5] == list(settings)
    forbidden = {"DISABLE_EXTERNAL_PROCESS": "true", "ECS_METADATA_DISABLED": "true"}
    for at, (order, (variables, words)) in enumerate(settings.items()):
        assert variables.keys() <= {name for row, names in ordered if row == order for name in names}
        left = [each for each, _unused in list(settings.values())[at:]]
        exported = {f"ALIBABA_CLOUD_{name}": value for each in (*left, forbidden) for name, value in each.items()}
        if words == "signs":
            assert signer(**exported) == ("i" if order == "1" else "prod-id")
            continue
        with pytest.raises(RdsError) as caught:
            signer(**exported)
        assert words in caught.value.message


@pytest.mark.parametrize("value", ["1", "true", "TRUE"])
def test_programs_and_uris_can_be_forbidden(tmp_path, value):
    forbidden = {"ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS": value}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"profiles": [{"name": "x", "mode": "External", "process_command": "touch ran"}]}))
    for options, environment in (
        ({"profile": "x", "profile_file": str(path)}, {}),
        ({}, {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:9"}),
    ):
        with pytest.raises(RdsError, match="ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS forbids"):
            resolve_credentials(options, {**environment, **forbidden})()


# -- keys as they are pasted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["\n", "\r\n", " ", "\t", "\u00a0", "\ufeff", "é", "\udcff", "\x00"])
@pytest.mark.parametrize("at", ["end", "begin", "middle"])
@pytest.mark.parametrize("part", range(3))
def test_a_character_that_no_key_has_is_named_at_once(tmp_path, damage, at, part):
    value = {"end": f"hunter2{damage}", "begin": f"{damage}hunter2", "middle": f"hun{damage}ter2"}[at]
    values = ["id", "secret", "token"]
    values[part] = value
    options = dict(zip(("access_key_id", "access_key_secret", "security_token"), values, strict=True))
    variables = ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"]
    fields = dict(zip(("access_key_id", "access_key_secret", "sts_token"), values, strict=True))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"current": "p", "profiles": [{"name": "p", "mode": "StsToken", **fields}]}))
    for given, environment, name in (
        (options, {}, list(options)[part]),
        ({}, dict(zip(variables, values, strict=True)), variables[part]),
        ({"profile_file": str(path)}, {}, list(fields)[part]),
    ):
        with pytest.raises(RdsError) as caught:
            resolve_credentials(given, environment)
        error = caught.value
        assert (error.code, error.outcome, error.category) == ("CredentialsUnusable", "not_sent", "fix_credentials")
        assert error.message.startswith(f"{name} in the ") and "hunter2" not in error.message


# -- files that others have written ------------------------------------------------------------------------------------

CONFIG = {"current": "p", "profiles": [{"name": "p", "mode": "AK", "access_key_id": "i", "access_key_secret": "s"}]}
INI = "[default]\ntype = access_key\naccess_key_id = i\naccess_key_secret = s\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("text", [json.dumps(CONFIG), INI], ids=["config.json", "credentials.ini"])
def test_a_byte_order_mark_is_no_damage(tmp_path, encoding, text):
    path = tmp_path / "profiles"
    path.write_bytes(text.encode(encoding))
    assert signer({"profile_file": str(path)}) == "i"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(CONFIG, indent=1).replace('"AK",', '"AK"').encode(), "of the SDKs: correct line 7"),
        (json.dumps(CONFIG).encode()[:-2], "of the SDKs: correct line 1"),
        (INI.replace("type =", "type").encode(), "of the SDKs: correct line 2"),
        (b"access_key_id = hunter2\n" + INI.encode(), "of the SDKs: correct line 1"),
        ((INI + INI).encode(), "of the SDKs: correct line 5"),
        (INI.replace("= i", "= \xe9hunter2").encode("latin-1"), "is not utf-8 text in line 3"),
        (b"\xff\xfe" + b"\x00\xd8" * 3, "is not utf-16-le text in line 1"),
        (b"", "profile 'default' does not exist"),
        (b"{}", "holds no profiles"),
        (b'{"profiles": [3]}', "holds no profiles"),
        (b'{"profiles": [{}]}', "holds no profiles"),
    ],
)
def test_damage_is_named_with_its_place_and_not_quoted(tmp_path, content, words):
    path = tmp_path / "profiles"
    path.write_bytes(content)
    with pytest.raises(RdsError) as caught:
        signer({"profile_file": str(path)})
    assert caught.value.code == "CredentialsUnusable"
    assert words in caught.value.message and "hunter2" not in caught.value.message


@pytest.mark.parametrize("kind", ["type = sts\n", "", "type = STSTOKEN\n"])
def test_temporary_keys_in_an_ini_file(tmp_path, kind):
    path = tmp_path / "credentials.ini"
    path.write_text(f"[default]\n{kind}access_key_id = STS.i\naccess_key_secret = s\nsecurity_token = t\n")
    found = resolve_credentials({"profile_file": str(path)}, {})()
    assert (found.access_key_id, found.security_token) == ("STS.i", "t")


def test_keys_of_a_file_are_read_anew(profile_file):
    ask = resolve_credentials({"profile_file": profile_file, "profile": "sts"}, {})
    assert ask().security_token == "t"
    with open(profile_file) as file:
        content = file.read()
    with open(profile_file, "w") as file:
        file.write(content.replace('"t"', '"t2"')[:60])
    assert ask().security_token == "t", "a file that is being written"
    with open(profile_file, "w") as file:
        file.write(content.replace('"t"', '"t2"'))
    assert ask().security_token == "t2"
