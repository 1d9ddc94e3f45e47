# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The event source as ansible-rulebook runs it: by its path, with a real queue, against the local endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from ansible_collections.alicloud.rds.plugins.doc_fragments._connection import ModuleDocFragment
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.watching import REPLICATION_LINK_WATCH
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from rds_emulator.client import Emulator

pytestmark = pytest.mark.thorough  # rounds, delays and restarts take their time

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / ".build/link/ansible_collections/alicloud/rds/extensions/eda/plugins/event_source"
SOURCE /= "replication_link_watch.py"
# runpy, which ansible-rulebook uses, does not work beside the collection loader of Ansible; a test below uses it.
PLUGIN = {"__file__": str(SOURCE), "__name__": "<run_path>"}
exec(compile(SOURCE.read_text("utf-8"), str(SOURCE), "exec"), PLUGIN)
SECRET, PASSWORD = "watch+Secret/of=the/emulator", "Sync+of/the=watch"
KEY = {"access_key_id": "LTAI5tWatch", "access_key_secret": SECRET}
ACCOUNT = {"name": "sync", "password": PASSWORD, "attributes": ["LOGIN", "REPLICATION", "CREATEROLE"],
           "member_of": ["pg_monitor"]}  # fmt: skip
SEED = {
    "region_id": "cn-shanghai",
    "keys": [KEY],
    "instances": [*({"id": f"pgm-{name}"} for name in "abc"), {"id": "pgm-hz", "region_id": "cn-hangzhou"}],
    "sources": [{"name": name, "accounts": [ACCOUNT]} for name in ("one", "two")],
    "quirks": {"replication_info": "json"},
}
QUICK = {"interval": 0.05, "lag_for": 0.0, "silent_after": 0.4, "max_retries": 0, "reads_per_second": 1000.0}


@pytest.fixture(scope="module")
def fleet():
    with Emulator(seed=SEED, engine="memory") as rds:
        yield rds


@pytest.fixture
def rds(fleet, monkeypatch):
    """Links of pgm-a and pgm-b to one source, of pgm-c to another one; pgm-hz has none."""
    fleet.reset()
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    for name, where in (("pgm-a", "one"), ("pgm-b", "one"), ("pgm-c", "two")):
        make(fleet, name, where)
    fleet.clear_journal()
    return fleet


def make(rds, name, where):
    defaults = {key: rule.get("default") for key, rule in REPLICATION_LINK["argument_spec"].items()}
    given = {"dr_instance_id": name, "source_address": "127.0.0.1", "source_port": rds.sources[where]["port"],
             "replicator_account": "sync", "replicator_password": PASSWORD, "wait_interval": 0.05}  # fmt: skip
    result = run(LINK, {**defaults, **given}, check_mode=False, diff=False)
    assert result["link"]["state"] == "streaming", result


class Watching:
    """A running source, and what comes out of its queue."""

    def __init__(self, **args):
        self.queue, self.all = asyncio.Queue(), []
        self.task = asyncio.create_task(PLUGIN["main"](self.queue, {**QUICK, **args}))

    async def events(self, count=1):
        """Return the next events, as (type, id or links, after)."""
        found = [await asyncio.wait_for(self.queue.get(), 30) for _event in range(count)]
        self.all += found
        return [(each["type"], each["dr_instance_id"] or each["links"], each["after"]) for each in found]

    async def nothing(self, seconds=0.2):
        await asyncio.sleep(seconds)
        assert self.queue.empty(), self.queue.get_nowait()
        assert not self.task.done()


@pytest.fixture
def watching():
    """Run a scenario with a source; the source must still run at its end, and have sent no secret."""

    def play(scenario, **args):
        async def whole():
            watching = Watching(**args)
            try:
                await scenario(watching)
                assert not watching.task.done(), watching.task
            finally:
                watching.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching.task
            return watching.all

        events = asyncio.run(whole())
        sent = json.dumps(events)
        assert SECRET not in sent and PASSWORD not in sent
        return events

    return play


NAMED = {"links": [{"dr_instance_id": f"pgm-{name}"} for name in "abc"]}


# -- what comes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["refused", "source_gone", "wal_removed", "disk_full"])
def test_a_break_is_one_event_for_each_link_that_it_breaks(rds, watching, how):
    links = ["pgm-a", "pgm-b"] if how in ("refused", "source_gone") else ["pgm-a"]

    async def scenario(source):
        assert await source.events() == [("summary", ["pgm-a", "pgm-b", "pgm-c"], None)]
        rds.break_link("pgm-a", how)
        assert sorted(await source.events(len(links))) == [("link_state", name, "disconnect") for name in links]
        await source.nothing()
        if how != "wal_removed":
            rds.repair_link("pgm-a")
            assert sorted(await source.events(len(links))) == [("link_state", name, "streaming") for name in links]
            await source.nothing()

    broken = watching(scenario, **NAMED)[1]
    assert broken["before"] == "streaming" and broken["problem"]
    (failed,) = broken["checks"]
    assert failed["id"] == "link_state" and "alicloud.rds.rebuild" in failed["remedy"]
    assert len(broken["request_id"]) == 36 and broken["since"].endswith("Z")
    actions = {entry["action"] for entry in rds.journal()}
    assert actions == {"DescribeDBInstanceAttribute", "DescribeReplicationLinkLogs"}, "a watch reads, and nothing else"


