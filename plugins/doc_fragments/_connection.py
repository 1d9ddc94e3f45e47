# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which every module reaches the RDS API."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  region_id:
    description:
      - Region of the DR instance, for example V(cn-hangzhou). It decides which endpoint is called.
      - Taken from E(ALIBABA_CLOUD_REGION_ID), E(ALIBABA_CLOUD_REGION), E(ALIBABACLOUD_REGION_ID), E(ALICLOUD_REGION_ID)
        or E(ALICLOUD_REGION) if not given, else from the profile that gives the credentials. Not needed with
        O(endpoint).
    type: str
    aliases: [alicloud_region, region]
  network:
    description:
      - Whether to call the region's public endpoint or the one inside a VPC.
    type: str
    choices: [public, vpc]
    default: public
  endpoint:
    description:
      - Endpoint of the RDS API, as V(host), V(host:port) or a URL without a path. It wins over O(region_id).
      - Taken from E(ALIBABA_CLOUD_RDS_ENDPOINT) if not given.
      - Plain V(http://) is accepted for a loopback address only, because requests hold the replication password.
    type: str
  ca_path:
    description:
      - File or directory of CA certificates that the endpoint's certificate is checked against. A directory has to be
        prepared by C(openssl rehash).
      - It counts for the services that issue keys as well.
      - If not given, E(REQUESTS_CA_BUNDLE) or E(CURL_CA_BUNDLE) counts, else the certificates that C(requests) brings.
    type: path
  connect_timeout:
    description:
      - Seconds to wait for a connection.
    type: float
    default: 5.0
  read_timeout:
    description:
      - Seconds to wait for the next packet of an answer.
    type: float
    default: 10.0
  request_timeout:
    description:
      - Seconds that one request may take in all.
    type: float
    default: 30.0
  max_retries:
    description:
      - How often one call may be repeated, with growing pauses.
      - Reads and dry runs are repeated after network faults and server errors. A creating call is repeated only if
        it provably did not arrive or the service held it back (rate limit, lock).
    type: int
    default: 5
  profile:
    description:
      - Name of a profile in O(profile_file). Not together with O(access_key_id).
      - Taken from E(ALIBABA_CLOUD_PROFILE), E(ALIBABACLOUD_PROFILE) or E(ALICLOUD_PROFILE) if nothing else gives
        credentials, else the current one.
      - Profiles of the modes V(CloudSSO) and V(OAuth) need the Python library C(alibabacloud-credentials).
    type: str
  profile_file:
    description:
      - The configuration file of the Alibaba Cloud CLI, or the C(credentials.ini) of its SDKs.
      - Taken from E(ALIBABA_CLOUD_CREDENTIALS_FILE), E(ALIBABA_CLOUD_CONFIG_PATH), E(ALIBABACLOUD_CONFIG_PATH) or
        E(ALICLOUD_SHARED_CREDENTIALS_FILE) if not given, else
        V(~/.aliyun/config.json) or V(~/.alibabacloud/credentials.ini).
    type: path
    aliases: [shared_credentials_file]
  role_arn:
    description:
      - RAM role to assume with the credentials found.
      - If no option names credentials, E(ALICLOUD_ASSUME_ROLE_ARN) counts, with
        E(ALICLOUD_ASSUME_ROLE_SESSION_NAME) and E(ALICLOUD_ASSUME_ROLE_SESSION_EXPIRATION).
    type: str
    aliases: [alicloud_assume_role_arn, assume_role_arn]
  role_session_name:
    description:
      - Name of the session, which ActionTrail shows. V(ansible-alicloud.rds) if not given.
    type: str
    aliases: [alicloud_assume_role_session_name, assume_role_session_name]
  role_session_expiration:
    description:
      - Seconds that one set of keys of the role lasts, V(900) at least. V(3600) if not given. During a longer wait new
        ones are fetched.
    type: int
    aliases: [alicloud_assume_role_session_expiration, assume_role_session_expiration]
  external_id:
    description:
      - External id that the trust policy of a role of another account may require (C(sts:ExternalId)).
    type: str
  ecs_role_name:
    description:
      - Name of the RAM role of the ECS instance that the task runs on. Its metadata service issues the keys. Not
        together with O(access_key_id) or O(profile).
      - Taken from E(ALIBABA_CLOUD_ECS_METADATA) or E(ALICLOUD_ECS_ROLE_NAME) if nothing else gives credentials.
    type: str
    aliases: [role_name]
  access_key_id:
    description:
      - Id of the access key. Needs O(access_key_secret) as well.
      - Credentials are taken from the first of these places that has them - the options (a key, O(ecs_role_name) or
        O(profile)), the environment (E(ALIBABA_CLOUD_ACCESS_KEY_ID) and E(ALIBABA_CLOUD_ACCESS_KEY_SECRET), then
        E(ALICLOUD_ACCESS_KEY) and E(ALICLOUD_SECRET_KEY), then what names another kind), the current profile of the
        command line interface. The result reports which it was.
      - All kinds and variables, with examples, are in
        U(https://github.com/alicloud-rds/alicloud.rds/blob/main/docs/credentials.md).
    type: str
    aliases: [alicloud_access_key, access_key]
  access_key_secret:
    description:
      - Secret of the access key.
    type: str
    aliases: [alicloud_secret_key, secret_access_key, secret_key]
  security_token:
    description:
      - Token of temporary (STS) credentials.
      - From the environment it is E(ALIBABA_CLOUD_SECURITY_TOKEN) or E(ALICLOUD_SECURITY_TOKEN), with the keys
        of the same family.
    type: str
    aliases: [alicloud_security_token]
requirements:
  - python >= 3.10
  - requests >= 2.28
  - alibabacloud-credentials >= 1.0.12 (only for profiles that were signed in by CloudSSO or OAuth)
"""


# The same options as one dictionary, without defaults. Outside of the class: ansible-test reads plain text inside it.
_options = ModuleDocFragment.DOCUMENTATION.partition("options:\n")[2].partition("requirements:\n")[0]
ModuleDocFragment.AS_DICTIONARY = """
options:
  connection:
    description:
      - The options of this page that configure the connection to the service, as one dictionary.
      - What is set here wins over the option of the same name beside it, and so over C(module_defaults).
    type: dict
    suboptions:
""" + "".join(f"    {line}" for line in _options.splitlines(keepends=True) if not line.startswith("    default:"))
