# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our signature against the official SDK: its recorded vectors, and itself on random parameters."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._api import signature as _signature

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signature_vectors.json").read_text("utf-8"))["vectors"]
V3 = [vector for vector in VECTORS if vector["scheme"].startswith("V3") and vector.get("authorization")]


def query_of(vector: dict) -> dict[str, str]:
    if "query_params" in vector:
        return vector["query_params"] or {}
    target = vector["request_line"].split(" ")[1]
    return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))


def signed_headers_of(vector: dict) -> dict[str, str]:
    names = vector["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    given_headers = {name.lower(): value for name, value in vector["headers"].items()}
    return {name: given_headers[name] for name in names}


@pytest.mark.parametrize("vector", V3, ids=lambda vector: vector["name"])
def test_every_v3_vector_of_the_sdk_is_reproduced(vector):
    headers = signed_headers_of(vector)
    body = (vector.get("body") or "").encode("latin-1")
    canonical = _signature.canonical_request("POST", query_of(vector), headers, body)
    assert canonical == vector["canonical_request"]
    credential = vector["credential"]
    authorization = _signature.authorization(credential["id"], credential["secret"], canonical, list(headers))
    assert authorization == vector["authorization"]


def test_there_are_vectors():
    assert len(V3) >= 15


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    parameters=st.dictionaries(
        st.sampled_from(["DBInstanceId", "ReplicatorPassword", "TaskName", "SourceAddress"]), TEXT
    ),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
)
def test_the_sdk_signs_our_request_alike(parameters, secret, token):
    headers = _signature.signed_headers(
        host="rds.aliyuncs.com",
        action="CreateReplicationLink",
        version="2014-08-15",
        parameters=parameters,
        access_key_id="LTAI5tExample",
        access_key_secret=secret,
        security_token=token,
        timestamp="2026-11-24T08:00:00Z",
        nonce="3156853299f313e23d1673dc12e1703d",
    )
    request = DaraRequest()
    request.method, request.pathname, request.query = "POST", "/", dict(parameters)
    request.headers = {name: value for name, value in headers.items() if name != "authorization"}
    expected = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", headers["x-acs-content-sha256"], "LTAI5tExample", secret
    )
    assert headers["authorization"] == expected
    # What is signed is what is sent: the query decodes to the parameters again.
    assert dict(parse_qsl(_signature.canonical_query(parameters), keep_blank_values=True)) == parameters


def test_a_token_is_signed_and_nothing_that_a_proxy_may_rewrite():
    headers = _signature.signed_headers(
        host="h",
        action="A",
        version="V",
        parameters={},
        access_key_id="STS.x",
        access_key_secret="s",
        security_token="t",
        timestamp="2026-11-24T08:00:00Z",
        nonce="n",
    )
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"x-acs-security-token", "x-acs-accesskey-id", "host"} <= set(signed)
    assert not {"user-agent", "accept", "accept-encoding"} & set(signed)


V1 = [(v["name"], v["raw_request"], v["credential"]["secret"]) for v in VECTORS if v["scheme"].startswith("V1")]
WIRE = json.loads((Path(__file__).parents[2] / "vectors" / "cred_wire.json").read_text("utf-8"))
# Of the recorded requests to STS, one whose values have no blank: the library signs a blank in another way than STS.
V1.append(("sts", WIRE["assume_role_error_403"]["raw_requests"][0], "GoldenFakeSecret/With+Odd=Chars_0123456789"))


@pytest.mark.parametrize(("name", "request_text", "secret"), V1, ids=[name for name, *_rest in V1])
def test_every_v1_vector_is_reproduced(name, request_text, secret):
    method, target, _protocol = request_text.split("\r\n")[0].split(" ")
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    signature = query.pop("Signature")
    assert _signature.rpc_signature(method, query, secret) == signature
