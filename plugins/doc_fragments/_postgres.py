# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to log in at the PostgreSQL servers of a link."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  postgres:
    description:
      - How to log in to PostgreSQL at either side of the link. Host and port are those that the service reports.
      - If not given, PostgreSQL is not asked, and the check C(both_sides_reachable) fails.
    type: dict
    suboptions:
      login_user:
        description:
          - The account, a member of C(pg_monitor).
        type: str
      login_password:
        description:
          - Its password. If not given, libpq reads C(~/.pgpass).
        type: str
      login_db:
        description:
          - The maintenance database, which holds the canary table and is never fenced. V(dr_link) if not set.
        type: str
      ssl_mode:
        description:
          - As C(sslmode) of libpq. Use V(verify-full) wherever the server has TLS.
        type: str
        choices: [allow, disable, prefer, require, verify-ca, verify-full]
        aliases: [sslmode]
      ca_cert:
        description:
          - File of the authority that has signed the server's certificate, or V(system), as C(sslrootcert) of libpq.
        type: path
        aliases: [sslrootcert]
      ssl_cert:
        description:
          - File of the client's certificate, as C(sslcert) of libpq.
        type: path
        aliases: [sslcert]
      ssl_key:
        description:
          - File of its key, as C(sslkey) of libpq.
        type: path
        aliases: [sslkey]
      require_auth:
        description:
          - How the server may request the password, as C(require_auth) of libpq (16 or newer).
          - V(!password) if not set, so that none is sent in plain text. LDAP and PAM need V(password).
        type: str
      instances:
        description:
          - Settings that differ at one side. A name that is no side of a link is refused.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The instance id, or V(source) for a source that is no RDS instance.
            type: str
            required: true
          host:
            description:
              - Host name or IP address of this side, as seen from here.
            type: str
          port:
            description:
              - Its port.
            type: int
          login_user:
            description:
              - The account, a member of C(pg_monitor).
            type: str
          login_password:
            description:
              - Its password. If not given, libpq reads C(~/.pgpass).
            type: str
          login_db:
            description:
              - The maintenance database there.
            type: str
          ssl_mode:
            description:
              - As C(sslmode) of libpq. Use V(verify-full) wherever the server has TLS.
            type: str
            choices: [allow, disable, prefer, require, verify-ca, verify-full]
            aliases: [sslmode]
          ca_cert:
            description:
              - File of the authority that has signed this server's certificate.
            type: path
            aliases: [sslrootcert]
          ssl_cert:
            description:
              - File of the client's certificate, as C(sslcert) of libpq.
            type: path
            aliases: [sslcert]
          ssl_key:
            description:
              - File of its key, as C(sslkey) of libpq.
            type: path
            aliases: [sslkey]
          require_auth:
            description:
              - How this server may request the password.
            type: str
  canary_table:
    description:
      - Table in the maintenance database to which rows are written at the primary, to be read at the standby.
    type: str
    default: dr_link_canary
"""


# The same for a module that always asks, and for one that follows no row besides. Outside of the class: ansible-test
# reads plain text inside it.
_first, _optional, _rest = ModuleDocFragment.DOCUMENTATION.partition(
    "      - If not given, PostgreSQL is not asked, and the check C(both_sides_reachable) fails.\n    type: dict\n"
)
ModuleDocFragment.REQUIRED = f"{_first}    type: dict\n    required: true\n{_rest}"
ModuleDocFragment.LOGIN = ModuleDocFragment.REQUIRED.partition("  canary_table:\n")[0]
