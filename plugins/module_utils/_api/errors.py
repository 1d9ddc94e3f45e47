# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error as data: remedy -> codes. Pure, and read by the documentation as well.

Sources: the error table of CreateReplicationLink (RDS API 2014-08-15) for `SERVICE`, the common error pages of the
OpenAPI gateway for `GATEWAY`. `COLLECTION` holds the codes this collection gives itself.
"""

from __future__ import annotations

import re
import ssl
import sys
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


# Blocks of a category with a remedy, then, indented, the codes that it is for; HTTP status first, where there is one.
_SERVICE = """
retry_later: Wait until the DR instance is Running and no other task works on it, then run again.
    400 IncorrectDBInstanceState, 400 InvalideStatus.Format
fix_input: Set source_category to 'other' or 'aliyunRDS'.
    400 InvalidSourceCategory
fix_instance: The instance belongs to a package: choose another.
    400 Order.ComboInstanceNotAllowOperate
contact_support: The ordering system answered for this instance: check its orders in the console, or open a ticket.
    400 Price.PricingPlanResultNotFound, 400 Commodity.InvalidComponent, 400 Order.PeriodInvalid
settle_account: Pass real-name authentication in the user center.
    400 Order.NoRealNameAuthentication
settle_account: Recharge the account: its available limit is below 0.
    400 InsufficientAvailableQuota
retry_later: A fault inside the service: run again in a few minutes; if it stays, open a ticket with the request id.
    400 CommodityServiceCalling.Exception, 400 Price.CommoditySys, 400 System.SaleValidateFailed, 400
    OrdTCommodityQueryError, 500 ExternalFailure, 500 RequestMetaDataFailed, 500 InvokeProxyFailure
fix_instance: This region is being closed: choose a DR instance in another region.
    400 RegionDissolvedEOM, 400 RegionEndTimeDissolvedAustralia, 400 RegionEndTimeDissolvedIndia
settle_account: Recharge the account: its balance is not sufficient.
    400 Pay.InsufficientBalance
settle_account: Add a payment method to the Alibaba Cloud account, then run again.
    400 pay.noCreditCard, 400 noAvailablePaymentMethod, 400 Pay.NoCreditCard
settle_account: Pay or cancel the open order in the Expenses and Costs console, then run again.
    400 Order.InstHasUnpaidOrder, 403 OrderStatus.UnPaid
settle_account: Complete the account's registration data in the account console, then run again.
    400 BasicInfoUncompleted
settle_account: Customer service has to lift the account's risk control.
    400 Risk.RiskControlRejection
fix_input: Check region_id and endpoint: the operation is not offered there.
    400 Api.NotSupport
settle_account: A tag forbids orders: contact the account's distributor.
    400 ContainForbiddenLabelError
fix_input: Check dr_instance_id, and that the key's account owns it.
    400 InvalidDBInstanceId.NotFound
fix_instance: Change the DR instance to an instance class and storage type that support disaster recovery.
    400 InvalidInstanceLevel.DiskType, 400 IncorrectTargetClasscode, 400 UnsupportedClassCode, 403
    InvalidInstanceLevel.Malformed
fix_source: Drop the logical replication slots that the message speaks of (SELECT slot_name FROM pg_replication_slots
WHERE slot_type = 'logical'; then pg_drop_replication_slot), then run again.
    400 InvalidParam
fix_instance: Check the KMS key of the DR instance's disk encryption: it must be enabled and RDS must be authorised to
use it.
    400 KmsApiError, 403 InvalidKmsKey, 404 InvalidClusterKms
fix_source: Create the account named by replicator_account at the source (LOGIN REPLICATION CREATEROLE, member of
pg_monitor), or correct the option.
    400 Abs.InvalidAccount.NotFound
fix_source: A query at the source failed or took too long: look for locks and load there, then run again.
    400 SqlExecuteFailedOrTimeout
fix_instance: Switch cold data storage off on the instances, or upgrade the engine version, then run again.
    400 ColdData.EngineVersionNotSupport, 400 ColdData.MinorVersionNotSupport
contact_support: Reset the instance's endpoint name in the console.
    400 InvalidConnectionString.Duplicate
fix_input: Give every option that describes the source, account included.
    400 RequiredParam.NotFound
fix_input: Check the options against the module's documentation; one is not valid.
    400 Parameters.Invalid
