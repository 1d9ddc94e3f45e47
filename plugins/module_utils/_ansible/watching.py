# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the event source replication_link_watch does: rounds of looks at links, and the events between two of them."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import (
    Clients,
    default_region,
    effective,
)
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.fleet import Pools, entry_of, twice
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import number_problems, refuse
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import REPLICATION_LINK_VERIFY
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.results import as_rds_error
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import CONNECTION, validated_by
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import logins_of
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.pace import Pace
from ansible_collections.alicloud.rds.plugins.module_utils._dr.fleet import Fleet, FleetCaller
from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Steps, utc_now
from ansible_collections.alicloud.rds.plugins.module_utils._dr.inspection import Look, look
from ansible_collections.alicloud.rds.plugins.module_utils._dr.instances import listing, read_instances
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import failed
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import CHECK_IDS, checks
from ansible_collections.alicloud.rds.plugins.module_utils._dr.watch import (
    Event,
    Limits,
    Memory,
    Observation,
    Round,
    changes,
    with_reported_lag,
)

_OF_VERIFY = ("dr_instance_id", "links", "postgres", "skip_checks", "max_lag_bytes", "concurrency", "connection")
REPLICATION_LINK_WATCH: dict[str, Any] = {
    "argument_spec": {
        **{name: REPLICATION_LINK_VERIFY["argument_spec"][name] for name in (*_OF_VERIFY, *CONNECTION)},
        "regions": {"type": "list", "elements": "str"},
        "filters": {"type": "dict"},
        "interval": {"type": "float", "default": 60.0},
        "lag_for": {"type": "float", "default": 60.0},
        "silent_after": {"type": "float", "default": 300.0},
        "reads_per_second": {"type": "float", "default": 10.0},
    },
    "required_one_of": [("dr_instance_id", "links", "regions", "filters")],
    "mutually_exclusive": [("dr_instance_id", "links", "regions"), ("dr_instance_id", "links", "filters")],
}
_GIVE_UP = 8  # looks of a region that fail in a row, until the rest of the round leaves it alone
_IS_GONE = ("InvalidDBInstanceName.NotFound", "InvalidDBInstanceId.NotFound")


class _Place(NamedTuple):
    """A DR instance, and where the service is asked about it."""

    name: str
    entry: Mapping[str, Any]  # the options that hold for it
    region_id: str | None
    asked_in: str | None = None  # a region of a list; None: where the options of the entry say


