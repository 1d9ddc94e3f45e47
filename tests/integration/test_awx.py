# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What docs/awx puts into AWX: AWX takes each object, the role each answer, and setting up again changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import DR_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.role import options_of as dr_link_options
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import CHECK_IDS
from tests.awx import launch, rules
from tests.awx.controller import Controller

from .conftest import ROOT

ROLE = ROOT / "roles/dr_link"
OBJECTS = launch.AWX(Path(), {}, {}).objects
TEMPLATES = {template["name"]: template for template in OBJECTS["controller_templates"]}
WORKFLOWS = {workflow["name"]: workflow for workflow in OBJECTS["controller_workflows"]}


def variables(questions):
    return {question["variable"] for question in questions["survey_spec"]["spec"]}


@pytest.mark.parametrize("kind", OBJECTS["controller_credential_types"], ids=lambda kind: kind["name"])
def test_awx_takes_the_credential_types(kind):
    assert rules.credential_type(kind["inputs"], kind["injectors"]) == []
    assert kind["kind"] in ("cloud", "net")  # awx/api/serializers.py: of others no types can be made
    # Without it AWX adds it, and the next setup would find a difference.
    assert all(field["type"] for field in kind["inputs"]["fields"])
    assert [f["id"] for f in kind["inputs"]["fields"] if f.get("secret")] == [
        f["id"] for f in kind["inputs"]["fields"] if f["id"] in ("access_key_secret", "security_token", "password")
    ]


@pytest.mark.parametrize("name", [*TEMPLATES, *WORKFLOWS])
def test_awx_takes_the_surveys(name):
    template = TEMPLATES.get(name) or WORKFLOWS[name]
    assert template["survey_enabled"]
    assert rules.survey(template["survey_spec"]) == []