fix_instance: Switch cold data, cross-region or flash backup off, then run again.
    400 BackupPolicyNotSupport
fix_instance: Correct the instance's backup retention after release.
    400 InvalidReleasedKeepPolicy.Format
fix_instance: Choose an RDS PostgreSQL instance as DR instance.
    400 InvalidDBInstanceEngineType.Format
fix_instance: Choose a DR instance whose network type supports this.
    400 VpcNetworkTypeNotSupport
decide: The instance already has a link or mirror: read it with replication_link_info.
    400 MirrorInsExists
contact_support: Make a new backup of the source instance, or open a ticket.
    400 InvalidBackupSet
fix_input: The instance has been released: set dr_instance_id to a live one.
    400 ProductInstanceReleased
fix_instance: Choose an empty, primary RDS PostgreSQL instance as DR instance.
    403 IncorrectDBInstance
fix_instance: Choose a primary RDS PostgreSQL instance, not a read-only one.
    403 IncorrectDBInstanceType
fix_input: Set source_address to an endpoint of the instance in source_instance_name, or use source_category=other for
a source that is not that instance.
    403 ENDPOINT_NOT_FOUND
fix_instance: Enlarge the DR instance's storage; it must hold the source's data.
    403 InvalidReduceDiskSize
fix_instance: Change the DR instance's storage from standard SSD to ESSD.
    403 CloudSSDNotSupport
grant_permission: Grant rds:CreateReplicationLink on the DR instance.
    403 InvalidUserOperatorPermission
fix_instance: Check the vSwitch of the DR instance.
    403 InvalidVswitchId
fix_instance: Upgrade the DR instance's minor engine version, then run again.
    403 IncorrectMinorVersion
fix_instance: The zone has no capacity: choose a DR instance elsewhere.
    403 OperationDenied.ZoneResource
grant_permission: The account is not admitted to this feature: open a ticket.
    403 NotInFlowController
fix_input: Check dr_instance_id and source_instance_name for the region.
    404 InvalidDBInstanceName.NotFound
fix_instance: Unlock the instance (expired or full?), then run again.
    404 IncorrectDBInstanceLockMode
fix_input: Check the instance ids and the task id: the service does not know them.
    404 Request.NotFound
contact_support: The service lost the instance's host: open a ticket.
    404 HostInfo.NotFound
"""

_GATEWAY = """
fix_credentials: Correct access_key_id and access_key_secret, and check that the key is enabled; 'credentials' in a
task's result says where they came from.
    404 InvalidAccessKeyId.NotFound, 400 InvalidAccessKeyId.Inactive, 400 InvalidAccessKeySecret, 400
    SignatureDoesNotMatch, 400 IncompleteSignature
retry_later: Something between here and the service sends requests twice.
    400 SignatureNonceUsed
fix_controller: Set the clock of the machine that runs the task (NTP): requests more than 15 minutes off are refused.
    400 InvalidTimeStamp.Expired, 400 InvalidTimeStamp.Format, 400 IllegalTimestamp
fix_input: Correct the value that the message names.
    400 InvalidParameter.Format
fix_credentials: Temporary keys (STS.*) need security_token as well.
    400 MissingSecurityToken
fix_credentials: Get a new set of temporary credentials; key, secret and token belong together.
    400 InvalidSecurityToken.Malformed, 400 InvalidSecurityToken.MismatchWithAccessKey
fix_credentials: Get new temporary credentials (key, secret and token) and run the same play again: a task that was
started goes on at the service meanwhile.
    400 InvalidSecurityToken.Expired
fix_input: Check endpoint: it must be an RDS endpoint.
    404 InvalidApi.NotFound
fix_input: Check endpoint and region_id: RDS is not offered there.
    404 InvalidProduct.NotFound
fix_input: Use an https endpoint.
    404 InvalidProtocol.NeedSsl
grant_permission: Grant the RAM action that the message names, on the instance it names.
    403 Forbidden.RAM, 403 NoPermission, 403 Forbidden
settle_account: Customer service has to lift the account's risk control.
    403 Forbidden.RiskControl
contact_support: The endpoint refuses POST; is it an RDS endpoint?
    403 UnsupportedHTTPMethod
retry_later: The service limits the rate: run again, with fewer forks or a higher max_retries.
    400 Throttling, 400 Throttling.User, 400 Throttling.Api
retry_later: Wait until the DR instance is Running and no other task works on it, then run again.
    403 OperationDenied.DBInstanceStatus
