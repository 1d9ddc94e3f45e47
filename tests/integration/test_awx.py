# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The structure of docs/awx: playbooks and nodes exist, the role takes each answer, awx.awx each object."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import DR_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.role import options_of as dr_link_options
from ansible_collections.alicloud.rds.plugins.module_utils._dr.verification import CHECK_IDS
from tests.awx.launch import AWX, Unsafe

from .conftest import ROOT

ROLE = ROOT / "roles/dr_link"
MODULES = ROOT / ".build/collections/ansible_collections/awx/awx/plugins/modules"
OBJECTS = AWX(Path(), {}, {}).objects
TEMPLATES = {template["name"]: template for template in OBJECTS["controller_templates"]}
WORKFLOWS = {workflow["name"]: workflow for workflow in OBJECTS["controller_workflows"]}
SETUP = yaml.safe_load((ROOT / "playbooks/tasks/awx_setup.yml").read_text())
QUESTIONS = {"text": str, "textarea": str, "integer": int, "multiplechoice": str, "multiselect": list}


def variables(questions: dict[str, Any]) -> set[str]:
    return {question["variable"] for question in questions["survey_spec"]["spec"]}


def spec_of(options: dict[str, Any]) -> dict[str, Any]:
    """Documented options as an argument spec."""
    spec = {}
    for name, option in options.items():
        rule = {key: option[key] for key in ("type", "elements", "choices", "required", "aliases") if key in option}
        spec[name] = rule | ({"options": spec_of(option["suboptions"])} if "suboptions" in option else {})
    return spec


@pytest.mark.parametrize("task", SETUP, ids=lambda task: task["name"])
def test_the_modules_of_awx_take_each_object(task):
    """The keys of an object are those that the playbook passes on, and options of the module of awx.awx."""
    (module,) = [key for key in task if key.startswith("awx.awx.")]
    text = (MODULES / f"{module.rpartition('.')[2]}.py").read_text("utf-8")
    documentation = yaml.safe_load(re.search(r"^DOCUMENTATION = r?'''(.*?)'''", text, re.DOTALL | re.MULTILINE)[1])
    for item in OBJECTS[task["loop"].strip("{ }")]:
        assert set(item) == set(task[module]), item["name"]
        checked = ArgumentSpecValidator(spec_of(documentation["options"])).validate(item)
        assert checked.error_messages == [], item["name"]


def test_the_playbook_sets_up_all_objects():
    assert {task["loop"].strip("{ }") for task in SETUP} == {kind for kind in OBJECTS if kind.startswith("controller_")}
    # The playbook reads them from the installed collection.
    left_out = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]
    assert not any(fnmatch("docs/awx/objects.yml", pattern) or fnmatch("docs", pattern) for pattern in left_out)


@pytest.mark.parametrize("kind", OBJECTS["controller_credential_types"], ids=lambda kind: kind["name"])
def test_no_template_of_awx_is_one_of_ansible_and_no_secret_is_in_the_clear(kind):
    fields = {field["id"]: field for field in kind["inputs"]["fields"]}
    assert len(fields) == len(kind["inputs"]["fields"]) and set(kind["inputs"]["required"]) <= set(fields)
    secret = {name for name, field in fields.items() if field.get("secret")}
    assert secret == set(fields) & {"access_key_secret", "security_token", "password"}

    def strings(node: Any) -> list[Any]:
        values = node.values() if isinstance(node, dict) else [node]
        return [text for value in values for text in (strings(value) if isinstance(value, dict) else [value])]

    for text in strings(kind["injectors"]):
        assert isinstance(text, Unsafe), text
        names = set(
            re.findall(r"\b[a-z_]+\b", re.sub(r"'[^']*'|tower\.filename\.\w+|\b(?:default|true|if|else)\b", "", text))
        )
        assert names <= set(fields), text
    assert not any(name.startswith("ANSIBLE_") for name in kind["injectors"].get("env", {}))  # AWX refuses these


