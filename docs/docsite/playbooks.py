# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Print the reference of the playbooks as Markdown, in the order of use: the comments of their files, and the
variables of their entry points in the order of meta/argument_specs.yml. antsibull-docs has pages for modules, plugins
and roles only, and sorts by the alphabet.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIFE = (
    ("Prepare", ("prepare_source", "preview", "replication_link")),
    ("Watch", ("info", "verify", "drill")),
    ("Fail over", ("promote", "unfence", "reprotect", "rebuild")),
    ("Around", ("verify_cloud", "awx_setup")),
)
ENTRIES = {"preview": "preflight", "replication_link": "main"}
OPERATE = ("prepare_source", "verify", "drill", "promote", "unfence", "reprotect", "rebuild")
Options = dict[str, dict[str, Any]]


def plain(text: Any) -> str:
    """Return a description without the markup of ansible-doc, as one cell of a table."""
    joined = " ".join(text) if isinstance(text, list) else str(text)
    shown = re.sub(r"\b[VCOMPE]\(([^)#]+)[^)]*\)", r"`\1`", joined)
    return re.sub(r"\s+", " ", shown).replace("|", "\\|")


def table(options: Options) -> list[str]:
    rows = [f"| `{name}` | {plain(option['description'])} |" for name, option in options.items()]
    return ["", "| variable | description |", "| --- | --- |", *rows]


def section(name: str, specs: dict[str, Any], common: Options) -> list[str]:
    """Return the part about one playbook."""
    comments = re.match(r"---\n((?:#.*\n)+)", (ROOT / f"playbooks/{name}.yml").read_text("utf-8"))
    assert comments, f"{name}.yml does not begin with a comment"
    purpose, _unused, command = re.sub(r"^# ?", "", comments[1].splitlines()[0]).partition(": ")
    command = command or comments[1].splitlines()[1].strip("# ")
    lines = ["", f"### {name}", "", f"{purpose.rstrip('.')}.", "", "```sh", command, "```"]
    entry = specs.get(ENTRIES.get(name, name))
    if not entry:
        return lines
    lines += ["", plain(entry["description"])]
    if name == "preview":
        return [*lines, "", "Its variables are those of [replication_link](#replication-link)."]
    own = {key: value for key, value in entry["options"].items() if name not in OPERATE or key not in common}
    return [*lines, *(table(own) if own else [])]


def page() -> str:
    """Return the page."""
    specs = yaml.safe_load((ROOT / "roles/dr_link/meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
    common = {
        name: option
        for name, option in specs["unfence"]["options"].items()
        if all(name in specs[entry]["options"] for entry in OPERATE)
    }
    lines = [
        "# Playbooks and the role, in the order of use",
        "",
        "Every playbook runs one entry point of the role `alicloud.rds.dr_link`, with its variables: `-e @link.yml`.",
        "Text, null and blank are accepted for each, as surveys and `-e` give them.",
    ]
    for title, names in LIFE:
        lines += ["", f"## {title}"]
        for name in names:
            lines += section(name, specs, common)
    lines += ["", "## Variables of every playbook that operates a link", *table(common)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