class Watch:
    """Rounds of looks at links. Not for use by two threads at once, but for `stop`."""

    def __init__(self, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        """Check the options, as a module would.

        :raises RdsError: InvalidOptions, or what the connection options lead to
        """
        environment = os.environ if environment is None else environment
        plain = {name: value for name, value in json.loads(json.dumps(given, default=str)).items() if value is not None}
        valid = ArgumentSpecValidator(**validated_by(REPLICATION_LINK_WATCH)).validate(plain)
        refuse([text.rstrip(".") for text in valid.error_messages])
        self._secrets = valid._no_log_values
        self._options = options = effective(valid.validated_parameters)
        self.interval: float = options["interval"]
        wrong = [name for name in options["skip_checks"] if name not in CHECK_IDS]
        refuse([f"skip_checks names {name}, which is no check" for name in wrong] + number_problems(options))
        self._limits = Limits(options["max_lag_bytes"], options["lag_for"], options["silent_after"])
        self._logins = logins_of({"canary_table": "dr_link_canary", **options})
        # Without a login nobody is asked, which is no fault of a link.
        self._skipped = [*options["skip_checks"], *["both_sides_reachable"] * (options["postgres"] is None)]
        self._clients = Clients(options, environment, None)
        self._pools = Pools(self._clients, Pace(None, options["reads_per_second"]))
        self._places = self._named(environment)
        self._parameters = listing("PostgreSQL", options["filters"] or {})
        regions = self._regions(environment) if self._places is None else []
        self._listed: dict[str, list[_Place]] = {region: [] for region in regions}
        self._memory, self._fleet = Memory(), _fleet(options)

    def round(self) -> list[Event]:
        """Look at all links once, and return what has changed since the last round."""
        unlisted = self._list()
        places = self._places
        if places is None:
            places = [place for found in self._listed.values() for place in found]
        self._fleet, failures = _fleet(self._options), Counter[str | None]()
        jobs = [self._steps(place, failures) for place in places]
        try:
            ended = self._fleet.run([place.name for place in places], jobs)
        finally:
            self._clients.release()
        looks = {
            place.name: as_rds_error(found, wrote=False) if isinstance(found, BaseException) else found
            for place, found in zip(places, ended, strict=True)
        }
        regions = {place.name: place.region_id for place in places}
        this = Round(time.monotonic(), utc_now(), looks, regions, unlisted)
        self._memory, events = changes(self._memory, this, self._limits)
        return [dict(remove_values(event, self._secrets)) for event in events]

    def stop(self) -> None:
        """End a round that goes on in another thread: nothing more is sent."""
        self._fleet.stop()

    # -- which links ---------------------------------------------------------------------------------------------------

    def _named(self, environment: Mapping[str, str]) -> list[_Place] | None:
        """Return the links that the options name, None if they are to be found."""
        options = self._options
        if options["dr_instance_id"] is None and options["links"] is None:
            return None
        links: Sequence[Mapping[str, Any]] = [{}] if options["links"] is None else options["links"]
        entries = [entry_of(options, link) for link in links]
        names = [entry["dr_instance_id"] or "" for entry in entries]
        refuse(twice(names) + ["links or dr_instance_id is empty"] * (not names or "" in names))
        return [
            _Place(name, entry, default_region(entry, environment)) for name, entry in zip(names, entries, strict=True)
        ]

    def _regions(self, environment: Mapping[str, str]) -> list[str]:
        found = self._options["regions"] or [default_region(self._options, environment)]
        refuse(["regions is missing"] * (not all(found)))
        for region in found:
            self._pools.of(self._options, region)  # one that is not known is refused here
        return list(dict.fromkeys(found))

    def _list(self) -> dict[str | None, RdsError]:
        """Read which instances exist; return the regions where that failed, which keep those of the last round."""
        unlisted: dict[str | None, RdsError] = {}
        for region in self._listed:
            try:
                client = self._pools.of(self._options, region)()
                hosts = read_instances(client, region, self._parameters)
            except RdsError as error:
                unlisted[region] = error
                continue
            entry = {**self._options, "region_id": region}
            self._listed[region] = [_Place(host["rds_instance_id"], entry, region, region) for host in hosts]
        return unlisted

    # -- one link ------------------------------------------------------------------------------------------------------

    def _steps(self, place: _Place, failures: Counter[str | None]) -> Steps[Observation]:
        """Look at one link among others. A region of which nothing can be read is left alone until the next round."""
        fleet, options = self._fleet, self._options

        def at(region_id: str | None) -> FleetCaller:
            return FleetCaller(self._pools.of(place.entry, region_id), fleet)

        caller, is_expected = at(place.asked_in), place.asked_in is None
        steps = look(caller, at, Look(place.name, self._logins))
        yield next(steps, 0.0)  # until it is its turn
        if failures[place.region_id] >= _GIVE_UP:
            raise RdsError("EndpointUnreachable", f"{_GIVE_UP} links in a row could not be read; this was not tried.")
        try:
            seen = yield from steps
        except RdsError as error:
            if error.code in _IS_GONE:
                gone = Seen(
                    place.name, "none", End(place.name, place.name, region_id=place.region_id, status="NotFound")
                )
                return Observation(gone, (), error.request_id, error, is_expected)
            failures[place.region_id] += error.category != "grant_permission"
            raise
        failures[place.region_id] = 0
        limit = options["max_lag_bytes"]
        bad = failed(checks(seen, limit, self._skipped))
        bad = bad if "lag" in self._skipped else with_reported_lag(seen, bad, limit)
        return Observation(seen, tuple(bad), caller.last_request_id, None, is_expected)


def _fleet(options: Mapping[str, Any]) -> Fleet[Observation]:
    return Fleet(options["concurrency"])
