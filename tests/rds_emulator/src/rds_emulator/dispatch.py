# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a request to a reply, without a socket: `Dispatcher.handle`.

Order: parse, verify the signature, find the action, permission, flow limit, faults that strike before, the action,
faults that strike after. Whatever happens, the journal has the request.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .engine import EngineError
from .errors import ApiError
from .faults import before, spoil
from .journal import Journal
from .models import Key
from .service import VERSION, Operation
from .signing import Request, Verifier
from .wire import Reply, json_reply
from .world import World


class Dispatcher:
    """Answers API requests from a world. `now` returns epoch seconds; `stopping` ends delays early."""

    def __init__(self, world: World, now: Callable[[], float] = time.time) -> None:
        self.world = world
        self.journal = Journal()
        self.stopping = threading.Event()
        self._now = now
        self._verifier = Verifier(world.keys, now)
        self._calls: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget what arrived so far: the journal, and what counts towards the flow limits."""
        self.journal.clear()
        with self._lock:
            self._calls.clear()

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request; header names are lower case. Never raises."""
        request_id = str(uuid.uuid4()).upper()
        host = headers.get("host", "")
        entry = None
        try:
            request = Request.parse(method, target, headers, body)
            entry = self.journal.arrived(request.action, request.arguments, request.access_key_id)
            reply = self._answer(request, request_id, entry)
        except ApiError as error:
            reply = _error(error, request_id, host)
        except EngineError:
            reply = _error(ApiError("InternalError"), request_id, host)
        except Exception as error:
            print(f"{type(error).__name__}, text withheld:", file=sys.stderr)  # it may quote a parameter
            traceback.print_tb(error.__traceback__)
            reply = _error(ApiError("InternalError"), request_id, host)
        entry = entry or self.journal.arrived("", {}, "")
        reply.headers.setdefault("x-acs-request-id", request_id)
        entry["code"] = reply.code
        entry["http_status"] = None if reply.wire in ("lost", "reset") else reply.status
        return reply

    def _answer(self, request: Request, request_id: str, entry: dict[str, Any]) -> Reply:
        service = self.world.service  # the one of now: a request that is delayed over a reset must not touch the next
        if self._verifier.keys is not self.world.keys:
            self._verifier = Verifier(self.world.keys, self._now)
        if request.path not in ("", "/"):
            raise ApiError("InvalidApi.NotFound", note="path")
        key = self._verifier.verify(request)
        operation = service.operations.get(request.action)
        if request.version != VERSION:
            raise ApiError("InvalidVersion")
        if operation is None:
            raise ApiError("InvalidApi.NotFound")
        if request.method not in (("POST",) if operation.post_only else ("GET", "POST")):
            raise ApiError("UnsupportedHTTPMethod")
        _permit(key, request.action)
        self._throttle(key, request.action)
        arguments = request.arguments
        entry["unknown_params"] = sorted(arguments.keys() - operation.parameters - {"RegionId"})
        rule = self.world.faults.for_request(request.action, arguments)
        if rule is None:
            return self._carry_out(operation, arguments, request_id, entry)
        entry["fault"] = rule.values["fault"]
        if rule.values["fault"] == "meet":
            self.world.faults.meet(rule, self.stopping.is_set)
            return self._carry_out(operation, arguments, request_id, entry)
        return self._faulty(rule.values, operation, arguments, request_id, entry, key, request.headers.get("host", ""))

    def _faulty(
        self,
        values: Mapping[str, Any],
        operation: Operation,
        arguments: Mapping[str, str],
        request_id: str,
        entry: dict[str, Any],
        key: Key,
        host: str,
    ) -> Reply:
        fault, early = values["fault"], values["where"] == "before"
        if fault == "expire_token":
            key.expires_at = self._now()
            raise ApiError("InvalidSecurityToken.Expired")
        if fault == "delay":
            if early:
                self.stopping.wait(values["seconds"])
            reply = self._carry_out(operation, arguments, request_id, entry)
            if not early:
                self.stopping.wait(values["seconds"])
            return reply
        reply = json_reply(200, {"RequestId": request_id})
        if not early:
            reply = self._carry_out(operation, arguments, request_id, entry)
        return spoil(values, before(values, request_id, host) or reply)

    def _carry_out(
        self, operation: Operation, arguments: Mapping[str, str], request_id: str, entry: dict[str, Any]
    ) -> Reply:
        answer = operation.run(arguments)
        entry["committed"] = operation.writes
        return json_reply(200, {"RequestId": request_id, **answer})

    def _throttle(self, key: Key, action: str) -> None:
        limit = self.world.limits.get(action)
        if limit is None:
            return
        count, seconds = limit
        now = time.monotonic()
        with self._lock:
            calls = self._calls.setdefault((key.access_key_id, action), deque())
            while calls and calls[0] <= now - seconds:
                calls.popleft()
            if len(calls) >= count:
                raise ApiError("Throttling.User")
            calls.append(now)


def _permit(key: Key, action: str) -> None:
    if action not in key.deny:
        return
    denied = {  # keys as the RAM documentation has them; the SDK hands them on unread
        "AuthAction": f"rds:{action}",
        "AuthPrincipalType": "AssumedRoleUser" if key.security_token else "SubUser",
        "AuthPrincipalDisplayName": key.ram_user,
        "AuthPrincipalOwnerId": "1234567890123456",
        "NoPermissionType": "ImplicitDeny",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
        "EncodedDiagnosticMessage": "emulator",
    }
    raise ApiError("Forbidden.RAM", extra={"AccessDeniedDetail": denied})


def _error(error: ApiError, request_id: str, host: str) -> Reply:
    return json_reply(error.status, error.body(request_id, host), error.code, error.headers)
