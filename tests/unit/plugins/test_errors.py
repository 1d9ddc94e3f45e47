# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue holds every documented row, and each row says what a person does next."""

from __future__ import annotations

import json
import ssl
from importlib import resources

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._api import errors as _errors

DOCUMENTED = json.loads((resources.files("rds_emulator") / "data" / "errors.json").read_text("utf-8"))


@pytest.mark.parametrize("row", DOCUMENTED, ids=lambda row: row["code"])
def test_every_row_of_the_operations_page_is_in_the_catalogue(row):
    known = {entry.code: entry for entry in _errors.SERVICE}[row["code"]]
    assert known.http_status == row["http_status"]
    assert known.category in _errors.CATEGORIES
    assert known.remedy


def test_the_catalogue_has_no_other_service_rows_and_no_code_twice():
    assert len(DOCUMENTED) == 67
    assert {entry.code for entry in _errors.SERVICE} == {row["code"] for row in DOCUMENTED}
    every = [*_errors.SERVICE, *_errors.GATEWAY, *_errors.COLLECTION]
    assert len(every) == len(_errors.CATALOGUE)
    assert {entry.category for entry in every} <= set(_errors.CATEGORIES)


@pytest.mark.parametrize(
    ("code", "status", "category"),
    [
        ("Throttling.SomethingNew", 400, "retry_later"),
        ("Whatever", 429, "retry_later"),
        ("Whatever", 503, "retry_later"),
        ("Whatever", 403, "grant_permission"),
        ("Whatever", 401, "fix_credentials"),
        ("InvalidSecurityToken.NewKind", 400, "fix_credentials"),
        ("MissingDBInstanceId", 400, "fix_input"),
        ("Whatever", 404, "fix_input"),
        ("Whatever", 418, "contact_support"),
    ],
)
def test_an_unknown_code_gets_a_category_from_its_form_or_status(code, status, category):
    row = _errors.classify(code, status)
    assert row.category == category
    assert row.remedy


def test_a_failure_is_an_object_that_a_playbook_can_branch_on():
    error = _errors.RdsError("IncorrectDBInstanceState", "busy", http_status=400, request_id="R-1", outcome="refused")
    assert error.as_result() == {
        "code": "IncorrectDBInstanceState",
        "message": "busy",
        "http_status": 400,
        "request_id": "R-1",
        "category": "retry_later",
        "retryable": True,
        "remedy": _errors.CATALOGUE["IncorrectDBInstanceState"].remedy,
        "outcome": "refused",
    }


@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [
        (20, "unable to get local issuer certificate", "ca_path"),
        (10, "certificate has expired", "clock"),
        (62, "Hostname mismatch, certificate is not valid for 'rds'.", "endpoint"),
        (85, "Missing Authority Key Identifier", "RFC 5280"),
    ],
)
def test_a_refused_certificate_says_why_however_it_is_wrapped(number, reason, remedy):
    error = ssl.SSLCertVerificationError(1, "https://rds/?ReplicatorPassword=x")
    error.verify_code, error.verify_message = number, reason
    wrapped = RuntimeError(OSError("x"), error)
    why, advice = _errors.refused_certificate(_errors.causes(wrapped))
    assert why == reason.rstrip(".") and remedy in advice
    assert _errors.refused_certificate(_errors.causes(RuntimeError(OSError("x")))) is None
