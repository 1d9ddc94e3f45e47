# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where requests go, and which endpoints are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import REGIONS, resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

DATA = json.loads((Path(__file__).parents[2] / "vectors" / "endpoints.json").read_text("utf-8"))


@pytest.mark.parametrize(("region", "host"), sorted(DATA["sdk_endpoint_map"].items()))
def test_a_region_of_the_sdks_map_gets_the_sdks_endpoint(region, host):
    assert str(resolve_endpoint(None, region, "public")) == f"https://{host}"


@pytest.mark.parametrize("region", sorted(set(DATA["metadata_regions"]) - set(DATA["sdk_endpoint_map"])))
def test_another_documented_region_gets_its_regional_endpoint(region):
    assert resolve_endpoint(None, region, "public").host == DATA["metadata_regions"][region]["public"]


@pytest.mark.parametrize("region", [name for name, told in sorted(DATA["metadata_regions"].items()) if told["vpc"]])
def test_inside_a_vpc(region):
    assert resolve_endpoint(None, region, "vpc").host == DATA["metadata_regions"][region]["vpc"]


def test_no_region_is_invented():
    assert set(DATA["sdk_endpoint_map"]) | set(DATA["metadata_regions"]) == REGIONS


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("rds.example.com", "https://rds.example.com"),
        ("https://rds.example.com/", "https://rds.example.com"),
        ("https://rds.example.com:443", "https://rds.example.com"),
        ("rds.example.com:8443", "https://rds.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_given_endpoint(given, expected):
    assert str(resolve_endpoint(given, None, "public")) == expected


@pytest.mark.parametrize(
    ("endpoint", "region", "words"),
    [
        ("http://rds.aliyuncs.com", None, "loopback"),
        ("http://127.0.0.1.example.com", None, "loopback"),
        ("http://0.0.0.0:80", None, "loopback"),
        ("https://user:hunter2@rds.aliyuncs.com", None, "must not hold a user"),
        ("https://rds.aliyuncs.com/path", None, "without a path"),
        ("rds.aliyuncs.com?x=y", None, "without a path"),
        ("ftp://rds.aliyuncs.com", None, "https://"),
        ("rds.aliyuncs.com:port", None, "HOST:PORT"),
        (None, None, "region_id is missing"),
        (None, "cn-hangzou", "Did you mean 'cn-hangzhou'?"),
        (None, "CN-HANGZHOU", "not a region"),
    ],
)
def test_bad_endpoints_and_regions_are_refused_by_name(endpoint, region, words):
    with pytest.raises(RdsError) as caught:
        resolve_endpoint(endpoint, region, "public")
    assert caught.value.category == "fix_input"
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message


NOT_A_HOST = [
    "evil.example\\.aliyuncs.com",
    "evil.example\\@rds.aliyuncs.com",
    "rds.aliyuncs.com\\",
    "[::1]evil",
    "[::1].evil.example",
    "[::1",
    "::1",
    "[evil]",
    "[127.0.0.1]",
    "[::1%lo]",
    "rds.aliyuncs.com:0",
    "rds.aliyuncs.com:65536",
    "rds.aliyuncs.com:-1",
    "rds.aliyuncs.com:1e3",
    "rds.aliyuncs.com:",
    "rds.aliyuncs.com:443:443",
    "rds.aliyuncs.com:٤٤٣",
    ".rds.aliyuncs.com",
    "rds..aliyuncs.com",
    "-rds.aliyuncs.com",
    "rds-.aliyuncs.com",
    "rds.aliyuncs.com/",
    "/rds",
    "rds%2e.com",
    "rds.aliyuncs.com;x",
    "rds,aliyuncs.com",
    "rds|x",
    "rds。aliyuncs.com",
    "rds.al\u0131yuncs.com",
    "\uff52ds.aliyuncs.com",
    "*.aliyuncs.com",
    "127.1",
    "0x7f000001",
    "2130706433",
    "127.0.0.1.1",
    "0x7f.1",
    "rds.aliyuncs.com.0x1",
    "user@rds.aliyuncs.com",
    "@rds.aliyuncs.com",
    "rds.aliyuncs.com?x",
    "rds.aliyuncs.com#x",
    "$(x)",
    "`x`",
]


@pytest.mark.parametrize("scheme", ["https://", "http://", ""])
@pytest.mark.parametrize(
    "host",
    [
        *NOT_A_HOST,
        "",
        " ",
        "rds.aliyuncs.com ",
        " rds.aliyuncs.com",
        "rds.aliyuncs.com\n",
        "a\tb",
        "a" * 64,
        "a." * 127 + "a",
    ],
)
def test_what_libraries_would_read_in_two_ways_is_refused(host, scheme):
    """What is shown is what is connected to."""
    if host == "" and scheme == "":
        return  # not given
    with pytest.raises(RdsError) as caught:
        resolve_endpoint(f"{scheme}{host}" + ("/" if host.endswith("/") else ""), None, "public")
    assert (caught.value.code, caught.value.outcome) == ("InvalidOptions", "not_sent")
    assert "endpoint" in caught.value.message


@pytest.mark.parametrize(
    ("given", "expected", "is_loopback"),
    [
        ("RDS.Aliyuncs.com", "https://rds.aliyuncs.com", False),
        ("rds.aliyuncs.com.", "https://rds.aliyuncs.com", False),
        ("[2001:DB8::1]:8443", "https://[2001:db8::1]:8443", False),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]", True),
        ("http://127.8.9.10:8080/", "http://127.8.9.10:8080", True),
        ("10.1.2.3:443", "https://10.1.2.3", False),
        ("my_proxy.internal", "https://my_proxy.internal", False),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example", False),
    ],
)
def test_one_form_of_each_endpoint(given, expected, is_loopback):
    found = resolve_endpoint(given, None, "public")
    assert (str(found), found.is_loopback) == (expected, is_loopback)
