# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What AWX accepts, told anew from its source (github.com/ansible/awx, devel of October 2024).

Each function returns what AWX would object to, one sentence each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import StrictUndefined, TemplateError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

# awx/main/constants.py, ENV_BLOCKLIST
ENV_BLOCKLIST = {
    *("VIRTUAL_ENV", "PATH", "PYTHONPATH", "JOB_ID", "INVENTORY_ID", "INVENTORY_SOURCE_ID", "INVENTORY_UPDATE_ID"),
    *("AD_HOC_COMMAND_ID", "REST_API_URL", "REST_API_TOKEN", "MAX_EVENT_RES", "CALLBACK_QUEUE", "CALLBACK_CONNECTION"),
    *("CACHE", "JOB_CALLBACK_DEBUG", "INVENTORY_HOSTVARS", "AWX_HOST", "PROJECT_REVISION", "SUPERVISOR_CONFIG_PATH"),
}
# awx/main/constants.py, SURVEY_TYPE_MAPPING
QUESTION_TYPES = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), str),
    **{"integer": int, "float": (float, int)},
}
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# awx/main/fields.py, CredentialTypeInputField
FIELD_KEYS = {
    *("id", "label", "type", "help_text", "default"),
    *("format", "choices", "multiline", "secret", "ask_at_runtime"),
}
# awx/main/utils/ansible.py
PLAYBOOK = re.compile(r"\s*-?\s*(?:hosts|(ansible\.builtin\.)?include|(ansible\.builtin\.)?import_playbook):")


def credential_type(inputs: dict[str, Any], injectors: dict[str, Any]) -> list[str]:
    """awx/main/fields.py: CredentialTypeInputField and CredentialTypeInjectorField"""
    return [*_inputs(inputs), *_injectors(inputs, injectors)]


def _inputs(inputs: dict[str, Any]) -> Iterator[str]:
    fields = inputs.get("fields", [])
    ids = [field.get("id") for field in fields]
    if set(inputs) - {"fields", "required"}:
        yield "inputs have unknown keys"
    if len(ids) != len(set(ids)):
        yield "field ids must be unique"
    # AWX takes any string here, and then never finds the field.
    if set(inputs.get("required", [])) - set(ids):
        yield "a required field is not defined"
    for field in fields:
        name, kind = str(field.get("id")), field.get("type", "string")
        if set(field) - FIELD_KEYS or not {"id", "label"} <= set(field):
            yield f"{name}: unknown or missing keys"
        if not NAME.fullmatch(name) or name == "tower":
            yield f"{name}: is an invalid variable name"
        if kind not in ("string", "boolean"):
            yield f"{name}: {kind} is no type"
        if kind == "boolean" and {"choices", "multiline", "format", "secret"} & set(field):
            yield f"{name}: not allowed for a boolean"
        if "default" in field and not isinstance(field["default"], {"boolean": bool}.get(kind, str)):
            yield f"{name}: the default has another type"
        for key in ("multiline", "secret", "ask_at_runtime"):
            if not isinstance(field.get(key, False), bool):
                yield f"{name}: {key} is no boolean"
        choices = field.get("choices", ["any"])
        if not choices or len(choices) != len(set(choices)) or not all(isinstance(choice, str) for choice in choices):
            yield f"{name}: choices must be different strings"


def _injectors(inputs: dict[str, Any], injectors: dict[str, Any]) -> Iterator[str]:
    if set(injectors) - {"file", "env", "extra_vars"}:
        yield "injectors are file, env and extra_vars"
    files = list(injectors.get("file", {}))
    known: dict[str, Any] = {field["id"]: "EXAMPLE" for field in inputs.get("fields", []) if "id" in field}
    known["tower"] = SimpleNamespace()
    if files == ["template"]:
        known["tower"].filename = "EXAMPLE"
    elif files:
        known["tower"].filename = SimpleNamespace(**{name.partition(".")[2]: "EXAMPLE" for name in files})
    for name in files:
        if not re.fullmatch(r"template(\.[a-zA-Z_][a-zA-Z0-9_]*)?", name) or (name == "template" and len(files) > 1):
            yield f"file {name}: must be template, or several template.NAME"
    for name, template in injectors.get("env", {}).items():
        if not NAME.fullmatch(name):
            yield f"env {name}: is no name of a variable"
        if name.startswith("ANSIBLE_") or name in ENV_BLOCKLIST:
            yield f"env {name}: is not allowed in credentials"
        if not str(template).isascii():
            yield f"env {name}: is not ASCII"
    for name in injectors.get("extra_vars", {}):
        if not re.fullmatch(r"[a-zA-Z_{}][a-zA-Z0-9_{}]*", name):
            yield f"extra_vars {name}: is no name of a variable"
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for template in _strings(injectors):
        try:
            environment.from_string(template).render(known)
        except UndefinedError as error:
            yield f"{template}: uses an undefined field ({error})"
        except TemplateError as error:
            yield f"{template}: {error}"


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
    else:
        assert isinstance(node, str), node
        yield node


