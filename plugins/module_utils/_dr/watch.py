# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed between two rounds of looks at links, as events. Pure: no clock, no network.

A round has one value for each thing that is watched: the state of a link, the status of an instance, and so on. A value
that was not read is no news: what was known stays known. A bad value that often passes by itself (lag, a server or
service that does not answer) becomes an event only after it has stayed for so long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import one_line
from ansible_collections.alicloud.rds.plugins.module_utils._dr.checklist import check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Check
from ansible_collections.alicloud.rds.plugins.module_utils._dr.seen import End, Seen
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import is_wal_removed, lag_bytes

# What is watched, and the values that nobody has to act on.
_FINE = {
    "link_state": ("streaming", "creating", "unknown"),
    "instance_status": ("Running",),
    "instance_lock": ("Unlock",),
    "lag": ("under",),
    "server": ("answering",),
    "wal": ("kept",),
    "service": ("readable",),
}
_SAID = {
    "link_state": "the link is",
    "instance_status": "the instance is",
    "instance_lock": "its lock is",
    "lag": "lag is",
    "server": "PostgreSQL is",
    "wal": "WAL that it needs is",
    "service": "the service is",
}
TYPES = ("summary", "instances", *_FINE)

Key = tuple[str, str]  # a type, and the id of what is watched
Event = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """From when on something is worth an event. Seconds."""

    lag_bytes: int
    lag_for: float = 60.0
    silent_after: float = 300.0

    def delay(self, key: Key, value: str) -> float:
        """Return for how long a value must stay before it counts."""
        if value in _FINE[key[0]]:
            return 0.0
        return {"lag": self.lag_for, "server": self.silent_after, "service": self.silent_after}.get(key[0], 0.0)


@dataclass(frozen=True)
class Observation:
    """One look at one link."""

    seen: Seen
    checks: tuple[Check, ...] = ()  # those that have failed
    request_id: str | None = None
    error: RdsError | None = None  # the instance does not exist (any more)
    is_expected: bool = True  # whether a link is expected here, or every instance of a list is looked at


@dataclass(frozen=True)
class Round:
    """What one round has read. `at` is of a monotonic clock, `time` the same moment in UTC."""

    at: float
    time: str
    looks: Mapping[str, Observation | RdsError]  # by DR instance; the error of a look that has failed
    regions: Mapping[str, str | None]  # of each DR instance: where the service is asked about it
    unlisted: Mapping[str | None, RdsError] = field(default_factory=dict)  # regions without a list of instances


