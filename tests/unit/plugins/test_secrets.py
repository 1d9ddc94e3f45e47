# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""No form of a secret survives scrubbing."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub
from ansible_collections.alicloud.rds.plugins.module_utils._dr.precheck import Subject, other_lines, parse_report
from ansible_collections.alicloud.rds.plugins.module_utils._dr.state import as_text, instance_as_result

FORMS = [
    lambda s: s,
    quote,
    lambda s: quote(s, safe=""),
    quote_plus,
    lambda s: quote(quote(s, safe=""), safe=""),
    lambda s: json.dumps(s)[1:-1],
    html.escape,
    lambda s: base64.b64encode(s.encode()).decode(),
    lambda s: json.dumps(json.dumps(s))[3:-3],
    lambda s: quote(json.dumps(s)[1:-1]),
    lambda s: json.dumps(html.escape(s))[1:-1],
]


@settings(deadline=None)  # the machine may be busy
@given(secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30))
def test_every_form_is_masked(secret):
    assume("***" not in secret and not set(secret) <= set("* \n"))
    for number, form in enumerate(FORMS):
        shown = form(secret)
        if shown.strip("*"):
            masked = scrub(f"before {shown} after", [secret]).replace("before", "").replace("after", "")
            assert shown not in masked, number


def test_a_login_in_a_report_is_masked_even_if_the_password_is_not_known():
    text = "error:cannot connect to source database by migratetest:123 45)6"
    assert scrub(text) == "error:cannot connect to source database by migratetest:***"


def test_the_reason_after_a_known_password_stays():
    text = "cannot connect to source database by dr_sync:p(w) 1 (28P01: password authentication failed)"
    expected = "cannot connect to source database by dr_sync:*** (28P01: password authentication failed)"
    assert scrub(text, ["p(w) 1"]) == expected


def test_connection_strings_are_masked():
    assert "hunter2" not in scrub("host=x password=hunter2 port=5432")
    assert "hunter2" not in scrub("Conninfo: password = 'hunter2 x' user=y")


# -- to the end of a value, whatever it is -----------------------------------------------------------------------------

REST = "[Check source version]\nCheck major version consistent: success\n*Migrate check failed*"
PASSWORDS = [
    "***hunter2",
    "*** hunter2",
    "hun\nter2",
    "hun\\nter2",
    "hunter2: success",
    "a:hunter2",
    "[hunter2",
    "'hunter2",
    "\x00hunter2",
]


@pytest.mark.parametrize("account", ["dr_sync", "dr sync", "dr  sync two", "dr:sync", "dr-sync@x"])
@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("line_break", ["\n", "\\n"])
def test_an_unknown_password_is_masked_to_its_end(account, password, line_break):
    """As `info` reads it, or a later run with another password."""
    login = f"Check database connectable: error(error:cannot connect to source database by {account}:{password})"
    text = f"{login}\n{REST}".replace("\n", line_break) if "\n" not in password else f"{login}{line_break}{REST}"
    shown = scrub(text)
    assert "hunter2" not in shown and "ter2" not in shown
    assert "by dr" in shown and "Check major version consistent: success" in shown
    notes = json.dumps([check._asdict() for check in parse_report(text, Subject("", ""))]) + repr(other_lines(shown))
    assert "hunter2" not in notes and "ter2" not in notes and "major_version_consistent" in notes


@pytest.mark.parametrize(
    "text",
    [
        "password='hunt\\'er hunter2' user=x",
        'password="a hunter2" x',
        "password='hunter2 without an end",
        '{"password": "a\\"hunter2"}',
        "ReplicatorPassword=***hunter2&x=1",
        "passwordhash password=***hunter2",
    ],
)
def test_a_password_with_its_name_is_masked_to_its_end(text):
    assert "hunter2" not in scrub(text)


# -- in linear time ----------------------------------------------------------------------------------------------------

SLOW = [
    ('\\\\"' * 20, '\\\\\\\\"' * 40),
    ('\\"' * 30, '\\\\\\\\"' * 60),
    ("\\\\" * 30, "\\\\" * 400),
    ("\\a" * 30, "\\\\\\\\a" * 100),
    ("%25" * 30, "%2525" * 200),
    ("&amp;" * 20, "&amp;amp;amp;amp;" * 200),
    (" +" * 30, "+%2b%252b" * 200),
    ("é\\" * 20, "\\u00e9\\\\" * 200),
    ("a" * 200, "a" * 4000),
    ("x", "by " * 3000),
    ("x", "connect " * 3000 + "by " * 3000),
    ("x", "password='" + "\\" * 20000),
    ("x", "by a:" + "\nb" * 10000),
    ("x", "by a:" + "\n[" * 10000),
]


@pytest.mark.parametrize(("secret", "text"), SLOW, ids=range(len(SLOW)))
def test_the_search_takes_time_in_proportion_to_the_text(secret, text):
    """Each text is nearly the secret, again and again, and then it is not."""
    spent = []
    for times in (4, 16):
        hostile = (text + "!") * times
        began = time.perf_counter()
        scrub(hostile, [secret])
        spent.append(time.perf_counter() - began)
    assert spent[1] < 12 * spent[0] + 0.2, spent
    assert spent[1] < 5


# -- one line ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Running\nok: [localhost]", "Running\r\nok: [localhost]", "Running\u2028ok: [localhost]", "Running\x85ok"]
)
def test_what_is_no_report_is_one_line(text):
    row = {"TaskId": 1, "DBInstanceStatus": text, "TaskStatus": text, "Detail": "a\nb"}
    assert "\n" not in json.loads(json.dumps(instance_as_result(row)))["status"]
    assert not set("\n\r\u2028\x85") & set(as_text(text))