def survey(spec: dict[str, Any]) -> list[str]:
    """awx/api/views/__init__.py: JobTemplateSurveySpec._validate_spec_data"""
    return [*_survey(spec)]


def _survey(spec: dict[str, Any]) -> Iterator[str]:
    for key, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(spec.get(key), kind):
            yield f"{key} of the survey is missing or has another type"
    questions = spec.get("spec") or []
    if not questions:
        yield "spec doesn't contain any items"
    names = [question.get("variable") for question in questions]
    if len(names) != len(set(names)):
        yield "a variable is asked for twice"
    for question in questions:
        name = question.get("variable")
        for key, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
            if not isinstance(question.get(key), kind):
                yield f"{name}: {key} is missing or has another type"
        # AWX does not look at the name; a variable of Ansible it has to be all the same.
        if not NAME.fullmatch(str(name)):
            yield f"{name}: is no name of a variable"
        for key in ("min", "max"):
            if not isinstance(question.get(key, 0), (int, type(None))):
                yield f"{name}: {key} is no integer"
        kind, default = question.get("type"), question.get("default", "")
        if kind not in QUESTION_TYPES:
            yield f"{name}: {kind} is no type of a question"
            continue
        if default != "" and not isinstance(default, QUESTION_TYPES[kind]):
            yield f"{name}: the default has another type"
        if kind in ("multiplechoice", "multiselect"):
            chosen = str(default).splitlines()
            if not question.get("choices"):
                yield f"{name}: has no choices"
            elif not set(chosen) <= set(question["choices"]) or (kind == "multiplechoice" and len(chosen) > 1):
                yield f"{name}: the default is not one of the choices"
        elif default != "":
            yield from _answer(question, default)


def answers(spec: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """awx/main/models/mixins.py: SurveyJobTemplateMixin._accept_or_ignore_variables, with no prompt for variables"""
    questions = {question["variable"]: question for question in spec["spec"]}
    missing = [f"{name}: value missing" for name, q in questions.items() if q["required"] and name not in given]
    strange = [f"{name}: is not allowed on launch" for name in given if name not in questions]
    wrong = [fault for name in given if name in questions for fault in _answer(questions[name], given[name])]
    return missing + strange + wrong


def _answer(question: dict[str, Any], value: Any) -> Iterator[str]:
    name, kind = question["variable"], question["type"]
    expected = list if kind == "multiselect" else QUESTION_TYPES[kind]
    if not isinstance(value, expected) or isinstance(value, bool):
        yield f"{name}: {value!r} has another type"
        return
    if kind in ("multiplechoice", "multiselect"):
        chosen = {value} if isinstance(value, str) else set(value)
        if not chosen <= set(question["choices"]):
            yield f"{name}: {value} is not one of the choices"
        return
    size = len(value) if isinstance(value, str) else value
    if question.get("min") is not None and size < question["min"]:
        yield f"{name}: {value!r} is too small"
    if question.get("max") is not None and size > question["max"]:
        yield f"{name}: {value!r} is too large"


def cycle(edges: Iterable[tuple[Any, Any]]) -> list[str]:
    """awx/api/views/__init__.py: WorkflowJobTemplateNodeChildrenBaseList.is_valid_relation"""
    left = set(edges)
    while left:
        ends = {child for _parent, child in left} - {parent for parent, _child in left}
        if not ends:
            return ["Cycle detected."]
        left = {edge for edge in left if edge[1] not in ends}
    return []


def playbooks(project: Path) -> set[str]:
    """awx/main/utils/ansible.py: what may be chosen as playbook, here of the folders that a project shows to people"""
    found = set()
    for file in [*project.glob("playbooks/**/*.y*ml"), *project.glob("*.y*ml")]:
        parts = file.relative_to(project).parts
        skipped = {"roles", "tasks", "group_vars", "host_vars"} & set(parts[:-1])
        if not skipped and any(PLAYBOOK.match(line) for line in file.read_text().splitlines()):
            found.add("/".join(parts))
    return found
