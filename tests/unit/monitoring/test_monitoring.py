# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics, alerts and rulebooks agree with each other, with the code, and with what promtool says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.watching import REPLICATION_LINK_WATCH
from ansible_collections.alicloud.rds.plugins.module_utils._dr.watch import _FINE, TYPES
from ansible_collections.alicloud.rds.plugins.plugin_utils import _reports

ROOT = Path(__file__).resolve().parents[3]
ALERTS = ROOT / "docs/monitoring/alicloud_rds.rules.yml"
RULEBOOKS = sorted((ROOT / "extensions/eda/rulebooks").glob("*.yml"))
RESULTS = {
    "pgm-a": {
        "failed": False,
        "topology": {"link_state": "streaming"},
        "lag_bytes": 0,
        "checks": [{"result": "success"}],
    },
    'pgm-"b"\\': {"failed": True, "topology": None, "lag_bytes": None, "checks": []},
}


def promtool(*words, text=None):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run([tool, *words], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_takes_the_metrics_and_has_nothing_to_say_about_their_names():
    assert promtool("check", "metrics", text=_reports.metrics(RESULTS, 1_700_000_000.0)) == ""
    drill = {"instance": "pgm-a", "outcome": "passed", "rpo": {"seconds": 0.1}, "rto": {"total": 5.0}}
    assert promtool("check", "metrics", text=_reports.drill_metrics(drill, 1_700_000_000.0)) == ""


def test_promtool_takes_the_alerts():
    assert "SUCCESS: 7 rules found" in promtool("check", "rules", str(ALERTS))


@pytest.mark.thorough
def test_the_alerts_come_when_they_must_and_only_then(tmp_path):
    text = (Path(__file__).parent / "alerts.yml").read_text("utf-8").replace("RULES", str(ALERTS))
    (tmp_path / "alerts.yml").write_text(text)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "alerts.yml"))


def test_alerts_use_metrics_that_exist_and_the_page_lists_all_alerts():
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    used = {name for rule in rules for name in re.findall(r"alicloud_rds_\w+", rule["expr"])}
    assert used <= {*_reports._HELP, *_reports._DRILL_HELP} and used >= set(_reports._HELP)
    page = (ROOT / "docs/monitoring.md").read_text("utf-8")
    assert re.findall(r"(?m)^\| `(Alicloud\w+)`", page) == [rule["alert"] for rule in rules]


def test_the_page_lists_every_type_of_event_with_its_values():
    page = (ROOT / "docs/monitoring.md").read_text("utf-8")
    table = page.partition("\n| type |")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^\| `(\w+)`", table) == list(TYPES)
    for kind, values in _FINE.items():
        (row,) = re.findall(rf"(?m)^\| `{kind}` .*$", table)
        assert all(value in row for value in values), kind


def actions_of(rule):
    return [pair for action in rule.get("actions") or [rule["action"]] for pair in action.items()]


@pytest.mark.parametrize("path", RULEBOOKS, ids=lambda path: path.stem)
def test_a_rulebook_uses_what_exists_and_never_promotes(path):
    (book,) = yaml.safe_load(path.read_text("utf-8"))
    ((args,),) = [[value for name, value in source.items() if name != "name"] for source in book["sources"]]
    assert set(args) <= set(REPLICATION_LINK_WATCH["argument_spec"])
    objects = yaml.load((ROOT / "docs/awx/objects.yml").read_text("utf-8"), Loader=_Loader)
    templates = {each["name"]: each for each in (*objects["controller_templates"], *objects["controller_workflows"])}
    for rule in book["rules"]:
        assert set(re.findall(r'event\.type [!=]= "(\w+)"', rule["condition"])) <= set(TYPES)
        for kind, args in actions_of(rule):
            name = args["name"]
            if kind == "run_playbook" and "{{" not in name:
                assert name == "alicloud.rds.verify" and (ROOT / "playbooks/verify.yml").exists()
            elif kind != "run_playbook":
                given = args["job_args"]["extra_vars"]
                asked = {question["variable"] for question in templates[name]["survey_spec"]["spec"]}
                assert set(given) <= asked and "promot" not in name
                is_approved = templates[name].get("workflow_nodes", [{}])[0].get("identifier") == "approve"
                assert is_approved or name == "RDS DR verify"


class _Loader(yaml.SafeLoader):
    """Ansible's tag !unsafe is text here."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
