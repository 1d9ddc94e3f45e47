# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remedies for mistakes of this machine, of its network and of its keys: each is followed literally, and works.

A case is a mistake, and the same settings after somebody has done what the failure says. Whatever differs between the
two must be named in the text that the failure prints: nobody has to guess what to change.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
import requests
from urllib3.util import connection as urllib3_connection

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import connection as _connection
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import explain
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

from . import test_credentials_services as _key_services
from . import test_who_is_contacted as _network
from .certificates import issue, server_context
from .credential_services import JWT, METADATA, PROVIDER, ROLE, STS_HOSTS, Services, listening
from .scripted_server import ScriptedServer, http
from .test_credentials_services import BASE, BASE_ENVIRONMENT, FIRST, program, sso_profile
from .test_who_is_contacted import NAME, VARIABLES, Proxy, SocksProxy, link, service

tls, services, config = _key_services.tls, _key_services.services, _key_services.config
no_proxies = _network.no_proxies

PREFIX = "ALIBABA_CLOUD_"
PUBLIC, INSIDE = "rds.aliyuncs.com", "rds-vpc.cn-hangzhou.aliyuncs.com"


def named(mistake, mended, text):
    """Fail if something that was changed is not named in the text: an option, a variable, a field, or its old value."""
    for name in mistake.keys() | mended.keys():
        before, after = mistake.get(name), mended.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            named(before, after, text)
        elif before != after:
            assert name in text or (before and str(before) in text), f"{name} is not named in: {text}"


# -- the network -------------------------------------------------------------------------------------------------------


class LoginProxy(Proxy):
    """A proxy that wants a user and a password."""

    @property
    def status(self):
        knows = self.heads and "Proxy-Authorization: Basic dTpwI3c=" in self.heads[-1]  # u:p#w
        return "200 OK" if knows else "407 Proxy Authentication Required"

    @status.setter
    def status(self, _unused):
        pass


class World:
    """What can be contacted: servers on loopback, and names that lead to the one with TLS; no other name is known."""

    def __init__(self, directory, stack):
        ca = issue(directory, "ca")
        self.ca = str(ca.file)
        names = ["127.0.0.1", NAME, PUBLIC, INSIDE]
        self.certificates = {
            "right": issue(directory, "right", names, ca),
            "self-signed": issue(directory, "self-signed", names),
            "of a name": issue(directory, "of-a-name", ["localhost"], ca),
        }
        self.servers = {
            name: stack.enter_context(ScriptedServer(service, server_context(issued.file)))
            for name, issued in self.certificates.items()
        }
        plain = stack.enter_context(ScriptedServer(service))
        self.no_tls = stack.enter_context(listening(Services([FIRST])))
        self.slow, self.moved, self.portal = (
            stack.enter_context(ScriptedServer(answer)).port for answer in (slow, moved, portal)
        )
        self.proxy, self.login_proxy, self.socks = (
            stack.enter_context(kind()) for kind in (Proxy, LoginProxy, SocksProxy)
        )
        for proxy in (self.proxy, self.login_proxy, self.socks):
            proxy.target = self.servers["right"].port
        with socket.create_server(("127.0.0.1", 0)) as closed:
            self.closed = closed.getsockname()[1]
        self.names = dict.fromkeys((NAME, PUBLIC, INSIDE), self.servers["right"].port)
        self.plain, self.url = f"http://127.0.0.1:{plain.port}", f"https://{NAME}"
        self.directory, self.file = directory / "authorities", directory / "no.pem"
        self.directory.mkdir()
        shutil.copy(ca.file, self.directory / "company.pem")
        self.file.write_text("no certificate")

    def at(self, port):
        return f"https://127.0.0.1:{port}"

    def via(self, proxy, login=""):
        return f"http://{login}127.0.0.1:{proxy.port}"


def slow(_connection, head):
    time.sleep(0.15)
    return service(None, head)


def moved(_connection, _head):
    return http("", "Location: http://127.0.0.1:9/", status="302 Found")


def portal(_connection, _head):
    return http("<html>Sign in</html>")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("world"), stack)


@pytest.fixture
def world(servers, monkeypatch):
    """The servers, under names of their own."""
    known, real = dict(servers.names), urllib3_connection.create_connection

    def create_connection(address, *args, **kwargs):
        host, port = address
        if host not in ("127.0.0.1", "localhost"):
            if host not in known:
                raise socket.gaierror(-2, "Name or service not known")
            host, port = "127.0.0.1", known[host]
        return real((host, port), *args, **kwargs)

    monkeypatch.setattr(urllib3_connection, "create_connection", create_connection)
    servers.known = known
    return servers


