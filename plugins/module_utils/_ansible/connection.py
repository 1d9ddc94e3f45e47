# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From connection options and environment to signed clients, one a region."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import number_problems, refuse
from ansible_collections.alicloud.rds.plugins.module_utils._api import client as _client
from ansible_collections.alicloud.rds.plugins.module_utils._api import transport as _transport
from ansible_collections.alicloud.rds.plugins.module_utils._api.credentials import profile_region, resolve_credentials
from ansible_collections.alicloud.rds.plugins.module_utils._api.endpoints import resolve_endpoint
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError, missing_library
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import exported
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Report, Waiter

_FOREVER = 1e8  # seconds; an infinite time is more than any clock takes
_ENDPOINT_VARIABLE = "ALIBABA_CLOUD_RDS_ENDPOINT"


class Clients:
    """The clients of one task: of its own region, and of those where the other side of a link may be."""

    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str], report: Report | None) -> None:
        region = default_region(options, environment)
        self.report, self.environment = report, environment
        self._others: list[_client.Client] = []
        self.home = connect({**options, "region_id": region}, environment)
        self._network = options["network"]
        self._is_named = bool(options["endpoint"] or environment.get(_ENDPOINT_VARIABLE))
        self._clients = {region: self.home}

    def __call__(self, region_id: str | None) -> _client.Client:
        """Return the client of a region; an endpoint that was named is used for every region.

        :raises RdsError: InvalidOptions for a region without a known endpoint
        """
        if self._is_named or region_id is None:
            return self.home
        if region_id not in self._clients:
            endpoint = resolve_endpoint(None, region_id, self._network)
            is_home = str(endpoint) == str(self.home.endpoint)
            self._clients[region_id] = self.home if is_home else self.home.at(endpoint)
        return self._clients[region_id]

    def retries(self) -> list[str]:
        """Return why calls were repeated, in all regions."""
        return [text for client in self._every() for text in client.retries]

    def also(self, client: _client.Client) -> None:
        """Count a client that a thread has made for itself."""
        self._others.append(client)

    def has_written(self) -> bool:
        """Whether a request left that may have changed something."""
        return any(client.has_written for client in self._every())

    def release(self) -> None:
        """Close the clients of threads that have ended, and forget them."""
        while self._others:
            self._others.pop().close()

    def close(self) -> None:
        for client in self._every():
            client.close()

    def _every(self) -> list[_client.Client]:
        return list({id(client): client for client in (*self._clients.values(), *self._others)}.values())


def default_region(options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """Return the region that the options name, or else the environment, or the profile."""
    named = options["region_id"] or exported(environment, "REGION_ID", "REGION")[1]
    return named or profile_region(options, environment)


def connect(options: Mapping[str, Any], environment: Mapping[str, str]) -> _client.Client:
    """Return a client for the endpoint, with the credentials, that options and environment lead to.

    :param options: all connection options, None where not given
    :raises RdsError: InvalidOptions, or what `resolve_endpoint` and `resolve_credentials` raise
    """
    refuse([*number_problems(options), *(f"{name} is not text in UTF-8" for name in not_utf8(options))])
    if not _transport.HAS_REQUESTS:
        raise missing_library("The Python library requests is missing", "requests")
    region = default_region(options, environment)
    endpoint = resolve_endpoint(options["endpoint"] or environment.get(_ENDPOINT_VARIABLE), region, options["network"])
    provider = resolve_credentials(options, environment)
    if options["ca_path"] and not os.path.exists(options["ca_path"]):
        raise RdsError("InvalidOptions", f"ca_path {options['ca_path']!r} does not exist where the task runs.")
    return _client.Client(endpoint, provider, _transport.limits_of(options), options["ca_path"])


def not_utf8(value: Any, name: str = "") -> list[str]:
    """Return the names of options, at any depth, whose text cannot be sent: bytes that came from another encoding."""
    if isinstance(value, str):
        return [name] if value.encode(errors="replace").decode() != value else []
    parts = value.items() if isinstance(value, Mapping) else [(name, part) for part in value or ()]
    return [found for key, part in parts if isinstance(part, (str, Mapping, list)) for found in not_utf8(part, key)]


def effective(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task. What is set in `connection` wins; empty text counts as not given."""
    given = {name: value for name, value in (parameters.get("connection") or {}).items() if value not in (None, "")}
    return {name: None if value == "" else value for name, value in {**parameters, **given}.items()}


def waiter_of(options: Mapping[str, Any], report: Report | None) -> Waiter:
    """Return the time that an operation has, as the options say."""
    names = ("wait_timeout", "wait_interval", "settle_timeout")
    return Waiter(**{name: min(options[name], _FOREVER) for name in names}, report=report)
