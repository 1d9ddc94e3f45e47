# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of credentials that a service gives out, against stand-ins that speak the real wire.

Nothing but loopback can be contacted here, and each test says by name who was asked.
"""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import shlex
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
import requests
from urllib3.util import connection as urllib3_connection

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import explain
from ansible_collections.alicloud.rds.plugins.module_utils._api import key_services as _key_services
from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.module_utils._api.client import Client
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import profile_region, resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.modules import replication_link, replication_link_info

from .certificates import issue, server_context
from .conftest import ACCOUNT, DR, QUICK
from .credential_services import (
    JWT,
    METADATA,
    OAUTH_HOSTS,
    PROVIDER,
    ROLE,
    SSO,
    STS_HOSTS,
    Services,
    listening,
)
from .scripted_server import ScriptedServer, http

pytestmark = pytest.mark.thorough

BASE = {"access_key_id": "LTAIbase", "access_key_secret": "base+Secret/of=Base"}
FIRST = {"access_key_id": "STS.first", "access_key_secret": "first+Secret/1", "security_token": "CAISfirst+token/1="}
SECOND = {
    "access_key_id": "STS.second",
    "access_key_secret": "second+Secret/2",
    "security_token": "CAISsecond+token/2=",
}
SECRETS = [key[name] for key in (BASE, FIRST, SECOND) for name in key if name != "access_key_id"]
SECRETS += [JWT, "sso-access-token", "oauth-access", "refresh-1", "refresh-2", "imds-token", "CAISsecret", "LTAIquoted"]
BASE_ENVIRONMENT = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": BASE["access_key_id"],
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": BASE["access_key_secret"],
}
STS = STS_HOSTS[0]
IMDS = f"{METADATA}/latest/meta-data/ram/security-credentials/"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    ca = issue(directory, "ca")
    return server_context(issue(directory, "services", [*STS_HOSTS, *OAUTH_HOSTS, SSO], ca).file), str(ca.file)


@pytest.fixture
def services(tls, monkeypatch, tmp_path):
    """The services, and a network that has nothing else."""
    from Tea.core import TeaCore

    monkeypatch.setattr(TeaCore, "_sessions", {})
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls[1])
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])  # this one is for the library
    monkeypatch.setattr(_transport, "PAUSE", 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    services = Services([FIRST], {BASE["access_key_id"]: (BASE["access_key_secret"], None)})
    strangers = []
    real_create, real_connect = urllib3_connection.create_connection, socket.socket.connect
    with listening(services) as plain, listening(services, tls[0]) as secure:
        places = {(METADATA, 80): plain, **{(host, 443): secure for host in (*STS_HOSTS, *OAUTH_HOSTS, SSO)}}

        def create_connection(address, *args, **kwargs):
            if address in places:
                address = ("127.0.0.1", places[address])
            return real_create(address, *args, **kwargs)

        def connect(self, address):
            if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
                strangers.append(address)
                raise ConnectionRefusedError
            return real_connect(self, address)

        def getaddrinfo(host, *args, **kwargs):
            if host not in ("127.0.0.1", "localhost", "::1"):
                strangers.append(host)
                raise socket.gaierror(-2, "Name or service not known")
            return real_getaddrinfo(host, *args, **kwargs)

        real_getaddrinfo = socket.getaddrinfo
        monkeypatch.setattr(urllib3_connection, "create_connection", create_connection)
        monkeypatch.setattr(socket.socket, "connect", connect)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        services.places, services.strangers, services.port = places, strangers, plain
        yield services
    assert strangers == []


@pytest.fixture
def config(tmp_path):
    """Write ~/.aliyun/config.json with these profiles, the first of them the current one."""

    def write(*profiles):
        path = tmp_path / ".aliyun" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"current": profiles[0]["name"], "profiles": list(profiles), "meta": {"kept": 1}}))
        path.chmod(0o600)
        return path

    return write


def provider(options=None, **environment):
    return resolve_credentials(options or {}, environment)


def keys(options=None, **environment):
    found = provider(options, **environment)()
    return {name: getattr(found, name) for name in FIRST}, found.source


def failure(options=None, **environment):
    """Return the error, which shows no secret, and hides where it came from."""
    with pytest.raises(RdsError) as caught:
        keys(options, **environment)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for secret in SECRETS:
        assert secret not in json.dumps(error.as_result())
    return error


# -- roles -------------------------------------------------------------------------------------------------------------


def test_a_role_is_assumed_with_the_keys_of_the_options(services):
    services.external_id = "partner"
    options = {**BASE, "role_arn": ROLE, "role_session_name": "dr", "role_session_expiration": 900}
    found = keys({**options, "external_id": "partner"})
    assert found == (FIRST, f"options: RAM role {ROLE}")
    assert services.seen() == [f"GET {STS}/ AssumeRole"]
    query = services.calls[0].query
    assert [query[name] for name in ("RoleSessionName", "DurationSeconds", "ExternalId")] == ["dr", "900", "partner"]


def test_a_role_of_the_environment_is_assumed_by_what_nothing_named(services, config):
    role = {"ALICLOUD_ASSUME_ROLE_ARN": ROLE, "ALICLOUD_ASSUME_ROLE_SESSION_EXPIRATION": "1800"}
    source = f"environment ALIBABA_CLOUD_ACCESS_KEY_ID: RAM role {ROLE}"
    assert keys({}, **BASE_ENVIRONMENT, **role) == (FIRST, source)
    assert services.calls[0].query["DurationSeconds"] == "1800"
    assert services.calls[0].query["RoleSessionName"] == "ansible-alicloud.rds"
    config({"name": "p", "mode": "AK", **BASE})
    assert keys({}, **role)[1] == f"profile 'p' (AK) of ~/.aliyun/config.json: RAM role {ROLE}"
    assert keys(BASE, **role)[1] == "options"
    assert keys({"profile": "p"}, **role)[1] == "profile 'p' (AK) of ~/.aliyun/config.json"


@pytest.mark.parametrize("prefix", ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"])
def test_a_role_beside_exported_keys_as_the_cli_takes_it(services, prefix):
    services.external_id = "partner"
    role = {f"{prefix}ROLE_ARN": ROLE, f"{prefix}ROLE_SESSION_NAME": "ops", f"{prefix}EXTERNAL_ID": "partner"}
    assert keys({}, **BASE_ENVIRONMENT, **role)[0] == FIRST
    assert services.calls[0].query["RoleSessionName"] == "ops"
    oidc = {f"{prefix}OIDC_TOKEN_FILE": "/x", f"{prefix}OIDC_PROVIDER_ARN": PROVIDER}
    assert keys({}, **BASE_ENVIRONMENT, **role, **oidc)[1] == "environment ALIBABA_CLOUD_ACCESS_KEY_ID"
    assert len(services.calls) == 1


@pytest.mark.parametrize("host", [STS_HOSTS[1], f"https://{STS_HOSTS[1]}", f"https://{STS_HOSTS[1]}/"])
def test_the_host_of_sts_may_be_named(services, config, host):
    assert keys({**BASE, "role_arn": ROLE}, ALIBABA_CLOUD_STS_ENDPOINT=host)[0] == FIRST
    config({"name": "p", "mode": "RamRoleArn", **BASE, "ram_role_arn": ROLE, "sts_endpoint": host})
    assert keys()[0] == FIRST
    assert {call.host for call in services.calls} == {STS_HOSTS[1]}


@pytest.mark.parametrize("host", ["http://sts.aliyuncs.com", "sts.aliyuncs.com/x", "x@sts.example", "s\\ts", "sts:0"])
def test_a_host_of_sts_that_is_none_is_refused(services, host):
    role = {**BASE, "role_arn": ROLE}
    assert "is no host of STS" in failure(role, ALIBABA_CLOUD_STS_ENDPOINT=host).message
    assert "is no host of STS" in failure(role, ALIBABA_CLOUD_STS_REGION="x/.evil.example#").message


def test_the_sts_of_a_region_and_of_its_vpc(services):
    options = {**BASE, "role_arn": ROLE}
    keys(options, ALIBABA_CLOUD_STS_REGION="cn-shanghai")
    keys(options, ALIBABA_CLOUD_STS_REGION="cn-shanghai", ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED="true")
    assert [call.host for call in services.calls] == list(STS_HOSTS[1:])


def test_profile_with_a_role(services, config):
    policy = '{"Version": "1", "Statement": []}'
    profile = {"name": "prod", "mode": "RamRoleArn", **BASE, "ram_role_arn": ROLE, "ram_session_name": "ops"}
    config({**profile, "expired_seconds": 1200, "policy": policy, "sts_region": "cn-shanghai", "enable_vpc": True})
    assert keys() == (FIRST, "profile 'prod' (RamRoleArn) of ~/.aliyun/config.json")
    query = services.calls[0].query
    assert services.seen() == [f"GET {STS_HOSTS[2]}/ AssumeRole"]
    assert (query["RoleSessionName"], query["DurationSeconds"]) == ("ops", "1200")
    assert json.loads(query["Policy"]) == json.loads(policy)


def test_profile_with_a_chain_of_roles(services, config):
    services.issued = [FIRST, SECOND]
    services.known[FIRST["access_key_id"]] = (FIRST["access_key_secret"], FIRST["security_token"])
    config(
        {"name": "ops", "mode": "ChainableRamRoleArn", "source_profile": "middle", "ram_role_arn": ROLE},
        {"name": "middle", "mode": "ChainableRamRoleArn", "source_profile": "base", "ram_role_arn": ROLE},
        {"name": "base", "mode": "AK", **BASE},
    )
    assert keys() == (SECOND, "profile 'ops' (ChainableRamRoleArn) of ~/.aliyun/config.json")
    assert services.seen() == [f"GET {STS}/ AssumeRole"] * 2


def test_a_chain_that_bites_its_tail(services, config):
    config(
        {"name": "a", "mode": "ChainableRamRoleArn", "source_profile": "b", "ram_role_arn": ROLE},
        {"name": "b", "mode": "ChainableRamRoleArn", "source_profile": "a", "ram_role_arn": ROLE},
    )
    assert "source_profile of itself" in failure().message
    assert services.calls == []


def test_oidc(services, config, tmp_path):
    (tmp_path / "token").write_text(JWT)
    environment = {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token"),
        "ALIBABA_CLOUD_ROLE_SESSION_NAME": "pod",
    }
    assert keys({}, **environment) == (FIRST, f"environment ALIBABA_CLOUD_OIDC_TOKEN_FILE: RAM role {ROLE} by OIDC")
    assert services.calls[0].query["RoleSessionName"] == "pod"
    profile = {"name": "pod", "mode": "OIDC", "ram_role_arn": ROLE, "oidc_provider_arn": PROVIDER}
    config({**profile, "oidc_token_file": str(tmp_path / "token")})
    assert keys() == (FIRST, "profile 'pod' (OIDC) of ~/.aliyun/config.json")
    assert services.seen() == [f"GET {STS}/ AssumeRoleWithOIDC"] * 2
    assert "Signature" not in services.calls[0].query
    for name in list(environment)[1:3]:
        message = failure({}, **{key: value for key, value in environment.items() if key != name}).message
        assert f"No value for {name} in the environment" in message
    assert "No value for ALIBABA_CLOUD_ROLE_ARN in" in failure({}, **dict(list(environment.items())[1:])).message
    (tmp_path / "token").unlink()
    assert f"{tmp_path / 'token'}" in failure({}, **environment).message


# -- the metadata service ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ALIBABA_CLOUD_ECS_METADATA", "ALICLOUD_ECS_ROLE_NAME"])
def test_ecs_role_by_imdsv2(services, name):
    assert keys({}, **{name: "dr-role"}) == (FIRST, f"environment {name}: ECS role 'dr-role' by IMDSv2")
    assert services.seen() == [f"PUT {METADATA}/latest/api/token", f"GET {IMDS}dr-role"]
    assert keys({"ecs_role_name": "dr-role"})[1] == "options: ECS role 'dr-role' by IMDSv2"


def test_ecs_role_of_a_profile_finds_its_name(services, config):
    config({"name": "here", "mode": "EcsRamRole"})
    source = "profile 'here' (EcsRamRole) of ~/.aliyun/config.json: the ECS role of this instance by IMDSv2"
    assert keys() == (FIRST, source)
    assert [request for request in services.seen() if request.startswith("GET")] == [
        f"GET {IMDS}",
        f"GET {IMDS}dr-role",
    ]


def test_imdsv1_is_the_last_resort_and_can_be_forbidden(services):
    services.metadata_versions = ("v1",)
    options = {"ecs_role_name": "dr-role"}
    assert keys(options)[1] == "options: ECS role 'dr-role' by IMDSv1"
    services.calls.clear()
    error = failure(options, ALIBABA_CLOUD_IMDSV1_DISABLED="true")
    assert "100.100.100.200 refused (HTTP 403)" in error.message
    assert services.seen() == [f"PUT {METADATA}/latest/api/token"]


def test_ecs_metadata_disabled(services):
    error = failure({"ecs_role_name": "r"}, ALIBABA_CLOUD_ECS_METADATA_DISABLED="true")
    assert "ALIBABA_CLOUD_ECS_METADATA_DISABLED is true" in error.message
    assert services.calls == []


def test_no_proxy_comes_between_us_and_the_metadata_service(services, monkeypatch):
    """Nor between us and loopback; for all others NO_PROXY decides."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert keys({"ecs_role_name": "dr-role"})[0] == FIRST
    assert keys({}, ALIBABA_CLOUD_CREDENTIALS_URI=f"http://127.0.0.1:{services.port}/keys")[0] == FIRST
    assert "127.0.0.1:9" in os.environ["HTTP_PROXY"]
    assert "cannot be reached (proxy: connection refused)" in failure({**BASE, "role_arn": ROLE}).message
    monkeypatch.setenv("NO_PROXY", "localhost,.aliyuncs.com")
    assert keys({**BASE, "role_arn": ROLE})[0] == FIRST