def of_region(w, **options):
    return {"region_id": "cn-hangzhou", "ca_path": w.ca, **options}


# Name: what is set by mistake, and what after the remedy. Variables are in capitals; `without` are names that nobody
# resolves here.
NETWORK = {
    "no region": lambda w: (of_region(w, region_id=None), of_region(w)),
    "no region, endpoint": lambda w: ({"ca_path": w.ca}, {"ca_path": w.ca, "endpoint": w.url}),
    "a misspelt region": lambda w: (of_region(w, region_id="cn-hangzou"), of_region(w)),
    "a new region": lambda w: (of_region(w, region_id="moon-1"), of_region(w, region_id="moon-1", endpoint=w.url)),
    "http": lambda w: ({"ca_path": w.ca, "endpoint": f"http://{NAME}"}, {"ca_path": w.ca, "endpoint": w.url}),
    "another scheme": lambda w: ({"ca_path": w.ca, "endpoint": f"ftp://{NAME}"}, {"ca_path": w.ca, "endpoint": NAME}),
    "a path": lambda w: ({"endpoint": f"{w.plain}/v1"}, {"endpoint": w.plain}),
    "a login": lambda w: ({"endpoint": w.plain.replace("//", "//u:p@")}, {"endpoint": w.plain}),
    "a port": lambda w: ({"endpoint": "127.0.0.1:0"}, {"endpoint": w.plain}),
    "a blank": lambda w: ({"endpoint": f" {w.plain}"}, {"endpoint": w.plain}),
    "no name": lambda w: ({"endpoint": "https://rds.typo.invalid"}, {"endpoint": w.plain}),
    "nobody": lambda w: ({"endpoint": w.at(w.closed)}, {"endpoint": w.plain}),
    "no way out of a VPC": lambda w: (of_region(w, without=PUBLIC), of_region(w, without=PUBLIC, network="vpc")),
    "no way out but a proxy": lambda w: (
        of_region(w, without=PUBLIC),
        of_region(w, without=PUBLIC, HTTPS_PROXY=w.via(w.proxy)),
    ),
    "no TLS": lambda w: ({"endpoint": w.at(w.no_tls)}, {"endpoint": w.plain}),
    "another authority": lambda w: ({"endpoint": w.url}, {"endpoint": w.url, "ca_path": w.ca}),
    "another authority, variable": lambda w: ({"endpoint": w.url}, {"endpoint": w.url, "REQUESTS_CA_BUNDLE": w.ca}),
    "self-signed": lambda w: (
        {"endpoint": w.at(w.servers["self-signed"].port), "ca_path": w.ca},
        {"endpoint": w.at(w.servers["self-signed"].port), "ca_path": str(w.certificates["self-signed"].file)},
    ),
    "another name": lambda w: (
        {"endpoint": w.at(w.servers["of a name"].port), "ca_path": w.ca},
        {"endpoint": f"https://localhost:{w.servers['of a name'].port}", "ca_path": w.ca},
    ),
    "no such ca_path": lambda w: ({"endpoint": w.url, "ca_path": "/none.pem"}, {"endpoint": w.url, "ca_path": w.ca}),
    "no certificates": lambda w: ({"endpoint": w.url, "ca_path": str(w.file)}, {"endpoint": w.url, "ca_path": w.ca}),
    "no bundle": lambda w: (
        {"endpoint": w.url, "REQUESTS_CA_BUNDLE": "/none.pem"},
        {"endpoint": w.url, "REQUESTS_CA_BUNDLE": w.ca},
    ),
    "no certificates in a bundle": lambda w: (
        {"endpoint": w.url, "CURL_CA_BUNDLE": str(w.file)},
        {"endpoint": w.url, "CURL_CA_BUNDLE": w.ca},
    ),
    "no URL of a proxy": lambda w: (
        of_region(w, HTTPS_PROXY=f"htp://127.0.0.1:{w.proxy.port}"),
        of_region(w, HTTPS_PROXY=w.via(w.proxy)),
    ),
    "no URL of a proxy, unset": lambda w: (of_region(w, ALL_PROXY="http://"), of_region(w)),
    "a password in the URL": lambda w: (
        of_region(w, https_proxy=w.via(w.login_proxy, "u:p#w@")),
        of_region(w, https_proxy=w.via(w.login_proxy, "u:p%23w@")),
    ),
    "a proxy that wants a password": lambda w: (
        of_region(w, HTTPS_PROXY=w.via(w.login_proxy)),
        of_region(w, HTTPS_PROXY=w.via(w.login_proxy, "u:p%23w@")),
    ),
    "a proxy that is away": lambda w: (
        of_region(w, HTTPS_PROXY="http://127.0.0.1:9"),
        of_region(w, HTTPS_PROXY=w.via(w.proxy)),
    ),
    "a proxy for others": lambda w: (
        of_region(w, ALL_PROXY="http://127.0.0.1:9"),
        of_region(w, ALL_PROXY="http://127.0.0.1:9", NO_PROXY=PUBLIC),
    ),
    "a SOCKS proxy that is away": lambda w: (
        of_region(w, ALL_PROXY="socks5h://127.0.0.1:9"),
        of_region(w, ALL_PROXY=f"socks5h://127.0.0.1:{w.socks.port}"),
    ),
    "a SOCKS proxy without its version": lambda w: (
        of_region(w, HTTPS_PROXY=f"socks://127.0.0.1:{w.socks.port}"),
        of_region(w, HTTPS_PROXY=f"socks5h://127.0.0.1:{w.socks.port}"),
    ),
    "no time": lambda w: ({"endpoint": w.plain, "connect_timeout": 0}, {"endpoint": w.plain, "connect_timeout": 1}),
    "less than no time": lambda w: (
        {"endpoint": w.plain, "request_timeout": -1},
        {"endpoint": w.plain, "request_timeout": 1},
    ),
    "fewer than no retries": lambda w: ({"endpoint": w.plain, "max_retries": -1}, {"endpoint": w.plain}),
    "too little time": lambda w: (
        {"endpoint": f"http://127.0.0.1:{w.slow}", "read_timeout": 0.05},
        {"endpoint": f"http://127.0.0.1:{w.slow}", "read_timeout": 3},
    ),
    "a redirect": lambda w: ({"endpoint": f"http://127.0.0.1:{w.moved}"}, {"endpoint": w.plain}),
    "a portal": lambda w: ({"endpoint": f"http://127.0.0.1:{w.portal}"}, {"endpoint": w.plain}),
    "text that is not UTF-8": lambda w: ({"endpoint": w.plain, "task_name": "\udcff"}, {"endpoint": w.plain}),
}


