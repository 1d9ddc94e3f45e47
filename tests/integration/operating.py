# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests that operate a link share: a link between two RDS instances, and runs of the role on it.

Each playbook run costs seconds, so a test looks at all that its run tells. All run with -vvv, and none may show the
password of the operator.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible import specs
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import Operation, run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.verify import VERIFY
from ansible_collections.alicloud.rds.plugins.module_utils._dr import source
from rds_emulator.client import Emulator

from .conftest import Played, account, show

SECRET = '0perat\'r "pw" 100% +=/é'
_numbers = itertools.count(1)
# A database with its owner, and what an operator needs and no more.
SHOP = "shop"
GRANTS = [
    "CREATE ROLE shop_owner LOGIN",
    "GRANT shop_owner TO dr_operator",
    "GRANT pg_signal_backend TO dr_operator",
    "CREATE DATABASE shop OWNER shop_owner",
    "CREATE DATABASE dr_link",
]
IN_SHOP = [
    "CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)",
    "INSERT INTO orders VALUES (1, 'anvil')",
    "ALTER TABLE orders OWNER TO shop_owner",
]
MAINTENANCE = [
    f"CREATE TABLE dr_link_canary ({source.CANARY})",
    f"CREATE TABLE dr_link_fence ({source.FENCE})",
    "GRANT SELECT, INSERT, DELETE ON dr_link_canary TO dr_operator",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON dr_link_fence TO dr_operator",
]
OPERATOR = {"name": "dr_operator", "password": SECRET, "attributes": ["LOGIN"], "member_of": ["pg_monitor"]}


@dataclass
class Linked:
    """A DR instance that streams from an RDS instance in another region."""

    rds: Emulator
    source: str
    dr: str
    run: Callable[..., Played]

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "dr_link_dr_instance_id": self.dr,
            "dr_link_source_category": "aliyunRDS",
            "dr_link_source_instance_name": self.source,
            "dr_link_source_instance_region_id": "cn-hangzhou",
            "dr_link_postgres": {"login_user": "dr_operator", "login_password": SECRET},
            "dr_link_wait_interval": 0.2,
        }

    def play(self, entry: str, *options: str, fails: bool = False, **variables: Any) -> Played:
        """Run an entry point; its facts are in `results`."""
        text = f"""
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
    told: "{{{{ {{'seen': dr_link_verification | default({{}}), 'done': dr_link_operation | default({{}})}} }}}}"
  tasks:
    - block:
        - ansible.builtin.include_role: {{name: alicloud.rds.dr_link, tasks_from: {entry}}}
      always:
        {show("told")}
"""
        done = self.run(self.rds, text, {**self.variables, **variables}, "-vvv", "--diff", *options)
        for spelling in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), repr(SECRET)[1:-1]):
            assert spelling not in done.output, "the operator's password is shown"
        assert (done.returncode != 0) == fails, done.output
        return done

    def sent(self, action: str) -> list[dict[str, Any]]:
        mine = (self.source, self.dr)
        return [entry for entry in self.rds.journal(action) if entry["params"].get("DBInstanceId") in mine]

    def value(self, cluster: str, expression: str) -> Any:
        return self.rds.sql(cluster, f"SELECT {expression} AS value")[0]["value"]

    def write(self, cluster: str, number: int) -> None:
        self.rds.sql(cluster, f"INSERT INTO orders VALUES ({number}, 'late')", SHOP)

    def orders(self, cluster: str) -> int:
        return int(self.rds.sql(cluster, "SELECT count(*) AS n FROM orders", SHOP)[0]["n"])

    def is_shut(self, cluster: str) -> bool:
        return not self.value(cluster, "(SELECT datallowconn FROM pg_database WHERE datname = 'shop')")


@pytest.fixture
def linked(rds_emulator_postgres: Emulator, play: Callable[..., Played]) -> Linked:
    return make_linked(rds_emulator_postgres, play, {})


def make_linked(rds: Emulator, play: Callable[..., Played], settings: dict[str, str]) -> Linked:
    """Return a fresh link between two fresh instances with these settings of PostgreSQL."""
    number = next(_numbers)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    accounts = [account(), OPERATOR]
    place = rds.add_instance(
        id=f"pgm-op-{worker}-src{number}",
        region_id="cn-hangzhou",
        accounts=accounts,
        sql=GRANTS,
        settings=settings,
    )
    for database, statements in ((SHOP, IN_SHOP), ("dr_link", MAINTENANCE)):
        rds.sql(place["id"], "; ".join(statements), database)
    dr = rds.add_instance(id=f"pgm-op-{worker}-dr{number}", settings=settings)["id"]
    given = {
        "dr_instance_id": dr,
        "source_category": "aliyunRDS",
        "source_instance_name": place["id"],
        "source_instance_region_id": "cn-hangzhou",
        "replicator_account": "dr_sync",
        "replicator_password": account()["password"],
        "wait_interval": 0.1,
    }
    rules = dict(specs.REPLICATION_LINK)
    options = ArgumentSpecValidator(rules["argument_spec"]).validate(given).validated_parameters
    made = run(LINK, options, check_mode=False, diff=False, environment=rds.environment)
    assert made["link"]["state"] == "streaming", made
    return Linked(rds, place["id"], dr, play)


def results(run: Played) -> dict[str, str]:
    return {check["id"]: check["result"] for check in run.results["seen"]["checks"]}


def errors(run: Played) -> set[str]:
    return {name for name, result in results(run).items() if result == "error"}


def options_for(linked, operation: Operation, **given: Any) -> dict[str, Any]:
    """Return the options of an operation on a link, as Ansible validates them."""
    login = {"login_user": "dr_operator", "login_password": SECRET}
    source = {"source_category": "aliyunRDS", "source_instance_name": linked.source,
              "source_instance_region_id": "cn-hangzhou", "postgres": login}  # fmt: skip
    waiting = {} if operation is VERIFY else {"wait_interval": 0.1, "settle_timeout": 3}
    known = operation.spec["argument_spec"]
    usual = {name: value for name, value in {**source, **waiting}.items() if name in known}
    one = {} if "links" in given else {"dr_instance_id": linked.dr}
    every = {**one, **usual, **given}
    validation = ArgumentSpecValidator(**specs.validated_by(operation.spec)).validate(every)
    assert validation.error_messages == [], validation.error_messages
    return dict(validation.validated_parameters)


def do(linked, operation: Operation, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    """Run an operation on a link in this process. A playbook run costs seconds."""
    options = options_for(linked, operation, **given)
    done = run(operation, options, check_mode=check_mode, diff=False, environment=linked.rds.environment)
    assert SECRET not in json.dumps(done)
    return done
