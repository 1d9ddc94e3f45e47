# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory plugin finds a fleet: in this process, against the emulator on its memory engine."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.connection import connect
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK
from ansible_collections.alicloud.rds.plugins.module_utils._api.client import Answer
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError
from ansible_collections.alicloud.rds.plugins.module_utils._dr import instances as _instances
from ansible_collections.alicloud.rds.plugins.module_utils._dr import state as _state
from rds_emulator.client import Emulator

SECRET = "inventory+Secret/of=the/emulator"
KEY = {"access_key_id": "LTAI5tInventory", "access_key_secret": SECRET}
ACTION = "{{ lookup('ansible.builtin.pipe', 'touch %s') }}"
SEED = {
    "region_id": "cn-shanghai",
    "keys": [KEY, {**KEY, "access_key_id": "LTAI5tDenied", "deny": ["DescribeDBInstances"]}],
    "instances": [
        *({"id": f"pgm-sh{number:04d}", "status": "Stopped" if number % 2 else "Running"} for number in range(230)),
        {
            "id": "pgm-hz0001",
            "region_id": "cn-hangzhou",
            "lock_mode": "ManualLock",
            "description": "orders, {production",
        },
        {"id": "rm-hz0002", "region_id": "cn-hangzhou", "engine": "MySQL"},
    ],
}


@pytest.fixture(scope="module")
def fleet():
    with Emulator(seed=SEED, engine="memory") as rds:
        yield rds


@pytest.fixture
def rds(fleet, monkeypatch):
    fleet.reset()
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ALIBABA_CLOUD_REGION_ID")
    return fleet


@pytest.fixture
def source(tmp_path):
    """Write an inventory file; keywords are its options."""

    def write(name="dr.rds_instances.yml", **options):
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"plugin": "alicloud.rds.rds_instances", "max_retries": 0, **options}))
        return str(path)

    return write


@pytest.fixture
def find(source):
    """Return the inventory that options lead to, as ansible-playbook has it."""

    def run(refresh=False, **options):
        return InventoryManager(loader=DataLoader(), sources=[source(**options)], cache=not refresh)

    return run


@pytest.fixture
def failure(source):
    """Return what is said about options that lead to no inventory."""

    def run(**options):
        with pytest.raises(AnsibleParserError) as caught:
            plugin().parse(InventoryData(), DataLoader(), source(**options))
        assert SECRET not in str(caught.value)
        return str(caught.value)

    return run


def plugin():
    return inventory_loader.get("alicloud.rds.rds_instances")


def variables(inventory, name):
    return VariableManager(loader=DataLoader(), inventory=inventory).get_vars(host=inventory.get_host(name))


def members(inventory, group):
    return sorted(host.name for host in inventory.groups[group].get_hosts()) if group in inventory.groups else None


# -- what is found -------------------------------------------------------------------------------------------------


def test_all_pages_of_a_region_are_hosts(rds, find):
    found = find(regions=["cn-shanghai"])
    assert sorted(found.hosts) == [f"pgm-sh{number:04d}" for number in range(230)]
    asked = [entry["params"] for entry in rds.journal()]
    assert [entry["PageNumber"] for entry in asked] == ["1", "2", "3"]
    assert {(entry["Engine"], entry["PageSize"], entry["RegionId"]) for entry in asked} == {
        ("PostgreSQL", "100", "cn-shanghai")
    }
    assert not any(entry["unknown_params"] for entry in rds.journal())


def test_the_variables_of_a_host(rds, find):
    host = find(regions=["cn-hangzhou"]).get_host("pgm-hz0001")
    told = {name: value for name, value in host.vars.items() if name.startswith("rds_")}
    assert set(told) == {"rds_instance_id", "rds_region_id", "rds_dr_roles", *_instances._FIELDS}
    assert told["rds_instance_id"] == "pgm-hz0001"
    assert (told["rds_region_id"], told["rds_vpc_id"]) == ("cn-hangzhou", "vpc-emulator")
    assert (told["rds_engine"], told["rds_status"], told["rds_type"]) == ("PostgreSQL", "Running", "Primary")
    assert (told["rds_lock_mode"], told["rds_connection_string"]) == ("ManualLock", "127.0.0.1")
    assert (told["rds_master_instance_id"], told["rds_dr_roles"]) == (None, [])
    assert set(host.vars) - set(told) <= {"inventory_file", "inventory_dir"}, "nothing behind the user's back"


