# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error as data: code -> what a person does next. Pure, and read by the documentation as well.

Sources: the error table of CreateReplicationLink (RDS API 2014-08-15) for `SERVICE`, the common error pages of the
OpenAPI gateway for `GATEWAY`. `COLLECTION` holds the codes this collection gives itself.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# What a person does next. These words are part of the interface: playbooks branch on them.
CATEGORIES = {
    "fix_input": "Correct the option that the message names.",
    "fix_source": "Change the source PostgreSQL or its replication account.",
    "fix_instance": "Change the DR instance (state, class, storage, version), or choose another one.",
    "fix_checks": "Work through the failed checks; each has its own remedy.",
    "fix_credentials": "Correct the access key, its secret or the security token.",
    "fix_network": "Make the endpoint reachable from where the task runs.",
    "fix_controller": "Correct the machine that the task runs on (library, clock, file).",
    "grant_permission": "Have the RAM permission granted.",
    "settle_account": "Settle the Alibaba Cloud account (balance, orders, identity).",
    "retry_later": "Run the same play again later; nothing needs to be changed.",
    "decide": "Two states contradict each other; a person has to decide.",
    "contact_support": "Ask Alibaba Cloud support, quoting the request id.",
}


class Row(NamedTuple):
    """One line of the catalogue. `http_status` is what the documentation names first; None for our own codes."""

    code: str
    http_status: int | None
    category: str
    remedy: str


_PAY = "Pay or cancel the open order in the Expenses and Costs console, then run again."
_CARD = "Add a payment method to the Alibaba Cloud account, then run again."
_IDENTITY = "Complete the account's registration data in the account console, then run again."
_ORDER = "The ordering system answered for this instance: check its orders in the console, or open a ticket."
_AGAIN = "A fault inside the service: run again in a few minutes; if it stays, open a ticket with the request id."
_WAIT = "Wait until the DR instance is Running and no other task works on it, then run again."
_COLD = "Switch cold data storage off on the instances, or upgrade the engine version, then run again."
_KMS = (
    "Check the KMS key of the DR instance's disk encryption: it must be enabled and RDS must be authorised to use it."
)
_CLASS = "Change the DR instance to an instance class and storage type that support disaster recovery."
_REGION = "This region is being closed: choose a DR instance in another region."

