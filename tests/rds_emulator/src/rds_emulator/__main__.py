# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start the emulator: `rds-emulator --seed FILE`. Exit status 2: the seed or an option is wrong."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .client import PAIR
from .control import PREFIX, Control
from .dispatch import Dispatcher
from .engine import Engine, EngineError
from .reading import ReadError
from .seed import load, read_seed
from .server import LOOPBACK, Server
from .world import World

_ENGINES = {"memory": "MemoryEngine", "postgres": "PostgresEngine"}


class _Stop(BaseException):
    """A signal asked for the end."""


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal, or until stdin ends; return the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    engine: Engine | None = None
    server: Server | None = None
    serving: threading.Thread | None = None
    try:
        if options.exit_with_stdin:
            threading.Thread(target=_watch_stdin, daemon=True).start()
        data = load(options.seed)
        read_seed(data)  # a mistake is found before an engine makes directories
        engine = _engine(options.engine)
        world = World(data, engine)
        dispatcher = Dispatcher(world)
        control = Control(dispatcher)

        def handle(method: str, target: str, headers: Any, body: bytes) -> Any:
            chosen = control.handle if target.startswith(PREFIX) else dispatcher.handle
            return chosen(method, target, headers, body)

        server = Server(options.host, options.port, handle, options.log_requests)
        world.build()
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        _announce(options, server, world)
        threading.Event().wait()
    except _Stop:
        return 0
    except ReadError as error:
        print(f"{options.seed}: {error}", file=sys.stderr)
        return 2
    except (EngineError, ImportError, OSError) as error:
        print(f"the emulator cannot start: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if server is not None:
            dispatcher.stopping.set()
            if serving is not None:
                server.shutdown()
            server.server_close()
        if engine is not None:
            engine.close()
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rds-emulator", description=__doc__)
    parser.add_argument("--seed", type=Path, default=PAIR, help="YAML file; default: seeds/pair.yml")
    parser.add_argument("--engine", choices=sorted(_ENGINES), default="postgres")
    parser.add_argument("--host", choices=LOOPBACK, default=LOOPBACK[0], help="loopback only")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ready-file", type=Path, help="written, as JSON, when the endpoint answers")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--log-requests", action="store_true", help="one line for each request on stderr")
    return parser.parse_args(arguments)


def _engine(name: str) -> Engine:
    try:
        module = importlib.import_module(f".engines.{name}", __package__)
    except ModuleNotFoundError as error:
        raise EngineError(f"{error.name} is missing: pip install 'rds-emulator[{name}]'") from None
    engine: Engine = getattr(module, _ENGINES[name])()
    return engine


def _stop(number: int, frame: Any) -> None:
    raise _Stop


def _watch_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):  # not sys.stdin: its lock must be free when the interpreter ends
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(options: argparse.Namespace, server: Server, world: World) -> None:
    """Tell a person, and the ready file, where everything is."""
    places = world.places()
    environment = {"ALIBABA_CLOUD_RDS_ENDPOINT": server.endpoint, **world.environment()}
    if options.ready_file:
        host, port = server.server_address[:2]
        ready = {"endpoint": server.endpoint, "host": host, "port": port, "pid": os.getpid()}
        _write_private(options.ready_file, json.dumps({**ready, "environment": environment, **places}))
    lines = [f"RDS emulator at {server.endpoint}", ""]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    for name, place in [*places["instances"].items(), *places["sources"].items()]:
        kind = place.get("engine", "source") + (f" {place['region_id']}" if "region_id" in place else "")
        lines += ["", f"{name:24} {place['host']}:{place['port']:<6} {kind}", *_logins(world, name, place)]
    lines += ["", f"Stop it with Ctrl-C or: kill {os.getpid()}"]
    print("\n".join(lines), flush=True)


def _logins(world: World, name: str, place: Mapping[str, Any]) -> list[str]:
    """A line to paste for each way into a cluster: as superuser, and as each account of the seed."""
    psql = world.engine.psql(name)
    if not psql:
        return []
    cluster = (world.store.instances.get(name) or world.store.sources[name]).cluster
    where = [shlex.split(psql)[0], "-h", place["host"], "-p", str(place["port"]), "-d", "postgres", "-U"]
    accounts = cluster.accounts if cluster else ()
    lines = [psql]
    lines += [f"PGPASSWORD={shlex.quote(one.password)} {shlex.join([*where, one.name])}" for one in accounts]
    return [f"  {line}" for line in lines]


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, so that nobody ever sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