def test_several_regions_and_another_engine(rds, find):
    both = find(regions=["cn-shanghai", "cn-hangzhou", "cn-shanghai"])
    assert len(both.hosts) == 231
    assert both.get_host("pgm-hz0001").vars["rds_region_id"] == "cn-hangzhou"
    assert len(rds.journal()) == 4, "each region once"
    assert list(find(region_id="cn-hangzhou", engine="MySQL").hosts) == ["rm-hz0002"]


@pytest.mark.parametrize("name", ["ALIBABA_CLOUD_REGION_ID", "ALICLOUD_REGION"])
def test_the_region_of_the_environment(rds, find, monkeypatch, name):
    monkeypatch.setenv(name, "cn-hangzhou")
    assert list(find().hosts) == ["pgm-hz0001"]


def test_filters_are_the_services(rds, find):
    assert len(find(regions=["cn-shanghai"], filters={"DBInstanceStatus": "Stopped"}).hosts) == 115
    one = find(regions=["cn-shanghai"], filters={"SearchKey": "sh0007", "DBInstanceType": "Primary"})
    assert list(one.hosts) == ["pgm-sh0007"]
    assert find(regions=["cn-shanghai"], filters={"EngineVersion": "1.0"}).hosts == {}
    tags = _instances.listing("PostgreSQL", {"Tags": {"purpose": "dr"}, "Expired": False})
    assert tags == {"Engine": "PostgreSQL", "Tags": '{"purpose": "dr"}', "Expired": "False"}


def test_each_region_has_its_own_endpoint(source, monkeypatch):
    called = []

    class Client:
        def __init__(self, endpoint):
            self.endpoint = endpoint

        def call(self, action, parameters, *, repeatable):
            called.append((str(self.endpoint), parameters["RegionId"]))
            return {"Items": {"DBInstance": []}, "TotalRecordCount": 0}

        def close(self):
            pass

    options = {"regions": ["cn-shanghai", "eu-central-1"], **KEY, "network": "vpc"}
    made = plugin()
    monkeypatch.setitem(type(made).parse.__globals__, "connect", lambda *given: Client(connect(*given).endpoint))
    made.parse(InventoryData(), DataLoader(), source(**options))
    regions = ["cn-shanghai", "eu-central-1"]
    assert sorted(called) == [(f"https://rds-vpc.{region}.aliyuncs.com", region) for region in regions]


# -- constructed ---------------------------------------------------------------------------------------------------


def test_compose_groups_and_keyed_groups(rds, find):
    found = find(
        regions=["cn-shanghai", "cn-hangzhou"],
        filters={"SearchKey": "0001"},
        strict=True,
        compose={"dr_link_dr_instance_id": "rds_instance_id", "dr_link_connection": "{'region_id': rds_region_id}"},
        groups={"locked": "rds_lock_mode != 'Unlock'"},
        keyed_groups=[{"key": "rds_status | lower", "prefix": "status"}, {"key": "rds_region_id", "separator": ""}],
    )
    assert sorted(found.hosts) == ["pgm-hz0001", "pgm-sh0001"]
    told = variables(found, "pgm-hz0001")
    assert told["dr_link_dr_instance_id"] == "pgm-hz0001"
    assert told["dr_link_connection"] == {"region_id": "cn-hangzhou"}
    assert members(found, "locked") == ["pgm-hz0001"]
    assert members(found, "status_stopped") == ["pgm-sh0001"]
    assert members(found, "cn_hangzhou") == ["pgm-hz0001"]