retry_later: Another task holds the instance's lock: run again when it has ended.
    400 LockTimeout
retry_later: A fault inside the service: run again in a few minutes; if it stays, open a ticket with the request id.
    500 InternalError, 503 ServiceUnavailable
"""

_COLLECTION = """
fix_input: Correct the option that the message names, or the variable that it was taken from.
    InvalidOptions
fix_controller: Install the library for the Python that the message names, then run again.
    MissingLibrary
fix_credentials: Set access_key_id and access_key_secret, or export ALIBABA_CLOUD_ACCESS_KEY_ID and
ALIBABA_CLOUD_ACCESS_KEY_SECRET where the task runs; docs/credentials.md has the other kinds.
    CredentialsMissing
fix_credentials: Correct what the message names; see docs/credentials.md.
    CredentialsUnusable
fix_controller: Correct the variable that the message names (percent-encode special characters of a password), or
unset it. Nothing was sent.
    ProxyUnusable
fix_controller: Correct the path, or have the file hold certificates of authorities as PEM. Nothing was sent.
    CaUnreadable
fix_network: Check the name of the service in the message (its region, its endpoint), then DNS, firewall and proxy.
Nothing was sent to RDS.
    KeyServiceUnreachable
fix_network: Check endpoint and region_id, then DNS, route and firewall. Inside a VPC without internet access set
network=vpc; where only a proxy leads out, export HTTPS_PROXY. Nothing was sent.
    EndpointUnreachable
fix_network: Check endpoint and ca_path. Nothing was sent.
    CertificateRefused
fix_network: Run the same play again: it reads first. If this stays, raise read_timeout and request_timeout, and check
proxy and firewall.
    ReplyLost
fix_network: What answered is not the RDS API: check endpoint and proxy.
    ReplyUnreadable
fix_network: Set endpoint to the RDS API itself, or sign in at the proxy or portal that redirects: redirects are not
followed.
    Redirected
retry_later: Run again; set filters, where there are such options, or look what slows the service down.
    ListTooLong
retry_later: Instances came or went while they were listed: run again.
    ListIncomplete
fix_instance: Choose an empty, running, unlocked, primary RDS PostgreSQL instance.
    InstanceUnfit
retry_later: Wait until the DR instance is Running and no other task works on it, then run again.
    InstanceBusy
decide: A link cannot be changed in place: correct the source options, or choose another DR instance.
    OtherSource
decide: If it was promoted it is a primary that clients may use: leave this link out of the playbook, and protect it
by a new link onto an empty instance. Only if it holds nothing that is needed: preview with --check, and apply that
plan by its id (dry_run_task_id).
    LinkEnded
fix_checks: Work through these lines; the links that are not named are as asked for.
    LinksFailed
fix_input: Name an empty instance that production does not use, and a source that can be copied.
    DrillRefused
decide: Read the report of the drill; production was not changed.
    DrillFailed
retry_later: Wait until the other run has ended, then run again. Nothing was changed by this one.
    AnotherRun
decide: Take the fence down (playbook alicloud.rds.unfence), or finish what it was put up for.
    FenceExists
decide: Keep the old primary shut, and release it when nothing on it is needed. A DR instance has to be an empty one.
    StandbyPromoted
fix_source: End what the message names at the source, then run again.
    FenceFailed
decide: Read the checks of the new preview, and approve it.
    PreviewOutdated
retry_later: Find what delays replay or still writes, then run again.
    StandbyLags
fix_source: Read what PostgreSQL says, and run the playbook alicloud.rds.verify.
    PostgresRefused
decide: Log in at the instance and run SELECT pg_is_in_recovery(); then run the playbook alicloud.rds.verify.
    PromotionUnproved
decide: Compare the rows of both servers before clients are sent to the new primary.
    TransactionsAfterFence
fix_input: Give the server's own port in postgres.instances.
    PoolerAnswers
fix_source: Run these statements at the source, or log in with an account that may.
    SourceUnprepared
fix_checks: Work through these checks; each has its own remedy. Nothing was changed.
    VerificationFailed
decide: Repair the cause named in the task's report, then rebuild the link.
    LinkBroken
decide: Preview again with --check and use the new plan.task_id.
    PlanUnusable
fix_checks: Work through the failed checks and preview again. Nothing was created.
    PrecheckFailed