SERVICE = (
    Row("IncorrectDBInstanceState", 400, "retry_later", _WAIT),
    Row("InvalidSourceCategory", 400, "fix_input", "Set source_category to 'other' or 'aliyunRDS'."),
    Row(
        "Order.ComboInstanceNotAllowOperate", 400, "fix_instance", "The instance belongs to a package: choose another."
    ),
    Row("Price.PricingPlanResultNotFound", 400, "contact_support", _ORDER),
    Row("Order.NoRealNameAuthentication", 400, "settle_account", "Pass real-name authentication in the user center."),
    Row("InsufficientAvailableQuota", 400, "settle_account", "Recharge the account: its available limit is below 0."),
    Row("CommodityServiceCalling.Exception", 400, "retry_later", _AGAIN),
    Row("RegionDissolvedEOM", 400, "fix_instance", _REGION),
    Row("Commodity.InvalidComponent", 400, "contact_support", _ORDER),
    Row("RegionEndTimeDissolvedAustralia", 400, "fix_instance", _REGION),
    Row("Price.CommoditySys", 400, "retry_later", _AGAIN),
    Row("Pay.InsufficientBalance", 400, "settle_account", "Recharge the account: its balance is not sufficient."),
    Row("Order.PeriodInvalid", 400, "contact_support", _ORDER),
    Row("pay.noCreditCard", 400, "settle_account", _CARD),
    Row("Order.InstHasUnpaidOrder", 400, "settle_account", _PAY),
    Row("noAvailablePaymentMethod", 400, "settle_account", _CARD),
    Row("BasicInfoUncompleted", 400, "settle_account", _IDENTITY),
    Row("Risk.RiskControlRejection", 400, "settle_account", "Customer service has to lift the account's risk control."),
    Row("Api.NotSupport", 400, "fix_input", "Check region_id and endpoint: the operation is not offered there."),
    Row(
        "ContainForbiddenLabelError", 400, "settle_account", "A tag forbids orders: contact the account's distributor."
    ),
    Row("InvalidDBInstanceId.NotFound", 400, "fix_input", "Check dr_instance_id, and that the key's account owns it."),
    Row("InvalidInstanceLevel.DiskType", 400, "fix_instance", _CLASS),
    Row(
        "InvalidParam",
        400,
        "fix_source",
        "Drop the logical replication slots that the message speaks of (SELECT slot_name FROM pg_replication_slots "
        "WHERE slot_type = 'logical'; then pg_drop_replication_slot), then run again.",
    ),
    Row("KmsApiError", 400, "fix_instance", _KMS),
    Row("System.SaleValidateFailed", 400, "retry_later", _AGAIN),
    Row(
        "Abs.InvalidAccount.NotFound",
        400,
        "fix_source",
        "Create the account named by replicator_account at the source (LOGIN REPLICATION CREATEROLE, "
        "member of pg_monitor), or correct the option.",
    ),
    Row(
        "SqlExecuteFailedOrTimeout",
        400,
        "fix_source",
        "A query at the source failed or took too long: look for locks and load there, then run again.",
    ),
    Row("ColdData.EngineVersionNotSupport", 400, "fix_instance", _COLD),
    Row("ColdData.MinorVersionNotSupport", 400, "fix_instance", _COLD),
    Row("IncorrectTargetClasscode", 400, "fix_instance", _CLASS),
    Row(
        "InvalidConnectionString.Duplicate",
        400,
        "contact_support",
        "Reset the instance's endpoint name in the console.",
    ),
    Row("RequiredParam.NotFound", 400, "fix_input", "Give every option that describes the source, account included."),
    Row(
        "Parameters.Invalid",
        400,
        "fix_input",
        "Check the options against the module's documentation; one is not valid.",
    ),
    Row(
        "BackupPolicyNotSupport",
        400,
        "fix_instance",
        "Switch cold data, cross-region or flash backup off, then run again.",
    ),
    Row("InvalideStatus.Format", 400, "retry_later", _WAIT),
    Row(
        "InvalidReleasedKeepPolicy.Format",
        400,
        "fix_instance",
        "Correct the instance's backup retention after release.",
    ),
    Row("InvalidDBInstanceEngineType.Format", 400, "fix_instance", "Choose an RDS PostgreSQL instance as DR instance."),
    Row("Pay.NoCreditCard", 400, "settle_account", _CARD),
    Row("VpcNetworkTypeNotSupport", 400, "fix_instance", "Choose a DR instance whose network type supports this."),
    Row(
        "MirrorInsExists",
        400,
        "decide",
        "The instance already has a link or mirror: read it with replication_link_info.",
    ),
    Row("UnsupportedClassCode", 400, "fix_instance", _CLASS),
    Row("InvalidBackupSet", 400, "contact_support", "Make a new backup of the source instance, or open a ticket."),
    Row("OrdTCommodityQueryError", 400, "retry_later", _AGAIN),
    Row(
        "ProductInstanceReleased", 400, "fix_input", "The instance has been released: set dr_instance_id to a live one."
    ),
    Row("RegionEndTimeDissolvedIndia", 400, "fix_instance", _REGION),
    Row("IncorrectDBInstance", 403, "fix_instance", "Choose an empty, primary RDS PostgreSQL instance as DR instance."),
    Row(
        "IncorrectDBInstanceType", 403, "fix_instance", "Choose a primary RDS PostgreSQL instance, not a read-only one."
    ),
    Row(
        "ENDPOINT_NOT_FOUND",
        403,
        "fix_input",
        "Set source_address to an endpoint of the instance in source_instance_name, "
        "or use source_category=other for a source that is not that instance.",
    ),
    Row("OrderStatus.UnPaid", 403, "settle_account", _PAY),
    Row(
        "InvalidReduceDiskSize",
        403,
        "fix_instance",
        "Enlarge the DR instance's storage; it must hold the source's data.",
    ),
    Row("CloudSSDNotSupport", 403, "fix_instance", "Change the DR instance's storage from standard SSD to ESSD."),
    Row(
        "InvalidUserOperatorPermission", 403, "grant_permission", "Grant rds:CreateReplicationLink on the DR instance."
    ),
    Row("InvalidVswitchId", 403, "fix_instance", "Check the vSwitch of the DR instance."),
    Row(
        "IncorrectMinorVersion", 403, "fix_instance", "Upgrade the DR instance's minor engine version, then run again."
    ),
    Row(
        "OperationDenied.ZoneResource", 403, "fix_instance", "The zone has no capacity: choose a DR instance elsewhere."
    ),
    Row("NotInFlowController", 403, "grant_permission", "The account is not admitted to this feature: open a ticket."),
    Row("InvalidKmsKey", 403, "fix_instance", _KMS),
    Row("InvalidInstanceLevel.Malformed", 403, "fix_instance", _CLASS),
    Row(
        "InvalidDBInstanceName.NotFound",
        404,
        "fix_input",
        "Check dr_instance_id and source_instance_name for the region.",
    ),
    Row("IncorrectDBInstanceLockMode", 404, "fix_instance", "Unlock the instance (expired or full?), then run again."),
    Row("InvalidClusterKms", 404, "fix_instance", _KMS),
    Row(
        "Request.NotFound", 404, "fix_input", "Check the instance ids and the task id: the service does not know them."
    ),
    Row("HostInfo.NotFound", 404, "contact_support", "The service lost the instance's host: open a ticket."),
    Row("ExternalFailure", 500, "retry_later", _AGAIN),
    Row("RequestMetaDataFailed", 500, "retry_later", _AGAIN),
    Row("InvokeProxyFailure", 500, "retry_later", _AGAIN),
)