def test_no_thread_is_left(services):
    before = set(threading.enumerate())
    keys({"ecs_role_name": "dr-role"})
    started = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in started if "process_request_thread" not in name]


# -- URI, sign-ins, programs -------------------------------------------------------------------------------------------


def test_uri(services, config):
    uri = f"http://127.0.0.1:{services.port}/keys?ticket=SECRETTICKET"
    assert keys({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri) == (FIRST, "environment ALIBABA_CLOUD_CREDENTIALS_URI")
    config({"name": "u", "mode": "CredentialsURI", "credentials_uri": uri})
    assert keys() == (FIRST, "profile 'u' (CredentialsURI) of ~/.aliyun/config.json")
    assert [call.query for call in services.calls] == [{"ticket": "SECRETTICKET"}] * 2


def sso_profile(**changes):
    return {
        "name": "sso",
        "mode": "CloudSSO",
        "cloud_sso_sign_in_url": f"https://{SSO}",
        "cloud_sso_account_id": "1234567890123456",
        "cloud_sso_access_config": "ac-dr",
        "access_token": "sso-access-token",
        "cloud_sso_access_token_expire": int(time.time()) + 3600,
        **changes,
    }


def test_cloud_sso(services, config):
    path = config(sso_profile())
    before = path.read_bytes()
    assert keys() == (FIRST, "profile 'sso' (CloudSSO) of ~/.aliyun/config.json")
    assert services.seen() == [f"POST {SSO}/cloud-credentials"]
    assert path.read_bytes() == before
    config(sso_profile(cloud_sso_access_token_expire=int(time.time()) - 1))
    assert failure().remedy == "To fix: run aliyun configure --mode CloudSSO --profile sso and sign in."
    services.calls.clear()
    config(sso_profile(cloud_sso_sign_in_url=f"http://{SSO}"))  # the token would be readable on its way
    assert "is not https://HOST" in failure().message
    assert services.calls == []


@pytest.mark.parametrize(("site", "host"), [("CN", OAUTH_HOSTS[0]), ("INTL", OAUTH_HOSTS[1])])
def test_oauth_keeps_the_sign_in_of_the_cli_alive(services, config, site, host):
    tokens = {
        "oauth_access_token": "oauth-access-0",
        "oauth_refresh_token": "refresh-1",
        "oauth_access_token_expire": 1,
    }
    profile = {"name": "me", "mode": "OAuth", "oauth_site_type": site, **tokens, "language": "en"}
    path = config(profile, {"name": "other", "mode": "AK", **BASE})
    assert keys() == (FIRST, "profile 'me' (OAuth) of ~/.aliyun/config.json")
    assert services.seen() == [f"POST {host}/v1/token", f"POST {host}/v1/exchange"]
    content = json.loads(path.read_text())
    written = content["profiles"][0]
    assert (written["oauth_access_token"], written["oauth_refresh_token"]) == ("oauth-access-2", "refresh-2")
    assert (written["access_key_id"], written["language"]) == (FIRST["access_key_id"], "en")
    assert content["profiles"][1] == {"name": "other", "mode": "AK", **BASE}
    assert content["meta"] == {"kept": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["config.json"], "no copy is left"
    assert keys()[0] == FIRST
    assert len(services.calls) == 2, "the next run takes what is written"


def test_oauth_with_a_file_that_cannot_be_written_still_gives_keys(services, config, monkeypatch):
    path = config({"name": "me", "mode": "OAuth", "oauth_access_token": "oauth-access-1"})
    before = path.read_bytes()

    def refuse(*_unused):
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    assert keys()[0] == FIRST
    assert path.read_bytes() == before


def program(tmp_path, text):
    path = tmp_path / "keys.py"
    path.write_text(text)
    command = shlex.join([sys.executable, str(path), "--pin", "SECRET PIN"])
    return {"name": "x", "mode": "External", "process_command": command}


def test_external_program(services, config, tmp_path):
    printed = {"mode": "StsToken", "access_key_id": FIRST["access_key_id"], "sts_token": FIRST["security_token"]}
    printed |= {"access_key_secret": FIRST["access_key_secret"], "expiration": "2099-01-01T00:00:00Z"}
    path = config(program(tmp_path, f"print({json.dumps(printed)!r})"))
    before = path.read_bytes()
    assert keys() == (FIRST, "profile 'x' (External) of ~/.aliyun/config.json")
    assert path.read_bytes() == before, "keys are not written into the file"
    assert services.calls == []


def test_a_program_that_prints_a_plain_key_runs_once(services, config, tmp_path):
    count = tmp_path / "count"
    config(program(tmp_path, f"open({str(count)!r}, 'a').write('x'); print({json.dumps(BASE)!r})"))
    ask = provider()
    assert {ask().access_key_id for _unused in range(3)} == {BASE["access_key_id"]}
    assert count.read_text() == "x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys; sys.exit('CAISsecret on stderr')", "its process_command failed"),
        ("print('CAISsecret junk')", "answered with something that holds no keys"),
        ("print('{}')", "answered with something that holds no keys"),
        ("print('[]')", "answered with something that holds no keys"),
        ("""print('{"access_key_id": "a", "access_key_secret": ["CAISsecret"]}')""", "holds no keys"),
        (
            """print('{"access_key_id": "a", "access_key_secret": "s", "expiration": "2000-01-01T00:00:00Z"}')""",
            "gave keys that have expired",
        ),
    ],
)
def test_a_program_that_fails(services, config, tmp_path, text, told):
    config(program(tmp_path, text))
    error = failure()
    assert told in error.message
    assert "profile 'x' (External)" in error.message and "CAISsecret" not in error.message
    assert "PIN" not in error.message


