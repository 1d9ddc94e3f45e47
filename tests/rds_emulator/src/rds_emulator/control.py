# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control API under /_emulator/: unsigned JSON over loopback, for tests and demonstrations. README.md lists it.

Answers never hold a secret. A web page must not be able to drive it: the Host header must name loopback (DNS rebinding)
and a body must say that it is JSON (a form cannot).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .dispatch import Dispatcher
from .engine import BREAKS, EngineError
from .errors import ApiError
from .models import MASK, Instance, Task
from .reading import ReadError, anything, fields, flag, number, one_of, text
from .seed import ATTRIBUTES, read_quirks
from .tasks import detail
from .wire import Reply, json_reply

PREFIX = "/_emulator/"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_read_sql = fields({"cluster": text, "statement": text, "database": text}, "cluster", "statement")
_read_instance = fields({**ATTRIBUTES, "broken": flag})
_read_break = fields({"how": one_of(*BREAKS), "lag_bytes": number(0, 2**50), "lag_seconds": number(0, 10**9)}, "how")

_read_link = fields({"source": text}, "source")
_read_reset = fields({"seed": anything})


class Control:
    """Answers control requests about one dispatcher and its world."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher, self._world, self._journal = dispatcher, dispatcher.world, dispatcher.journal

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request: 400 for a mistake, 404 for what is not there, 409 for what the engine refused."""
        parts = urlsplit(target)
        if headers.get("host", "").rsplit(":", 1)[0] not in _HOSTS:
            return _refused(403, "the Host header must name a loopback address")
        if body and headers.get("content-type", "").partition(";")[0] != "application/json":
            return _refused(400, "the Content-Type must be application/json")
        name, _unused, item = parts.path.removeprefix(PREFIX).partition("/")
        action: Callable[..., Any] | None = getattr(self, f"_{method.lower()}_{name}", None)
        if action is None:
            return _refused(404, f"there is no {method} {PREFIX}{name}")
        try:
            data = json.loads(body) if body else None
            return json_reply(200, action(unquote(item), data, dict(parse_qsl(parts.query))))
        except ReadError as error:
            return _refused(400, str(error))
        except ValueError:
            return _refused(400, "the body is not JSON")
        except KeyError as error:
            return _refused(404, f"there is no {error.args[0]}")
        except (ApiError, EngineError) as error:
            return _refused(409, str(error))

    def _get_health(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        return {"status": "ok", "engine": type(self._world.engine).__name__, **self._world.places()}

    def _get_journal(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        return self._journal.entries(query.get("action"))

    def _delete_journal(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._journal.clear()
        return {}

    def _get_report(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        return self._journal.report()

    def _get_faults(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        return self._world.faults.public()

    def _post_faults(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        if item == "release":
            instance = fields({"instance": text})("", data or {}).get("instance")
            return {"released": self._world.faults.release(instance)}
        return self._world.add_faults(data if isinstance(data, list) else [data])

    def _delete_faults(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._world.clear_faults()
        return {}

    def _post_instances(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        if not item:
            return self._world.add_instance(data)
        if item.endswith("/break"):
            return self._break(item.removesuffix("/break"), _read_break("", data))
        if item.endswith("/link"):
            self._world.link(item.removesuffix("/link"), _read_link("", data)["source"])
            return {}
        instance = self._world.store.instances[item]
        values = _read_instance("", data)
        if "broken" in values:
            set_broken = getattr(self._world.engine, "set_broken", None)
            if set_broken is None:
                raise ReadError("broken is known to the memory engine only; POST to .../break breaks a real link")
            set_broken(item, values.pop("broken"))
        with self._world.store.change():
            for name, value in values.items():
                setattr(instance, name, value)
            return instance.public()

    def _break(self, instance_id: str, values: Mapping[str, Any]) -> Any:
        if self._world.store.instances[instance_id].link is None:
            raise ReadError(f"{instance_id} has no link that could be broken")
        if len(values) > 1 and values["how"] != "replay_paused":
            raise ReadError("lag_bytes and lag_seconds go with replay_paused only")
        self._world.engine.break_link(instance_id, **values)
        return {}

    def _delete_instances(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        if item.endswith("/break"):
            self._world.engine.repair_link(self._world.store.instances[item.removesuffix("/break")].id)
        else:
            self._world.delete_instance(item)
        return {}

    def _post_sources(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        return self._world.add_source(data)

    def _delete_sources(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._world.delete_source(item)
        return {}

    def _delete_tasks(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        """Remove a row from the log; what its task does goes on."""
        store = self._world.store
        with store.change():
            rows = {str(task.id): task for task in store.tasks}
            store.tasks.remove(rows[item])
        return {}

    def _post_keys(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._world.add_key(data)
        return {}

    def _post_quirks(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._world.quirks.update(read_quirks("", data))
        return self._world.quirks

    def _post_sql(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        values = _read_sql("", data)
        return {"rows": _plain(self._world.engine.sql(**{"name": values.pop("cluster"), **values}))}

    def _post_reset(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        self._world.reset(_read_reset("", data or {}).get("seed"))
        self._dispatcher.reset()
        return {"environment": self._world.environment(), **self._world.places()}

    def _get_state(self, item: str, data: Any, query: Mapping[str, str]) -> Any:
        store = self._world.store
        with store.lock:
            instances = [instance.public() for instance in store.instances.values()]
            tasks = [self._task(task) for task in reversed(store.tasks)]
            linked = [instance for instance in store.instances.values() if instance.link]
            sources = self._world.places()["sources"]
        return {
            "instances": {shown["id"]: shown for shown in instances},
            "sources": sources,
            "tasks": tasks,
            "replication": {instance.id: self._replication(instance) for instance in linked},
            "quirks": self._world.quirks,
        }

    def _replication(self, instance: Instance) -> Any:
        try:
            state = vars(self._world.engine.link_state(instance.id))
            return {name: value for name, value in state.items() if name != "info"}  # that has the time of day in it
        except EngineError as error:
            return {"state": f"unknown: {error}"}

    def _task(self, task: Task) -> Any:
        names = ["id", "name", "type", "instance_id", "status", "stage", "created", "modified"]
        quirks = {**self._world.quirks, "detail_credentials": "masked"}
        shown = detail(task, quirks).replace(task.link.password, MASK) if task.link.password else detail(task, quirks)
        return {name: getattr(task, name) for name in names} | {"detail": shown}


def _refused(status: int, why: str) -> Reply:
    return json_reply(status, {"error": why})


def _plain(rows: list[dict[str, Any]]) -> Any:
    """Return rows with values that JSON has no word for (dates, LSNs, decimals) as text."""
    return json.loads(json.dumps(rows, default=str))
