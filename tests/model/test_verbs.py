# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Random histories of all verbs on three instances and several links: create, preview, info, promote, rebuild.

Links go from two self-managed sources and from each RDS instance to each other one, so an instance may be promoted and
become the source of another link, and a row of the log may be gone while its link lives. The histories are drawn and
run as those of test_model.py. The state of the service is kept before each request of a run, after what happens there:
what a run reports has to have been so at one of these moments, from the first that its reads can have shown.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.info import INFO
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.roles import PROMOTION, REBUILD
from rds_emulator.client import Emulator

from . import test_model as one
from .test_model import DR, OTHER_DR, RDS_SOURCE, SPEED, History

OPERATIONS = {"apply": LINK, "promote": PROMOTION, "rebuild": REBUILD, "info": INFO}
WRITES = {"apply": "CreateReplicationLink", "promote": "DeleteReplicationLink", "rebuild": "RebuildReplicationLink"}
REGIONS = {DR: "cn-shanghai", OTHER_DR: "cn-shanghai", RDS_SOURCE: "cn-hangzhou"}

# -- what is drawn -----------------------------------------------------------------------------------------------------

TARGETS = [
    *one.TARGETS,
    *({"action": action, "match": {"ResourceOwnerId": ""}} for action in (WRITES["promote"], WRITES["rebuild"])),
]
TROUBLE = st.sampled_from(one.TRANSPORT + one.REFUSALS)


def at(targets: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(st.sampled_from(targets), TROUBLE).map(lambda pair: {**pair[0], **pair[1]})


COUNTS = st.fixed_dictionaries(
    {"skip": st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5]), "times": st.sampled_from([1, 1, 2, 9])}
)
COUNTED = st.tuples(at(TARGETS), COUNTS).map(lambda pair: {**pair[0], **pair[1]})
FAULTS = st.lists(at([target for target in TARGETS if "match" in target]) | COUNTED, max_size=2)
INSTANCES = st.sampled_from([*[DR] * 5, *[OTHER_DR] * 3, RDS_SOURCE])
SOURCES = st.sampled_from(["onprem", "onprem", "elsewhere", RDS_SOURCE, RDS_SOURCE, DR, OTHER_DR])
EVENTS = st.tuples(
    INSTANCES,
    st.sampled_from(
        [
            *("promote", "promote", "detach", "empty", "forget", "they_preview", "they_rebuild"),
            *(f"link {source}" for source in ("onprem", "elsewhere", RDS_SOURCE, DR)),
            *("lock", "unlock", "reboot", "run", "break", "break", "mend", "pause", "calm", "lag", "release"),
            *(f"fail {stage}" for stage in ("precheck", "basebackup", "increment", "promote")),
            *(f"hold {stage}" for stage in ("precheck", "basebackup", "increment", "promote")),
        ]
    ),
)
MEANWHILE = st.lists(st.tuples(st.integers(0, 9), EVENTS), max_size=2)
LINKED = [(DR, "link onprem")]
SIBLING = [(OTHER_DR, f"link {RDS_SOURCE}")]
PROMOTED = [*LINKED, (DR, "promote")]
SWAPPED = [(DR, f"link {RDS_SOURCE}"), (DR, "promote"), (RDS_SOURCE, f"link {DR}")]
PASTS = st.sampled_from(
    [
        [],
        LINKED,
        SIBLING,
        [*PROMOTED, (DR, "empty"), *SIBLING],
        [*LINKED, (DR, "break"), *SIBLING],
        [(DR, f"link {RDS_SOURCE}"), *SIBLING],
        [*LINKED, (OTHER_DR, "link elsewhere"), (OTHER_DR, "pause")],
        [*LINKED, *SIBLING, (DR, "fail promote"), (OTHER_DR, "fail promote")],
        [*PROMOTED, (OTHER_DR, f"link {DR}")],
        [*SWAPPED, (OTHER_DR, f"link {DR}")],
        [(DR, "fail precheck"), *LINKED, *LINKED, (DR, "forget"), *SIBLING],
        [(DR, "fail basebackup"), *LINKED, *LINKED, (DR, "forget"), *SIBLING],
        [*PROMOTED, (DR, "empty"), *LINKED, (DR, "forget")],
        [(DR, f"link {RDS_SOURCE}"), (DR, "forget"), (DR, "break"), *SIBLING, (OTHER_DR, "break")],
        [*PROMOTED, (DR, "fail precheck"), *LINKED, *SIBLING],
    ]
)
QUIRKS = st.tuples(one.QUIRKS, st.sampled_from(["none", "json"])).map(
    lambda drawn: {**drawn[0], "replication_info": drawn[1]}
)
DEFAULTS = {
    name: {option: spec.get("default") for option, spec in operation.spec["argument_spec"].items()}
    for name, operation in OPERATIONS.items()
}
ROLE_KEYS = {
    *("changed", "outcome", "request_id", "task_id", "task_name", "topology", "checks", "lag", "seconds"),
    *("endpoint", "credentials", "retries"),
}
PROMOTION_KEYS = ROLE_KEYS | {"run", "said", "fence", "digest", "events", "transactions_after_fence"}
PROMOTION_KEYS |= {"report", "report_file"}
KEYS_OF = {"apply": one.LINK_KEYS, "info": one.INFO_KEYS, "promote": PROMOTION_KEYS, "rebuild": ROLE_KEYS}
SEEN = 0.01  # real seconds of a rebuild, so that most of them are seen at work
PATIENT = {"wait_timeout": 100.0 * SPEED, "settle_timeout": 0.2 * SPEED}
State = dict[str, Any]