def test_strict_refuses_what_cannot_be_composed(rds, find, source):
    options = {"regions": ["cn-hangzhou"], "compose": {"wrong": "no_such_variable"}}
    assert list(find(**options).hosts) == ["pgm-hz0001"]
    with pytest.raises(AnsibleError, match="Could not set wrong"):
        plugin().parse(InventoryData(), DataLoader(), source(**options, strict=True))


def test_a_description_is_never_a_template(rds, find, tmp_path):
    witness = tmp_path / "witness"
    text = ACTION % witness
    rds.set_instance("pgm-hz0001", description=text)
    found = find(
        regions=["cn-hangzhou"],
        compose={"composed": "rds_description", "longer": "'see ' ~ rds_description"},
        groups={"described": "rds_description is search('lookup')"},
        keyed_groups=[{"key": "rds_description[:2]", "prefix": "d"}],
    )
    told = variables(found, "pgm-hz0001")
    templar = Templar(loader=DataLoader(), variables=told)
    for name in ("rds_description", "composed", "longer"):
        assert templar.template(told[name]) == told[name]
        assert told[name].removeprefix("see ") == text
    assert members(found, "described") == ["pgm-hz0001"]
    assert not witness.exists()


# -- DR roles ------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(rds):
    """pgm-sh0000 is a DR instance of pgm-sh0002."""
    attributes = {"attributes": ["LOGIN", "REPLICATION", "CREATEROLE"], "member_of": ["pg_monitor"]}
    source = {"id": "pgm-source", "accounts": [{"name": "dr_sync", "password": "Dr-Sync/1", **attributes}]}
    place = rds.add_instance(**source)
    given = {"dr_instance_id": "pgm-sh0000", "source_address": place["host"], "source_port": place["port"]}
    given |= {"source_category": "aliyunRDS", "source_instance_name": "pgm-source", "wait_interval": 0.05}
    given |= {"source_instance_region_id": "cn-shanghai", "replicator_account": "dr_sync"}
    defaults = {name: option.get("default") for name, option in REPLICATION_LINK["argument_spec"].items()}
    options = {**defaults, **given, "replicator_password": "Dr-Sync/1"}
    result = run(LINK, options, check_mode=False, diff=False, environment=rds.environment)
    assert result["outcome"] == "created", result["msg"]
    rds.clear_journal()
    return rds


def test_dr_roles_are_read_if_asked_for(linked, find):
    search = {"regions": ["cn-shanghai"], "filters": {"DBInstanceStatus": "Running"}}
    without = find(**search)
    assert members(without, "dr_instance") is None and members(without, "dr_source") is None
    assert not linked.journal("DescribeDBInstanceAttribute")
    found = find(**search, dr_roles=True)
    assert members(found, "dr_instance") == ["pgm-sh0000"]
    assert members(found, "dr_source") == ["pgm-source"]
    assert len(linked.journal("DescribeDBInstanceAttribute")) == len(found.hosts) == 116
    dr, source = (found.get_host(name).vars for name in ("pgm-sh0000", "pgm-source"))
    assert dr["rds_dr_source"]["instance_name"] == "pgm-source"
    assert set(dr["rds_dr_source"]) == {"category", "address", "port", "region_id", "instance_name"}
    assert (dr["rds_dr_instances"], dr["rds_dr_roles"]) == ([], ["dr_instance"])
    assert source["rds_dr_instances"] == [{"instance_id": "pgm-sh0000", "region_id": "cn-shanghai"}]
    assert (source["rds_dr_source"], source["rds_guard_instance_id"]) == (None, "pgm-sh0000")
    told = json.dumps([host.vars for host in found.hosts.values()], default=str)
    assert "Dr-Sync" not in told and "dr_sync" not in told


def test_the_type_guard_is_a_role(linked, find):
    linked.set_quirks(dr_instance_type="Guard")
    found = find(regions=["cn-shanghai"], filters={"DBInstanceType": "Guard"})
    assert members(found, "dr_instance") == ["pgm-sh0000"]


