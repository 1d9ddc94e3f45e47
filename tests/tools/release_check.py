# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold the archive of .build/package against what a release promises: `make release-check`.

The archive has nothing that it should not have, its changelog tells of its version, and its playbooks, run from where
it was installed and not from this checkout, preview, make and keep a link of the local endpoint. With --strict, as
before a publication, the work tree has to be clean and HEAD to have the version's tag; else a warning is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml

from rds_emulator.client import PAIR, Emulator

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build/package"
INSTALLED = WORK / "installed"
BELONGS = re.compile(
    r"(changelogs|docs|meta|playbooks|plugins|roles)(/|$)|tests(/config\.yml)?$"
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
    """Tell what is wrong with the files of an archive; `secrets` are those of the tests."""
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


def changelog_faults(version: str, files: dict[str, bytes]) -> list[str]:
    releases = yaml.safe_load(files["changelogs/changelog.yaml"])["releases"]
    page = files.get("CHANGELOG.md", b"").decode("utf-8").replace("\\", "")
    faults = [] if version in releases else [f"changelogs/changelog.yaml has no release {version}: make changelog"]
    faults += [] if f"## v{version}\n" in page else [f"CHANGELOG.md has no release {version}"]
    left = [name for name in files if re.match(r"changelogs/fragments/.", name)]
    return faults + [f"{name} is told in no release: make changelog, or raise the version" for name in left]


def git(*words: str) -> str:
    command = ["git", "-c", "safe.directory=*", *words]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def checkout_faults(version: str) -> list[str]:
    """What a person does before a publication. A tag is the bare version, as Galaxy shows it."""
    faults = ["the work tree is not clean: commit first"] if git("status", "--porcelain") else []
    if list((ROOT / "changelogs/fragments").glob("*")):
        faults.append(f"{version} is not in the changelog yet: make changelog")
    here = [tag for tag in git("tag", "--points-at", "HEAD").split() if tag != version]
    if here:
        faults.append(f"HEAD has the tag {', '.join(here)}, and galaxy.yml the version {version}")
    if version not in git("tag", "--points-at", "HEAD").split():
        there = version in git("tag").split()
        faults.append(
            f"{version} is the tag of another commit: raise the version" if there else f"HEAD has no tag {version}"
        )
    return faults


def run_the_playbooks() -> None:
    with Emulator(seed=PAIR, engine="memory") as rds, tempfile.TemporaryDirectory() as scratch:
        source = next(iter(yaml.safe_load(PAIR.read_text())["sources"]))
        account = source["accounts"][0]
        variables = {
            "dr_link_dr_instance_id": next(iter(rds.instances)),
            "dr_link_source_address": "127.0.0.1",
            "dr_link_source_port": rds.sources[source["name"]]["port"],
            "dr_link_replicator_account": account["name"],
            "dr_link_replicator_password": account["password"],
        }
        Path(scratch, "link.json").write_text(json.dumps(variables))
        Path(scratch, "info.yml").write_text(INFO)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": scratch,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
            "NO_PROXY": "127.0.0.1,localhost",
            **rds.environment,
        }
        for playbook, options, *said in (*PROMISES, ("info.yml", (), "changed=0", "failed=0")):
            command = ["ansible-playbook", playbook, "-e", "@link.json", *options]
            done = subprocess.run(
                command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            output = done.stdout + done.stderr
            if done.returncode or not all(words in output for words in said) or "WARNING" in output:
                sys.exit(f"{output}\nrelease-check: {' '.join(command)} did not say {said}")
            print(f"release-check: {' '.join(command)}: {', '.join(said)}")
        for playbook in sorted(INSTALLED.glob("ansible_collections/alicloud/rds/playbooks/*.yml")):
            command = ["ansible-playbook", "--syntax-check", f"alicloud.rds.{playbook.stem}"]
            subprocess.run(command, cwd=scratch, env=environment, check=True, stdout=subprocess.DEVNULL)
        creates = [entry for entry in rds.journal("CreateReplicationLink") if entry["params"]["DryRun"] == "false"]
        if len(creates) != 1:
            sys.exit(f"release-check: {len(creates)} creates arrived, not one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="for a publication: warnings are errors")
    strict = parser.parse_args().strict
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["version"]
    (archive,) = WORK.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        files = {m.name: tar.extractfile(m).read() if m.isfile() else b"" for m in tar}  # type: ignore[union-attr]
    told = json.loads(files["MANIFEST.json"])["collection_info"]["version"]
    faults = [] if told == version else [f"the archive is of version {told}, galaxy.yml of {version}"]
    secrets = secrets_of(yaml.safe_load(PAIR.read_text("utf-8")))
    faults += archive_faults(files, secrets) + changelog_faults(version, files)
    warnings = checkout_faults(version)
    if strict:
        faults, warnings = faults + warnings, []
    for warning in warnings:
        print(f"release-check: before a publication: {warning}")
    if faults:
        sys.exit("".join(f"release-check: {fault}\n" for fault in faults))
    run_the_playbooks()
    print(f"release-check: {archive.relative_to(ROOT)}: {len(files)} files, {archive.stat().st_size // 1024} KiB, good")


if __name__ == "__main__":
    main()
