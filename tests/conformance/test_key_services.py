# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The official library as the judge of how we ask for keys: both send the same, and read the same from the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_credentials import provider as official
from Tea.core import TeaCore
from urllib3.util import connection as urllib3_connection

from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import resolve_credentials
from tests.unit.plugins.certificates import issue, server_context
from tests.unit.plugins.credential_services import JWT, METADATA, PROVIDER, ROLE, STS_HOSTS, Call, Services, listening

KEY, SECRET = "LTAIbase", "base+Secret/of=Base"
GIVEN = {"access_key_id": "STS.first", "access_key_secret": "first+/1", "security_token": "CAISfirst+token/1="}
# What differs from request to request, and what we leave out or say otherwise by intention.
VOLATILE = {"Timestamp", "SignatureNonce", "Signature"}


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """STS and the metadata service on loopback, for both."""
    ca = issue(tmp_path, "ca")
    context = server_context(issue(tmp_path, "services", [*STS_HOSTS], ca).file)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(ca.file))
    monkeypatch.setattr(TeaCore, "_sessions", {})
    services = Services([GIVEN], {KEY: (SECRET, None), GIVEN["access_key_id"]: ("first+/1", GIVEN["security_token"])})
    real = urllib3_connection.create_connection
    with listening(services) as plain, listening(services, context) as secure:

        def create_connection(address: Any, *args: Any, **kwargs: Any) -> Any:
            port = {(METADATA, 80): plain, **{(host, 443): secure for host in STS_HOSTS}}.get(address, address[1])
            return real(("127.0.0.1", port), *args, **kwargs)

        monkeypatch.setattr(urllib3_connection, "create_connection", create_connection)
        services.instead["127.0.0.1"] = lambda: (200, {"Code": "Success", **services.keys()})
        (tmp_path / "token").write_text(JWT)
        services.port = plain  # type: ignore[attr-defined]
        yield services


def asked(services: Services, ask: Callable[[], Any]) -> tuple[list[tuple[Any, ...]], tuple[str, str, str]]:
    """Return what was sent, without what is volatile, and the keys that came of it."""
    services.calls.clear()
    keys = ask()
    names = ("access_key_id", "access_key_secret", "security_token")
    found = tuple(getattr(keys, name, None) or getattr(keys, f"get_{name}")() for name in names)
    return [sent(call) for call in services.calls], found  # type: ignore[return-value]


def sent(call: Call) -> tuple[Any, ...]:
    query = {name: value for name, value in call.query.items() if name not in VOLATILE}
    special = {name: value for name, value in call.headers.items() if name.startswith("x-aliyun-")}
    return call.method, call.host, call.path, query, special, call.tls


def ours(options: dict[str, Any], **environment: str) -> Callable[[], Any]:
    def keys() -> Any:
        return resolve_credentials(options, environment)()

    return keys


ROLE_OPTIONS = {"role_arn": ROLE, "role_session_name": "dr", "role_session_expiration": 900}


@pytest.mark.parametrize("external_id", [None, "partner"])
@pytest.mark.parametrize("temporary", [False, True], ids=["key", "token"])
def test_assume_role(services: Services, external_id: str | None, temporary: bool) -> None:
    services.external_id = external_id
    keys: dict[str, Any] = GIVEN if temporary else {"access_key_id": KEY, "access_key_secret": SECRET}
    static = official.StaticSTSCredentialsProvider if temporary else official.StaticAKCredentialsProvider
    theirs = official.RamRoleArnCredentialsProvider(
        credentials_provider=static(**keys),
        role_arn=ROLE,
        role_session_name="dr",
        duration_seconds=900,
        external_id=external_id,
    )
    expected = asked(services, theirs.get_credentials)
    assert asked(services, ours({**keys, **ROLE_OPTIONS, "external_id": external_id})) == expected


def test_assume_role_with_oidc(services: Services, tmp_path: Path) -> None:
    theirs = official.OIDCRoleArnCredentialsProvider(
        role_arn=ROLE,
        oidc_provider_arn=PROVIDER,
        oidc_token_file_path=str(tmp_path / "token"),
        role_session_name="dr",
        duration_seconds=3600,
    )
    environment = {"ROLE_ARN": ROLE, "OIDC_PROVIDER_ARN": PROVIDER, "OIDC_TOKEN_FILE": str(tmp_path / "token")}
    environment["ROLE_SESSION_NAME"] = "dr"
    variables = {f"ALIBABA_CLOUD_{name}": value for name, value in environment.items()}
    assert asked(services, ours({}, **variables)) == asked(services, theirs.get_credentials)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_metadata_service(services: Services, version: str) -> None:
    services.metadata_versions = (version,)
    theirs = official.EcsRamRoleCredentialsProvider(role_name="dr-role", async_update_enabled=False)
    expected = asked(services, theirs.get_credentials)
    assert asked(services, ours({"ecs_role_name": "dr-role"})) == expected


def test_uri(services: Services) -> None:
    uri = f"http://127.0.0.1:{services.port}/keys?ticket=1"  # type: ignore[attr-defined]
    theirs = official.URLCredentialsProvider(uri=uri)
    assert asked(services, ours({}, ALIBABA_CLOUD_CREDENTIALS_URI=uri)) == asked(services, theirs.get_credentials)
