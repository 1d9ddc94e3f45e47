# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until the operation is complete. If V(false), the task ends when the service has accepted the
        request; running it again continues the wait.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait. After a time-out the operation goes on at the service; running the task again continues the
        wait.
    type: float
    default: 3600.0
  wait_interval:
    description:
      - Longest pause between two polls, in seconds. Polls are more frequent at first.
    type: float
    default: 30.0
  settle_timeout:
    description:
      - Seconds to poll for the effect after the reply to the request was lost, which is never sent again; and
        seconds that the instances may take to agree after nothing works on them any more.
    type: float
    default: 30.0
"""
