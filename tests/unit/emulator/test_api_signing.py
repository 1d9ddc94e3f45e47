# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verifier accepts what official clients signed, to the byte, and refuses every change of it."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import json
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client
from alibabacloud_tea_openapi.models import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rds_emulator.client import Emulator
from rds_emulator.errors import ApiError
from rds_emulator.models import Key
from rds_emulator.signing import Request, Verifier
from tests.unit.emulator.api_helper import KEY, v1_parameters, v1_query

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signature_vectors.json").read_text("utf-8"))["vectors"]
Parts = dict[str, Any]


def parts(vector: dict[str, Any]) -> Parts:
    """Return what the server gets: method, target, headers, body."""
    if raw := vector.get("raw_request"):
        head, _unused, body = raw.partition("\r\n\r\n")
        line, *lines = head.split("\r\n")
        method, target, _unused = line.split(" ")
        headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in lines)}
        return {"method": method, "target": target, "headers": headers, "body": body.encode("latin-1")}
    query = urlencode(vector.get("query_params") or {})
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    headers["authorization"] = vector["authorization"]
    method = vector.get("method") or vector["canonical_request"].partition("\n")[0]
    return {"method": method, "target": f"/?{query}", "headers": headers, "body": b""}


def moment(vector: dict[str, Any]) -> float:
    return calendar.timegm(time.strptime(vector["frozen"]["timestamp"], "%Y-%m-%dT%H:%M:%SZ"))


def verifier(vector: dict[str, Any], skew: float = 0.0) -> Verifier:
    credential = vector["credential"]
    key = Key(credential["id"], credential["secret"], credential.get("token"))
    return Verifier({key.access_key_id: key}, lambda: moment(vector) + skew)


def code(check: Verifier, what: Parts) -> str:
    """Return the error code, or "" for a request that is accepted."""
    try:
        check.verify(Request.parse(**what))
    except ApiError as error:
        return error.code
    return ""