_KEY = "Check access_key_id and access_key_secret (where they came from is in 'credentials'); is the key enabled?"
_TOKEN = "Get a new set of temporary credentials; key, secret and token belong together."
_CLOCK = "Set the clock of the machine that runs the task (NTP): requests more than 15 minutes off are refused."
_SLOW = "The service limits the rate: run again, with fewer forks or a higher max_retries."
_PERMIT = "Grant the RAM action that the message names, on the instance it names."

GATEWAY = (
    Row("InvalidAccessKeyId.NotFound", 404, "fix_credentials", _KEY),
    Row("InvalidAccessKeyId.Inactive", 400, "fix_credentials", _KEY),
    Row("InvalidAccessKeySecret", 400, "fix_credentials", _KEY),
    Row("SignatureDoesNotMatch", 400, "fix_credentials", _KEY),
    Row("IncompleteSignature", 400, "fix_credentials", _KEY),
    Row("SignatureNonceUsed", 400, "retry_later", "Something between here and the service sends requests twice."),
    Row("InvalidTimeStamp.Expired", 400, "fix_controller", _CLOCK),
    Row("InvalidTimeStamp.Format", 400, "fix_controller", _CLOCK),
    Row("IllegalTimestamp", 400, "fix_controller", _CLOCK),
    Row("InvalidParameter.Format", 400, "fix_input", "Correct the value that the message names."),
    Row("MissingSecurityToken", 400, "fix_credentials", "Temporary keys (STS.*) need security_token as well."),
    Row("InvalidSecurityToken.Expired", 400, "fix_credentials", _TOKEN),
    Row("InvalidSecurityToken.Malformed", 400, "fix_credentials", _TOKEN),
    Row("InvalidSecurityToken.MismatchWithAccessKey", 400, "fix_credentials", _TOKEN),
    Row("InvalidApi.NotFound", 404, "fix_input", "Check endpoint: it must be an RDS endpoint."),
    Row("InvalidProduct.NotFound", 404, "fix_input", "Check endpoint and region_id: RDS is not offered there."),
    Row("InvalidProtocol.NeedSsl", 404, "fix_input", "Use an https endpoint."),
    Row("Forbidden.RAM", 403, "grant_permission", _PERMIT),
    Row("NoPermission", 403, "grant_permission", _PERMIT),
    Row("Forbidden", 403, "grant_permission", _PERMIT),
    Row("Forbidden.RiskControl", 403, "settle_account", "Customer service has to lift the account's risk control."),
    Row("UnsupportedHTTPMethod", 403, "contact_support", "The endpoint refuses POST; is it an RDS endpoint?"),
    Row("Throttling", 400, "retry_later", _SLOW),
    Row("Throttling.User", 400, "retry_later", _SLOW),
    Row("Throttling.Api", 400, "retry_later", _SLOW),
    Row("OperationDenied.DBInstanceStatus", 403, "retry_later", _WAIT),
    Row("LockTimeout", 400, "retry_later", "Another task holds the instance's lock: run again when it has ended."),
    Row("InternalError", 500, "retry_later", _AGAIN),
    Row("ServiceUnavailable", 503, "retry_later", _AGAIN),
)