def test_a_program_that_is_not_there(services, config):
    config({"name": "x", "mode": "External", "process_command": "/nonexistent/SECRET --pin 1"})
    assert "process_command cannot be run" in failure().message


def test_a_program_that_does_not_end(services, config, tmp_path, monkeypatch):
    monkeypatch.setattr(_key_services, "PROGRAM_SECONDS", 0.5)
    text = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    config(program(tmp_path, f"{text}; time.sleep(60)"))
    began = time.monotonic()
    assert "process_command took longer than 0.5 seconds" in failure().message
    assert time.monotonic() - began < 10, "what it has started is ended as well"


def test_a_program_that_prints_without_end(services, config, tmp_path):
    config(program(tmp_path, "while True: print('CAISsecret' * 1000)"))
    assert "printed far more than keys" in failure().message


# -- profiles of the SDKs ----------------------------------------------------------------------------------------------


def test_credentials_ini(services, tmp_path):
    path = tmp_path / ".alibabacloud" / "credentials.ini"
    path.parent.mkdir()
    path.write_text(
        f"[default]\ntype = access_key  # inline\naccess_key_id = {BASE['access_key_id']}\naccess_key_secret = s#1%x\n"
        f"[role]\ntype = ram_role_arn\naccess_key_id = {BASE['access_key_id']}\n"
        f"access_key_secret = {BASE['access_key_secret']}\nrole_arn = {ROLE}\nrole_session_name = ini\n"
        "[ecs]\ntype = ecs_ram_role\nrole_name = dr-role\n"
        "[rsa]\ntype = rsa_key_pair\n"
    )
    default = provider()()
    assert (default.access_key_secret, default.source) == (
        "s#1%x",
        "profile 'default' (AK) of ~/.alibabacloud/credentials.ini",
    )
    assert keys({}, ALIBABA_CLOUD_PROFILE="role")[0] == FIRST
    assert services.calls[0].query["RoleSessionName"] == "ini"
    assert keys({"profile": "ecs", "profile_file": str(path)})[0] == FIRST
    assert keys({"profile": "ecs"}, ALIBABA_CLOUD_CREDENTIALS_FILE=str(path))[0] == FIRST
    assert "not supported" in failure({"profile": "rsa"}).message