@pytest.mark.parametrize(
    ("inputs", "injectors", "objection"),
    [
        ({"fields": [{"id": "a", "label": "A"}, {"id": "a", "label": "B"}]}, {}, "unique"),
        ({"fields": [{"id": "a-b", "label": "A"}]}, {}, "invalid variable name"),
        ({"fields": [{"id": "tower", "label": "A"}]}, {}, "invalid variable name"),
        ({"fields": [{"id": "a", "label": "A", "type": "boolean", "secret": True}]}, {}, "not allowed for a boolean"),
        ({"fields": [{"id": "a", "label": "A", "type": "string", "default": 1}]}, {}, "another type"),
        ({"fields": [{"id": "a", "label": "A", "choices": []}]}, {}, "choices"),
        ({"fields": [{"id": "a", "label": "A", "hidden": True}]}, {}, "unknown"),
        ({"fields": [], "required": ["a"]}, {}, "not defined"),
        ({"fields": []}, {"env": {"ANSIBLE_CONFIG": "x"}}, "not allowed in credentials"),
        ({"fields": []}, {"env": {"PYTHONPATH": "x"}}, "not allowed in credentials"),
        ({"fields": []}, {"env": {"A": "{{ b }}"}}, "undefined field"),
        ({"fields": []}, {"env": {"A": "{{ b"}}, "{{ b"),
        ({"fields": []}, {"extra_vars": {"a": {"b": "{{ tower.filename.c }}"}}}, "undefined field"),
        ({"fields": []}, {"file": {"template": "x", "template.a": "y"}}, "template"),
    ],
)
def test_the_rules_for_credential_types_bite(inputs, injectors, objection):
    assert any(objection in sentence for sentence in rules.credential_type(inputs, injectors))


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"type": "list"}, "no type of a question"),
        ({"variable": "a-b"}, "no name of a variable"),
        ({"required": "yes"}, "required"),
        ({"type": "integer", "default": "1"}, "another type"),
        ({"type": "integer", "default": 9, "max": 5}, "too large"),
        ({"default": "abc", "min": 4}, "too small"),
        ({"min": "4"}, "no integer"),
        ({"type": "multiplechoice"}, "no choices"),
        ({"type": "multiplechoice", "choices": ["a"], "default": "b"}, "not one of the choices"),
    ],
)
def test_the_rules_for_surveys_bite(change, objection):
    question = {"variable": "a", "question_name": "A", "type": "text", "required": False, **change}
    assert any(objection in sentence for sentence in rules.survey({"name": "", "description": "", "spec": [question]}))
    twice = [{"variable": "a", "question_name": "A", "type": "text", "required": False}] * 2
    assert rules.survey({"name": "", "description": "", "spec": twice}) == ["a variable is asked for twice"]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_runs_nothing_that_changes_without_an_approval(workflow):
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    assert len(nodes) == len(workflow["workflow_nodes"])
    edges = []
    for name, node in nodes.items():
        assert set(node.get("related", {})) <= {"success_nodes", "failure_nodes", "always_nodes"}
        edges += [(name, edge["identifier"]) for several in node.get("related", {}).values() for edge in several]
    assert {child for _parent, child in edges} <= set(nodes)
    assert rules.cycle(edges) == []
    assert rules.cycle([*edges, (edges[-1][1], edges[0][0])]) == ["Cycle detected."]
    approved = set()
    for _step in nodes:
        for parent, child in edges:
            what = nodes[parent]["unified_job_template"]
            if parent in approved or what["type"] == "workflow_approval":
                approved.add(child)
    for name, node in nodes.items():
        what = node["unified_job_template"]
        if what["type"] == "workflow_approval":
            assert what["timeout"] > 0 and what["name"] and what["description"]
            continue
        template = TEMPLATES[what["name"]]
        if template["job_type"] != "check" and template["playbook"] != "playbooks/verify.yml":
            assert name in approved and set(node.get("related", {})) <= {"success_nodes"}
        # What the job needs is asked for by the workflow, but for the plan, which comes from the preview.
        needed = {question["variable"] for question in template["survey_spec"]["spec"] if question["required"]}
        assert needed - variables(workflow) <= {"dr_link_dry_run_task_id"}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_role_takes_every_answer(template):
    assert template["playbook"] in rules.playbooks(ROOT)
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
    entry = Path(template["playbook"]).stem.replace("replication_link", "main").replace("preview", "preflight")
    options = specs[entry]["options"] if entry in specs else specs["main"]["options"]
    for question in template["survey_spec"]["spec"]:
        name, choices = question["variable"], question.get("choices")
        example = {"integer": 7, "multiselect": choices, "multiplechoice": (choices or [True])[0]}
        rule = DR_LINK[name.removeprefix("dr_link_")]
        for value in (example.get(question["type"], "text"), None, ""):
            assert dr_link_options({name: value})["problems"] == []
        if question["type"] == "multiplechoice" and choices:
            assert choices == rule.get("choices", ["no", "yes"]) and question["default"] in choices
        if str(options[name]["description"]).endswith("Required."):
            assert question["required"]
    skipped = [q["choices"] for q in template["survey_spec"]["spec"] if q["variable"] == "dr_link_skip_checks"]
    assert all(ids == list(CHECK_IDS) for ids in skipped)


def test_each_duty_has_its_policy():
    allowed = {}
    for duty in ("auditor", "operator", "promoter"):
        policy = json.loads((ROOT / f"docs/awx/{duty}.json").read_text())
        (statement,) = policy["Statement"]
        assert (policy["Version"], statement["Effect"]) == ("1", "Allow")
        allowed[duty] = {action for action in statement["Action"] if not action.startswith("rds:Describe")}
    assert allowed == {
        "auditor": set(),
        "operator": {f"rds:{verb}ReplicationLink" for verb in ("Create", "Rebuild")},
        "promoter": {"rds:DeleteReplicationLink"},
    }


def test_what_an_object_names_is_there():
    names = {
        kind: {item["name"] for item in OBJECTS[f"controller_{kind}"]} for kind in ("credentials", "credential_types")
    }
    assert all(item["credential_type"] in names["credential_types"] for item in OBJECTS["controller_credentials"])
    for template in TEMPLATES.values():
        assert set(template["credentials"]) <= names["credentials"]
        # AWX assigns one credential of a type: a job has one set of keys.
        kinds = [
            item["credential_type"]
            for item in OBJECTS["controller_credentials"]
            if item["name"] in template["credentials"]
        ]
        assert len(kinds) == len(set(kinds)) and "Alibaba Cloud RDS" in kinds
    # The playbook reads them from the installed collection.
    left_out = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]
    assert not any(fnmatch("docs/awx/objects.yml", pattern) or fnmatch("docs", pattern) for pattern in left_out)
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/awx_setup.yml").read_text())
    loops = {task["loop"].strip("{ }") for task in tasks}
    assert loops == {kind for kind in OBJECTS if kind.startswith("controller_")}
    for task in tasks:
        (arguments,) = [value for key, value in task.items() if key.startswith("awx.awx.")]
        for item in OBJECTS[task["loop"].strip("{ }")]:
            assert set(item) == set(arguments), f"{item['name']} says what the playbook does not pass on"


