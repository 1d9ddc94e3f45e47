# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the jobs and workflows of docs/awx/objects.yml as AWX would: with ansible-runner, and no more than they hold.

After awx/main/tasks/jobs.py, awx/main/models/credential.py and awx/main/models/workflow.py.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ansible_runner
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = Path(__file__).resolve().parents[2]
Variables = dict[str, Any]


class Unsafe(str):
    """A string that Ansible must not take for a template."""


class _Loader(yaml.SafeLoader):
    pass


class Dumper(yaml.SafeDumper):
    """Dumps what was loaded as it was."""


class _UnsafeDumper(yaml.SafeDumper):
    """For what people have given."""


_Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))
Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", text))
_UnsafeDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("!unsafe", text))


@dataclass
class Job:
    """A job that has ended."""

    name: str
    status: str
    output: str
    artifacts: Variables  # of set_stats
    told: str  # everything that AWX keeps of it


@dataclass
class AWX:
    """What docs/awx/objects.yml puts into it, with the secrets that people have filled in, by name of credential."""

    home: Path
    environment: dict[str, str]
    secrets: dict[str, dict[str, str]]
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = yaml.load((ROOT / "docs/awx/objects.yml").read_text(), _Loader)

    def named(self, kind: str, name: str) -> Any:
        (found,) = [item for item in self.objects[f"controller_{kind}"] if item["name"] == name]
        return found

    def launch(self, name: str, answers: Variables, *, job_type: str | None = None) -> Job:
        """A person launches a job template and answers its survey."""
        template = self.named("templates", name)
        given = _answered(template["survey_spec"], answers)
        assert job_type is None or template["ask_job_type_on_launch"]
        return self._run(template, given, job_type or template["job_type"])

    def workflow(self, name: str, answers: Variables, approve: Callable[[str, Variables], bool]) -> Iterator[Job]:
        """A person launches a workflow; `approve` is asked at its approval nodes. All edges are for success."""
        template = self.named("workflows", name)
        given = _answered(template["survey_spec"], answers)
        nodes = {node["identifier"]: node for node in template["workflow_nodes"]}
        children = {key: [edge["identifier"] for edge in _edges(node)] for key, node in nodes.items()}
        (current,) = set(nodes) - {child for several in children.values() for child in several}
        artifacts: Variables = {}
        while True:
            what = nodes[current]["unified_job_template"]
            if what["type"] == "workflow_approval":
                if not approve(current, artifacts):
                    return
            else:
                template = self.named("templates", what["name"])
                # Not held against the survey of the job template; the workflow's variables win over artifacts.
                job = self._run(template, {**artifacts, **given}, template["job_type"])
                yield job
                if job.status != "successful":
                    return
                artifacts = {**artifacts, **job.artifacts}
            if not children[current]:
                return
            (current,) = children[current]

    def _run(self, template: Variables, runtime: Variables, job_type: str) -> Job:
        number = len(self.jobs) + 1
        private = self.home / f"awx_{number}"
        for folder in ("env", "inventory"):
            (private / folder).mkdir(parents=True)
        (private / "project").symlink_to(ROOT)
        environment, arguments = dict(self.environment), ["-u", "root"]
        arguments += ["--check"] if job_type == "check" else []
        arguments += ["--diff"] if template["diff_mode"] else []
        for name in template["credentials"]:
            self._inject(name, private, environment, arguments)
        trusted = json.loads(json.dumps(template["extra_vars"]))
        variables = {**trusted, **_defaults(template["survey_spec"]), **runtime}
        files = {"envvars": json.dumps(environment), "cmdline": shlex.join(arguments)}
        files["extravars"] = _dumped(variables, trusted)
        for name, content in files.items():
            (private / "env" / name).write_text(content)
        inventory = private / "inventory" / "hosts"
        inventory.write_text(f"#!/usr/bin/env python3\nprint({json.dumps({'all': {'hosts': []}})!r})\n")
        inventory.chmod(0o700)
        run = ansible_runner.run(private_data_dir=str(private), playbook=template["playbook"], quiet=True, ident="job")
        kept = private / "artifacts" / "job"
        events = [json.loads(file.read_text()) for file in (kept / "job_events").glob("*.json")]
        stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
        artifacts = stats[0].get("artifact_data", {}) if stats else {}
        # ansible-runner's own file `command` has the environment, by design; AWX does not keep it.
        told = [file.read_text() for file in kept.rglob("*") if file.is_file() and file.name != "command"]
        job = Job(template["name"], run.status, (kept / "stdout").read_text(), artifacts, "\n".join(told))
        self.jobs.append(job)
        return job

    def _inject(self, name: str, private: Path, environment: dict[str, str], arguments: list[str]) -> None:
        kind = self.named("credential_types", self.named("credentials", name)["credential_type"])
        secrets = self.secrets[name]
        assert set(kind["inputs"]["required"]) <= set(secrets) <= {each["id"] for each in kind["inputs"]["fields"]}
        injectors, sandbox = kind["injectors"], ImmutableSandboxedEnvironment()
        known: Variables = {**{key: value for key, value in secrets.items() if value}, "tower": SimpleNamespace()}

        def rendered(node: Any) -> Any:
            if isinstance(node, dict):
                return {key: rendered(value) for key, value in node.items()}
            return sandbox.from_string(node).render(**known)

        known["tower"].filename = SimpleNamespace()
        for label, template in injectors.get("file", {}).items():
            file = private / "env" / f"tmp-{name.replace(' ', '-')}-{label}"
            file.write_text(rendered(template))
            setattr(known["tower"].filename, label.partition(".")[2], str(file))
        environment.update(rendered(injectors.get("env", {})))
        if "extra_vars" in injectors:
            file = private / "env" / f"tmp-{name.replace(' ', '-')}"
            file.write_text(_dumped(rendered(injectors["extra_vars"]), {}))
            arguments += ["-e", f"@{file}"]


def _edges(node: Variables) -> list[Variables]:
    return node.get("related", {}).get("success_nodes", [])


def _defaults(spec: Variables) -> Variables:
    return {question["variable"]: question["default"] for question in spec["spec"] if "default" in question}


def _answered(spec: Variables, answers: Variables) -> Variables:
    """What the user interface sends: also the defaults, and an empty text for each text that was left out."""
    empty = {q["variable"]: "" for q in spec["spec"] if q["type"] == "text" and not q["required"]}
    given = {**empty, **_defaults(spec), **answers}
    questions = {question["variable"]: question for question in spec["spec"]}
    assert given.keys() <= questions.keys()
    assert {name for name, question in questions.items() if question["required"]} <= given.keys()
    return given


def _dumped(variables: Variables, trusted: Variables) -> str:
    """Only what the job template itself says may be a template of Ansible."""
    parts = []
    for key, value in variables.items():
        dumper = yaml.SafeDumper if key in trusted and trusted[key] == value else _UnsafeDumper
        parts.append(yaml.dump({key: value}, None, dumper, default_flow_style=False))
    return "".join(parts)