@dataclass
class Run:
    """A run of one verb, what it sent, and the states of the service that it can have seen."""

    verb: str
    instance: str
    check_mode: bool
    options: dict[str, Any]
    key: str
    source: str | None
    states: list[State]
    written: list[int] = field(default_factory=list)  # how many states there were when it sent its write
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        return str(self.result.get("outcome"))

    @property
    def code(self) -> str:
        return str(self.result["error"]["code"]) if self.result.get("failed") else ""

    def links(self) -> list[Any]:
        return [state["instances"][self.instance]["link"] for state in self.states]


class Verbs(History):
    """All verbs, on two DR instances and an RDS source, each of which may become the other."""

    preview = apply_plan = apply_in_doubt = None  # rules of the smaller model

    def __init__(self, rds: Emulator) -> None:
        super().__init__(rds)
        self.acts: list[Run] = []
        self.act: Run | None = None
        self.seen: list[tuple[float, State]] = []

    # -- the service, and others -----------------------------------------------------------------------------------

    def look(self) -> None:
        super().look()
        self.keep()

    def see(self) -> None:
        """The journal is of no use before a run has ended."""
        self.state = self.rds.state()
        self.keep()

    def keep(self) -> None:
        """Keep the state of now, for what a run reports."""
        self.seen.append((time.monotonic(), self.state))
        if self.act:
            self.act.states.append(self.state)

    def their_source(self, source: str) -> dict[str, Any]:
        if source not in REGIONS:
            return super().their_source(source)
        names = {"SourceInstanceName": source, "SourceInstanceRegionId": REGIONS[source]}
        return {"SourceCategory": "aliyunRDS", **names}

    def happen(self, what: Any) -> None:
        instance, what = what
        if what.startswith("link "):
            self.they_create(what.removeprefix("link "), instance=instance)
        elif what == "they_rebuild":
            self.they_call("RebuildReplicationLink", DBInstanceId=instance, **one.THEIRS)
            self.rest(late=False)
        elif what == "forget":
            self.look()
            for row in self.tasks("create", instance)[-1:]:
                self.rds.forget_task(row["id"])
        elif what == "pause":
            self.look()
            if not self.meanwhile and self.truth(self.state, instance) == "streaming":
                self.rds.break_link(instance, "replay_paused")
        else:
            super().happen(what, instance)

    def between(self) -> None:
        super().between()
        if self.act:
            self.see()

    # -- steps -----------------------------------------------------------------------------------------------------

    @initialize(quirks=QUIRKS, past=PASTS)
    def begin(self, quirks: dict[str, str], past: list[Any]) -> None:
        super().begin(quirks, past)
        self.rds.add_fault(fault="slow", stage="startup", task_type="rebuild", seconds=SEEN, times=99)

    @rule(what=EVENTS)
    def others(self, what: Any) -> None:
        with self.step():
            self.happen(what)
            self.rest()

    @rule(
        instance=INSTANCES,
        source=SOURCES,
        plan=st.none() | st.none() | one.PLANS,
        password=one.PASSWORDS,
        check_mode=st.booleans(),
        wait=one.WAITS,
        faults=FAULTS,
        meanwhile=MEANWHILE,
        hurry=st.booleans(),
    )
    def apply(self, instance: str, source: str, plan: str | None, password: str, **drawn: Any) -> None:
        with self.step():
            plan_id = self.plan_id(plan, instance)
            self.run("apply", instance, self.link_options(source, password, plan_id), source=source, **drawn)

    @rule(
        instance=INSTANCES,
        mode=st.sampled_from(["planned", "planned", "forced"]),
        measured=st.sampled_from([None, 0, 0, 1]),
        check_mode=st.sampled_from([False, False, True]),
        wait=one.WAITS,
        faults=FAULTS,
        meanwhile=MEANWHILE,
        hurry=st.booleans(),
    )
    def promote(self, instance: str, mode: str, measured: int | None, **drawn: Any) -> None:
        with self.step():
            confirm = instance if mode == "forced" else None
            self.run("promote", instance, {"mode": mode, "measured_lag_bytes": measured, "confirm": confirm}, **drawn)

    @rule(
        instance=INSTANCES,
        confirmed=st.booleans(),
        check_mode=st.sampled_from([False, False, True]),
        wait=one.WAITS,
        faults=FAULTS,
        meanwhile=MEANWHILE,
        hurry=st.booleans(),
    )
    def rebuild(self, instance: str, confirmed: bool, **drawn: Any) -> None:
        with self.step():
            self.run("rebuild", instance, {"confirm": instance if confirmed else None}, **drawn)

    @rule(instance=INSTANCES, faults=FAULTS, meanwhile=MEANWHILE)
    def info(self, instance: str, **drawn: Any) -> None:
        with self.step():
            self.run("info", instance, {}, check_mode=False, **drawn)

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(
        self,
        verb: str,
        instance: str,
        options: dict[str, Any],
        *,
        check_mode: bool,
        source: str | None = None,
        wait: dict[str, Any] | None = None,
        faults: list[dict[str, Any]] | None = None,
        meanwhile: list[tuple[int, Any]] | None = None,
        hurry: bool = False,
    ) -> Run:
        """Run an operation and judge it."""
        times = {} if verb == "info" else {**one.QUICK, **(wait or {})}
        self.arm(faults or [])
        self.see()
        options = {**DEFAULTS[verb], **times, "dr_instance_id": instance, **options, **self.limits()}
        key = one.RUN_KEYS[len(self.acts)]["access_key_id"]
        run = self.act = Run(verb, instance, check_mode, options, key, source, self.visible())
        self.meanwhile, self.moment = meanwhile or [], 0
        try:
            run.result = self.operate(OPERATIONS[verb], options, check_mode)
            self.see()
        finally:
            self.meanwhile, self.act = [], None
        self.acts.append(run)
        self.rest(late=not hurry)
        event(f"{verb}{' (check mode)' if check_mode else ''}: {run.outcome} {run.code}")
        failed = run.result.get("failed")
        self.judge_form(run.result, KEYS_OF[verb] | ({"outcome"} if failed else set()))
        self.judge_guards(run)
        self.judge_report(run)
        return run

    def visible(self) -> list[State]:
        """The kept states that a read can show from now on."""
        oldest = time.monotonic() - self.lag - 0.005 if self.lag else time.monotonic()
        first = max((n for n, (when, _state) in enumerate(self.seen) if when <= oldest), default=0)
        return [state for _when, state in self.seen[first:]]

    @property
    def environment(self) -> dict[str, str]:
        assert self.act
        return {**self.rds.environment, "ALIBABA_CLOUD_ACCESS_KEY_ID": self.act.key}

    def sending(self, action: str | None = None) -> None:
        super().sending(action)
        assert self.act
        if action in WRITES.values():
            self.act.written.append(len(self.act.states))

    def link_options(self, source: str, password: str, plan_id: int | None) -> dict[str, Any]:
        if source in REGIONS:
            names = {"source_instance_name": source, "source_instance_region_id": REGIONS[source]}
            where = {"source_category": "aliyunRDS", **names}
        else:
            where = self.source_options(source)
        account = {"replicator_account": "dr_sync", "replicator_password": password}
        return {**where, **account, "dry_run_task_id": plan_id}

    # -- what is so at the service ---------------------------------------------------------------------------------

    def truth(self, state: State, instance: str) -> str:
        """The state of the link of an instance; `unknown` where no row of the log is about it."""
        link = state["instances"][instance]["link"]
        if link is None:
            return "none"
        if link["task_id"] not in [row["id"] for row in state["tasks"]]:
            return "unknown"
        return "streaming" if state["replication"][instance]["state"] == "streaming" else "disconnect"

    def truths(self, run: Run, states: list[State]) -> set[str]:
        """The states of the link that two reads can show, of which one may be older than the other."""
        found = {self.truth(state, run.instance) for state in states}
        known = {row["id"] for row in states[0]["tasks"]}
        rows = [row for state in states for row in self.creates(state, run.instance)]
        if any(row["status"] == "running" or row["id"] not in known for row in rows):
            found.add("creating")
        if len({link and link["task_id"] for link in run.links()}) > 1:
            found |= {"unknown", "disconnect"}
        return found

    def creates(self, state: State, instance: str) -> list[dict[str, Any]]:
        """Rows of creates, oldest first."""
        rows = [row for row in state["tasks"] if (row["type"], row["instance_id"]) == ("create", instance)]
        return sorted(rows, key=lambda row: row["id"])

    def sources(self, run: Run) -> set[str]:
        """The sources of the links that the instance had or got while a run could see it."""
        links = [self.source_of(link["source_instance"], link["source_port"]) for link in run.links() if link]
        known = {row["id"] for row in run.states[0]["tasks"]}
        rows = [row for state in run.states for row in self.creates(state, run.instance)]
        new = [row["name"] for row in rows if row["status"] == "running" or row["id"] not in known]
        return {*links, *(self.source_of_name(name) for name in new)}

    def source_of(self, instance: str | None, port: Any) -> str:
        """Rows of the log name an RDS source by its port alone."""
        ports = {str(place["port"]): name for name, place in self.rds.instances.items()}
        return ports.get(str(port)) or super().source_of(instance, port)

    def is_live_primary(self, state: State, instance: str) -> bool:
        """Whether it has no link, and links of others come from it."""
        links = {name: now["link"] for name, now in state["instances"].items()}
        return not links[instance] and any(link and link["source_instance"] == instance for link in links.values())

    def ended(self, state: State, instance: str, plan_id: int | None = None) -> bool:
        """Whether the log shows a link that is no more, and that is not older than a plan."""
        made = [row["id"] for row in self.creates(state, instance) if row["status"] == "success"]
        is_newer = bool(made) and (plan_id is None or max(made) > plan_id)
        return is_newer and state["instances"][instance]["link"] is None

    # -- what must hold --------------------------------------------------------------------------------------------

    def judge_guards(self, run: Run) -> None:
        """What was sent was allowed by something that the run can have read before."""
        writes = [row for row in self.rows(run) if self.is_write(row)]
        if not writes:
            return
        before = run.states[: run.written[-1]]
        assert not all(self.is_live_primary(state, run.instance) for state in before), "a live primary of others"
        found = self.truths(run, before)
        if run.verb == "apply":
            plan_id = run.options["dry_run_task_id"]
            assert "none" in found, "a create was sent for an instance that has a link"
            assert not all(self.ended(state, run.instance, plan_id) for state in before), "made again unasked"
            if plan_id is not None:
                (plan,) = [row for row in self.tasks("create-dryrun", run.instance) if row["id"] == plan_id]
                assert self.source_of_name(plan["name"]) == run.source
            return
        assert found != {"none"}
        if run.verb == "rebuild":
            assert run.options["confirm"] or "disconnect" in found, f"rebuilt unasked: {found}"
        elif run.options["mode"] == "planned":
            measured = run.options["measured_lag_bytes"]
            reported = self.state["quirks"]["replication_info"] == "json"
            assert "streaming" in found or ("unknown" in found and measured is not None), found
            assert measured == 0 or (measured is None and reported), "the lag was not known"
            lags = [state["replication"].get(run.instance, {}).get("lag_bytes") for state in before]
            assert not reported or not all(lags), "the lag was reported"

    def judge_report(self, run: Run) -> None:
        """What a run reports was so while it could see it."""
        result = run.result
        found = self.truths(run, run.states)
        logs = [row for row in self.rows(run) if row["action"] == "DescribeReplicationLinkLogs"]
        if run.options.get("mode") == "forced" and any(row["fault"] for row in logs):
            found.add("unknown")  # it goes on without the log
        if run.verb == "info" and not run.code:
            assert (result["link"] or {"state": "none"})["state"] in found
            return
        link = result.get("link")
        if link and link["state"] != "planned":
            assert link["state"] in found, f"{link['state']}, not {found}"
            assert self.source_of(link["source_instance_name"], link["source_port"]) in self.sources(run)
        for name, side in (result.get("topology") or {}).items():
            if name == "after" and run.outcome == "previewed":
                continue
            assert side["link_state"] in found, f"{name}: {side['link_state']}, not {found}"
            assert (side["dr_instance"] or side["primary"])["instance_id"] == run.instance
            assert (side["dr_instance"] is None) == (side["link_state"] == "none")
        if run.code:
            return
        if run.verb == "promote" and run.outcome in ("promoted", "unchanged"):
            assert "none" in found, f"{run.outcome}, but the link is there"
        if run.verb == "promote" and run.outcome == "unchanged":
            assert not all(self.is_live_primary(state, run.instance) for state in run.states)
            assert any(self.ended(state, run.instance) for state in run.states), "no link has ended"
        if run.verb == "apply" and run.outcome in ("created", "adopted", "unchanged"):
            assert run.source in self.sources(run), f"{run.outcome}, but neither link nor task is there"
        if run.verb == "rebuild" and run.outcome == "unchanged":
            assert "streaming" in found

    def judge_world(self) -> None:
        """What holds at any time; of earlier runs, too, since a request may come through late."""
        for run in self.acts:
            self.judge_run(run)

    def rows(self, run: Run) -> list[dict[str, Any]]:
        """The requests of a run, as far as they have arrived."""
        return [row for row in self.journal if row["access_key_id"] == run.key]

    def is_write(self, row: dict[str, Any]) -> bool:
        return row["action"] in WRITES.values() and row["params"].get("DryRun") != "true"

    def judge_run(self, run: Run) -> None:
        rows = self.rows(run)
        for row in rows:
            assert row["params"]["DBInstanceId"] == run.instance, "another instance was operated"
            assert row["unknown_params"] == []
            assert row["action"].startswith("Describe") or row["action"] == WRITES.get(run.verb)
            assert row["params"].get("DryRun", "true") in ("true", "false")
            assert row["params"].get("ReplicatorPassword", "***") == "***"
            assert row["params"].get("PromoteToMaster", "true") == "true"
        writes = [row for row in rows if self.is_write(row)]
        committed = [row for row in writes if row["committed"]]
        assert all(row["code"] in one.HELD_BACK for row in writes[:-1]), "a write was repeated in doubt"
        assert len(committed) <= 1
        if run.check_mode or run.verb == "info":
            assert writes == []
            assert run.result["changed"] == (run.outcome == "previewed")
        else:
            assert writes == [row for row in rows if row["action"] in WRITES.values()], "a dry run"
        if run.outcome == "not_sent":
            assert writes == []
        if run.outcome in ("refused", "unchanged", "not_sent"):
            assert committed == [], f"{run.outcome}, but it was carried out"
            assert not run.result["changed"]
        if run.outcome == "unknown":
            assert run.written, "nothing can have been carried out"
        if run.outcome in ("created", "promoted", "rebuilt"):
            assert len(committed) == 1
        if committed and run.outcome in ("created", "promoted", "rebuilt", "adopted", "running"):
            assert run.result["changed"], f"{run.outcome}, and this run has changed it"
        if run.result["changed"]:
            assert run.check_mode or run.written

    # -- the end ---------------------------------------------------------------------------------------------------

    def converge(self) -> None:
        """In peace, the last verb ends where it has to, or says why not; again, it only reads."""
        last = next((run for run in reversed(self.acts) if run.verb != "info"), None)
        if last is None:
            return
        self.calm()
        for name in REGIONS:
            self.rds.set_instance(name, lock_mode="Unlock", broken=False)
            self.rds.repair_link(name)
        self.rest()
        for name in REGIONS:
            self.rds.set_instance(name, status="Running")
        self.look()
        self.seen = self.seen[-1:]
        if last.verb == "promote":
            changes = {"measured_lag_bytes": 0}
        else:
            changes = self.link_options(last.source, one.PASSWORD, None) if last.source else {}
        waits = set(DEFAULTS[last.verb]) & {*one.QUICK, "wait", "connection", *self.limits()}
        options = {name: value for name, value in last.options.items() if name not in waits} | changes
        again = functools.partial(self.run, last.verb, last.instance, check_mode=False, wait=PATIENT)
        for _twice in range(2):
            before = self.state
            run = again(options, source=last.source)
            self.judge_world()
            expected = getattr(self, f"end_of_{last.verb}")(before, last, options)
            assert (run.code or run.outcome) in expected, f"{run.result.get('msg', run.outcome)} {expected}"
            if run.outcome not in ("created", "promoted"):
                break

    def end_of_apply(self, before: State, run: Run, options: dict[str, Any]) -> set[str]:
        link = before["instances"][run.instance]["link"]
        if link:
            is_same = self.source_of(link["source_instance"], link["source_port"]) == run.source
            if not is_same:
                return {"OtherSource"}
            # The newest row is taken for that of the link, if its task came so far.
            newest = self.creates(before, run.instance)[-1:]
            failed_late = bool(newest) and (newest[0]["status"], newest[0]["stage"]) == ("failure", "increment")
            return {"LinkBroken" if failed_late and self.truth(before, run.instance) == "unknown" else "unchanged"}
        if self.is_live_primary(before, run.instance):
            return {"InstanceIsPrimary"}
        if run.instance == run.source:
            return {"InstanceUnfit"}
        return {"LinkEnded"} if self.ended(before, run.instance) else {"created", "PrecheckFailed"}

    def end_of_promote(self, before: State, run: Run, options: dict[str, Any]) -> set[str]:
        found = self.truth(before, run.instance)
        if found == "none":
            is_free = not self.is_live_primary(before, run.instance)
            return {"unchanged" if is_free and self.ended(before, run.instance) else "NotDrInstance"}
        return {"PromotionRefused" if options["mode"] == "planned" and found == "disconnect" else "promoted"}

    def end_of_rebuild(self, before: State, run: Run, options: dict[str, Any]) -> set[str]:
        found = self.truth(before, run.instance)
        if found == "none":
            return {"NotLinked"}
        if found == "disconnect":  # all was mended, so its source is gone for good
            return {"RebuildFailed"}
        if options["confirm"]:  # without a row, one that was busy for no poll has not shown
            return {"rebuilt", "RebuildFailed"} if found == "unknown" else {"rebuilt"}
        return {"unchanged"} if found == "streaming" else {"RebuildRefused"}


@pytest.mark.parametrize("shard", range(one.SHARDS))
def test_any_history_of_all_verbs(world: Emulator, shard: int) -> None:
    one.run_histories(lambda: Verbs(world), shard)
