# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where requests go: the endpoint option, or the region's public or VPC endpoint. Pure.

Sources: `_endpoint_map` of alibabacloud-rds20140815 16.0.2, and the endpoint page of the RDS API
(https://alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-endpoint).
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError

# Regions that answer at the central endpoint. Where SDK and documentation differ, the SDK's choice is taken.
_CENTRAL = """
ap-northeast-2-pop ap-southeast-1 cn-beijing cn-beijing-finance-1 cn-beijing-finance-pop cn-beijing-gov-1
cn-beijing-nu16-b01 cn-edge-1 cn-fujian cn-haidian-cm12-c01 cn-hangzhou cn-hangzhou-bj-b01
cn-hangzhou-internal-prod-1 cn-hangzhou-internal-test-1 cn-hangzhou-internal-test-2 cn-hangzhou-internal-test-3
cn-hangzhou-test-306 cn-heyuan cn-hongkong cn-hongkong-finance-pop cn-north-2-gov-1 cn-qingdao cn-qingdao-nebula
cn-shanghai cn-shanghai-et15-b01 cn-shanghai-et2-b01 cn-shanghai-finance-1 cn-shanghai-inner
cn-shanghai-internal-test-1 cn-shenzhen cn-shenzhen-finance-1 cn-shenzhen-inner cn-shenzhen-st4-d01
cn-shenzhen-su18-b01 cn-wuhan cn-yushanfang cn-zhangbei cn-zhangbei-na61-b01 cn-zhangjiakou-na62-a01
cn-zhengzhou-nebula-1 eu-west-1-oxs rus-west-1-pop us-east-1 us-west-1
"""
_REGIONAL = """
ap-northeast-1 ap-southeast-3 ap-southeast-5 ap-southeast-6 cn-chengdu cn-guangzhou cn-huhehaote cn-wulanchabu
cn-zhangjiakou eu-central-1 eu-west-1 me-east-1 na-south-1
"""
_VPC_ONLY = frozenset({"cn-hangzhou-finance"})
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_AUTHORITY = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)\.?|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # as its last part, resolvers read a name as an address
REGIONS = frozenset(_CENTRAL.split()) | frozenset(_REGIONAL.split()) | _VPC_ONLY


class Endpoint(NamedTuple):
    """`host` goes into the URL and into the signature: a name or address, with ``:port`` where not the default."""

    scheme: str
    host: str

    @property
    def is_loopback(self) -> bool:
        return is_loopback(authority(self.host)[0])

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def resolve_endpoint(endpoint: str | None, region_id: str | None, network: str) -> Endpoint:
    """Return where to send requests.

    :param endpoint: ``host``, ``host:port`` or a URL without path; wins over the region
    :param network: ``public`` or ``vpc``
    :raises RdsError: InvalidOptions, naming the option and the value
    """
    if endpoint:
        return _parse(endpoint)
    if not region_id:
        text = "region_id is missing: set it, export ALIBABA_CLOUD_REGION_ID, or set endpoint."
        raise RdsError("InvalidOptions", text)
    if region_id not in REGIONS:
        import difflib  # takes longer to load than all else here

        guess = difflib.get_close_matches(region_id, REGIONS, n=1)
        hint = f" Did you mean {guess[0]!r}?" if guess else ""
        text = f"region_id {region_id!r} is not a region that this collection knows.{hint}"
        raise RdsError("InvalidOptions", f"{text} For a region newer than this collection set endpoint as well.")
    if network == "vpc" or region_id in _VPC_ONLY:
        return Endpoint("https", f"rds-vpc.{region_id}.aliyuncs.com")
    return Endpoint("https", "rds.aliyuncs.com" if region_id in _CENTRAL.split() else f"rds.{region_id}.aliyuncs.com")


def _parse(text: str) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "https", text
    if "@" in rest:
        raise RdsError("InvalidOptions", "endpoint must not hold a user or a password: keys are options of their own.")
    if scheme not in ("http", "https"):
        raise RdsError("InvalidOptions", f"endpoint {text!r} must be HOST or HOST:PORT, or start with https://.")
    try:
        host, port = authority(rest.removesuffix("/"))
    except ValueError as error:
        text = f"endpoint {text!r} must be HOST, HOST:PORT or [IPV6]:PORT, without a path"
        raise RdsError("InvalidOptions", f"{text}: {error}.") from None
    if scheme == "http" and not is_loopback(host):
        text = f"endpoint {text!r} would send the replication password unencrypted"
        raise RdsError("InvalidOptions", f"{text}: use https; plain http is accepted for loopback only.")
    default_port = {"http": 80, "https": 443}[scheme]
    name = f"[{host}]" if ":" in host else host
    return Endpoint(scheme, name if port in (None, default_port) else f"{name}:{port}")


def authority(text: str) -> tuple[str, int | None]:
    """Return host and port of ``host``, ``host:port`` or ``[IPv6]:port``: what is shown is what is connected to.

    :raises ValueError: for anything else; libraries differ about what that would mean
    """
    found = _AUTHORITY.fullmatch(text)
    if not found:
        raise ValueError("that is no host name or address")
    host, port = found["name"] or str(ipaddress.IPv6Address(found["ipv6"])), found["port"]
    if len(host) > 253 or (_NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_address(host)):
        raise ValueError("that is no host name or address")
    if port and not 1 <= int(port) <= 65535:
        raise ValueError("a port is between 1 and 65535")
    return host.lower(), int(port) if port else None


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, whatever a resolver would answer."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