def test_lag_that_the_service_reports_and_a_lock(rds, watching):
    async def scenario(source):
        await source.events()
        rds.break_link("pgm-c", "replay_paused", lag_bytes=20 * 2**20)
        assert await source.events() == [("lag", "pgm-c", "over")]
        rds.set_instance("pgm-c", lock_mode="ManualLock")
        assert await source.events() == [("instance_lock", "pgm-c", "ManualLock")]
        rds.repair_link("pgm-c")
        assert await source.events() == [("lag", "pgm-c", "under")]
        await source.nothing()

    over = watching(scenario, **NAMED)[1]
    assert over["lag_bytes"] == 20 * 2**20 and over["checks"][0]["id"] == "lag" and over["checks"][0]["remedy"]


def test_a_restart_sends_one_summary_and_no_storm(rds, watching):
    rds.break_link("pgm-a", "source_gone")

    async def scenario(source):
        assert await source.events() == [("summary", ["pgm-a", "pgm-b", "pgm-c"], None)]
        await source.nothing()

    for _start in range(2):
        (summary,) = watching(scenario, **NAMED)
        assert summary["states"] == {"disconnect": 2, "streaming": 1}
        assert {each["dr_instance_id"] for each in summary["attention"]} == {"pgm-a", "pgm-b"}


def test_throttling_is_no_event_until_it_has_lasted(rds, watching):
    async def scenario(source):
        await source.events()
        for fault in ({"code": "Throttling.User"}, {"code": "ServiceUnavailable"}):
            rds.add_fault(fault="error", times=4, **fault)
            await source.nothing()
        rds.add_fault(fault="lost", times=3)
        await source.nothing()
        rds.add_fault(fault="error", code="Throttling.User", times=None)
        assert await source.events() == [("service", ["pgm-a", "pgm-b", "pgm-c"], "unreadable")]
        await source.nothing()
        rds.clear_faults()
        assert await source.events() == [("service", ["pgm-a", "pgm-b", "pgm-c"], "readable")]
        await source.nothing()

    events = watching(scenario, **NAMED)
    assert events[1]["error"]["code"] == "Throttling.User" and events[1]["checks"] == []


class Gate:
    """A way to the endpoint that can be shut, as an outage does."""

    def __init__(self, endpoint):
        self.there, self.port = urlsplit(endpoint), 0

    async def open(self):
        self.open_ends = set()
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def shut(self):
        self.server.close()
        for end in self.open_ends:
            end.close()

    async def _pass(self, reader, writer):
        other, out = await asyncio.open_connection(self.there.hostname, self.there.port)
        self.open_ends |= {writer, out}

        async def copy(source, target):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
            target.close()

        await asyncio.gather(copy(reader, out), copy(other, writer))


def test_an_endpoint_that_stops_and_comes_back(rds, watching):
    gate = Gate(rds.endpoint)

    async def whole():
        await gate.open()
        source = Watching(**NAMED, endpoint=f"http://127.0.0.1:{gate.port}", silent_after=1.5)
        await source.events()
        await gate.shut()
        await source.nothing(0.25)
        assert await source.events() == [("service", ["pgm-a", "pgm-b", "pgm-c"], "unreadable")]
        rds.break_link("pgm-c", "refused")
        await source.nothing()
        await gate.open()
        assert sorted(await source.events(2)) == [
            ("link_state", "pgm-c", "disconnect"),
            ("service", ["pgm-a", "pgm-b", "pgm-c"], "readable"),
        ], "what has changed meanwhile is not missed"
        await source.nothing()
        source.task.cancel()
        await gate.shut()
        return source.all

    events = asyncio.run(whole())
    assert events[1]["error"]["code"] in ("EndpointUnreachable", "ReplyLost")


def test_a_key_that_is_renewed_is_no_event(rds, watching, tmp_path, monkeypatch):
    for name in list(rds.environment):
        if "KEY" in name:
            monkeypatch.delenv(name)
    file = tmp_path / "config.json"

    def write(**key):
        row = {"name": "watch", "mode": "AK", "region_id": "cn-shanghai", **key}
        file.write_text(json.dumps({"current": "watch", "profiles": [row]}))

    write(**KEY)

    async def scenario(source):
        await source.events()
        other = {"access_key_id": "LTAI5tWatchNew", "access_key_secret": f"{SECRET}2"}
        rds.add_key(**other)
        rds.add_key(**KEY, active=False)
        await asyncio.sleep(0.15)
        write(**other)
        await source.nothing(0.6)
        rds.break_link("pgm-c", "refused")
        assert await source.events() == [("link_state", "pgm-c", "disconnect")]

    watching(scenario, **NAMED, profile_file=str(file))