def attempt(world, monkeypatch, settings):
    """Make a link with these settings."""
    for name in (*VARIABLES, *(name.lower() for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    options = {}
    for name, value in settings.items():
        if name.upper() in VARIABLES:
            monkeypatch.setenv(name, value)
        elif name == "without":
            world.known.pop(value, None)
        else:
            options[name] = value
    return link(options.pop("endpoint", None), **options)


@pytest.mark.parametrize("case", NETWORK)
@pytest.mark.thorough
def test_a_mistake_of_the_network(world, monkeypatch, case):
    mistake, mended = NETWORK[case](world)
    result = attempt(world, monkeypatch, mistake)
    assert result["failed"] and result["error"]["remedy"] in result["msg"]
    named(mistake, mended, result["msg"])
    result = attempt(world, monkeypatch, mended)
    assert result["outcome"] == "created", result["msg"]


@pytest.mark.skipif(not shutil.which("openssl"), reason="the remedy is a command of OpenSSL")
def test_a_directory_of_authorities(world, monkeypatch):
    settings = {"endpoint": world.url, "ca_path": str(world.directory)}
    assert "a directory after openssl rehash" in attempt(world, monkeypatch, settings)["msg"]
    subprocess.run(["openssl", "rehash", str(world.directory)], check=True, timeout=20)
    assert attempt(world, monkeypatch, settings)["outcome"] == "created"


def test_a_certificate_that_has_ended(tmp_path, monkeypatch):
    ca = issue(tmp_path, "ca")
    ended, renewed = (
        issue(tmp_path, name, ["127.0.0.1"], ca, days=days).file for name, days in (("ended", -1), ("renewed", 1))
    )
    with ScriptedServer(service, server_context(ended)) as server:
        result = link(f"https://127.0.0.1:{server.port}", ca_path=str(ca.file))
    assert "if it is right, have the certificate renewed" in result["msg"]
    with ScriptedServer(service, server_context(renewed)) as server:
        assert link(f"https://127.0.0.1:{server.port}", ca_path=str(ca.file))["outcome"] == "created"


def test_libraries_that_are_missing(world, monkeypatch):
    """The commands name this interpreter; that pip installs what they name was seen outside of a test."""
    settings = of_region(world, ALL_PROXY=f"socks5h://127.0.0.1:{world.socks.port}")
    with monkeypatch.context() as without:
        without.setattr("requests.adapters.SOCKSProxyManager", without_socks)
        result = attempt(world, monkeypatch, settings)
        assert result["error"]["remedy"] == f"Run {sys.executable} -m pip install 'requests[socks]', then run again."
        without.setattr(_connection._transport, "HAS_REQUESTS", False)
        result = attempt(world, monkeypatch, settings)
        assert result["error"]["remedy"] == f"Run {sys.executable} -m pip install requests, then run again."
    assert attempt(world, monkeypatch, settings)["outcome"] == "created"


def without_socks(*_unused, **_options):
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


# -- keys --------------------------------------------------------------------------------------------------------------

OIDC = {f"{PREFIX}OIDC_TOKEN_FILE": "TOKEN", f"{PREFIX}OIDC_PROVIDER_ARN": PROVIDER, f"{PREFIX}ROLE_ARN": ROLE}
OIDC_PROFILE = {"mode": "OIDC", "oidc_token_file": "TOKEN", "oidc_provider_arn": PROVIDER, "ram_role_arn": ROLE}
AK = {"mode": "AK", **BASE}
ROLE_PROFILE = {"mode": "RamRoleArn", **BASE, "ram_role_arn": ROLE}
STS_PROFILE = {"mode": "StsToken", **FIRST, "sts_token": FIRST["security_token"]}
AS_ROLE = {**BASE, "role_arn": ROLE}
URI = f"{PREFIX}CREDENTIALS_URI"
INI = "[default]\ntype = access_key\naccess_key_id = i\naccess_key_secret = s\n"


def less(settings, *names):
    return {name: value for name, value in settings.items() if name not in names}


# Name: what is set by mistake, and what after the remedy. Variables are in capitals, `in_profile` is the profile p of
# ~/.aliyun/config.json. PORT, TOKEN and FILE stand for what a test has made.
KEYS = {
    "nothing": ({}, BASE),
    "nothing, variables": ({}, BASE_ENVIRONMENT),
    "names of anybody": ({"ACCESS_KEY_ID": "a", "ACCESS_KEY_SECRET": "s"}, BASE_ENVIRONMENT | {}),
    "profiles are ignored": (
        {"in_profile": AK, "ALICLOUD_IGNORE_PROFILE": "true"},
        {"in_profile": AK},
    ),
    "no secret": (less(BASE, "access_key_secret"), BASE),
    "no key id": (less(BASE, "access_key_id"), BASE),
    "a token alone": ({"security_token": FIRST["security_token"]}, FIRST),
    "no secret, variable": (less(BASE_ENVIRONMENT, f"{PREFIX}ACCESS_KEY_SECRET"), BASE_ENVIRONMENT),
    "no key id, variable": ({"ALICLOUD_SECRET_KEY": "s"}, {"ALICLOUD_SECRET_KEY": "s", "ALICLOUD_ACCESS_KEY_ID": "i"}),
    "halves of two prefixes": (
        {f"{PREFIX}ACCESS_KEY_ID": "a", "ALICLOUD_SECRET_KEY": "s"},
        {f"{PREFIX}ACCESS_KEY_ID": "a", f"{PREFIX}ACCESS_KEY_SECRET": "s", "ALICLOUD_SECRET_KEY": "s"},
    ),
    "two kinds": ({**BASE, "ecs_role_name": "dr-role"}, {"ecs_role_name": "dr-role"}),
    "two kinds, profile": (
        {"profile": "p", "ecs_role_name": "dr-role", "in_profile": AK},
        {"in_profile": AK, "profile": "p"},
    ),
    "a line break": (BASE | {"access_key_id": f"{BASE['access_key_id']}\n"}, BASE),
    "quotation marks": (
        BASE_ENVIRONMENT | {f"{PREFIX}ACCESS_KEY_SECRET": f'"{BASE["access_key_secret"]}"'},
        BASE_ENVIRONMENT,
    ),
    "single quotation marks": (BASE | {"access_key_id": f"'{BASE['access_key_id']}'"}, BASE),
    "a blank in a profile": ({"in_profile": {**STS_PROFILE, "sts_token": "a b"}}, {"in_profile": STS_PROFILE}),
    "no file": ({"profile": "p", "profile_file": "/none.json"}, {"profile": "p", "in_profile": AK}),
    "no such file": (
        {"profile": "p", "profile_file": "/none.json", "in_profile": AK},
        {"profile": "p", "in_profile": AK},
    ),
    "no such profile": ({"profile": "P", "in_profile": AK}, {"profile": "p", "in_profile": AK}),
    "no such profile, variable": (
        {f"{PREFIX}PROFILE": "prod", "in_profile": AK},
        {f"{PREFIX}PROFILE": "p", "in_profile": AK},
    ),
    "a mode of others": ({"in_profile": {**AK, "mode": "RsaKeyPair"}}, {"in_profile": AK}),
    "half a profile": ({"in_profile": less(AK, "access_key_secret")}, {"in_profile": AK}),
    "no token in a profile": ({"in_profile": less(STS_PROFILE, "sts_token")}, {"in_profile": STS_PROFILE}),
    "no role in a profile": ({"in_profile": less(ROLE_PROFILE, "ram_role_arn")}, {"in_profile": ROLE_PROFILE}),
    "no key for the role": ({"in_profile": less(ROLE_PROFILE, *BASE)}, {"in_profile": ROLE_PROFILE}),
    "no such source": (
        {"in_profile": {"mode": "ChainableRamRoleArn", "source_profile": "q", "ram_role_arn": ROLE}},
        {"in_profile": {"mode": "ChainableRamRoleArn", "source_profile": "base", "ram_role_arn": ROLE}},
    ),
    "a source of itself": (
        {"in_profile": {"mode": "ChainableRamRoleArn", "source_profile": "p", "ram_role_arn": ROLE}},
        {"in_profile": {"mode": "ChainableRamRoleArn", "source_profile": "base", "ram_role_arn": ROLE}},
    ),
    "no line": ({"profile_file": "FILE", "text": INI.replace("type =", "type")}, {"profile_file": "FILE", "text": INI}),
    "no text": (
        {"profile_file": "FILE", "text": INI.replace("= s", "= \udce9")},
        {"profile_file": "FILE", "text": INI},
    ),
    "no JSON": (
        {"profile_file": "FILE", "text": '{"profiles": [{"name": "default"}'},
        {"profile_file": "FILE", "text": json.dumps({"profiles": [{"name": "default", **AK}]})},
    ),
    "a type of others": (
        {"profile_file": "FILE", "text": INI.replace("= access_key", "= rsa_key_pair")},
        {"profile_file": "FILE", "text": INI.replace("= access_key\n", "= AK\n")},
    ),
    "no role for its session": (less(AS_ROLE, "role_arn") | {"external_id": "x"}, BASE | {"external_id": None}),
    "no such role": (AS_ROLE | {"role_arn": f"{ROLE}x"}, AS_ROLE),
    "no such key": (AS_ROLE | {"access_key_id": "LTAIother"}, AS_ROLE),
    "a secret of others": (AS_ROLE | {"access_key_secret": "other"}, AS_ROLE),
    "a token of others": (AS_ROLE | {"security_token": "other"}, AS_ROLE),
    "an id that nobody asks for": (AS_ROLE | {"external_id": "x"}, AS_ROLE),
    "a short session": (AS_ROLE | {"role_session_expiration": 60}, AS_ROLE | {"role_session_expiration": 900}),
    "a long session": (AS_ROLE | {"role_session_expiration": 86400}, AS_ROLE | {"role_session_expiration": 900}),
    "a short session, variable": (
        {**BASE_ENVIRONMENT, f"{PREFIX}ASSUME_ROLE_ARN": ROLE, f"{PREFIX}ASSUME_ROLE_SESSION_EXPIRATION": "1h"},
        {**BASE_ENVIRONMENT, f"{PREFIX}ASSUME_ROLE_ARN": ROLE, f"{PREFIX}ASSUME_ROLE_SESSION_EXPIRATION": "3600"},
    ),
    "a short session in a profile": (
        {"in_profile": {**ROLE_PROFILE, "expired_seconds": 60}},
        {"in_profile": {**ROLE_PROFILE, "expired_seconds": 3600}},
    ),
    "no host of STS": (
        {**AS_ROLE, f"{PREFIX}STS_ENDPOINT": "http://sts.aliyuncs.com"},
        {**AS_ROLE, f"{PREFIX}STS_ENDPOINT": STS_HOSTS[0]},
    ),
    "no region of STS": (
        {"in_profile": {**ROLE_PROFILE, "sts_region": "cn shanghai"}},
        {"in_profile": {**ROLE_PROFILE, "sts_region": "cn-shanghai"}},
    ),
    "STS of a region that is none": (
        {**AS_ROLE, f"{PREFIX}STS_REGION": "cn-shanghi"},
        {**AS_ROLE, f"{PREFIX}STS_REGION": "cn-shanghai"},
    ),
    "no provider of OIDC": (less(OIDC, f"{PREFIX}OIDC_PROVIDER_ARN"), OIDC),
    "no role of OIDC": (less(OIDC, f"{PREFIX}ROLE_ARN"), OIDC),
    "no token of OIDC in a profile": (
        {"in_profile": less(OIDC_PROFILE, "oidc_token_file")},
        {"in_profile": OIDC_PROFILE},
    ),
    "no file of the token": (OIDC | {f"{PREFIX}OIDC_TOKEN_FILE": "/none"}, OIDC),
    "an empty file of the token": (OIDC | {f"{PREFIX}OIDC_TOKEN_FILE": os.devnull}, OIDC),
    "another role of OIDC": (OIDC | {f"{PREFIX}ROLE_ARN": f"{ROLE}x"}, OIDC),
    "no URI": ({URI: "127.0.0.1:PORT/keys"}, {URI: "http://127.0.0.1:PORT/keys"}),
    "a URI of others": ({URI: "http://127.0.0.1:PORT/other"}, {URI: "http://127.0.0.1:PORT/keys"}),
    "nobody at the URI": ({URI: "http://127.0.0.1:9/keys"}, {URI: "http://127.0.0.1:PORT/keys"}),
    "no TLS at the URI": ({URI: "https://127.0.0.1:PORT/keys"}, {URI: "http://127.0.0.1:PORT/keys"}),
    "a URI that is forbidden": (
        {URI: "http://127.0.0.1:PORT/keys", "ALIBABACLOUD_DISABLE_EXTERNAL_PROCESS": "true"},
        {URI: "http://127.0.0.1:PORT/keys"},
    ),
    "no URI in a profile": (
        {"in_profile": {"mode": "CredentialsURI"}},
        {"in_profile": {"mode": "CredentialsURI", "credentials_uri": "http://127.0.0.1:PORT/keys"}},
    ),
    "another role of the instance": ({"ecs_role_name": "other"}, {"ecs_role_name": "dr-role"}),
    "no metadata service": (
        {"ecs_role_name": "dr-role", "ALICLOUD_ECS_METADATA_DISABLED": "1"},
        {"ecs_role_name": "dr-role"},
    ),
    "no program": (
        {"in_profile": {"mode": "External"}},
        {"in_profile": {"mode": "External", "process_command": "cat KEYS"}},
    ),
    "a program for a shell": (
        {"in_profile": {"mode": "External", "process_command": "cat ~/keys.json"}},
        {"in_profile": {"mode": "External", "process_command": "cat KEYS"}},
    ),
    "a program that is not there": (
        {"in_profile": {"mode": "External", "process_command": "/none/keys"}},
        {"in_profile": {"mode": "External", "process_command": "cat KEYS"}},
    ),
    "a program that prints no keys": (
        {"in_profile": {"mode": "External", "process_command": "echo hello"}},
        {"in_profile": {"mode": "External", "process_command": "cat KEYS"}},
    ),
    "no sign-in": ({"in_profile": {"mode": "CloudSSO"}}, {"in_profile": sso_profile()}),
    "no https to sign in": (
        {"in_profile": sso_profile(cloud_sso_sign_in_url=f"http://{_key_services.SSO}")},
        {"in_profile": sso_profile()},
    ),
}


@pytest.fixture
def ask(services, config, tmp_path):
    """Get the keys that these settings lead to."""
    (tmp_path / "token").write_text(JWT)
    (tmp_path / "keys.json").write_text(json.dumps(BASE))
    made = {"PORT": str(services.port), "TOKEN": str(tmp_path / "token"), "FILE": str(tmp_path / "profiles")}
    made["KEYS"] = str(tmp_path / "keys.json")

    def filled(value):
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        for name, text in made.items() if isinstance(value, str) else ():
            value = value.replace(name, text) if name != "TOKEN" or value == name else value
        return value

    def run(settings):
        settings = {name: filled(value) for name, value in settings.items()}
        profile, text = settings.pop("in_profile", None), settings.pop("text", None)
        if profile:
            config({**profile, "name": "p"}, {"name": "base", **AK})
        if text:
            (tmp_path / "profiles").write_bytes(text.encode(errors="surrogateescape"))
        environment = {name: value for name, value in settings.items() if name.isupper()}
        return resolve_credentials(less(settings, *environment), environment)()

    return run


def failure(ask, settings):
    with pytest.raises(RdsError) as caught:
        ask(settings)
    text = explain(caught.value)
    assert caught.value.remedy in text and caught.value.outcome == "not_sent"
    return text


# What is changed there is a file whose line or damage the text names, or an object that a service keeps.
NAMED_OTHERWISE = {
    "a token of others": "get new temporary keys",
    "no such key": "correct or enable the access key",
    "a secret of others": "correct the secret of the access key",
    "two kinds": "access key options, ecs_role_name and profile exclude each other: keep one",
    "no role for its session": "role_arn is missing in the options",
    "no line": "correct line 2",
    "no text": "line 4: save it as UTF-8",
    "no JSON": "correct line 1",
    "a type of others": "Use one of AK",
    "no file": "profile_file /none.json",
    "no such file": "profile_file /none.json",
    "STS of a region that is none": "(its region, its endpoint)",
    "a source of itself": "is a source_profile of itself",
    "no sign-in": "No value for cloud_sso_sign_in_url and cloud_sso_account_id",
    "no such profile, variable": "profile 'prod' does not exist in ~/.aliyun/config.json, which has 'p', 'base'",
}


@pytest.mark.parametrize("case", KEYS)
@pytest.mark.thorough
def test_a_mistake_of_keys(services, ask, case):
    mistake, mended = KEYS[case]
    text = failure(ask, mistake)
    if case in NAMED_OTHERWISE:
        assert NAMED_OTHERWISE[case] in text
    else:
        named(mistake, mended, text)
    assert ask(mended).access_key_id
    services.strangers.clear()  # names that are misspelt


def trusted(services, _config):
    services.external_id = None


def renewed(services, _config):
    services.issued = [FIRST]


def hop_limit(services, _config):
    services.metadata_versions = ("v1", "v2")


def back(services, _config):
    services.instead.clear()


# A mistake that others mend: what is wrong, what the text says, what they do.
ELSEWHERE = {
    "the trust policy asks for another id": (
        {"external_id": "partner"},
        AS_ROLE,
        "set external_id if the trust policy asks for it",
        trusted,
    ),
    "IMDSv2 is out of reach": (
        {"metadata_versions": ("v1",)},
        {"ecs_role_name": "dr-role", f"{PREFIX}IMDSV1_DISABLED": "true"},
        "a hop limit of 2 or more",
        hop_limit,
    ),
    "keys that have ended": (
        {"issued": [{**FIRST, "expires_in": -60}]},
        {URI: "http://127.0.0.1:PORT/keys"},
        "have it give new keys, and check the clock",
        renewed,
    ),
    "a clock": (
        {"instead": {STS_HOSTS[0]: (400, {"Code": "InvalidTimeStamp.Expired"})}},
        AS_ROLE,
        "set the clock of the machine that runs the task (NTP)",
        back,
    ),
    "STS has no time": (
        {"instead": {STS_HOSTS[0]: (503, {"Code": "ServiceUnavailable"})}},
        AS_ROLE,
        "run again later",
        back,
    ),
    "the metadata service is overloaded": (
        {"instead": {METADATA: (500, "")}},
        {"ecs_role_name": "dr-role"},
        "run again later",
        back,
    ),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_mistake_that_others_mend(services, ask, case):
    wrong, settings, words, mend = ELSEWHERE[case]
    for name, value in wrong.items():
        setattr(services, name, value)
    assert words in failure(ask, settings)
    mend(services, None)
    assert ask(settings).access_key_id == FIRST["access_key_id"]


def test_a_redirect_of_a_uri_is_followed_by_a_person(services, ask):
    place = f"http://127.0.0.1:{services.port}/keys"
    with ScriptedServer(lambda *_unused: http("", f"Location: {place}", status="302 Found")) as server:
        text = failure(ask, {URI: f"http://127.0.0.1:{server.port}/keys"})
        assert "name the address to which it redirects instead; curl -sI shows it" in text
        with socket.create_connection(("127.0.0.1", server.port)) as curl:
            curl.sendall(b"HEAD /keys HTTP/1.1\r\n\r\n")
            answer = curl.makefile("rb").read().decode()
    assert ask({URI: answer.partition("Location: ")[2].split("\r\n")[0]}).access_key_id == FIRST["access_key_id"]


def test_a_program_by_hand(services, ask, config, tmp_path):
    """What the text says to do shows the cause: here a traceback."""
    profile = program(tmp_path, "import keys_of_company")
    text = failure(ask, {"in_profile": profile})
    assert "run that command by hand: it has to print JSON with access_key_id and access_key_secret" in text
    shown = subprocess.run(profile["process_command"], shell=True, text=True, capture_output=True, check=False)
    assert "No module named 'keys_of_company'" in shown.stderr
    (tmp_path / "keys.py").write_text(f"print({json.dumps(BASE)!r})")
    assert ask({"in_profile": profile}).access_key_id == BASE["access_key_id"]


@pytest.mark.parametrize("mode", ["CloudSSO", "OAuth"])
def test_a_sign_in_that_has_ended(services, config, tmp_path, mode):
    """The command is that of the CLI, which writes these profiles; the sign-in itself is in a browser."""
    ended = sso_profile(name="on call", mode=mode, access_token="old", oauth_access_token="old", oauth_site_type="CN")
    path = config(ended)
    for options, where in (
        ({}, ""),
        ({"profile_file": str(path)}, f" --config-path {path}"),
    ):
        config(ended)
        with pytest.raises(RdsError) as caught:
            resolve_credentials(options, {})()
        command = f"aliyun configure --mode {mode} --profile 'on call'{where}"
        assert explain(caught.value).endswith(f"To fix: run {command} and sign in. [CredentialsUnusable]")
        config(sso_profile(name="on call", mode=mode, oauth_access_token="oauth-access-1", oauth_site_type="CN"))
        assert resolve_credentials(options, {})().access_key_id == FIRST["access_key_id"]


def test_a_sign_in_behind_a_company(services, config, tls, monkeypatch):
    """What counts for all others does not count for the library of the sign-ins."""
    from Tea.core import TeaCore

    config(sso_profile())
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(RdsError) as caught:
        resolve_credentials({"ca_path": tls[1]}, {})()
    text = explain(caught.value)
    assert "got no answer (certificate refused)" in text and "export SSL_CERT_FILE" in text
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])
    monkeypatch.setattr(TeaCore, "_sessions", {})
    assert resolve_credentials({}, {})().access_key_id == FIRST["access_key_id"]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_between_here_and_sts(services, ask, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    text = failure(ask, AS_ROLE)
    assert f"Correct the proxy that {variable} names" in text and "add the host to NO_PROXY" in text
    monkeypatch.setenv("NO_PROXY", STS_HOSTS[0])
    assert ask(AS_ROLE).access_key_id == FIRST["access_key_id"]


# -- what the service refuses ------------------------------------------------------------------------------------------


def key_of(name, **settings):
    return {"access_key_id": f"LTAI{name}", "access_key_secret": f"secret+of/{name}", **settings}


# Keys that the service knows, keys that the task has by mistake, keys after the remedy, and words of it.
REFUSED = {
    "another id": ([key_of("a")], key_of("b"), key_of("a"), "Correct access_key_id and access_key_secret"),
    "another secret": (
        [key_of("a")],
        key_of("a", access_key_secret="x"),
        key_of("a"),
        "Correct access_key_id and access_key_secret",
    ),
    "no token": ([FIRST], less(FIRST, "security_token"), FIRST, "need security_token as well"),
    "a token of others": (
        [FIRST],
        {**FIRST, "security_token": "CAISother"},
        FIRST,
        "key, secret and token belong together",
    ),
    "a token that has ended": (
        [{**FIRST, "expires_in": -1}, _key_services.SECOND],
        FIRST,
        _key_services.SECOND,
        "Get new temporary credentials (key, secret and token) and run the same play again",
    ),
    "no permission": (
        [key_of("a", deny=["DescribeDBInstanceAttribute"]), key_of("b")],
        key_of("a"),
        key_of("b"),
        "It needs rds:DescribeDBInstanceAttribute on dbinstance/pgm-dr000000000001. Grant the RAM action",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("run_module", ["module"], indirect=True)
def test_a_key_that_the_service_refuses(rds, info, case):
    known, mistake, mended, words = REFUSED[case]
    for key in known:
        rds.add_key(**key)
    result = info(**less(mistake, "deny"))
    assert result["failed"] and words in result["msg"], result["msg"]
    assert result["credentials"]["source"] == "options", "where the key came from"
    assert "failed" not in info(**less(mended, "deny"))


@pytest.mark.parametrize("run_module", ["module"], indirect=True)
def test_a_clock_that_is_wrong(rds, info, monkeypatch):
    real = time.gmtime
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "gmtime", lambda seconds=None: real((time.time() if seconds is None else seconds) + 3600))
        result = info()
    assert "Set the clock of the machine that runs the task (NTP)" in result["msg"]
    assert result["error"]["code"] == "InvalidTimeStamp.Expired"
    assert "failed" not in info()