def setup(tmp_path, collections, *options, **env):
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "alicloud.rds.awx_setup", *options]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "ANSIBLE_HOME": str(tmp_path / ".ansible"),
        "ANSIBLE_REMOTE_TMP": str(tmp_path / ".ansible" / "tmp"),
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_NOCOLOR": "True",
        **env,
    }
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def part(tmp_path, **names):
    """An option that lets the playbook set up these objects only: each costs half a second."""
    few = {kind: [item for item in OBJECTS[kind] if item["name"] in wanted] for kind, wanted in names.items()}
    assert all(few.values())
    file = tmp_path / "few.yml"
    file.write_text(yaml.dump({"rds_dr_project_branch": "0.1.0", **few}, Dumper=launch.Dumper))
    return "-e", f"@{file}"


def test_setting_up_awx_twice_changes_nothing_that_is_there(tmp_path):
    collections = f"{ROOT}/.build/link:{ROOT}/.build/collections"
    names = [node["unified_job_template"]["name"] for node in WORKFLOWS["RDS DR link"]["workflow_nodes"]]
    templates = [*(name for name in names if name in TEMPLATES), "RDS DR promote"]
    wanted = {
        "controller_workflows": ["RDS DR link"],
        "controller_templates": templates,
        "controller_credentials": {name for template in templates for name in TEMPLATES[template]["credentials"]},
    }
    with Controller(ROOT, "the-token") as controller:
        door = {"CONTROLLER_HOST": controller.url, "CONTROLLER_OAUTH_TOKEN": "the-token"}
        done = setup(tmp_path, collections, *part(tmp_path, **wanted), **door)
        assert done.returncode == 0, done.stdout + done.stderr
        assert controller.named("projects", "alicloud.rds")["scm_branch"] == "0.1.0"
        # Nothing of a template of AWX was taken for one of Ansible.
        for kind in OBJECTS["controller_credential_types"]:
            there = controller.named("credential_types", kind["name"])
            assert (there["inputs"], there["injectors"]) == (kind["inputs"], kind["injectors"])
        promote = controller.named("job_templates", "RDS DR promote")
        assert promote["survey_spec"] == TEMPLATES["RDS DR promote"]["survey_spec"]
        assert json.loads(promote["extra_vars"]) == TEMPLATES["RDS DR promote"]["extra_vars"]
        assert len(promote["associated"]["credentials"]) == 2
        nodes = {node["identifier"]: node for node in controller.items["workflow_job_template_nodes"]}
        assert nodes["approve"]["associated"] == {"success_nodes": [nodes["apply"]["id"]]}
        (approval,) = controller.items["workflow_approval_templates"]
        assert (approval["id"], approval["timeout"]) == (nodes["approve"]["unified_job_template"], 86400)

        # Meanwhile, whoever holds the secrets has filled them in.
        controller.named("credentials", "RDS DR auditor")["inputs"] = {"access_key_secret": "$encrypted$"}
        controller.writes.clear()
        wanted |= {
            "controller_credential_types": ["RDS DR PostgreSQL login"],
            "controller_credentials": ["RDS DR auditor"],
            "controller_templates": ["RDS DR promote"],
        }
        again = setup(tmp_path, collections, *part(tmp_path, **wanted), **door)
        assert again.returncode == 0, again.stdout + again.stderr
        # awx.awx has no other way with approvals than to send them anew.
        assert controller.writes == [f"PATCH {approval['url']}"]
        assert "changed=1 " in again.stdout
        assert controller.named("credentials", "RDS DR auditor")["inputs"]


def test_setting_up_awx_without_awx_awx_says_what_is_missing(tmp_path):
    done = setup(tmp_path, f"{ROOT}/.build/link")
    assert done.returncode == 2
    assert "is missing: ansible-galaxy collection install awx.awx" in done.stdout + done.stderr
