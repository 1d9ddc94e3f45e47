# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign-ins that people made with the CLI at a terminal (CloudSSO, OAuth): handed to alibabacloud-credentials whole.

The only file that imports it, and only then. Its public interface takes no CA, heeds no NO_PROXY, follows redirects and
reads without bound (seen in 1.0.12), so nothing that runs unattended goes through it; docs/credentials.md says so. It
prints answers of services on stderr, so its loggers are switched off; its exceptions quote them and are not shown.
"""

from __future__ import annotations

import logging
import os
import re
import shlex

from ansible_collections.alicloud.rds.plugins.module_utils._api import profiles as _profiles
from ansible_collections.alicloud.rds.plugins.module_utils._api.errors import RdsError, causes, missing_library
from ansible_collections.alicloud.rds.plugins.module_utils._api.key_services import PRINTED, Asked, read_keys
from ansible_collections.alicloud.rds.plugins.module_utils._api.profiles import Credentials, Profile, Provider, unusable
from ansible_collections.alicloud.rds.plugins.module_utils._api.transport import kind_of

_NETWORK = """Check DNS, firewall and HTTPS_PROXY, and export SSL_CERT_FILE for an authority of your own: ca_path, \
REQUESTS_CA_BUNDLE and NO_PROXY do not count in this mode. Nothing was sent to RDS."""
_STATUS = re.compile(r"(?:http_code[:=]|status code:) ?(\d{3})\b")


def signed_in(profile: Profile) -> Provider:
    """Return what gives the keys of a sign-in. It ends, and a person renews it with the CLI."""
    if not str(profile.fields.get("cloud_sso_sign_in_url", "https://")).startswith("https://"):
        raise unusable(f"cloud_sso_sign_in_url of {profile.place} is not https://HOST.")
    path, again = os.path.expanduser(profile.path), f"aliyun configure --mode {profile.mode}"
    again += f" --profile {shlex.quote(profile.name)}"
    again += "" if profile.path == _profiles.CLI_FILE else f" --config-path {shlex.quote(path)}"
    asked = Asked("the library", profile.place, f"run {again} and sign in")
    try:
        from alibabacloud_credentials.provider import CLIProfileCredentialsProvider
    except ImportError:
        what = f"The {profile.place} needs alibabacloud-credentials 1.0.12 or newer"
        raise missing_library(what, "--upgrade alibabacloud-credentials") from None
    for name in ("credentials", "alibabacloud-tea"):
        logging.getLogger(name).disabled = True
    library = CLIProfileCredentialsProvider(profile_name=profile.name, profile_file=path)

    def provide() -> Credentials:
        try:
            keys = library.get_credentials()
            found = {"access_key_id": keys.get_access_key_id(), "access_key_secret": keys.get_access_key_secret()}
            found |= {"sts_token": keys.get_security_token(), "mode": "StsToken"}
            return read_keys(found, PRINTED, profile.place, asked)[0]
        except Exception as error:  # the library raises exceptions of many kinds
            status, kind = _STATUS.search(str(error)), kind_of(causes(error))
            if kind != type(error).__name__:  # of the network
                text = f"No keys for {profile.place}: the library got no answer ({kind})."
                raise RdsError("KeyServiceUnreachable", text, advice=_NETWORK) from None
            raise asked.refused(f"was refused (HTTP {status[1]})" if status else "got no keys") from None

    return provide
