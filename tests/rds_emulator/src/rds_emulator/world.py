# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that a seed describes, made real: clusters, instances, sources, keys, faults, quirks, limits.

An instance is never destroyed while its task may still start a cluster: deleting sets `gone`, lets held stages go on,
waits until the instance is no longer busy, and only then destroys.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from .engine import ClusterSpec, Engine, EngineError
from .faults import Faults
from .models import Instance, Key, Source
from .reading import ReadError
from .seed import Seed, read_instance, read_key, read_seed, read_source
from .service import Service
from .store import Store
from .tasks import detail

_PATIENCE = 90.0  # seconds for a task to notice that its instance is gone


class World:
    """The state of an emulator. `seed_data` is what the seed file holds; ReadError if it is wrong."""

    def __init__(self, seed_data: Any, engine: Engine) -> None:
        self._seed_data, self.engine = seed_data, engine
        self._admin = threading.RLock()  # one reset, addition or deletion at a time
        self.faults = Faults()
        self._adopt(read_seed(seed_data))

    def _adopt(self, seed: Seed) -> None:
        self.store = Store()
        self.keys: dict[str, Key] = {key.access_key_id: key for key in seed.keys}
        self.quirks, self.limits = seed.quirks, seed.limits
        self._defaults = (seed.region_id, seed.memory)
        self.default_key = seed.keys[0]
        self.faults.clear()
        self.faults.add(seed.faults)
        self._seed = seed
        self.service = Service(self.store, self.engine, self.faults, self.quirks)

    def build(self, ports: dict[str, int] | None = None) -> None:
        """Create the seed's clusters, several at a time; `ports` are those to use again. EngineError if one fails."""
        things: list[Instance | Source] = [*self._seed.instances, *self._seed.sources]
        ports = ports or {}
        for thing in things:
            if thing.cluster and not thing.cluster.port:
                thing.cluster = replace(thing.cluster, port=ports.get(thing.cluster.name, 0))
        with ThreadPoolExecutor(4) as pool:
            for _unused in pool.map(self._create, things):
                pass
        with self.store.change():
            self.store.instances |= {instance.id: instance for instance in self._seed.instances}
            self.store.sources |= {source.name: source for source in self._seed.sources}
        self.store.set_lag(self.faults.lag)

    def _create(self, thing: Instance | Source) -> None:
        if thing.cluster is None:
            return
        thing.port = self.engine.create(thing.cluster)
        if isinstance(thing, Instance) and not thing.engine_version:
            pretends = thing.cluster.behaviour != "postgres"
            thing.engine_version = "18.0" if pretends else f"{self.engine.major(thing.id)}.0"

    def add_instance(self, data: Any) -> dict[str, Any]:
        """Create an instance as a seed would; return its place. ReadError or EngineError."""
        instance = read_instance(data, *self._defaults)
        with self._admin:
            self._check_free(instance.id)
            self._create(instance)
            with self.store.change():
                self.store.instances[instance.id] = instance
        return self._place(instance)

    def add_source(self, data: Any) -> dict[str, Any]:
        """Create a self-managed source; return its place."""
        source = read_source(data, self._defaults[1])
        with self._admin:
            self._check_free(source.name)
            self._create(source)
            with self.store.change():
                self.store.sources[source.name] = source
        return self._place(source)

    def add_key(self, data: Any) -> None:
        """Add an access key, or replace the one with the same id."""
        key = read_key("key", data)
        self.keys[key.access_key_id] = key

    def add_faults(self, specs: list[Any]) -> list[dict[str, Any]]:
        """Add fault rules, all or none."""
        rules = self.faults.add(specs)
        self.store.set_lag(self.faults.lag)
        return [rule.public() for rule in rules]

    def clear_faults(self) -> None:
        """Remove all fault rules; held stages go on and reads are current again."""
        self.faults.clear()
        self.store.set_lag(0)

    def delete_instance(self, instance_id: str) -> None:
        """Remove an instance and its cluster; KeyError if there is none."""
        with self._admin:
            instance = self.store.instances[instance_id]
            self._retire([instance])
            with self.store.change():
                del self.store.instances[instance_id]
            self.engine.destroy(instance_id)

    def delete_source(self, name: str) -> None:
        """Remove a source and its cluster; KeyError if there is none."""
        with self._admin:
            with self.store.change():
                del self.store.sources[name]
            self.engine.destroy(name)

    def link(self, instance_id: str, source_name: str) -> None:
        """Link an instance to a source, or to another instance, as that one's first account; return when it streams.

        ApiError or EngineError if it does not come to that, KeyError for a name that does not exist.
        """
        instance = self.store.instances[instance_id]
        source = self.store.sources.get(source_name) or self.store.instances[source_name]
        if source.cluster is None or not source.cluster.accounts:
            raise ReadError(f"{source_name} has no account to replicate with")
        account = source.cluster.accounts[0]
        arguments = {"DBInstanceId": instance_id, "DryRun": "false", "SourceCategory": "other"}
        arguments |= {"ReplicatorAccount": account.name, "ReplicatorPassword": account.password}
        arguments |= {"SourceAddress": self.engine.host, "SourcePort": str(source.port)}
        if isinstance(source, Instance):
            place = {"SourceInstanceName": source.id, "SourceInstanceRegionId": source.region_id}
            arguments |= {**place, "SourceCategory": "aliyunRDS"}
        self.service.create_link(arguments)
        with self.store.idle:
            self.store.idle.wait_for(lambda: not instance.busy, _PATIENCE)
        if instance.link is None:
            masked = {**self.quirks, "detail_credentials": "masked"}
            made = [task for task in self.store.tasks if task.instance_id == instance_id][-1]
            raise EngineError(f"{instance_id} does not stream: {' '.join(detail(made, masked).split())}")

    def reset(self, seed_data: Any = None) -> None:
        """Go back to the seed, or on to another one: new clusters on the same ports, no tasks, no rules."""
        with self._admin:
            seed_data = self._seed_data if seed_data is None else seed_data
            seed = read_seed(seed_data)
            old = self.store
            self._retire(list(old.instances.values()))
            ports: dict[str, int] = {}
            clusters: list[ClusterSpec] = []
            things: list[Instance | Source] = [*old.instances.values(), *old.sources.values()]
            for thing in things:
                if thing.cluster:
                    ports[thing.cluster.name] = thing.port
                    clusters.append(thing.cluster)
            with ThreadPoolExecutor(4) as pool:
                for _unused in pool.map(lambda cluster: self.engine.destroy(cluster.name), clusters):
                    pass
            self._seed_data = seed_data
            self._adopt(seed)
            self.build(ports)

    def _retire(self, instances: Sequence[Instance]) -> None:
        """Let the tasks of these instances end; EngineError if one does not."""
        for instance in instances:
            instance.gone.set()
        self.faults.wake()
        with self.store.idle:
            if not self.store.idle.wait_for(lambda: not any(item.busy for item in instances), _PATIENCE):
                raise EngineError("a task does not end")

    def _check_free(self, name: str) -> None:
        if name in self.store.instances or name in self.store.sources:
            raise ReadError(f"{name} exists already")

    def _place(self, thing: Instance | Source) -> dict[str, Any]:
        place = {"host": self.engine.host, "port": thing.port}
        if isinstance(thing, Source):
            return {"name": thing.name, **place}
        return {
            "id": thing.id, **place, "region_id": thing.region_id, "engine": thing.engine,
            "engine_version": thing.engine_version,
        }  # fmt: skip

    def places(self) -> dict[str, dict[str, Any]]:
        """Return where everything is: {"instances": {id: ...}, "sources": {name: ...}}."""
        with self.store.lock:
            return {
                "instances": {key: self._place(item) for key, item in self.store.instances.items()},
                "sources": {key: self._place(item) for key, item in self.store.sources.items()},
            }

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a client uses the first key of the seed, but the endpoint."""
        key = self.default_key
        names = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": key.security_token or "",
            "ALIBABA_CLOUD_REGION_ID": self._defaults[0],
        }
        return {name: value for name, value in names.items() if value}