@pytest.fixture(params=VECTORS, ids=lambda vector: vector["name"])
def vector(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


def test_every_vector_is_accepted_once(vector: dict[str, Any]) -> None:
    check = verifier(vector)
    assert code(check, parts(vector)) == ""
    assert code(check, parts(vector)) == "SignatureNonceUsed"


def test_vector_parameters_arrive_as_they_were_given(vector: dict[str, Any]) -> None:
    wanted = vector.get("params") or {**(vector.get("query_params") or {}), **(vector.get("body_params") or {})}
    arguments = Request.parse(**parts(vector)).arguments
    for name, value in wanted.items():
        assert arguments[name] == str(value)


def test_the_clock_may_be_a_quarter_of_an_hour_off(vector: dict[str, Any]) -> None:
    for skew, expected in (
        (899, ""),
        (-899, ""),
        (901, "InvalidTimeStamp.Expired"),
        (-901, "InvalidTimeStamp.Expired"),
    ):
        assert code(verifier(vector, skew), parts(vector)) == expected


def _header(name: str, value: str | None) -> Callable[[Parts], None]:
    def change(what: Parts) -> None:
        if value is None:
            what["headers"].pop(name)
        else:
            what["headers"][name] = value

    return change


def _flipped(text: str) -> str:
    return text[:-1] + ("1" if text[-1] == "0" else "0")


TAMPERINGS: dict[str, Callable[[Parts], None]] = {
    "added parameter": lambda what: what.update(
        target=f"{what['target']}&Extra=1".replace("/&", "/?").replace("?&", "?")
    ),
    "path": lambda what: what.update(target=what["target"].replace("/", "/x", 1)),
    "method": lambda what: what.update(method="GET" if what["method"] == "POST" else "POST"),
}
V3_TAMPERINGS: dict[str, Callable[[Parts], None]] = {
    "host": _header("host", "evil.example"),
    "action": _header("x-acs-action", "RebuildReplicationLink"),
    "version": _header("x-acs-version", "2014-08-16"),
    "nonce": _header("x-acs-signature-nonce", "another"),
    "no nonce": _header("x-acs-signature-nonce", None),
    "no date": _header("x-acs-date", None),
    "no authorization": _header("authorization", None),
    "unsigned x-acs header": _header("x-acs-extra", "1"),
    "unsigned content type": _header("content-type", "text/plain"),
    "body": lambda what: what.update(body=what["body"] + b"x"),
    "body hash": _header("x-acs-content-sha256", "0" * 64),
    "date": _header("x-acs-date", "2026-11-24T08:00:01Z"),
    "signature": lambda what: what["headers"].update(authorization=_flipped(what["headers"]["authorization"])),
    "scheme": lambda what: what["headers"].update(authorization="Basic " + what["headers"]["authorization"]),
}


def tampered() -> list[Any]:
    """Every change of every vector, but for those that the scheme does not sign or that change nothing."""
    cases = []
    for vector in VECTORS:
        is_v3 = vector["scheme"].startswith("V3")
        names = [*TAMPERINGS, *V3_TAMPERINGS] if is_v3 else [name for name in TAMPERINGS if name != "path"]
        is_old = not vector["frozen"]["timestamp"].startswith("2026")  # another date would be refused as such
        cases += [(vector, name) for name in names if not (is_old and name == "date")]
    return [pytest.param(vector, name, id=f"{vector['name']}: {name}") for vector, name in cases]


@pytest.mark.parametrize(("vector", "name"), tampered())
def test_every_change_is_refused(vector: dict[str, Any], name: str) -> None:
    change = TAMPERINGS.get(name) or V3_TAMPERINGS[name]
    what = parts(vector)
    change(what)
    assert code(verifier(vector), what) in ("SignatureDoesNotMatch", "IncompleteSignature")


def test_each_parameter_and_signed_header_counts(vector: dict[str, Any]) -> None:
    """Whatever is signed cannot be changed, one after another."""
    whole = parts(vector)
    request = Request.parse(**whole)
    for name, value in request.query:
        if name in ("Signature", "AccessKeyId", "Timestamp", "SignatureMethod", "SignatureVersion"):
            continue
        pairs = [(key, f"{value}x" if key == name else text) for key, text in request.query]
        what = {**whole, "target": "/?" + urlencode(pairs)}
        assert code(verifier(vector), what) == "SignatureDoesNotMatch", name
    if vector["scheme"].startswith("V3"):
        signed = whole["headers"]["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        for name in signed:
            if name == "x-acs-date":
                continue
            what = {**whole, "headers": {**whole["headers"], name: whole["headers"][name] + "x"}}
            assert code(verifier(vector), what) == "SignatureDoesNotMatch", name


def test_wrong_secret_tells_the_string_to_sign(vector: dict[str, Any]) -> None:
    check = verifier(vector)
    check.keys[vector["credential"]["id"]].access_key_secret = "wrong"
    with pytest.raises(ApiError) as caught:
        check.verify(Request.parse(**parts(vector)))
    assert (caught.value.code, caught.value.status) == ("SignatureDoesNotMatch", 400)
    assert caught.value.message.endswith(f"server string to sign is:{vector['string_to_sign']}")


def test_v1_echoes_the_password_as_the_service_does() -> None:
    query = v1_query(v1_parameters("CreateReplicationLink", KEY, ReplicatorPassword="hunter22"), "wrong secret")
    check = Verifier({"LTAIFake": Key(**KEY)})
    with pytest.raises(ApiError) as caught:
        check.verify(Request.parse("POST", f"/?{query}", {"host": "x"}, b""))
    assert "hunter22" in caught.value.message


def _v1(key: Key, **changes: Any) -> Parts:
    given = {"access_key_id": key.access_key_id, "security_token": key.security_token}
    parameters = v1_parameters("DescribeRegions", given) | {k: v for k, v in changes.items() if v is not None}
    for name, value in changes.items():
        if value is None:
            del parameters[name]
    query = v1_query(parameters, key.access_key_secret)
    return {"method": "POST", "target": f"/?{query}", "headers": {"host": "x"}, "body": b""}


STS = Key("STS.x", "s", "token-1")
KEYS = {
    key.access_key_id: key
    for key in (
        Key("LTAI", "s"),
        Key("off", "s", active=False),
        STS,
        Key("STS.other", "s", "token-2"),
        Key("STS.old", "s", "token-3", expires_at=1.0),
    )
}


@pytest.mark.parametrize(
    ("key", "changes", "expected"),
    [
        ("LTAI", {}, ""),
        ("STS.x", {}, ""),
        ("off", {}, "InvalidAccessKeyId.Inactive"),
        ("LTAI", {"AccessKeyId": "nobody"}, "InvalidAccessKeyId.NotFound"),
        ("STS.x", {"SecurityToken": None}, "MissingSecurityToken"),
        ("STS.x", {"SecurityToken": "nonsense"}, "InvalidSecurityToken.Malformed"),
        ("STS.x", {"SecurityToken": "token-2"}, "InvalidSecurityToken.MismatchWithAccessKey"),
        ("STS.old", {}, "InvalidSecurityToken.Expired"),
        ("LTAI", {"SignatureNonce": None}, "IncompleteSignature"),
        ("LTAI", {"Timestamp": None}, "IncompleteSignature"),
        ("LTAI", {"SignatureMethod": "HMAC-MD5"}, "IncompleteSignature"),
        ("LTAI", {"Timestamp": "2026-11-24 08:00:00"}, "InvalidTimeStamp.Format"),
        ("LTAI", {"Timestamp": "2026-13-44T08:00:00Z"}, "InvalidTimeStamp.Format"),
        ("LTAI", {"Timestamp": "2006-11-24T08:00:00Z"}, "InvalidTimeStamp.Expired"),
    ],
)
def test_refusals(key: str, changes: dict[str, Any], expected: str) -> None:
    assert code(Verifier(KEYS), _v1(KEYS[key], **changes)) == expected


def test_the_hash_of_the_body_must_be_the_one_announced() -> None:
    """A client that signs everything rightly but announces another hash."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for announced, expected in ((hashlib.sha256(b"").hexdigest(), ""), ("0" * 64, "SignatureDoesNotMatch")):
        headers = {
            "host": "x",
            "x-acs-content-sha256": announced,
            "x-acs-date": stamp,
            "x-acs-signature-nonce": announced,
        }
        names = ";".join(headers)
        lines = ["POST", "/", "", *(f"{name}:{value}" for name, value in headers.items())]
        canonical = "\n".join([*lines, "", names, hashlib.sha256(b"").hexdigest()])
        text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(b"s", text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = f"ACS3-HMAC-SHA256 Credential=LTAI,SignedHeaders={names},Signature={signature}"
        assert code(Verifier(KEYS), {"method": "POST", "target": "/", "headers": headers, "body": b""}) == expected


def test_a_parameter_given_twice_is_refused() -> None:
    what = _v1(KEYS["LTAI"])
    what["target"] += "&Action=DeleteReplicationLink"
    assert code(Verifier(KEYS), what) == "InvalidParameter.Format"


@pytest.mark.parametrize("target", ["/?a=%ff", "/?a", "/?a=%C3%28"])
def test_improper_encoding_is_refused(target: str) -> None:
    with pytest.raises(ApiError, match=r"InvalidParameter\.Format"):
        Request.parse("POST", target, {}, b"")


def test_nonces_are_forgotten_when_their_time_is_over() -> None:
    clock = [1_800_000_000.0]
    check = Verifier(KEYS, lambda: clock[0])
    for step in range(5):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock[0]))
        assert code(check, _v1(KEYS["LTAI"], Timestamp=stamp, SignatureNonce=f"n{step}")) == ""
        clock[0] += 1000
    assert len(check._nonces) == 2


# -- the official SDK as the judge -----------------------------------------------------------------------------

ANYTHING = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=40)
AWKWARD = st.text(string.punctuation + " \t\n+é中😀", min_size=1, max_size=40)


def sdk(emulator: Emulator, **more: Any) -> Client:
    environment = emulator.environment
    return Client(
        Config(
            access_key_id=environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            access_key_secret=environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
            protocol="http",
            endpoint=emulator.endpoint.removeprefix("http://"),
            **more,
        )
    )


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["V3", "V1"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=ANYTHING | AWKWARD, password=ANYTHING | AWKWARD)
def test_the_sdk_is_understood_whatever_it_sends(
    rds_emulator: Emulator,
    algorithm: str | None,
    name: str,
    password: str,
) -> None:
    more = {"signature_algorithm": algorithm} if algorithm else {}
    request = models.CreateReplicationLinkRequest(
        dbinstance_id="pgm-no-such", dry_run=True, task_name=name, replicator_password=password
    )
    with pytest.raises(Exception, match=r"InvalidDBInstanceName\.NotFound"):
        sdk(rds_emulator, **more).create_replication_link(request)
    entry = rds_emulator.journal("CreateReplicationLink")[-1]
    assert entry["code"] == "InvalidDBInstanceName.NotFound"
    assert entry["params"]["ReplicatorPassword"] == "***"
    assert entry["params"]["TaskName"] in (name, "***")


def test_quoting_of_the_helper_is_the_documented_one() -> None:
    assert quote("a b*c~d/é", safe="~") == "a%20b%2Ac~d%2F%C3%A9"
