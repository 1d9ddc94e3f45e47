# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults on demand: rules that spoil an answer, its transport, or a stage of a task.

A request rule is {fault, action?, match?, where?, skip?, times?, ...}: `action` and `match` (parameters, e.g.
{DryRun: false}) choose requests, the first `skip` of them are spared, the next `times` (default 1; null: all) are hit.
`where: before` means that the request is not carried out (for `delay`: later), `after` that it is, and only the answer
suffers. `meet` holds the requests that it hits until the last of its `times` has come (or for `seconds`, default 60),
so that clients race on any machine.
A stage rule is {stage, fault: hold|fail|slow, instance?, task_type?, skip?, times?, seconds?, message?}.
`{fault: lag, seconds}` lets reads show an older state until faults are cleared.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .engine import EngineError
from .errors import CATALOGUE, ApiError
from .reading import Reader, ReadError, anything, fields, number, one_of, text
from .wire import Reply, json_reply

STAGES = ("precheck", "basebackup", "startup", "increment", "promote")  # the last one shows in no row
_COUNT = number(0, 1_000_000)
_STATUS = number(200, 599)
_COMMON: dict[str, Reader] = {"fault": text, "skip": _COUNT, "times": number(1, 1_000_000)}


def _match(where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ReadError(f"{where} must be a mapping of parameters")
    return {str(key): str(item).lower() for key, item in value.items()}


_WHERE = one_of("before", "after")
_REQUEST: dict[str, Reader] = {**_COMMON, "action": text, "where": _WHERE, "match": _match}
# fault -> (readers of its own keys, those required, where it strikes unless the rule says)
_FAULTS: dict[str, tuple[dict[str, Reader], tuple[str, ...], str]] = {
    "error": ({"code": text, "http_status": _STATUS, "message": text, "retry_after_ms": _COUNT}, ("code",), "before"),
    "status": ({"http_status": _STATUS, "content": one_of("html", "json", "empty")}, ("http_status",), "before"),
    "error_body_200": ({"code": text, "message": text}, ("code",), "before"),
    "expire_token": ({}, (), "before"),
    "redirect": ({"location": text, "http_status": number(300, 399)}, ("location",), "before"),
    "lost": ({}, (), "after"),
    "reset": ({}, (), "after"),
    "truncated": ({}, (), "after"),
    "stale": ({}, (), "after"),
    "html": ({}, (), "after"),
    "meet": ({"seconds": number(0, 3600, float)}, ("times",), "before"),
    "delay": ({"seconds": number(0, 3600, float)}, ("seconds",), "after"),
    "drip": ({"part": one_of("body", "headers"), "seconds": number(0, 60, float)}, ("seconds",), "after"),
    "huge": ({"mib": number(1, 512)}, ("mib",), "after"),
    "gzip_bomb": ({"mib": number(1, 4096)}, ("mib",), "after"),
    "body": ({"body": anything, "base64": text, "http_status": _STATUS, "content_type": text}, (), "after"),
}
_STAGE_READER = fields(
    {
        **_COMMON,
        "stage": one_of(*STAGES),
        "fault": one_of("hold", "fail", "slow"),
        "instance": text,
        "task_type": one_of("create", "create-dryrun", "rebuild", "promote"),
        "seconds": number(0, 3600, float),
        "message": text,
    },
    "stage",
    "fault",
)
_LAG_READER = fields({"fault": text, "seconds": number(0, 3600, float)}, "fault", "seconds")


@dataclass(eq=False)
class Rule:
    """One rule, with what is left of it. `spec` is the rule as it was given."""

    id: int
    spec: dict[str, Any]
    values: dict[str, Any]
    skip: int
    times: int | None  # None: for ever
    hits: int = 0

    def strikes(self) -> bool:
        """Count one match; True if the rule hits this one."""
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def public(self) -> dict[str, Any]:
        return {"id": self.id, "hits": self.hits, **self.spec}


def read_rule(spec: Any, where: str = "rule") -> dict[str, Any]:
    """Check a rule; ReadError says what is wrong with it."""
    if not isinstance(spec, dict) or not isinstance(spec.get("fault"), str):
        raise ReadError(f"{where} must be a mapping with the key fault")
    fault = spec["fault"]
    if "stage" in spec:
        return _STAGE_READER(where, spec)
    if fault == "lag":
        return _LAG_READER(where, spec)
    if fault not in _FAULTS:
        raise ReadError(
            f"{where}.fault must be one of {', '.join([*_FAULTS, 'lag'])}, or with a stage hold, fail, slow"
        )
    own, required, default = _FAULTS[fault]
    values = {"where": default, **fields({**_REQUEST, **own}, *required)(where, spec)}
    if fault == "error" and "http_status" not in values and values["code"] not in CATALOGUE:
        raise ReadError(f"{where}.http_status is missing: {values['code']} is not in the error table")
    if fault == "body":
        try:
            values["bytes"] = _body(spec)
        except ValueError:
            raise ReadError(f"{where}.base64 is not base64") from None
    return values


def _body(spec: Mapping[str, Any]) -> bytes:
    if "base64" in spec:
        return base64.b64decode(spec["base64"], validate=True)
    body = spec.get("body", "")
    return (body if isinstance(body, str) else json.dumps(body)).encode()


@dataclass
class Faults:
    """The rules in force."""

    _rules: list[Rule] = field(default_factory=list)
    _held: threading.Condition = field(default_factory=threading.Condition)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, specs: list[Any]) -> list[Rule]:
        """Add rules, all or none; ReadError if one is wrong."""
        read = [(spec, read_rule(spec, f"faults[{number}]")) for number, spec in enumerate(specs)]
        with self._held:
            added = []
            for spec, values in read:
                times = values.get("times", None if "times" in spec or values["fault"] == "lag" else 1)
                added.append(Rule(next(self._ids), dict(spec), values, values.get("skip", 0), times))
            self._rules += added
            return added

    def public(self) -> list[dict[str, Any]]:
        """Return the rules in force, with how often each has hit."""
        with self._held:
            return [rule.public() for rule in self._rules]

    def clear(self) -> None:
        """Remove every rule and release what is held."""
        with self._held:
            self._rules.clear()
            self._held.notify_all()

    def release(self, instance: str | None = None) -> int:
        """Remove the hold rules (of one instance), and so let held stages go on; return how many rules there were."""
        with self._held:
            before = len(self._rules)
            self._rules[:] = [
                rule
                for rule in self._rules
                if rule.values["fault"] != "hold" or (instance and rule.values.get("instance") != instance)
            ]
            self._held.notify_all()
            return before - len(self._rules)

    @property
    def lag(self) -> float:
        """Seconds that reads are to be behind."""
        with self._held:
            return max((rule.values["seconds"] for rule in self._rules if rule.values["fault"] == "lag"), default=0.0)

    def wake(self) -> None:
        """Let held stages look again whether they may go on."""
        with self._held:
            self._held.notify_all()

    def for_request(self, action: str, arguments: Mapping[str, str]) -> Rule | None:
        """Return the first rule that hits this request, and count it."""
        with self._held:
            for rule in self._rules:
                values = rule.values
                if "stage" in values or values["fault"] == "lag" or values.get("action", action) != action:
                    continue
                wanted = values.get("match", {})
                if all(arguments.get(key, "").lower() == value for key, value in wanted.items()) and rule.strikes():
                    return rule
        return None

    def meet(self, rule: Rule, gone: Callable[[], bool]) -> None:
        """Hold a request until as many have come as the rule hits; `gone` as for stages."""
        with self._held:
            self._held.notify_all()
            self._held.wait_for(
                lambda: rule.hits == rule.times or rule not in self._rules or gone(), rule.values.get("seconds", 60.0)
            )

    def at_stage(self, stage: str, instance: str, task_type: str, gone: Callable[[], bool]) -> None:
        """Hold, slow down or fail (EngineError) a stage that begins; `gone` (and ``wake()``) ends the waiting early."""
        with self._held:
            for rule in self._rules:
                values = rule.values
                ours = values.get("instance", instance) == instance and values.get("task_type", task_type) == task_type
                if values.get("stage") == stage and ours and rule.strikes():
                    break
            else:
                return
            if values["fault"] == "hold":
                self._held.wait_for(lambda: rule not in self._rules or gone(), values.get("seconds"))
            elif values["fault"] == "slow":
                self._held.wait_for(gone, values.get("seconds", 1.0))
        if values["fault"] == "fail":
            raise EngineError(values.get("message", f"stage {stage} failed on request"))


