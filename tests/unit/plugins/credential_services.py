# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services that give out keys, on loopback: STS, metadata service, CloudSSO, OAuth, and a URI of one's own.

Each speaks its real wire and refuses what the real one would refuse. The official library connects to the real names,
with TLS where it should; only the addresses behind the names are other ones here, and there are no others to go to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

METADATA = "100.100.100.200"
STS_HOSTS = ("sts.aliyuncs.com", "sts.cn-shanghai.aliyuncs.com", "sts-vpc.cn-shanghai.aliyuncs.com")
OAUTH_HOSTS = ("oauth.aliyun.com", "oauth.alibabacloud.com")
SSO = "signin-cn-shanghai.alibabacloudsso.com"
ROLE = "acs:ram::1234567890123456:role/dr"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/cluster"
JWT = "header0.Payload1.Signature2"
REQUEST_ID = "6894B13B-6D71-4EF5-88FA-F32781734A7F"

Answer = tuple[int, Any]  # status and body; a dict becomes JSON


@dataclass
class Call:
    """One request that came."""

    host: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str
    tls: bool


@dataclass
class Services:
    """All of them. `issued` are the keys that are given out, one after the other, the last one again and again."""

    issued: list[dict[str, Any]]
    known: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # who may assume: id -> (secret, token)
    ecs_roles: tuple[str, ...] = ("dr-role",)
    metadata_versions: tuple[str, ...] = ("v1", "v2")
    instead: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)  # host -> what it answers instead
    calls: list[Call] = field(default_factory=list)
    external_id: str | None = None
    oauth_tokens: dict[str, str] = field(default_factory=lambda: {"access": "oauth-access-1", "refresh": "refresh-1"})

    def seen(self) -> list[str]:
        """What came, in short."""
        return [f"{call.method} {call.host}{call.path} {call.query.get('Action', '')}".strip() for call in self.calls]

    def keys(self) -> dict[str, str]:
        """Give out the next keys, in the form that all services share."""
        key = self.issued.pop(0) if len(self.issued) > 1 else self.issued[0]
        expires = time.gmtime(time.time() + key.get("expires_in", 3600))
        return {
            "AccessKeyId": key["access_key_id"],
            "AccessKeySecret": key["access_key_secret"],
            "SecurityToken": key["security_token"],
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", expires),
        }

    def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        if call.host in self.instead:
            instead = self.instead[call.host]
            return instead() if callable(instead) else instead
        if call.host == METADATA:
            return self._metadata(call)
        if call.host in STS_HOSTS:
            return self._sts(call)
        if call.host == SSO:
            return self._sso(call)
        if call.host in OAUTH_HOSTS:
            return self._oauth(call)
        return (200, {"Code": "Success", **self.keys()}) if call.path == "/keys" else (404, "not here")

    def _metadata(self, call: Call) -> Answer:
        prefix = "/latest/meta-data/ram/security-credentials/"
        if call.path == "/latest/api/token":
            ttl = call.headers.get("x-aliyun-ecs-metadata-token-ttl-seconds", "")
            allowed = call.method == "PUT" and ttl.isdigit() and 1 <= int(ttl) <= 21600
            return (200, "imds-token") if allowed and "v2" in self.metadata_versions else (403, "")
        token = call.headers.get("x-aliyun-ecs-metadata-token")
        if call.method != "GET" or (token != "imds-token" if token else "v1" not in self.metadata_versions):
            return 403, ""
        if call.path == prefix:
            return 200, "\n".join(self.ecs_roles)
        if call.path.removeprefix(prefix) in self.ecs_roles:
            return 200, {"Code": "Success", "LastUpdated": "2026-11-24T08:00:00Z", **self.keys()}
        return 404, "<html>404 - Not Found</html>"

    def _sts(self, call: Call) -> Answer:
        query = call.query
        if not call.tls or call.path != "/" or query.get("Version") != "2015-04-01" or query.get("Format") != "JSON":
            return refusal(400, "InvalidParameter")
        if query.get("Action") == "AssumeRole":
            secret, token = self.known.get(query.get("AccessKeyId", ""), (None, None))
            if secret is None:
                return refusal(404, "InvalidAccessKeyId.NotFound")
            if signature(call.method, query, secret) != query.get("Signature"):
                return refusal(400, "SignatureDoesNotMatch")
            if token != query.get("SecurityToken"):
                return refusal(400, "InvalidSecurityToken.Malformed")
            if query.get("ExternalId") != self.external_id:
                return refusal(403, "NoPermission")
        elif query.get("OIDCToken", "").strip() != JWT:
            return refusal(401, "AuthenticationFail.OIDCToken.Invalid")
        elif query.get("OIDCProviderArn") != PROVIDER:
            return refusal(401, "AuthenticationFail.NoPermission")
        if not 900 <= int(query["DurationSeconds"]) <= 43200:
            return refusal(400, "InvalidParameter.DurationSeconds")
        if query["RoleArn"] != ROLE:
            return refusal(404, "EntityNotExist.Role")
        return 200, {"RequestId": REQUEST_ID, "AssumedRoleUser": {}, "Credentials": self.keys()}

    def _sso(self, call: Call) -> Answer:
        wanted = {"AccountId": "1234567890123456", "AccessConfigurationId": "ac-dr"}
        if call.method != "POST" or call.path != "/cloud-credentials" or not call.tls:
            return 404, ""
        if call.headers.get("authorization") != "Bearer sso-access-token":
            return 401, {"ErrorCode": "InvalidToken", "ErrorMessage": "sso-access-token is no good"}
        if json.loads(call.body) != wanted:
            return 403, {"ErrorCode": "NoPermission"}
        return 200, {"CloudCredential": self.keys(), "RequestId": REQUEST_ID}

    def _oauth(self, call: Call) -> Answer:
        if call.method != "POST" or not call.tls:
            return 404, ""
        if call.path == "/v1/token":
            form = dict(parse_qsl(call.body))
            if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.oauth_tokens["refresh"]:
                return 400, {"error": "invalid_grant", "error_description": f"{form.get('refresh_token')} is no good"}
            self.oauth_tokens = {"access": "oauth-access-2", "refresh": "refresh-2"}  # the old ones are void
            return 200, {"access_token": "oauth-access-2", "refresh_token": "refresh-2", "expires_in": 10800}
        if call.headers.get("authorization") != f"Bearer {self.oauth_tokens['access']}":
            return 401, {"error": "invalid_token"}
        return 200, {"requestId": REQUEST_ID, **self.keys()}


def refusal(status: int, code: str) -> Answer:
    """An error body of STS; its message quotes more than a result may hold."""
    message = "The token CAISsecret.of+the/request= of key LTAIquoted is no good."
    return status, {"RequestId": REQUEST_ID, "Message": message, "HostId": STS_HOSTS[0], "Code": code}


def signature(method: str, query: dict[str, str], secret: str) -> str:
    """Sign as the page about signature version 1 says (RFC 3986, HMAC-SHA1), independent of the library."""

    def escape(text: str) -> str:
        return quote(text, safe="~")

    pairs = "&".join(f"{escape(name)}={escape(query[name])}" for name in sorted(query) if name != "Signature")
    text = f"{method}&{escape('/')}&{escape(pairs)}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()).decode()


@contextlib.contextmanager
def listening(services: Services, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let them answer on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0))).decode()
            host = headers["host"].partition(":")[0]
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            call = Call(host, self.command, parts.path, query, headers, body, tls is not None)
            status, answer = services.answer(call)
            content = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content.encode())))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content.encode())

        do_GET = do_PUT = do_POST = handle_request

        def log_message(self, *_unused: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