def test_links_are_found_by_region_and_filter(rds, watching):
    async def scenario(source):
        assert await source.events() == [("summary", ["pgm-a", "pgm-b", "pgm-c", "pgm-hz"], None)]
        rds.add_instance(id="pgm-new")
        assert await source.events() == [("instances", ["pgm-a", "pgm-b", "pgm-c", "pgm-hz", "pgm-new"], 5)]
        await source.nothing(0.15)
        make(rds, "pgm-new", "two")
        while ("link_state", "pgm-new", "streaming") not in await source.events(1):
            pass  # a round may see it while it is made
        rds.add_fault(fault="error", action="DescribeDBInstances", code="Throttling.User", times=2)
        await source.nothing(0.15)
        rds.delete_instance("pgm-new")
        kinds = {kind for kind, *_rest in await source.events(1)}
        assert kinds <= {"instances", "instance_status"}

    events = watching(scenario, regions=["cn-shanghai", "cn-hangzhou"])
    assert events[0]["states"] == {"streaming": 3, "none": 1} and events[0]["attention"] == []


def test_reads_keep_within_their_rate(rds, watching):
    async def scenario(source):
        await source.events()
        await asyncio.sleep(1.0)

    rds.clear_journal()
    begun = time.monotonic()
    watching(scenario, **NAMED, reads_per_second=20.0)
    assert len(rds.journal()) <= 20 * (time.monotonic() - begun) + 1


def test_an_outage_is_not_asked_300_times(rds, watching):
    names = [f"pgm-{number}" for number in range(60)]
    rds.add_fault(fault="status", http_status=503, times=None)
    rds.clear_journal()

    async def scenario(source):
        assert [kind for kind, *_rest in await source.events()] == ["summary"]

    watching(
        scenario, links=[{"dr_instance_id": name} for name in names], interval=10.0, silent_after=0.0, concurrency=4
    )
    asked = [entry for entry in rds.journal() if entry["params"].get("DBInstanceId") in names]
    assert 8 <= len(asked) <= 8 + 4


# -- what it refuses, and how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({}, "one of the following is required"),
        ({"dr_instance_id": "pgm-a", "regions": ["cn-shanghai"]}, "mutually exclusive"),
        ({"dr_instance_id": "pgm-a", "intervall": 5}, "intervall"),
        ({"dr_instance_id": "pgm-a", "interval": 0}, "interval"),
        ({"dr_instance_id": "pgm-a", "silent_after": -1}, "silent_after"),
        ({"dr_instance_id": "pgm-a", "reads_per_second": 0}, "reads_per_second"),
        ({"dr_instance_id": "pgm-a", "skip_checks": ["nonsense"]}, "nonsense"),
        ({"links": []}, "empty"),
        ({"links": [{"dr_instance_id": "pgm-a"}] * 2}, "pgm-a 2 times"),
        ({"filters": {"Colour": "red"}}, "Colour"),
        ({"regions": ["nowhere-1"], "endpoint": None}, "nowhere-1"),
    ],
)
def test_a_wrong_option_ends_the_source_at_once(monkeypatch, args, named):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5tWatch")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "cn-shanghai")
    with pytest.raises(RdsError, match=named) as caught:
        asyncio.run(PLUGIN["main"](asyncio.Queue(), args))
    assert caught.value.code in ("InvalidOptions", "UnknownRegion") and SECRET not in str(caught.value)


def test_the_loop_is_free_while_the_service_is_slow_and_the_end_does_not_wait_for_it(rds):
    rds.add_fault(fault="delay", seconds=5, times=None)

    async def whole():
        task = asyncio.create_task(PLUGIN["main"](asyncio.Queue(), {**QUICK, **NAMED}))
        longest, last = 0.0, time.monotonic()
        for _tick in range(50):
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert longest < 0.3
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(whole())
    assert time.monotonic() - begun < 2


def test_it_loads_by_its_path_where_ansible_has_prepared_nothing(rds, tmp_path):
    """As ansible-rulebook does: no collection loader, another folder, another path of modules."""
    code = f"""
import asyncio, json, runpy
main = runpy.run_path({str(SOURCE)!r})["main"]
async def first():
    queue = asyncio.Queue()
    task = asyncio.create_task(main(queue, {{"dr_instance_id": "pgm-a"}}))
    print(json.dumps(await queue.get()))
    task.cancel()
asyncio.run(first())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**rds.environment, "HOME": str(tmp_path)},
                          capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    assert json.loads(done.stdout)["states"] == {"streaming": 1}


def test_the_documentation_lists_the_options_that_count():
    documented = yaml.safe_load(PLUGIN["DOCUMENTATION"])
    assert documented["extends_documentation_fragment"] == ["alicloud.rds._connection"]
    options = {**yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"], **documented["options"]}
    spec = REPLICATION_LINK_WATCH["argument_spec"]
    assert options.keys() == spec.keys()
    for name, rule in spec.items():
        told = {key: options[name].get(key) for key in ("type", "elements", "default")}
        assert told == {key: rule.get(key) for key in ("type", "elements", "default")}, name


def test_the_examples_are_accepted(monkeypatch):
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import validated_by

    for example in yaml.safe_load(PLUGIN["EXAMPLES"]):
        (args,) = example.values()
        assert ArgumentSpecValidator(**validated_by(REPLICATION_LINK_WATCH)).validate(args).error_messages == []
