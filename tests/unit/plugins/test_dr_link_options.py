# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role's variables count as they are meant, however they are given, and are documented as they count."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.alicloud.rds.plugins.filter.dr_link_options import FilterModule
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import DR_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.role import options_of

ROLE = Path(__file__).resolve().parents[3] / "roles" / "dr_link"
options = FilterModule().filters()["dr_link_options"]
DEFAULTS = options({})


def given(**variables):
    return options({f"dr_link_{name}": value for name, value in variables.items()})


# As a playbook, `-e name=value`, a survey of AWX and JSON give the same.
@pytest.mark.parametrize(
    ("name", "forms", "value"),
    [
        ("fence", [False, "false", "no", "False", "0", 0], False),
        ("fence", [True, "true", "yes", "True", "1", 1], True),
        ("wait", ["off", "n"], False),
        ("source_port", [6432, "6432"], 6432),
        ("dry_run_task_id", [564532304, "564532304"], 564532304),
        ("max_lag_bytes", [0, "0"], 0),
        ("wait_timeout", [7.5, "7.5"], 7.5),
        ("skip_checks", [["lag"], "lag"], ["lag"]),
        ("skip_checks", [["lag", "canary"], "lag,canary"], ["lag", "canary"]),
        ("connection", [{"region_id": "x"}, "region_id=x", '{"region_id": "x"}'], {"region_id": "x"}),
        ("connection", [{"region_id": "x", "profile": None, "endpoint": ""}], {"region_id": "x"}),
        ("task_name", ["7", 7], "7"),
    ],
)
def test_every_form_of_a_value_counts_alike(name, forms, value):
    for form in forms:
        found = given(**{name: form})
        assert found["problems"] == []
        assert (type(found[name]), found[name]) == (type(value), value)


@pytest.mark.parametrize("blank", [None, "", "  "], ids=["null", "empty", "blank"])
@pytest.mark.parametrize("name", DR_LINK)
def test_null_and_blank_mean_not_set(name, blank):
    assert given(**{name: blank}) == DEFAULTS


def test_links_are_completed_by_the_variables_beside_them():
    found = given(
        source_address="10.0.0.1",
        wait="no",
        links=[{"dr_instance_id": "pgm-1"}, {"dr_instance_id": "pgm-2", "source_address": "10.0.0.2", "wait": "yes"}],
    )
    places = [(link["dr_instance_id"], link["source_address"], link["wait"]) for link in found["links"]]
    assert places == [("pgm-1", "10.0.0.1", False), ("pgm-2", "10.0.0.2", True)]
    assert [link["dr_instance_id"] for link in given(dr_instance_id="pgm-3")["links"]] == ["pgm-3"]
    assert DEFAULTS["links"] == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"canary_tabel": "x"},
            "dr_link_canary_tabel is not a variable of the role. Did you mean dr_link_canary_table?",
        ),
        ({"fence": "perhaps"}, "argument 'dr_link_fence' is of type "),
        ({"source_port": "many"}, "argument 'dr_link_source_port'"),
        ({"connection": "one two"}, "argument 'dr_link_connection'"),
        ({"connection": {"regoin_id": "x"}}, "dr_link_connection.regoin_id"),
        ({"promote_mode": "quick"}, "value of dr_link_promote_mode must be one of: planned, forced"),
        ({"links": [{"source_address": "x"}]}, "missing required arguments: dr_instance_id found in dr_link_links"),
        ({"links": [{"dr_instance_id": "a", "sorce_port": 1}]}, "dr_link_links.sorce_port"),
        ({"links": [{"dr_instance_id": "a"}, {"dr_instance_id": "a"}]}, "dr_link_links names a more than once."),
        ({"postgres": {"instances": {"pgm-1": {"prot": 1}}}}, "dr_link_postgres.instances['pgm-1']: prot."),
    ],
)
def test_what_cannot_be_used_is_named_and_no_secret_shown(variables, words):
    variables = {**variables, "replicator_password": "Hush-Hush/1"}
    problems = " ".join(given(**variables)["problems"])
    assert words in problems
    assert "Hush" not in problems


def test_text_that_is_no_dictionary_is_not_echoed():
    assert "Hush" not in " ".join(given(connection="access_key_secret Hush-Hush")["problems"])


def test_every_variable_is_documented_and_only_text_has_a_type():
    entries = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    assert {f"dr_link_{name}" for name in DR_LINK} == {name for entry in entries.values() for name in entry["options"]}
    for entry in entries.values():
        for name, documented in entry["options"].items():
            rule = DR_LINK[name.removeprefix("dr_link_")]
            assert documented["type"] == ("str" if rule["type"] == "str" else "raw"), name
            assert bool(rule.get("no_log")) == documented.get("no_log", False), name
            default = rule.get("default")
            if default not in (None, []) and "As for" not in str(documented["description"]):
                told = re.search(r"V\((\w+)\) if not set", str(documented["description"]))
                assert told and told[1] == str(default).lower().removesuffix(".0"), name


def test_every_entry_point_has_its_arguments():
    entries = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    files = {path.stem for path in (ROLE / "tasks").glob("*.yml")}
    assert entries.keys() == files - {"report"}


def test_a_survey_gives_lists_and_dictionaries_as_text():
    found = options_of(
        {
            "dr_link_dr_instance_id": "pgm-a",
            "dr_link_drill_queries": '[{"sql": "SELECT 1, 2", "expect": "1"}]',
            "dr_link_replicator_password": '["no list"]',
            "dr_link_links": '[{"dr_instance_id": "pgm-b"}]',
        }
    )
    assert found["problems"] == [] and found["drill_queries"][0]["sql"] == "SELECT 1, 2"
    assert [link["dr_instance_id"] for link in found["links"]] == ["pgm-b"]
    assert found["replicator_password"] == '["no list"]'
    wrong = options_of({"dr_link_drill_queries": '[{"sql": '})
    assert "drill_queries" in " ".join(wrong["problems"])