def test_the_profile_of_the_cli_can_be_disabled(services, config):
    config({"name": "p", "mode": "AK", **BASE})
    assert keys()[1] == "profile 'p' (AK) of ~/.aliyun/config.json"
    assert failure({}, ALIBABA_CLOUD_CLI_PROFILE_DISABLED="true").code == "CredentialsMissing"
    assert keys({"profile": "p"}, ALIBABA_CLOUD_CLI_PROFILE_DISABLED="true")[1].startswith("profile 'p'")


def test_the_region_of_the_profile_that_signs(services, config, tmp_path):
    config({"name": "p", "mode": "AK", **BASE, "region_id": "cn-shanghai"}, {"name": "q", "mode": "AK", **BASE})
    assert profile_region({}, {}) == "cn-shanghai"
    assert profile_region({"profile": "p"}, BASE_ENVIRONMENT) == "cn-shanghai"
    assert profile_region({"profile": "q"}, {}) is None
    assert profile_region({}, BASE_ENVIRONMENT) is None
    assert profile_region(BASE, {}) is None
    assert profile_region({"ecs_role_name": "r"}, {}) is None
    assert profile_region({"profile_file": str(tmp_path / "none")}, {}) is None


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def refused(services, status, code):
    services.instead[STS] = (
        status,
        {"Code": code, "Message": "LTAIquoted CAISsecret", "RequestId": "6894B13B-6D71-4EF5-88FA-F32781734A7F"},
    )
    return failure({**BASE, "role_arn": ROLE})


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "NoPermission", "grant it sts:AssumeRole"),
        (404, "EntityNotExist.Role", "correct the ARN"),
        (404, "InvalidAccessKeyId.NotFound", "correct or enable the access key"),
        (400, "SignatureDoesNotMatch", "correct the secret"),
        (400, "InvalidParameter.DurationSeconds", "no more than the maximum"),
        (400, "InvalidParameter.RoleSessionName", "set role_session_name"),
        (400, "InvalidTimeStamp.Expired", "set the clock"),
        (400, "InvalidParameter", "check the role"),
        (500, "InternalError", "run again later"),
    ],
)
def test_a_refusal_of_sts_names_code_and_remedy(services, status, code, remedy):
    error = refused(services, status, code)
    assert f"RAM role {ROLE}: {STS} refused (HTTP {status}, {code})." in error.message
    assert error.remedy.startswith("To fix: ") and remedy in error.remedy
    assert error.request_id == "6894B13B-6D71-4EF5-88FA-F32781734A7F"
    assert (error.code, error.category, error.outcome) == ("CredentialsUnusable", "fix_credentials", "not_sent")