COLLECTION = (
    Row("InvalidOptions", None, "fix_input", "Correct the option that the message names."),
    Row("MissingLibrary", None, "fix_controller", "Install the library for the interpreter that the message names."),
    Row("CredentialsMissing", None, "fix_credentials", "Give access_key_id and access_key_secret, or export them."),
    Row("CredentialsUnusable", None, "fix_credentials", "Correct what the message names; see docs/credentials.md."),
    Row("EndpointUnreachable", None, "fix_network", "Check endpoint, DNS, proxy and firewall. Nothing was sent."),
    Row("CertificateRefused", None, "fix_network", "Check endpoint and ca_path. Nothing was sent."),
    Row("ReplyLost", None, "fix_network", "The request left but no whole reply came back: check proxy and firewall."),
    Row("ReplyUnreadable", None, "fix_network", "What answered is not the RDS API: check endpoint and proxy."),
    Row("Redirected", None, "fix_network", "Something redirects the endpoint; redirects are not followed."),
    Row("ListIncomplete", None, "retry_later", "Instances came or went while they were listed: run again."),
    Row("InstanceUnfit", None, "fix_instance", "Choose an empty, running, unlocked, primary RDS PostgreSQL instance."),
    Row("InstanceBusy", None, "retry_later", _WAIT),
    Row(
        "OtherSource",
        None,
        "decide",
        "A link cannot be changed in place: correct the source options, or choose another DR instance.",
    ),
    Row(
        "LinkEnded",
        None,
        "decide",
        "If it was promoted it is a primary that clients may use: leave this link out of the playbook, and protect it "
        "by a new link onto an empty instance. Only if it holds nothing that is needed: preview with --check, and "
        "apply that plan by its id (dry_run_task_id).",
    ),
    Row("LinksFailed", None, "fix_checks", "Work through these lines; the links that are not named are as asked for."),
    Row("LinkBroken", None, "decide", "Repair the cause named in the task's report, then rebuild the link."),
    Row("PlanUnusable", None, "decide", "Preview again with --check and use the new plan.task_id."),
    Row("PrecheckFailed", None, "fix_checks", "Work through the failed checks and preview again. Nothing was created."),
    Row("TaskFailed", None, "fix_checks", "Repair what the task's report names, then preview and apply again."),
    Row("NotLinked", None, "fix_input", "Check the instance id and its region; replication_link_info shows its link."),
    Row("NotDrInstance", None, "fix_input", "Check the instance id: name the DR instance of the link."),
    Row("PromotionRefused", None, "fix_checks", "Work through these checks and run again: nothing was sent."),
    Row("RebuildRefused", None, "fix_checks", "Work through these checks and run again: nothing was sent."),
    Row("PromotionFailed", None, "decide", "The link is still there: read the instance's events, then run again."),
    Row("RebuildFailed", None, "decide", "Make the source reachable for the link's account, then rebuild again."),
    Row("WaitTimeout", None, "retry_later", "The task goes on at the service: run the same play again to wait on."),
    Row(
        "InstanceIsPrimary",
        None,
        "decide",
        "Roles have changed since this link was described: name an empty instance as DR instance, or leave it out.",
    ),
    Row("Interrupted", None, "retry_later", "Run the same play again: it reads first, and goes on with what it finds."),
    Row("Unexpected", None, "contact_support", "A fault of this collection: please report it."),
)

CATALOGUE = {row.code: row for row in (*SERVICE, *GATEWAY, *COLLECTION)}

# The service says no because something works on the instance: another run may have been faster.
PERHAPS_ANOTHER_RUN = frozenset(
    {"IncorrectDBInstanceState", "InvalideStatus.Format", "OperationDenied.DBInstanceStatus", "LockTimeout"}
)

