# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds at every moment so that a release is five commands: one version, workflows, execution environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
import yaml

from tests.release.test_archive import archive_faults, secrets_of

from .test_architecture import PLACES, SOURCES, imports, room, room_of

ROOT = Path(__file__).resolve().parents[2]
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["version"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_the_version_is_in_galaxy_yml_alone():
    """Else somebody forgets one of them. When something came is another matter: version_added stays as it is."""
    ours = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/**/*.py")]
    for path in ours:
        if path.name != "CHANGELOG.md":
            left = re.sub(r"version_added: \S+", "", path.read_text("utf-8"))
            assert not re.search(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", left), path


def test_nothing_came_with_a_version_that_is_still_to_come():
    documented = [
        *ROOT.glob("plugins/**/*.py"),
        *ROOT.glob("extensions/**/*.py"),
        *ROOT.glob("roles/*/meta/argument_specs.yml"),
    ]
    for path in documented:
        for version in re.findall(r"version_added: \"?([\d.]+)", path.read_text("utf-8")):
            assert [int(part) for part in version.split(".")] <= [int(part) for part in VERSION.split(".")], path


def test_what_must_not_be_in_the_archive_is_seen():
    secrets = secrets_of({"keys": [{"access_key_secret": "hush"}], "port": 5432})
    assert archive_faults({"README.md": b"ALTER ROLE", "meta/runtime.yml": b"", "tests/config.yml": b""}, secrets) == []
    for name, content in {
        "tests/rds_emulator/src/rds_emulator/seeds/pair.yml": b"",
        "plugins/modules/.cache": b"",
        "docs/key.pem": b"",
        "README.md": b"password: hush",
        "docs/guide.md": b"LTAI5tSomethingReal0001",
        "roles/dr_link/files/id": b"-----BEGIN OPENSSH PRIVATE KEY-----",
    }.items():
        assert archive_faults({name: content}, secrets), name


# -- workflows ---------------------------------------------------------------------------------------------------------

# Pythons of the controller, by its release notes.
SUPPORTED = {"2.18": (11, 13), "2.19": (11, 13), "2.20": (12, 14), "2.21": (12, 14)}


def jobs() -> list[tuple[str, str, dict]]:
    loaded = [(path.name, yaml.safe_load(path.read_text("utf-8"))) for path in WORKFLOWS]
    return [(name, job, body) for name, workflow in loaded for job, body in workflow["jobs"].items()]


def test_workflows_have_no_more_rights_than_they_need():
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, path.name
        assert "pull_request_target" not in path.read_text("utf-8")
    for name, job, body in jobs():
        assert body["timeout-minutes"] <= 60, (name, job)
        assert set(body) <= {"name", "runs-on", "timeout-minutes", "strategy", "steps", "needs", "environment", "env"}
        for step in body["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]), "an action is pinned by its commit"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "what others write must not become part of a script"


def test_secrets_are_for_the_step_that_publishes_after_an_approval():
    (user,) = [job for job in jobs() if "secrets." in json.dumps(job)]
    assert user[:2] == ("release.yml", "publish")
    body = user[2]
    assert body["environment"] == "galaxy"
    assert len([step for step in body["steps"] if "secrets." in json.dumps(step)]) == 1


def test_workflows_call_the_projects_own_targets():
    called = set()
    for job in jobs():
        for step in job[2]["steps"]:
            for line in re.findall(r"\bmake ([a-z -]+)", step.get("run", "")):
                called |= set(line.split())
    assert called <= TARGETS
    assert {"unit", "integration", "sanity", "docs", "release-check"} <= called


def test_the_matrix_is_all_that_is_supported():
    (matrix,) = [job[2]["strategy"]["matrix"] for job in jobs() if "strategy" in job[2]]
    pairs = {(row["ansible"], row["python"]) for row in matrix["include"]}
    assert pairs == {(core, f"3.{n}") for core, (low, high) in SUPPORTED.items() for n in range(low, high + 1)}
    assert f'requires_ansible: ">={min(SUPPORTED)}.0"' in text_of("meta/runtime.yml")
    local = re.search(r"^MATRIX := (.+)$", text_of("Makefile"), re.MULTILINE)
    assert [row.split(":")[0] for row in local[1].split()] == [min(SUPPORTED), max(SUPPORTED)]
    newest = max(SUPPORTED)
    above = f"2.{int(newest.split('.')[1]) + 1}"
    assert f"ansible-core>={min(SUPPORTED)},<{above}\n" in text_of("requirements-dev.txt")
    for path in (".github/workflows/release.yml", "execution-environment.yml"):
        assert re.findall(r"ansible-core[>=].*?(?=['\n])", text_of(path)) == [f"ansible-core>={newest},<{above}"], path


def test_the_version_of_a_tool_is_in_one_place():
    """requirements-dev.txt pins; whatever else installs one of its packages takes the version from there."""
    pinned = re.findall(r"(?m)^([\w-]+)(?:\[\w+\])?==", text_of("requirements-dev.txt"))
    assert {"ruff", "mypy", "yamllint", "antsibull-docs"} <= set(pinned)
    pin = rf"(^|[^A-Za-z0-9_-])({'|'.join(pinned)})(\[[a-z]+\])?==[0-9]"
    command = ["git", "-c", "safe.directory=*", "grep", "--untracked", "-lE", pin, ":!tests/vectors"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found.split() == ["requirements-dev.txt"]


def test_sanity_makes_no_exceptions():
    assert list(ROOT.glob("tests/sanity/ignore*")) == []


@pytest.mark.thorough
def test_editors_format_as_ruff_does():
    settings = text_of(".editorconfig")
    assert f"max_line_length = {tomllib.loads(text_of('pyproject.toml'))['tool']['ruff']['line-length']}\n" in settings
    assert re.search(r"^\[\*\.py\]$", settings, re.MULTILINE)
    for path in [
        *ROOT.glob("plugins/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*.md"),
    ]:
        text = path.read_bytes()
        assert not text or text.endswith(b"\n"), path
        assert not re.search(rb"[ \t\r]$", text, re.MULTILINE), path


def test_hooks_before_a_commit_need_no_network():
    hooks = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        assert set(hook["entry"].removeprefix("make ").split()) <= TARGETS


# -- execution environment ---------------------------------------------------------------------------------------------


def builder(*words: str) -> str:
    command = [str(Path(sys.executable).with_name("ansible-builder")), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
def test_ansible_builder_takes_the_execution_environment(tmp_path):
    builder("create", "--context", str(tmp_path))
    (recipe,) = [path for path in tmp_path.iterdir() if path.is_file()]
    assert "/usr/bin/python3.12" in recipe.read_text()
    wanted = yaml.safe_load((tmp_path / "_build/requirements.yml").read_text())["collections"]
    assert [collection["name"] for collection in wanted] == [
        yaml.safe_load(text_of("galaxy.yml"))["repository"],
    ]


@pytest.mark.thorough
def test_ansible_builder_finds_what_the_collection_needs():
    found = yaml.safe_load(builder("introspect", str(ROOT / ".build/link")))
    packages = {re.split(r"[>=\[ ]", line)[0]: line.split(" ")[0] for line in found["python"]}
    assert set(packages) >= {"requests", "alibabacloud-credentials", "psycopg"}
    assert packages["requests"] == text_of("requirements.txt").strip(), "one floor in all files"
    assert {text_of(f"tests/{kind}/requirements.txt") for kind in ("unit", "integration")} == {
        text_of("requirements.txt")
    }


# -- pictures ----------------------------------------------------------------------------------------------------------


def picture(page: str) -> tuple[set[str], list[tuple[str, str]]]:
    """Boxes and arrows of the last diagram of a page."""
    text = re.findall(r"```mermaid\n(.*?)```", text_of(page), re.DOTALL)[-1]
    names = {key: re.split(r"<br/>", label)[0] for key, label in re.findall(r'(\w+)\["(.*?)"\]', text)}
    arrows = re.findall(r"^ *(\w+) --> (\w+)$", text, re.MULTILINE)
    return set(names.values()), [(names[here], names[there]) for here, there in arrows]


def test_the_picture_of_the_code_is_the_code():
    names, arrows = picture("docs/architecture.md")
    assert names == {name for _floor, name in PLACES}, "give each file of FLOORS its box in docs/architecture.md"
    ours: dict[str, set[str]] = {}
    for path in SOURCES:
        here = room_of(path)[1]
        found = [name.split(".plugins.")[1].split(".") for name in imports(path) if ".plugins." in name]
        ours.setdefault(here, set()).update(room(*parts)[1] for parts in found)
    assert len(arrows) > len(names) / 2
    for here, there in arrows:
        assert there in ours[here], f"{here} does not import {there}"
    assert {name for arrow in arrows for name in arrow} == names, "a box without an arrow"
