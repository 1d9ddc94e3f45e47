# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The errors that the endpoint answers with.

`data/errors.json` holds the 67 documented rows of CreateReplicationLink. The gateway's own codes (signatures,
throttling, permissions) are not in that table; those below are from the gateway's pages, statuses as most of them say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_GATEWAY: dict[str, tuple[int, str]] = {
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAccessKeyId.Inactive": (400, "Specified access key is disabled."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Format": (400, "Specified time stamp or date value is not well formatted."),
    "InvalidParameter.Format": (400, "Specified parameter is not well formatted."),
    "MissingSecurityToken": (400, "SecurityToken is mandatory for this action."),
    "InvalidSecurityToken.Expired": (400, "Specified SecurityToken is expired."),
    "InvalidSecurityToken.Malformed": (400, "Specified SecurityToken is malformed."),
    "InvalidSecurityToken.MismatchWithAccessKey": (400, "Specified SecurityToken mismatch with the AccessKey."),
    "InvalidApi.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "InvalidProtocol.NeedSsl": (404, "Your request is denied as lack of ssl protect."),
    "Forbidden.RAM": (
        403,
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "NoPermission": (403, "You are not authorized to do this action."),
    "Forbidden": (403, "User not authorized to operate on the specified resource."),
    "Forbidden.RiskControl": (403, "This operation is forbidden by Aliyun RiskControl system."),
    "UnsupportedHTTPMethod": (403, "This http method is not supported."),
    "Throttling": (400, "Request was denied due to request throttling."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    "Throttling.Api": (400, "Request was denied due to api flow control."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "OperationDenied.DBInstanceStatus": (403, "The operation is not permitted due to status of instance."),
}


def _load() -> dict[str, tuple[int, str]]:
    rows = json.loads((Path(__file__).parent / "data" / "errors.json").read_text(encoding="utf-8"))
    catalogue = dict(_GATEWAY)
    for row in rows:  # BasicInfoUncompleted is listed twice, alike but for a comma: the first one stays
        catalogue.setdefault(row["code"], (row["http_status"], row["message"]))
    return catalogue


CATALOGUE = _load()


class ApiError(Exception):
    """An error answer: code, HTTP status, message, and the response headers and body fields that belong to it."""

    def __init__(
        self,
        code: str,
        *arguments: str,
        note: str = "",
        message: str | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Status and message default to the catalogue's; `arguments` fill its %s.

        `note` is appended in brackets: the service names no parameter, but a person debugging wants to know which.
        """
        known_status, known_message = CATALOGUE.get(code, (400, code))
        text = known_message if message is None else message
        if arguments:
            text = text % arguments
        self.code = code
        self.status = status or known_status
        self.message = f"{text} [{note}]" if note else text
        self.headers = headers or {}
        self.extra = extra or {}
        super().__init__(f"{self.code}: {self.message}")

    def body(self, request_id: str, host: str) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        return {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={self.code}&product=Rds&requestId={request_id}",
            **self.extra,
        }