def before(values: Mapping[str, Any], request_id: str, host: str) -> Reply | None:
    """Return the answer to a request that is not carried out, or raise it; None for faults of the transport."""
    fault = values["fault"]
    if fault == "error":
        wait = values.get("retry_after_ms")
        headers = {} if wait is None else {"x-acs-retry-after": str(wait)}
        raise ApiError(values["code"], status=values.get("http_status"), message=values.get("message"), headers=headers)
    if fault == "error_body_200":
        error = ApiError(values["code"], message=values.get("message"))
        return json_reply(200, error.body(request_id, host), error.code)
    return None


def spoil(values: Mapping[str, Any], reply: Reply) -> Reply:
    """Return what becomes of a reply under a fault."""
    fault = values["fault"]
    if fault in ("lost", "reset", "truncated", "stale"):
        reply.wire = fault
    elif fault == "drip":
        reply.wire, reply.pace = f"drip-{values.get('part', 'body')}", values["seconds"]
    elif fault == "html":
        return _html(200)
    elif fault == "status":
        if values.get("content", "html") == "html":
            return _html(values["http_status"])
        body = b'{"error": "bad gateway"}' if values["content"] == "json" else b""
        return Reply(values["http_status"], body, {"Content-Type": "application/json"})
    elif fault == "redirect":
        return Reply(values.get("http_status", 302), b"", {"Location": values["location"]})
    elif fault == "body":
        kind = values.get("content_type", "application/json;charset=utf-8")
        return Reply(values.get("http_status", 200), values["bytes"], {"Content-Type": kind})
    elif fault == "huge":
        filler = b'{"RequestId": "' + b"x" * (values["mib"] << 20) + b'"}'
        return Reply(200, filler, reply.headers)
    elif fault == "gzip_bomb":
        return Reply(200, _bomb(values["mib"]), {**reply.headers, "Content-Encoding": "gzip"})
    return reply


def _html(status: int) -> Reply:
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>\r\n"
    return Reply(status, page.encode(), {"Content-Type": "text/html"})


def _bomb(mib: int) -> bytes:
    """Gzip `mib` MiB of blanks, as JSON's white space, without ever having them in memory."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    return b"".join([squeeze.compress(block) for _unused in range(mib)] + [squeeze.compress(b"{}"), squeeze.flush()])