# The service refused before it did anything, because of load or a lock: the one refusal that even a write may repeat.
_HELD_BACK = frozenset(
    {"LockTimeout", "OperationDenied.DBInstanceStatus", "Throttling", "Throttling.User", "Throttling.Api"}
)


def classify(code: str, http_status: int | None) -> Row:
    """Return the catalogue row of a code; an unknown code gets a category from the HTTP status."""
    known = CATALOGUE.get(code)
    if known:
        return known
    if code.startswith(("Throttling", "Rejected.Throttling")) or http_status == 429:
        return Row(code, http_status, "retry_later", _SLOW)
    if code.startswith(("InvalidAccessKey", "InvalidSecurityToken", "Signature")) or http_status == 401:
        return Row(code, http_status, "fix_credentials", _KEY)
    if code.startswith(("Forbidden", "NoPermission")) or http_status == 403:
        return Row(code, http_status, "grant_permission", _PERMIT)
    if http_status is not None and http_status >= 500:
        return Row(code, http_status, "retry_later", _AGAIN)
    if code.startswith("Missing") or http_status in (400, 404):
        return Row(
            code, http_status, "fix_input", "Not in this collection's catalogue; the message says what is wrong."
        )
    return Row(code, http_status, "contact_support", "Not in this collection's catalogue; open a ticket.")


def is_held_back(code: str, http_status: int | None) -> bool:
    """Say whether the service refused because of its rate limit or a lock, so that nothing has happened yet."""
    return code in _HELD_BACK or "Throttling" in code or http_status == 429


# By what OpenSSL finds (X509_V_ERR_*).
_CERTIFICATE_REMEDIES = {
    **dict.fromkeys(
        (2, 18, 19, 20, 21),  # no authority known here has issued it
        "Set ca_path or REQUESTS_CA_BUNDLE to the certificate of its authority; a proxy that inspects TLS has its own.",
    ),
    **dict.fromkeys((9, 10), "Check the clock of this machine; if it is right, have the certificate renewed."),
    **dict.fromkeys((62, 64), "Set endpoint to a name that the certificate has; another server may have answered."),
}
_REISSUE = "Have its authority reissue the certificate as RFC 5280 demands: Python 3.13 and newer accept nothing less."


def causes(error: BaseException) -> list[BaseException]:
    """Return an exception and all that caused it, however the libraries of the network have wrapped it."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseException) and current not in seen:
            seen.append(current)
            waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return seen


def refused_certificate(found: list[BaseException]) -> tuple[str, str] | None:
    """Return why a certificate was refused, in OpenSSL's words, and the remedy; None if it was something else."""
    for error in found:
        if isinstance(error, ssl.SSLCertVerificationError):
            remedy = _CERTIFICATE_REMEDIES.get(error.verify_code, _REISSUE)
            return error.verify_message.rstrip("."), f"{remedy} Nothing was sent."
    return None


@dataclass
class RdsError(Exception):
    """A failure that a person reads and a playbook can branch on.

    `outcome` says what is known about the state: ``not_sent`` (nothing left this machine), ``refused`` (the service
    said no and did nothing), ``unknown`` (a write may have happened), ``failed`` (a task started and failed),
    ``running`` (a task goes on).
    `context` holds parts of the result that are known all the same (task, checks, timeline, plan).
    """

    code: str
    message: str
    http_status: int | None = None
    request_id: str | None = None
    outcome: str = "not_sent"
    retry_after: float | None = None  # seconds, from the service
    context: dict[str, Any] = field(default_factory=dict)
    advice: str | None = None  # instead of the catalogue's remedy, where that would not fit

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def category(self) -> str:
        return classify(self.code, self.http_status).category

    @property
    def remedy(self) -> str:
        return self.advice or classify(self.code, self.http_status).remedy

    @property
    def retryable(self) -> bool:
        """Whether the same play can succeed later with nothing changed."""
        return self.category == "retry_later" or self.code in ("EndpointUnreachable", "ReplyLost", "ReplyUnreadable")

    def as_result(self) -> dict[str, Any]:
        """Return the ``error`` object of a failed task."""
        return {
            "code": self.code,
            "message": self.message,
            "http_status": self.http_status,
            "request_id": self.request_id,
            "category": self.category,
            "retryable": self.retryable,
            "remedy": self.remedy,
            "outcome": self.outcome,
        }