def test_wrong_role_and_wrong_keys(services):
    assert "EntityNotExist.Role" in failure({**BASE, "role_arn": f"{ROLE}x"}).message
    assert "SignatureDoesNotMatch" in failure({**BASE, "access_key_secret": "base+Secret", "role_arn": ROLE}).message
    assert "at least" not in failure({**BASE, "role_arn": ROLE, "role_session_expiration": 43201}).message


def test_a_token_that_oidc_refuses(services, tmp_path):
    (tmp_path / "token").write_text("another.oidc.CAISsecret")
    environment = {"ALIBABA_CLOUD_ROLE_ARN": ROLE, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER}
    error = failure({}, ALIBABA_CLOUD_OIDC_TOKEN_FILE=str(tmp_path / "token"), **environment)
    assert "AuthenticationFail.OIDCToken.Invalid). To fix: get a new token" in explain(error)


@pytest.mark.parametrize(
    "answer",
    [
        (200, "CAISsecret no JSON"),
        (200, ""),
        (200, {}),
        (200, []),
        (200, {"Code": "CAISsecret", "AccessKeyId": "a"}),
        (200, {"Code": "Success", "Credentials": {}, "CloudCredential": {}}),
        (200, {"Code": "Success", "Credentials": 3, "CloudCredential": 3}),
        (500, "CAISsecret"),
        (
            200,
            {
                "Code": "Success",
                "AccessKeyId": "",
                "AccessKeySecret": None,
                "SecurityToken": "CAISsecret",
                "Expiration": "2099-01-01T00:00:00Z",
            },
        ),
        (
            200,
            {
                "Code": "Success",
                "AccessKeyId": "a",
                "AccessKeySecret": "CAISsecret",
                "SecurityToken": "b",
                "Expiration": "soon",
            },
        ),
    ],
)
def test_junk_is_called_that_and_not_shown(services, config, answer):
    services.instead = dict.fromkeys((METADATA, STS, SSO, "127.0.0.1", *OAUTH_HOSTS), answer)
    told = "refused (HTTP 500)" if answer[0] == 500 else "holds no keys"
    of_library = "refused (HTTP 500)" if answer[0] == 500 else "got no keys"
    config(sso_profile(), {"name": "me", "mode": "OAuth", "oauth_access_token": "oauth-access-1"})
    uri = f"http://user:CAISsecret@127.0.0.1:{services.port}/CAISsecret?CAISsecret=1"
    assert told in failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri).message
    assert f"http://127.0.0.1:{services.port}" in failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri).message
    assert told in failure({"ecs_role_name": "dr-role"}).message
    assert told in failure({**BASE, "role_arn": ROLE}).message
    assert of_library in failure({"profile": "sso"}).message
    assert of_library in failure({"profile": "me"}).message


def test_a_code_is_believed_from_sts_only(services):
    services.instead["127.0.0.1"] = (403, {"Code": "secretWords", "RequestId": "x"})
    error = failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=f"http://127.0.0.1:{services.port}/keys")
    assert "refused (HTTP 403). To fix: correct the URI" in explain(error)


def test_nobody_answers(services, config):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    services.places |= dict.fromkeys(services.places, port)
    config(sso_profile())
    refused = "cannot be reached (connection refused). Check the name of the service in the message"
    uri = f"http://127.0.0.1:{port}/CAISsecret"
    for error, words in (
        (failure({**BASE, "role_arn": ROLE}), f"{STS} {refused}"),
        (failure({"ecs_role_name": "r"}), "run on an ECS instance"),
        (failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri), "correct the URI"),
    ):
        assert words in explain(error)
        assert (error.code, error.category, error.outcome) == ("KeyServiceUnreachable", "fix_network", "not_sent")
        assert error.retryable, "a wait goes on over it"
    error = failure()
    assert "the library got no answer (connection refused). Check DNS" in explain(error)
    assert (error.code, error.retryable) == ("KeyServiceUnreachable", True)
    assert "not an http or https URL" in failure({}, ALIBABA_CLOUD_CREDENTIALS_URI="CAISsecret").message


