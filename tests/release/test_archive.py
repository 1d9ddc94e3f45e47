# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archive of .build/package against what a release promises: `make release-check`.

The archive has nothing that it should not have, its changelog has its version, and its playbooks, run from where it was
installed and not from this checkout, preview, make and keep a link. With STRICT=1, as before a publication, the work
tree has to be clean and HEAD to have the version's tag; else what is missing is shown as the reason of a skipped test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from rds_emulator import Emulator
from rds_emulator.client import PAIR

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build/package"
INSTALLED = WORK / "installed"
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["version"]
BELONGS = re.compile(
    r"(changelogs|docs|extensions|meta|playbooks|plugins|roles)(/|$)|tests(/config\.yml)?$"
    r"|(MANIFEST|FILES)\.json$|[A-Z_]+\.md$|LICENSE$|requirements\.txt$|execution-environment\.yml$"
)
DOES_NOT = re.compile(r"(^|/)(\.|__pycache__)|\.(pyc|log|retry|tar\.gz|pem|key)$|^CLAUDE|^AGENTS")
# A key of the cloud has 24 characters; the pages' LTAI... and vault_* have not.
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|LTAI[0-9A-Za-z]{12,}|AKIA[0-9A-Z]{16}|gh[ps]_[0-9A-Za-z]{30,}"
)
PROMISES = (
    ("alicloud.rds.preview", (), "changed=0", "would be linked"),
    ("alicloud.rds.replication_link", ("--check", "--diff"), "failed=0", "would be linked"),
    ("alicloud.rds.replication_link", (), "changed=1", "created, streaming"),
    ("alicloud.rds.replication_link", (), "changed=0", "unchanged, streaming"),
    ("info.yml", (), "changed=0", "failed=0"),
)
INFO = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - alicloud.rds.replication_link_info: {dr_instance_id: "{{ dr_link_dr_instance_id }}"}
      register: dr
    - ansible.builtin.assert: {that: "dr.link.state == 'streaming'"}
"""


def archive_faults(files: dict[str, bytes], secrets: set[str]) -> list[str]:
    """What is wrong with the files of an archive; `secrets` are those of the tests."""
    faults = [f"{name} does not belong there" for name in files if not BELONGS.match(name) or DOES_NOT.search(name)]
    for name, content in files.items():
        text = content.decode("utf-8", "replace")
        if SECRETS.search(text) or any(secret in text for secret in secrets):
            faults.append(f"{name} holds a secret")
    return faults


def secrets_of(seed: object) -> set[str]:
    """All keys and passwords of a seed of the emulator."""
    if isinstance(seed, dict):
        own = {str(value) for name, value in seed.items() if re.search(r"password|secret|token|access_key_id", name)}
        return own | secrets_of(list(seed.values()))
    return set().union(*map(secrets_of, seed)) if isinstance(seed, list) else set()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    (archive,) = WORK.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() if m.isfile() else b"" for m in tar}  # type: ignore[union-attr]


def test_the_archive_is_of_this_version_and_holds_what_belongs_there(files: dict[str, bytes]) -> None:
    assert json.loads(files["MANIFEST.json"])["collection_info"]["version"] == VERSION
    assert archive_faults(files, secrets_of(yaml.safe_load(PAIR.read_text("utf-8")))) == []


def test_the_changelog_has_this_version_and_nothing_is_left_for_another(files: dict[str, bytes]) -> None:
    assert VERSION in yaml.safe_load(files["changelogs/changelog.yaml"])["releases"], "make changelog"
    assert f"## v{VERSION}\n" in files["CHANGELOG.md"].decode("utf-8").replace("\\", "")
    assert [name for name in files if re.match(r"changelogs/fragments/.", name)] == [], "make changelog, or raise it"


def git(*words: str) -> list[str]:
    command = ["git", "-c", "safe.directory=*", *words]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()


def test_the_checkout_is_what_a_publication_needs() -> None:
    """A tag is the bare version, as Galaxy shows it."""
    faults = ["the work tree is not clean: commit first"] if git("status", "--porcelain") else []
    if list((ROOT / "changelogs/fragments").glob("*")):
        faults.append(f"{VERSION} is not in the changelog yet: make changelog")
    if git("tag", "--points-at", "HEAD") != [VERSION]:
        elsewhere = ", which is another commit's: raise the version" if VERSION in git("tag") else ""
        faults.append(f"HEAD has the tags {git('tag', '--points-at', 'HEAD')}, not just {VERSION}{elsewhere}")
    if faults and not os.environ.get("STRICT"):
        pytest.skip("before a publication: " + "; ".join(faults))
    assert faults == []


def test_the_installed_playbooks_preview_make_and_keep_a_link(rds: Emulator, tmp_path: Path) -> None:
    account = yaml.safe_load(PAIR.read_text("utf-8"))["sources"][0]["accounts"][0]
    variables = {
        "dr_link_dr_instance_id": next(iter(rds.instances)),
        "dr_link_source_address": "127.0.0.1",
        "dr_link_source_port": rds.sources["onprem"]["port"],
        "dr_link_replicator_account": account["name"],
        "dr_link_replicator_password": account["password"],
    }
    (tmp_path / "link.json").write_text(json.dumps(variables))
    (tmp_path / "info.yml").write_text(INFO)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "NO_PROXY": "127.0.0.1,localhost",
        **rds.environment,
    }
    for playbook, options, *words in PROMISES:
        command = ["ansible-playbook", playbook, "-e", "@link.json", *options]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert all(word in output for word in words), output
        assert "WARNING" not in output
    assert [entry["params"]["DryRun"] for entry in rds.journal("CreateReplicationLink")].count("false") == 1
    for playbook in sorted(INSTALLED.glob("ansible_collections/alicloud/rds/playbooks/*.yml")):
        command = ["ansible-playbook", "--syntax-check", f"alicloud.rds.{playbook.stem}"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
