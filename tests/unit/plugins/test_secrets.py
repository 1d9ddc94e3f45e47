# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""No form of a secret survives scrubbing."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import scrub

FORMS = [
    lambda s: s,
    quote,
    lambda s: quote(s, safe=""),
    quote_plus,
    lambda s: quote(quote(s, safe=""), safe=""),
    lambda s: json.dumps(s)[1:-1],
    html.escape,
    lambda s: base64.b64encode(s.encode()).decode(),
]


@pytest.mark.parametrize("form", range(len(FORMS)))
@settings(deadline=None)  # the machine may be busy
@given(secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30))
def test_every_form_is_masked(form, secret):
    assume("***" not in secret and not set(secret) <= set("* \n"))
    shown = FORMS[form](secret)
    assume(shown.strip("*"))
    assert shown not in scrub(f"before {shown} after", [secret]).replace("before", "").replace("after", "")


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