def test_an_instance_that_goes_meanwhile_is_no_host(rds, find):
    rule = {"action": "DescribeDBInstanceAttribute", "fault": "error", "code": "InvalidDBInstanceName.NotFound"}
    rds.add_fault(**rule, match={"DBInstanceId": "pgm-sh0003"})
    found = find(regions=["cn-shanghai"], filters={"SearchKey": "sh000"}, dr_roles=True)
    assert len(found.hosts) == 9 and "pgm-sh0003" not in found.hosts


# -- cache ---------------------------------------------------------------------------------------------------------


def test_a_cached_list_makes_no_call(rds, find, tmp_path):
    options = {"regions": ["cn-hangzhou"], "compose": {"region": "rds_region_id"}, "dr_roles": True}
    options |= {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    options |= KEY
    first = find(**options)
    calls = len(rds.journal())
    again = find(**options)
    assert len(rds.journal()) == calls == 2
    assert list(again.hosts) == list(first.hosts) == ["pgm-hz0001"]
    assert variables(again, "pgm-hz0001")["region"] == "cn-hangzhou"
    kept = "".join(file.read_text() for file in (tmp_path / "cache").iterdir())
    assert "pgm-hz0001" in kept and SECRET not in kept and KEY["access_key_id"] not in kept
    find(**{**options, "filters": {"DBInstanceStatus": "Stopped"}})
    assert len(rds.journal()) == calls + 1, "another question, another answer"
    rds.set_instance("pgm-hz0001", description="new")
    assert find(refresh=True, **options).get_host("pgm-hz0001").vars["rds_description"] == "new"
    assert find(**options).get_host("pgm-hz0001").vars["rds_description"] == "new", "a refresh is kept"


def test_a_template_in_the_cache_is_none(rds, find, tmp_path):
    witness = tmp_path / "witness"
    rds.set_instance("pgm-hz0001", description=ACTION % witness)
    options = {"regions": ["cn-hangzhou"], "cache": True, "cache_plugin": "ansible.builtin.jsonfile"}
    for _unused in range(2):
        found = find(**options, cache_connection=str(tmp_path / "cache"))
        told = variables(found, "pgm-hz0001")
        assert Templar(loader=DataLoader(), variables=told).template(told["rds_description"]) == ACTION % witness
    assert len(rds.journal()) == 1 and not witness.exists()


# -- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("alicloud_rds.yml", True),
        ("dr.alicloud_rds.yaml", True),
        ("rds_instances.yml", True),
        ("a.rds_instances.yaml", True),
        ("hosts.yml", False),
        ("rds_instances.json", False),
        ("aws_rds.yml", False),
    ],
)
def test_names_of_files(source, name, taken):
    assert plugin().verify_file(source(name)) is taken


def test_a_file_that_is_not_there_is_not_taken():
    assert plugin().verify_file("/nonexistent/rds_instances.yml") is False


