# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connection options in one dictionary, and what a result shows of options at any depth."""

from __future__ import annotations

import json

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import default_region
from ansible_collections.alicloud.rds.plugins.modules import replication_link, replication_link_info

from .conftest import ACCOUNT, DR

SECRET = "nested'secret+=/1"


def keys(rds):
    environment = rds.environment
    return {
        "access_key_id": environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        "access_key_secret": environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    }


def test_connection_wins_over_the_options_beside_it(rds, info):
    rds.add_key(access_key_id="LTAI5tNested", access_key_secret=SECRET)
    nested = {"access_key": "LTAI5tNested", "access_key_secret": SECRET, "profile": None, "endpoint": ""}
    result = info(**keys(rds), region_id="cn-hangzhou", connection=nested)
    assert result["credentials"] == {"source": "options", "access_key_id": "LTAI5tNested"}
    assert SECRET not in json.dumps(result)
    shown = result["invocation"]["module_args"]["connection"]
    assert shown["access_key_secret"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert shown["access_key_id"] == "LTAI5tNested"
    beside = info(**keys(rds), connection={"max_retries": 0})
    assert beside["credentials"]["access_key_id"] == keys(rds)["access_key_id"]


def test_a_wrong_value_in_connection_is_refused(rds, info):
    rds.clear_journal()
    assert "request_timeout -1 must be greater than 0" in info(connection={"request_timeout": -1})["msg"]
    assert rds.journal() == []


@pytest.mark.parametrize(
    "options",
    [
        {"replicator_pasword": SECRET},
        {"connection": {"access_key_secrt": SECRET}},
        {"connection": f"access_key_secret {SECRET}"},
        {"connection": {"access_key_secret": SECRET, "max_retries": "many"}},
        {"task_id": "x", "access_key_secret": SECRET},
    ],
    ids=["misspelt", "misspelt below", "no dictionary", "wrong beside", "wrong above"],
)
@pytest.mark.parametrize("interpreter", [None, "/usr/bin/python3"], ids=["here", "for a module"])
def test_an_option_that_cannot_be_used_is_not_echoed(rds, run_as_action, options, interpreter):
    rds.clear_journal()
    variables = {"ansible_python_interpreter": interpreter} if interpreter else {}
    result = run_as_action(replication_link_info, {"dr_instance_id": DR, **options}, task_vars=variables)
    assert result["failed"]
    assert SECRET not in json.dumps(result) and json.dumps(SECRET)[1:-1] not in json.dumps(result)
    assert rds.journal() == []


@pytest.mark.parametrize("interpreter", [None, "/usr/bin/python3"], ids=["here", "for a module"])
@pytest.mark.parametrize("name", ["replicator_password", "replicator_account", "task_name", "connection"])
def test_text_that_is_not_utf8_is_named(rds, run_as_action, name, interpreter):
    """Bytes of another encoding come as lone surrogates; a module could not even be given them."""
    rds.clear_journal()
    text = "Pass\udcffword"
    given = {"dr_instance_id": DR, "source_address": "10.0.0.1", **ACCOUNT, **keys(rds), "endpoint": rds.endpoint}
    given[name] = {"external_id": text} if name == "connection" else text
    variables = {"ansible_python_interpreter": interpreter} if interpreter else {}
    result = run_as_action(replication_link, given, task_vars=variables)
    assert (result["error"]["code"], result["outcome"], result["retries"]) == ("InvalidOptions", "not_sent", [])
    assert name.replace("connection", "external_id") in result["msg"]
    assert "Pass" not in json.dumps({**result, "invocation": None})
    json.dumps(result, ensure_ascii=False).encode()
    assert rds.journal() == []


@pytest.mark.parametrize("prefix", ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"])
@pytest.mark.parametrize("name", ["REGION_ID", "REGION"])
def test_the_region_of_the_environment(prefix, name):
    keys = {"access_key_id": "i", "access_key_secret": "s", "region_id": None}
    assert default_region(keys, {f"{prefix}{name}": "cn-x"}) == "cn-x"


@pytest.mark.parametrize("name", ["wait_timeout", "wait_interval", "settle_timeout"])
@pytest.mark.thorough
def test_a_time_may_be_infinite(rds, link, name):
    rds.add_fault(stage="basebackup", fault="slow", seconds=0.4)
    result = link(**{name: float("inf")})
    assert result["outcome"] == "created" and result["link"]["state"] == "streaming"