def test_no_metadata_service_is_found_out_in_seconds(services):
    """TCP answers, HTTP does not; a packet that gets no answer at all takes as long."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        services.places[METADATA, 80] = silent.getsockname()[1]
        began = time.monotonic()
        error = failure({"ecs_role_name": "r"})
    assert "gave no whole answer (no answer in time). To fix: run on an ECS instance" in explain(error)
    assert time.monotonic() - began < 5


def test_a_certificate_that_is_not_trusted(services, monkeypatch):
    ca = os.environ["REQUESTS_CA_BUNDLE"]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    error = failure({**BASE, "role_arn": ROLE})
    assert (
        "no certificate that is trusted (certificate refused: unable to get local issuer certificate)" in error.message
    )
    assert error.remedy.startswith("Set ca_path or REQUESTS_CA_BUNDLE to the certificate of its authority")
    assert (error.code, services.calls) == ("CertificateRefused", [])
    assert keys({**BASE, "role_arn": ROLE, "ca_path": ca})[0] == FIRST, "the remedy, carried out"


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({**BASE, "role_session_name": "x"}, {}, "role_arn is missing in the options, or empty; role_session_name"),
        ({**BASE, "external_id": "x"}, {}, "role_arn is missing"),
        ({"ecs_role_name": "r", "profile": "p"}, {}, "ecs_role_name and profile exclude each other"),
        ({"ecs_role_name": "r", **BASE}, {}, "access key options, ecs_role_name and profile exclude"),
        (
            {**BASE, "role_arn": ROLE, "role_session_expiration": 60},
            {},
            "cannot last '60' seconds: set role_session_expiration",
        ),
        (
            {},
            {**BASE_ENVIRONMENT, "ALICLOUD_ASSUME_ROLE_ARN": ROLE, "ALICLOUD_ASSUME_ROLE_SESSION_EXPIRATION": "1h"},
            "cannot last '1h' seconds: set role_session_expiration",
        ),
    ],
)
def test_half_of_a_setting(services, options, environment, words):
    assert words in failure(options, **environment).message
    assert services.calls == []


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            {"mode": "RamRoleArn", "ram_role_arn": ROLE},
            "No value for access_key_id and access_key_secret in the profile 'p'",
        ),
        ({"mode": "RamRoleArn", **BASE}, "No value for ram_role_arn in"),
        ({"mode": "ChainableRamRoleArn", "ram_role_arn": ROLE}, "No value for source_profile in"),
        ({"mode": "OIDC", "ram_role_arn": ROLE}, "No value for oidc_provider_arn and oidc_token_file in"),
        ({"mode": "CloudSSO"}, "cloud_sso_sign_in_url"),
        ({"mode": "OAuth"}, "No value for oauth_access_token in"),
        ({"mode": "OAuth", "oauth_access_token": "x", "oauth_site_type": "MOON"}, "the library got no keys"),
        ({"mode": "External"}, "No value for process_command in"),
        ({"mode": "RamRoleArn", **BASE, "ram_role_arn": ROLE, "expired_seconds": "soon"}, "cannot last 'soon' seconds"),
        ({"mode": "Anonymous"}, "not supported"),
    ],
)
def test_half_of_a_profile_is_not_filled_from_the_environment(services, config, monkeypatch, profile, words):
    """The library would take keys that are exported instead."""
    from alibabacloud_credentials.utils import auth_util

    monkeypatch.setattr(auth_util, "environment_access_key_id", BASE["access_key_id"])
    monkeypatch.setattr(auth_util, "environment_access_key_secret", BASE["access_key_secret"])
    monkeypatch.setattr(auth_util, "environment_role_arn", ROLE)
    config({"name": "p", **profile})
    assert words in failure({"profile": "p"}, **BASE_ENVIRONMENT, ALIBABA_CLOUD_ROLE_ARN=ROLE).message
    assert services.calls == []


# -- the library -------------------------------------------------------------------------------------------------------


def test_the_library_is_imported_only_for_what_needs_it(tmp_path):
    code = (
        "import sys\n"
        "from ansible.plugins.loader import init_plugin_loader\n"
        "init_plugin_loader()\n"
        "from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials\n"
        "resolve_credentials({'access_key_id': 'a', 'access_key_secret': 'b'}, {})()\n"
        "assert not {'alibabacloud_credentials', 'Tea', 'apscheduler', 'aiohttp'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_role_needs_requests_and_nothing_else(services, config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials", None)
    (tmp_path / "token").write_text(JWT)
    oidc = {"ALIBABA_CLOUD_ROLE_ARN": ROLE, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER}
    for environment in (
        {"ALIBABA_CLOUD_ECS_METADATA": "dr-role"},
        {"ALIBABA_CLOUD_CREDENTIALS_URI": f"http://127.0.0.1:{services.port}/keys"},
        {**BASE_ENVIRONMENT, "ALICLOUD_ASSUME_ROLE_ARN": ROLE},
        {**oidc, "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token")},
    ):
        assert keys({}, **environment)[0] == FIRST


@pytest.mark.parametrize("mode", ["CloudSSO", "OAuth"])
def test_without_the_library_the_command_that_installs_it_is_told(services, config, monkeypatch, mode):
    config(sso_profile(name="me", mode=mode, oauth_access_token="oauth-access-1"))
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.provider", None)
    error = failure()
    assert error.code == "MissingLibrary"
    assert f"Run {sys.executable} -m pip install --upgrade alibabacloud-credentials, then" in error.remedy


def test_a_library_that_is_too_old(services, config, monkeypatch):
    from alibabacloud_credentials import provider as library

    monkeypatch.delattr(library, "CLIProfileCredentialsProvider")
    config(sso_profile())
    error = failure()
    assert error.code == "MissingLibrary"
    assert "pip install --upgrade alibabacloud-credentials" in error.remedy


def test_nothing_is_printed(services, config, tmp_path, capfd, caplog, monkeypatch):
    """The library has handlers of its own on stderr, and a debug switch that prints headers."""
    monkeypatch.setenv("DEBUG", "sdk")
    monkeypatch.setattr(logging.getLogger("urllib3"), "propagate", True)
    for name in ("credentials", "alibabacloud-tea"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    caplog.set_level(logging.DEBUG)
    logged = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(logged)])
    (tmp_path / "token").write_text(JWT)
    oidc = {"ALIBABA_CLOUD_ROLE_ARN": ROLE, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER}
    keys({}, ALIBABA_CLOUD_OIDC_TOKEN_FILE=str(tmp_path / "token"), **oidc)
    services.instead[STS] = (403, {"Code": "NoPermission", "Message": "CAISsecret"})
    failure({**BASE, "role_arn": ROLE})
    services.instead = {}
    keys({**BASE, "role_arn": ROLE})
    keys({"ecs_role_name": "dr-role"})
    config(sso_profile(), {"name": "me", "mode": "OAuth", "oauth_access_token": "oauth-access-1"})
    keys()
    keys({"profile": "me"})
    services.instead = dict.fromkeys((SSO, *OAUTH_HOSTS), (403, "CAISsecret"))
    config(sso_profile(), {"name": "me", "mode": "OAuth", "oauth_access_token": "oauth-access-1"})
    failure()
    failure({"profile": "me"})
    config(program(tmp_path, "import sys; print('CAISsecret'); print('CAISsecret', file=sys.stderr)"))
    failure()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not [secret for secret in SECRETS if secret in logged.getvalue()]


# -- renewal -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The time, which a test moves on."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.mark.parametrize(("lasts", "renewed_at"), [(3600, 2700), (900, 675), (43200, 42300)])
def test_keys_are_renewed_before_they_end(services, clock, lasts, renewed_at):
    services.issued = [{**FIRST, "expires_in": lasts}, {**SECOND, "expires_in": lasts}]
    ask = provider({**BASE, "role_arn": ROLE})
    for after, key, asked in ((0, "STS.first", 1), (renewed_at - 1, "STS.first", 1), (renewed_at, "STS.second", 2)):
        clock[0] = 1_800_000_000 + after
        assert (ask().access_key_id, len(services.calls)) == (key, asked)


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_keys_that_are_still_good_outlive_a_failed_renewal(services, clock, how):
    ask = provider({**BASE, "role_arn": ROLE})
    assert ask().access_key_id == "STS.first"
    clock[0] += 3000
    services.instead[STS] = (503, "") if how == "refused" else (200, "")
    asked = len(services.calls)
    assert ask().access_key_id == "STS.first"
    assert len(services.calls) == asked + 1, "with keys at hand it is not worth waiting"
    services.instead, services.issued = {}, [SECOND]
    assert ask().access_key_id == "STS.second"
    asked = len(services.calls)
    assert ask().access_key_id == "STS.second"
    assert len(services.calls) == asked


def test_a_service_that_has_no_time_is_asked_again(services):
    answers = iter([(503, ""), (500, {"Code": "InternalError"})])
    services.instead[STS] = lambda: next(answers, None) or services._sts(services.calls[-1])
    assert keys({**BASE, "role_arn": ROLE})[0] == FIRST
    assert len(services.calls) == 3
    services.instead[STS] = (503, "")
    failure({**BASE, "role_arn": ROLE, "max_retries": 0})
    assert len(services.calls) == 4
    services.instead[STS] = (403, {"Code": "NoPermission"})
    failure({**BASE, "role_arn": ROLE})
    assert len(services.calls) == 5, "a refusal is no fault of the network"


def test_keys_that_have_expired_are_not_used(services):
    services.issued = [{**FIRST, "expires_in": 1.2}]
    ask = provider({"ecs_role_name": "dr-role"})
    ask()
    services.instead[METADATA] = (503, "")
    time.sleep(1.3)
    with pytest.raises(RdsError, match="No keys for ECS role 'dr-role'"):
        ask()


# -- in a task, with signed calls --------------------------------------------------------------------------------------


@pytest.fixture
def task(rds, run_module, services, monkeypatch):
    """Run replication_link_info, or another module, as a task with this environment and these options."""
    rds.add_key(**FIRST)
    for name in list(os.environ):
        if name.startswith(("ALIBABA_CLOUD_", "ALICLOUD_")):
            monkeypatch.delenv(name)

    def run(options, environment=None, module=replication_link_info):
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        given = {"dr_instance_id": DR, "endpoint": rds.endpoint, **options}
        result = run_module(module, given)
        text = json.dumps(result)
        assert not [secret for secret in SECRETS if secret in text]
        return result

    return run


def test_signed_calls_with_every_kind(task, services, config, tmp_path, monkeypatch):
    (tmp_path / "token").write_text(JWT)
    printed = {**BASE, "access_key_id": FIRST["access_key_id"], "sts_token": FIRST["security_token"]}
    printed |= {"access_key_secret": FIRST["access_key_secret"], "expiration": "2099-01-01T00:00:00Z"}
    role = {"ram_role_arn": ROLE}
    config(
        {"name": "RamRoleArn", "mode": "RamRoleArn", **BASE, **role},
        {"name": "ChainableRamRoleArn", "mode": "ChainableRamRoleArn", "source_profile": "AK", **role},
        {"name": "AK", "mode": "AK", **BASE},
        {"name": "StsToken", "mode": "StsToken", **FIRST, "sts_token": FIRST["security_token"]},
        {"name": "EcsRamRole", "mode": "EcsRamRole", "ram_role_name": "dr-role"},
        {
            "name": "OIDC",
            "mode": "OIDC",
            **role,
            "oidc_provider_arn": PROVIDER,
            "oidc_token_file": str(tmp_path / "token"),
        },
        sso_profile(name="CloudSSO"),
        {"name": "OAuth", "mode": "OAuth", "oauth_access_token": "oauth-access-1"},
        {**program(tmp_path, f"print({json.dumps(printed)!r})"), "name": "External"},
    )
    for mode in (
        "RamRoleArn",
        "ChainableRamRoleArn",
        "StsToken",
        "EcsRamRole",
        "OIDC",
        "CloudSSO",
        "OAuth",
        "External",
    ):
        result = task({"profile": mode})
        assert "failed" not in result, result.get("msg")
        assert result["credentials"]["access_key_id"] == "STS.first"
        assert result["credentials"]["source"].startswith(f"profile '{mode}' ({mode}) of ~/.aliyun/config.json")
    for environment in (
        {"ALIBABA_CLOUD_ECS_METADATA": "dr-role"},
        {"ALIBABA_CLOUD_CREDENTIALS_URI": f"http://127.0.0.1:{services.port}/keys"},
        {**BASE_ENVIRONMENT, "ALICLOUD_ASSUME_ROLE_ARN": ROLE},
    ):
        result = task({}, environment)
        assert result["credentials"]["access_key_id"] == "STS.first"
        for name in environment:
            monkeypatch.delenv(name)


def test_the_option_names_of_alibaba_alicloud(task, rds):
    names = {"alicloud_access_key": "access_key_id", "alicloud_secret_key": "access_key_secret"}
    options = {alias: FIRST[name] for alias, name in names.items()}
    result = task({**options, "alicloud_security_token": FIRST["security_token"], "alicloud_region": "cn-shanghai"})
    assert result["credentials"] == {"source": "options", "access_key_id": "STS.first"}
    assert result["invocation"]["module_args"]["alicloud_secret_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    result = task({**BASE, "alicloud_assume_role_arn": ROLE, "alicloud_assume_role_session_expiration": 1800})
    assert result["credentials"]["source"] == f"options: RAM role {ROLE}"
    assert task({"role_name": "dr-role"})["credentials"]["source"] == "options: ECS role 'dr-role' by IMDSv2"
    result = task({"access_key": FIRST["access_key_id"], "secret_key": f"{FIRST['access_key_secret']}x"})
    assert result["error"]["category"] == "fix_credentials"


def test_a_refusal_in_a_task_is_data(task, services):
    result = task({**BASE, "role_arn": f"{ROLE}x"})
    assert result["failed"]
    assert (result["error"]["code"], result["error"]["category"]) == ("CredentialsUnusable", "fix_credentials")
    assert "EntityNotExist.Role" in result["msg"]


def waiting(rds, seconds):
    """Options of a link to which the base backup takes so long."""
    rds.add_fault(stage="basebackup", fault="slow", seconds=seconds)
    source = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
    return {**source, **ACCOUNT, **QUICK, "wait_interval": 0.2, "settle_timeout": 1}


@pytest.mark.parametrize("run_module", ["action"], indirect=True)
def test_keys_that_expire_during_a_wait_are_renewed(task, rds, services):
    rds.add_key(**SECOND)
    asked = []

    def issue():
        """The first keys expire, for the RDS service as well, 2.5 seconds after somebody has asked for them."""
        asked.append(time.time())
        elapsed = asked[-1] - asked[0]
        if len(asked) == 1:
            rds.add_key(**FIRST, expires_in=2.5)
        early = elapsed < 1 or len(asked) <= 3
        services.issued = [{**FIRST, "expires_in": 2.5 - elapsed} if early else SECOND]
        return services._metadata(services.calls[-1])

    services.instead[METADATA] = issue
    result = task({**waiting(rds, 3), "ecs_role_name": "dr-role"}, module=replication_link)
    assert "failed" not in result, result.get("msg")
    assert result["outcome"] == "created"
    signers = [entry["access_key_id"] for entry in rds.journal()]
    assert set(signers) == {"STS.first", "STS.second"}
    assert signers == sorted(signers), "never the old ones again"
    assert result["retries"] == []


@pytest.mark.parametrize("run_module", ["module"], indirect=True)
def test_a_static_token_that_expires_during_a_wait_says_so(task, rds):
    rds.add_key(**FIRST, expires_in=1.5)
    result = task({**waiting(rds, 4), **FIRST}, module=replication_link)
    assert result["failed"]
    assert result["error"]["code"] == "InvalidSecurityToken.Expired"
    assert "Get new temporary credentials (key, secret and token) and run the same play again" in result["msg"]
    assert "a task that was started goes on at the service meanwhile" in result["msg"]


@pytest.mark.parametrize("renewed", ["before it ends", "after it was refused"])
def test_a_token_that_ends_during_a_wait_is_read_anew_from_its_file(task, rds, config, monkeypatch, renewed):
    def write(key):
        config({"name": "p", "mode": "StsToken", **key, "sts_token": key["security_token"]})

    rds.add_key(**FIRST, expires_in=1.5)
    rds.add_key(**SECOND)
    write(FIRST)
    if renewed == "before it ends":
        timer = threading.Timer(1, write, (SECOND,))
        timer.start()
    else:
        real = Client._once

        def once(self, *arguments):
            try:
                return real(self, *arguments)
            except RdsError:
                write(SECOND)  # just then another program has renewed it
                raise

        monkeypatch.setattr(Client, "_once", once)
    result = task({**waiting(rds, 3), "profile": "p"}, module=replication_link)
    assert result["outcome"] == "created", result["msg"]
    assert {entry["access_key_id"] for entry in rds.journal()} == {"STS.first", "STS.second"}
    assert len([entry for entry in rds.journal("CreateReplicationLink") if entry["committed"]]) == 1


# -- one set of network rules ------------------------------------------------------------------------------------------


def of_uri(port, path="/keys", scheme="http", host="127.0.0.1"):
    return {"ALIBABA_CLOUD_CREDENTIALS_URI": f"{scheme}://{host}:{port}{path}"}


@pytest.mark.parametrize(
    "uri", ["http://10.1.2.3/keys", "http://keys.example.com", "http://[fe80::1]:80/x", "http://0.0.0.0/"]
)
def test_plain_http_is_for_loopback(services, config, uri):
    error = failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri)
    assert "use https; plain http is accepted for loopback only" in error.message
    config({"name": "u", "mode": "CredentialsURI", "credentials_uri": uri})
    assert "unencrypted" in failure().message


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://127.0.0.1/",
        "http://127.0.0.1\\.evil/",
        "http://[::1]evil/",
        "http://127.0.0.1:0/",
        "http://h\n/",
        "x",
        "//h",
    ],
)
def test_a_uri_that_is_none(services, uri):
    assert (
        "URI in the environment ALIBABA_CLOUD_CREDENTIALS_URI" in failure({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri).message
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_a_key_service_reaches_nobody(services, status):
    def redirect(_stream, _head):
        return http("{}", f"Location: http://localhost:{services.port}/keys", status=f"{status} x")

    with ScriptedServer(redirect) as server:
        error = failure({}, **of_uri(server.port))
        assert f"redirects, which is not followed (HTTP {status})" in error.message
        assert "name the address to which it redirects" in error.remedy
        assert len(server.heads) == 1
    services.instead = dict.fromkeys((STS, METADATA), (status, ""))
    assert "redirects" in failure({**BASE, "role_arn": ROLE}).message
    assert "redirects" in failure({"ecs_role_name": "r"}).message
    assert [call for call in services.calls if call.path == "/keys"] == []


def test_a_key_service_that_drips_or_floods_is_left(services):
    def drip(connection, _head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _unused in range(200):
            connection.sendall(b"x")
            time.sleep(0.1)

    def flood(connection, _head):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _unused in range(600 * 16):
            connection.sendall(b"x" * 65536)

    for script, kind in ((drip, "no answer in time"), (flood, "answer too large")):
        with ScriptedServer(script) as server:
            began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            error = failure({"request_timeout": 1, "max_retries": 0}, **of_uri(server.port))
            assert kind in error.message
            assert time.monotonic() - began < 5
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


def test_no_proxy_is_read_as_requests_reads_it(services, monkeypatch):
    """Also where it names a network, and without a scheme; the endpoint of RDS follows the same rules."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    services.places["10.1.2.3", 443] = port
    services.strangers.clear()
    uri = {"ALIBABA_CLOUD_CREDENTIALS_URI": "https://10.1.2.3/keys"}
    assert "(proxy: connection refused)" in failure({"max_retries": 0}, **uri).message
    for rule in ("10.0.0.0/8", "10.1.2.3", "x,10.1.0.0/16"):
        monkeypatch.setenv("NO_PROXY", rule)
        assert "(connection refused)" in failure({"max_retries": 0}, **uri).message


def test_local_mistakes_are_named_for_key_services_too(services, monkeypatch, tmp_path):
    role = {**BASE, "role_arn": ROLE}
    error = failure({**role, "ca_path": str(tmp_path / "none.pem")})
    assert error.code == "CaUnreadable" and "none.pem" in error.message
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", without_socks)
    error = failure(role)
    assert error.code == "MissingLibrary" and "requests[socks]" in error.message
    assert services.calls == []


def without_socks(*_unused, **_options):
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")