fix_checks: Repair what the task's report names, then preview and apply again.
    TaskFailed
fix_input: Check the instance id and its region; replication_link_info shows its link.
    NotLinked
fix_input: Check the instance id: name the DR instance of the link.
    NotDrInstance
fix_checks: Work through these checks and run again: nothing was sent.
    PromotionRefused, RebuildRefused
decide: The link is still there: read the instance's events, then run again.
    PromotionFailed
decide: Make the source reachable for the link's account, then rebuild again.
    RebuildFailed
retry_later: The task goes on at the service: run the same play again to wait on.
    WaitTimeout
decide: Roles have changed since this link was described: name an empty instance as DR instance, or leave it out.
    InstanceIsPrimary
retry_later: Run the same play again: it reads first, and goes on with what it finds.
    Interrupted
contact_support: A fault of this collection: please report it.
    Unexpected
"""


def _rows(text: str) -> tuple[Row, ...]:
    """Return the rows of blocks."""
    rows = []
    for block in re.findall(r"(?:^\S.*\n)+(?:^ .*\n)+", text, re.MULTILINE):
        head, _unused, codes = block.partition("\n    ")
        category, _unused, remedy = " ".join(head.split("\n")).partition(": ")
        for entry in " ".join(codes.split()).split(", "):
            status, _unused, code = entry.rpartition(" ")
            rows.append(Row(code, int(status) if status else None, category, remedy))
    return tuple(rows)


SERVICE, GATEWAY, COLLECTION = _rows(_SERVICE), _rows(_GATEWAY), _rows(_COLLECTION)
CATALOGUE = {row.code: row for row in (*SERVICE, *GATEWAY, *COLLECTION)}

# The service says no because something works on the instance: another run may have been faster.
PERHAPS_ANOTHER_RUN = frozenset(
    {"IncorrectDBInstanceState", "InvalideStatus.Format", "OperationDenied.DBInstanceStatus", "LockTimeout"}
)

# Of the network: it may answer the next time.
_PASSING = frozenset({"EndpointUnreachable", "KeyServiceUnreachable", "ReplyLost", "ReplyUnreadable"})

# The service refused before it did anything, because of load or a lock: the one refusal that even a write may repeat.
_HELD_BACK = frozenset(
    {"LockTimeout", "OperationDenied.DBInstanceStatus", "Throttling", "Throttling.User", "Throttling.Api"}
)


def classify(code: str, http_status: int | None) -> Row:
    """Return the catalogue row of a code; an unknown code gets a category from the HTTP status."""
    known = CATALOGUE.get(code)
    if known:
        return known
    like = None
    if code.startswith(("Throttling", "Rejected.Throttling")) or http_status == 429:
        like = "Throttling"
    elif code.startswith(("InvalidAccessKey", "InvalidSecurityToken", "Signature")) or http_status == 401:
        like = "SignatureDoesNotMatch"
    elif code.startswith(("Forbidden", "NoPermission")) or http_status == 403:
        like = "NoPermission"
    elif http_status is not None and http_status >= 500:
        like = "InternalError"
    elif code.startswith("Missing") or http_status in (400, 404):
        text = "Not in this collection's catalogue; the message says what is wrong."
        return Row(code, http_status, "fix_input", text)
    if like:
        return CATALOGUE[like]._replace(code=code, http_status=http_status)
    return Row(code, http_status, "contact_support", "Not in this collection's catalogue; open a ticket.")


def missing_library(what: str, packages: str) -> RdsError:
    """Return the error of a library that this Python lacks; `packages` as pip takes them."""
    advice = f"Run {sys.executable} -m pip install {packages}, then run again."
    return RdsError("MissingLibrary", f"{what} for {sys.executable}.", advice=advice)


def is_held_back(code: str, http_status: int | None) -> bool:
    """Say whether the service refused because of its rate limit or a lock, so that nothing has happened yet."""
    return code in _HELD_BACK or "Throttling" in code or http_status == 429


# By what OpenSSL finds (X509_V_ERR_*).
_CERTIFICATE_REMEDIES = {
    **dict.fromkeys(
        (2, 18, 19, 20, 21),  # no authority known here has issued it
        "Set ca_path or REQUESTS_CA_BUNDLE to the certificate of its authority (a file, or a directory after "
        "openssl rehash); a proxy that inspects TLS has its own.",
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
        return self.category == "retry_later" or self.code in _PASSING

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
