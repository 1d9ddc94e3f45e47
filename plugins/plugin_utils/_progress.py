# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person where a wait is: a line when the stage changes, and on a terminal one from time to time.

Short waits show nothing. With -v every poll is shown. All goes to stderr: what a callback writes to stdout may be meant
for a program.
"""

from __future__ import annotations

import contextlib
import os
import sys

from ansible.utils.display import Display

from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Progress

QUIET = 5.0  # seconds of a wait that nobody has to hear of
PAUSE = 30.0  # seconds between two lines about the same stage; longer ones as the wait goes on

# Workers have no terminal of their own; this file is first imported by the process that started them. ansible-runner
# gives its playbook a terminal that nobody looks at, and this variable.
_TERMINAL = sys.stdout.isatty() and "AWX_ISOLATED_DATA_DIR" not in os.environ


class Reporter:
    """Gets each `Progress` of one task."""

    def __init__(self, display: Display, on_terminal: bool = _TERMINAL) -> None:
        self._display, self._on_terminal = display, on_terminal
        self._stage: str | None = None
        self._shown_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Show it, if it is worth a line. Nothing that goes wrong here may end the operation that waits."""
        with contextlib.suppress(Exception):
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        line = f"{progress.instance_id}: " if progress.instance_id else ""  # a fleet has none
        line += f"{progress.stage}, {_spoken(progress.elapsed)}"
        line += f" of at most {_spoken(progress.timeout)}" if progress.timeout else ""
        line += f", {progress.note}" if progress.note else ""
        is_new = progress.stage != self._stage
        is_due = self._on_terminal and progress.elapsed - self._shown_at >= max(PAUSE, self._shown_at / 10)
        is_shown = progress.elapsed >= QUIET and (is_new or is_due)
        if is_shown:
            self._stage, self._shown_at = progress.stage, progress.elapsed
        if is_shown or self._display.verbosity:
            self._display.display(line, stderr=True)


def _spoken(seconds: float) -> str:
    if seconds == float("inf"):
        return "any time"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