@dataclass(frozen=True)
class Finding:
    """One value, and what an event says beside it. None: no news."""

    value: str | None
    look: Observation | None = None
    links: tuple[str, ...] = ()  # the DR instances that it is about
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What was known after a round about one thing, and when another value was first seen, if it may pass again."""

    value: str
    links: tuple[str, ...]
    left: tuple[float, str] | None = None


@dataclass(frozen=True)
class Memory:
    """What is known from one round to the next. Before the summary, only when the first round was."""

    begun: float | None = None
    known: Mapping[Key, Known] | None = None
    watched: tuple[str, ...] = ()


def changes(memory: Memory, this: Round, limits: Limits) -> tuple[Memory, list[Event]]:
    """Return what is known now, and the events of this round.

    The first event is a summary, sent when each link was read, at the latest after `silent_after`.
    """
    found = findings(this, limits)
    watched, begun = tuple(sorted(this.looks)), this.at if memory.begun is None else memory.begun
    if memory.known is None:
        missing = bool(this.unlisted) or any(isinstance(look, RdsError) for look in this.looks.values())
        if missing and this.at - begun < limits.silent_after:
            return Memory(begun), []
        known = {key: Known(each.value, each.links) for key, each in found.items() if each.value is not None}
        return Memory(begun, known, watched), [_summary(this, found)]
    events = _listed(memory.watched, watched, this)
    known = {
        key: replace(each, left=None) for key, each in memory.known.items() if not set(each.links).isdisjoint(watched)
    }
    for key, finding in found.items():
        if finding.value is not None:
            known[key], event = _compared(key, memory.known.get(key), finding, this, limits)
            events += [event] if event else []
    return Memory(begun, known, watched), _merged(events)


def _compared(
    key: Key, known: Known | None, finding: Finding, this: Round, limits: Limits
) -> tuple[Known, Event | None]:
    """Compare one value with what was known of it."""
    value = str(finding.value)
    if known is None and limits.delay(key, value):
        known = Known(_FINE[key[0]][0], finding.links)
    if known is None:  # it is read for the first time: the summary, or the event about the list, has said so
        event = _event(key, finding, None, this.time)
        return Known(value, finding.links), event if event["problem"] else None
    if value == known.value:
        return Known(value, finding.links), None
    left = known.left or (this.at, this.time)
    if this.at - left[0] < limits.delay(key, value):
        return Known(known.value, finding.links, left), None
    return Known(value, finding.links), _event(key, finding, known.value, left[1])


# -- what a round has found --------------------------------------------------------------------------------------------


def findings(this: Round, limits: Limits) -> dict[Key, Finding]:
    """Return all values of a round. What several links share, such as their source, is one of them."""
    found: dict[Key, Finding] = {}
    for name, look in this.looks.items():
        for key, finding in _of_look(name, look, limits) if isinstance(look, Observation) else ():
            known = found.get(key)
            if known and (finding.value is None or known.value in _FINE[key[0]]):
                finding = replace(known, links=(*known.links, name))
            elif known:
                finding = replace(finding, links=(*known.links, name))
            found[key] = finding
    for region in dict.fromkeys([*this.regions.values(), *this.unlisted]):
        found.update(_of_service(region, this))
    return found


def _of_look(name: str, look: Observation, limits: Limits) -> Iterator[tuple[Key, Finding]]:
    seen = look.seen

    def finding(value: str | None, **more: Any) -> Finding:
        return Finding(value, look, (name,), {"region_id": seen.standby.region_id, "instance_id": name, **more})

    yield ("link_state", name), finding(None if look.error else seen.link_state)  # one event is enough
    yield ("wal", name), finding({None: None, True: "removed", False: "kept"}[is_wal_removed(seen)])
    lag = lag_bytes(seen)
    lag = seen.reported_lag_bytes if lag is None else lag
    yield ("lag", name), finding(_lag(seen, lag, limits), lag_bytes=lag, limit=limits.lag_bytes)
    # Without a link, the source of the link that has ended is nobody's concern any more.
    ends = [("dr_instance", seen.standby), ("source", seen.primary if seen.link_state != "none" else None)]
    for role, end in ends:
        if end is not None:
            is_instance = end.key == end.name
            address = f"{end.host}:{end.port or 5432}" if end.host else None
            where: dict[str, Any] = {"instance_id": end.name if is_instance else None, "role": role, "address": address}
            where["region_id"] = end.region_id
            yield ("instance_status", end.name), finding(end.status, **where)
            yield ("instance_lock", end.name), finding(end.lock_mode, **where)
            yield ("server", end.name), finding(_server(end), **where)


def with_reported_lag(seen: Seen, found: list[Check], limit: int) -> list[Check]:
    """Return checks with one about the lag that the service reports, where no server was asked for it."""
    lag = seen.reported_lag_bytes or 0
    if lag <= limit or any(each.id == "lag" for each in found):
        return found
    text = f"{seen.dr_instance_id} is {lag} bytes behind, as the service reports, more than {limit}."
    return [*found, check("lag", text)]


def _lag(seen: Seen, lag: int | None, limits: Limits) -> str | None:
    """Say whether lag is over its limit. It is under again at half of it. A link that does not stream has no lag."""
    if lag is None or seen.link_state not in ("streaming", "unknown"):
        return None
    return "over" if lag > limits.lag_bytes else "under" if lag <= limits.lag_bytes // 2 else None


def _server(end: End) -> str | None:
    """Say whether PostgreSQL answers: silence is what a lost server looks like, and a lost network as well."""
    if end.facts:
        return "answering"
    kind = end.problem.kind if end.problem else "not_asked"
    return None if kind == "not_asked" else "silent" if kind in ("refused", "timeout") else "unusable"


def _of_service(region: str | None, this: Round) -> Iterator[tuple[Key, Finding]]:
    """Yield whether the service can be read: once for a region of which nothing is read, else for each link."""
    looks = {name: look for name, look in this.looks.items() if this.regions[name] == region}
    failed = {name: look for name, look in looks.items() if isinstance(look, RdsError)}
    error = this.unlisted.get(region) or next(iter(failed.values()), None)
    is_lost = region in this.unlisted or (bool(looks) and len(failed) == len(looks))
    more = {"region_id": region, "instance_id": None, "error": error if is_lost else None}
    yield ("service", f"region {region}"), Finding("unreadable" if is_lost else "readable", None, tuple(looks), more)
    for name in looks if len(failed) < len(looks) else ():
        more = {"region_id": region, "instance_id": name, "error": failed.get(name)}
        yield ("service", name), Finding("unreadable" if name in failed else "readable", None, (name,), more)


# -- events ------------------------------------------------------------------------------------------------------------


def _event(key: Key, finding: Finding, before: str | None, since: str | None) -> Event:
    kind, look, more = key[0], finding.look, dict(finding.more)
    error = more.pop("error", None) or (look.error if look else None)
    is_fine = finding.value in _FINE[kind]
    is_unlinked = kind == "link_state" and finding.value == "none" and before is None
    note = f" the limit ({more['lag_bytes']} bytes of {more['limit']})" if kind == "lag" else ""
    note += f": {error.message}" if error else "" if before is None else f", was {before}"
    return {
        "type": kind,
        "dr_instance_id": finding.links[0] if len(finding.links) == 1 else None,
        "links": list(finding.links),
        **more,
        "before": before,
        "after": finding.value,
        "since": since,
        "problem": not is_fine and not (is_unlinked and look is not None and not look.is_expected),
        "message": one_line(f"{key[1]}: {_SAID[kind]} {finding.value}{note}"),
        "checks": [each._asdict() for each in look.checks] if look else [],
        "error": error.as_result() if error else None,
        "request_id": error.request_id if error else look.request_id if look else None,
    }


def _summary(this: Round, found: Mapping[Key, Finding]) -> Event:
    """Return the first event: how many links are in which state, and what needs attention."""
    states = Counter(map(_state, this.looks.values()))
    told = [_event(key, each, None, None) for key, each in found.items() if each.value is not None]
    attention = _merged([event for event in told if event["problem"]])
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    text = f"links watched: {len(this.looks)}{', of these ' * bool(counts)}{counts}"
    return _plain("summary", this, text, states=dict(states), attention=attention, problem=bool(attention))


def _state(look: Observation | RdsError) -> str:
    if isinstance(look, RdsError):
        return "unreadable"
    return "gone" if look.error else look.seen.link_state


def _listed(before: tuple[str, ...], now: tuple[str, ...], this: Round) -> list[Event]:
    """Return one event if the list of instances has changed."""
    added, removed = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    if not added and not removed:
        return []
    parts = [f"{word} {', '.join(names)}" for word, names in (("added", added), ("removed", removed)) if names]
    text = f"links watched: {len(now)}, before {len(before)}: {'; '.join(parts)}"
    counts = {"before": len(before), "after": len(now)}
    return [_plain("instances", this, text, **counts, added=added, removed=removed)]


def _plain(kind: str, this: Round, text: str, **more: Any) -> Event:
    nothing = dict.fromkeys(("dr_instance_id", "instance_id", "region_id", "before", "after", "error", "request_id"))
    watched = {"type": kind, "links": sorted(this.looks), "since": this.time, "problem": False, "checks": []}
    return {**nothing, **watched, "message": one_line(text), **more}


def _merged(events: list[Event]) -> list[Event]:
    """Make one event of those that say the same of the service, for links of one region."""
    merged: dict[tuple[Any, ...], Event] = {}
    for number, event in enumerate(events):
        is_service = event["type"] == "service"
        first = merged.setdefault((event["region_id"], event["after"]) if is_service else (number,), event)
        if first is not event:
            links = sorted({*first["links"], *event["links"]})
            first.update(links=links, dr_instance_id=None, instance_id=None)
            first["message"] = one_line(f"{len(links)} links: {first['message'].partition(': ')[2]}")
    return list(merged.values())