def test_keys_may_be_templates_or_in_a_profile(rds, find, monkeypatch, tmp_path):
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OUR_SECRET", SECRET)
    template = "{{ lookup('ansible.builtin.env', 'OUR_SECRET') }}"
    keys = {"access_key_id": KEY["access_key_id"], "access_key_secret": template}
    assert list(find(regions=["cn-hangzhou"], **keys).hosts) == ["pgm-hz0001"]
    profile = {"name": "dr", "mode": "AK", **KEY}
    (tmp_path / "config.json").write_text(json.dumps({"profiles": [profile]}))
    options = {"regions": ["cn-hangzhou"], "profile": "dr", "profile_file": str(tmp_path / "config.json")}
    assert list(find(**options).hosts) == ["pgm-hz0001"]


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["regions is missing", "ALIBABA_CLOUD_REGION_ID", "InvalidOptions", "fix_input"]),
        ({"regions": ["cn-shanghai"], "region_id": "cn-shanghai"}, ["keep one"]),
        ({"regions": ["cn-shanghai"], "filters": {"Status": "Running"}}, ["Status", "DBInstanceStatus"]),
        ({"regions": ["cn-shanghai"], "filters": {"RegionId": "x"}}, ["filters has RegionId"]),
        ({"regions": ["cn-shanghai"], "filters": {"VpcId": ["a"]}}, ["VpcId"]),
        ({"regions": ["cn-shanghai"], "filter": {"VpcId": "vpc-1"}}, ["There is no option filter"]),
        (
            {"regions": ["cn-shanghai"], "access_key_secret": SECRET},
            ["No value for access_key_id in the options", "fix_credentials"],
        ),
        ({"regions": ["cn-shanghai"], "access_key_id": "LTAI", "profile": "x"}, ["CredentialsUnusable"]),
        ({"regions": ["cn-shanghai"], "connect_timeout": 0}, ["connect_timeout 0 must be"]),
        ({"regions": ["cn-shanghai"], "endpoint": "http://example.com"}, ["loopback only"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_options_are_one_clear_error_and_no_call(rds, failure, options, words):
    text = failure(**options)
    assert all(word in text for word in [*words, "alicloud.rds.rds_instances: "]), text
    assert rds.journal() == []


def test_errors_of_the_service(rds, failure):
    refused = failure(regions=["cn-shanghai"], **{**KEY, "access_key_id": "LTAI5tDenied"})
    assert "cn-shanghai: " in refused and "rds:DescribeDBInstances on dbinstance/*" in refused
    assert "grant_permission" in refused and "request id" in refused
    assert "Correct access_key_id" in failure(regions=["cn-shanghai"], **{**KEY, "access_key_id": "LTAI5tNobody"})
    assert "fix_network" in failure(regions=["cn-shanghai"], endpoint="http://127.0.0.1:9", **KEY)


def test_a_region_that_is_misspelt(rds, failure, monkeypatch):
    monkeypatch.delenv("ALIBABA_CLOUD_RDS_ENDPOINT")
    assert "Did you mean 'cn-shanghai'?" in failure(regions=["cn-shanghia"], **KEY)


def test_an_unexpected_error_shows_no_text(rds, failure, monkeypatch):
    def fail(*_unused):
        raise ValueError(SECRET)

    monkeypatch.setattr(_instances, "_reading", fail)
    assert "Unexpected ValueError at" in failure(regions=["cn-shanghai"], **KEY)


# -- hostile answers -------------------------------------------------------------------------------------------------


class Scripted:
    """A client that gives these answers, the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), 0

    def call(self, action, parameters, *, repeatable):
        assert repeatable
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(parameters) if callable(answer) else answer


def rows(*names, total=None, **more):
    items = [{"DBInstanceId": name, **more} for name in names]
    return {"Items": {"DBInstance": items}, "TotalRecordCount": len(names) if total is None else total}


def read(*answers, dr_roles=False):
    return _instances.read_instances(Scripted(*answers), "cn-x", {"Engine": "PostgreSQL"}, dr_roles)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Items": None},
        {"Items": []},
        {"Items": {"DBInstance": {"DBInstanceId": "pgm-1"}}},
        {"Items": {"DBInstance": ["pgm-1"]}},
        {"Items": {"DBInstance": [{}]}},
        *(
            rows(name)
            for name in ("", None, 7, ["x"], "a b", "../x", "{{ 1 }}", "a\n", "-x", "all", "localhost", "a_b")
        ),
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_read(answer):
    with pytest.raises(RdsError, match=r"cn-x: .*cannot be read") as caught:
        read(answer)
    assert caught.value.code == "ReplyUnreadable"


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"Items": {"DBInstanceAttribute": []}},
        {"Items": {"DBInstanceAttribute": ["x"]}},
        {"Items": {"DBInstanceAttribute": [{"DBInstanceId": "pgm-2"}]}},
        *(
            {"Items": {"DBInstanceAttribute": [{"DBInstanceId": "pgm-1", key: value}]}}
            for key, value in (
                ("DisasterRecoveryInfo", "{replicatorPassword: Secret1"),
                ("DisasterRecoveryInfo", "[1]"),
                ("DisasterRecoveryInfo", "[" * 100000),
                ("DisasterRecoveryInstances", '{"a": 1}'),
            )
        ),
    ],
    ids=lambda value: str(value)[:80],
)
def test_attributes_that_cannot_be_read(attributes):
    with pytest.raises(RdsError) as caught:
        read(rows("pgm-1"), attributes, dr_roles=True)
    assert caught.value.code == "ReplyUnreadable" and "Secret1" not in caught.value.message


def test_odd_values_are_left_out():
    odd = {"DBInstanceStatus": ["x"], "LockMode": {"a": 1}, "VpcId": True, "DBInstanceDescription": "a\x1b[2Jb"}
    told = {"DBInstanceId": "pgm-1", "DisasterRecoveryInfo": " ", "DisasterRecoveryInstances": '["x", {"insName": 5}]'}
    (host,) = read(rows("pgm-1", **odd), {"Items": {"DBInstanceAttribute": [told]}}, dr_roles=True)
    assert (host["rds_status"], host["rds_lock_mode"], host["rds_vpc_id"]) == (None, None, None)
    assert host["rds_description"] == "a[2Jb"
    assert (host["rds_dr_source"], host["rds_dr_instances"]) == (None, [{"instance_id": "5", "region_id": None}])


def test_a_list_that_changes_is_read_again():
    before = [f"pgm-{number}" for number in range(150)]
    after = before[1:]
    changing = [rows(*before[:100], total=150), rows(*after[100:], total=149)]  # pgm-100 is on neither page
    steady = [rows(*after[:100], total=149), rows(*after[100:], total=149)]
    assert [host["rds_instance_id"] for host in read(*changing, *steady)] == after


def test_a_list_that_never_comes_whole_is_an_error_and_ends():
    for answers in ([rows("pgm-1", total=10**9)], [rows(total=3)], [rows("pgm-1", "pgm-1", total=2)]):
        client = Scripted(*answers)
        with pytest.raises(RdsError) as caught:
            _instances.read_instances(client, "cn-x", {})
        assert caught.value.code == "ListIncomplete" and caught.value.retryable
        assert client.calls <= 6


def test_pages_without_end_are_an_error():
    def page(parameters):
        first = int(parameters["PageNumber"]) * 100
        return {"Items": rows(*(f"pgm-{number}" for number in range(first, first + 100)))["Items"]}

    with pytest.raises(RdsError, match="set filters"):
        read(page)


def test_pages_have_one_budget_and_one_deadline(monkeypatch):
    def page(parameters):
        first = int(parameters["PageNumber"]) * 100
        answer = Answer(rows(*(f"pgm-{number}" for number in range(first, first + 100)), total=10**6))
        answer.size = 4 * 1024 * 1024
        return answer

    with pytest.raises(RdsError) as caught:
        read(page)
    assert caught.value.code == "ListTooLong" and "after 9 pages (36 MiB)" in caught.value.message
    monkeypatch.setattr(_state, "MOST_SECONDS", -1)
    with pytest.raises(RdsError, match="after 1 pages"):
        read(page)


def test_without_a_total_a_short_page_is_the_last():
    full = {"Items": rows(*(f"pgm-{number}" for number in range(100)))["Items"]}
    assert len(read(full, {"Items": rows("pgm-last")["Items"], "TotalRecordCount": "?"})) == 101


# -- some regions fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unknown to the service", "down"])
def test_a_region_that_fails_does_not_lose_the_others(rds, find, failure, capsys, how):
    if how == "down":
        gone = {"fault": "error", "code": "Forbidden.RAM", "http_status": 403, "message": "No."}
        rds.add_fault(**gone, action="DescribeDBInstances", match={"RegionId": "eu-central-1"}, times=None)
    regions = ["cn-shanghai", "eu-central-1" if how == "down" else "cn-nowhere", "cn-hangzhou"]
    found = find(regions=regions)
    assert len([name for name in found.hosts if name.startswith("pgm-sh")]) == 230
    assert any(not name.startswith("pgm-sh") for name in found.hosts)
    said = " ".join(capsys.readouterr().err.split())
    assert f"region {regions[1]} is left out" in said and SECRET not in said
    assert regions[1] in failure(regions=regions, strict=True)
    assert failure(regions=[regions[1]])