@pytest.mark.parametrize("name", [*TEMPLATES, *WORKFLOWS])
def test_a_survey_is_one_that_awx_takes(name):
    spec = (TEMPLATES.get(name) or WORKFLOWS[name])["survey_spec"]["spec"]
    assert len({question["variable"] for question in spec}) == len(spec) > 0
    for question in spec:
        kind, default = QUESTIONS[question["type"]], question.get("default")
        assert isinstance(question["required"], bool) and question["question_name"]
        assert default is None or (isinstance(default, kind) and default in question.get("choices", [default]))
        assert ("choices" in question) == (question["type"] in ("multiplechoice", "multiselect"))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_role_takes_every_answer(template):
    """Also null and blank, which AWX sends for what was left out."""
    playbook = ROOT / template["playbook"]
    assert yaml.safe_load(playbook.read_text())[0]["hosts"]
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = specs[{"replication_link": "main", "preview": "preflight"}.get(playbook.stem, playbook.stem)]["options"]
    for question in template["survey_spec"]["spec"]:
        name, choices = question["variable"], question.get("choices")
        example = {"integer": 7, "multiselect": choices, "multiplechoice": (choices or [True])[0]}
        for value in (example.get(question["type"], "text"), None, ""):
            assert dr_link_options({name: value})["problems"] == []
        if question["type"] == "multiplechoice":
            assert choices == DR_LINK[name.removeprefix("dr_link_")].get("choices", ["no", "yes"])
        if str(options[name]["description"]).endswith("Required."):
            assert question["required"]
        if name == "dr_link_skip_checks":
            assert choices == list(CHECK_IDS)


def test_a_job_has_one_set_of_keys_and_its_credentials_exist():
    kinds = {item["name"]: item["credential_type"] for item in OBJECTS["controller_credentials"]}
    assert set(kinds.values()) == {kind["name"] for kind in OBJECTS["controller_credential_types"]}
    for template in TEMPLATES.values():
        used = [kinds[name] for name in template["credentials"]]
        assert len(used) == len(set(used)) and "Alibaba Cloud RDS" in used, template["name"]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_changes_nothing_without_an_approval(workflow):
    """Its nodes are a chain of successes, and each job is asked what it needs."""
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    edges = {
        name: [edge["identifier"] for edge in node.get("related", {}).get("success_nodes", [])]
        for name, node in nodes.items()
    }
    assert all(set(node.get("related", {})) <= {"success_nodes"} for node in nodes.values())
    (current,) = set(nodes) - {child for several in edges.values() for child in several}
    seen, approved = [current], False
    while True:
        what = nodes[current]["unified_job_template"]
        if what["type"] == "workflow_approval":
            assert what["timeout"] > 0 and what["name"] and what["description"]
            approved = True
        else:
            template = TEMPLATES[what["name"]]
            assert approved or template["job_type"] == "check" or template["playbook"] == "playbooks/verify.yml"
            needed = {question["variable"] for question in template["survey_spec"]["spec"] if question["required"]}
            assert needed - variables(workflow) <= {"dr_link_dry_run_task_id"}  # comes from the preview
        if not edges[current]:
            break
        (current,) = edges[current]
        assert current not in seen
        seen.append(current)
    assert set(seen) == set(nodes) and approved


def test_each_duty_has_its_policy():
    """The files are for import; the table of docs/zero_to_streaming.md has the same actions, see test_documents.py."""
    allowed = {}
    for path in (ROOT / "docs/awx").glob("*.json"):
        (statement,) = json.loads(path.read_text())["Statement"]
        allowed[path.stem] = {action for action in statement["Action"] if not action.startswith("rds:Describe")}
    assert allowed == {
        "auditor": set(),
        "operator": {"rds:CreateReplicationLink", "rds:RebuildReplicationLink"},
        "promoter": {"rds:DeleteReplicationLink"},
        "driller": {"rds:CreateReplicationLink", "rds:DeleteReplicationLink"},
    }


def test_setting_up_awx_without_awx_awx_reports_what_is_missing(tmp_path):
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "alicloud.rds.awx_setup"]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.build/link",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is missing: ansible-galaxy collection install awx.awx" in done.stdout + done.stderr
