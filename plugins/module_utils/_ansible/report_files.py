# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of drills and promotions as files for people: JSON, Markdown and one page."""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.options import refuse
from ansible_collections.alicloud.rds.plugins.module_utils._dr.report import html, markdown


class ReportFiles:
    """Where the reports of a task go: an existing folder, or nowhere."""

    def __init__(self, folder: str | None) -> None:
        """:raises RdsError: InvalidOptions, if there is no such folder"""
        if folder and not os.path.isdir(folder):
            refuse([f"report_dir {folder!r} is not an existing directory"])
        self._folder = folder
        self.problem = ""  # why the last report could not be written, in a sentence

    def keep(self, report: Mapping[str, Any]) -> None:
        """Write the report in all forms, each whole or not at all. A full disk ends no promotion: see `problem`."""
        if self._folder is None:
            return
        try:
            self._write(report)
            self.problem = ""
        except OSError as error:
            self.problem = f"The report in {self._folder} is not complete: {error.strerror}."

    def _write(self, report: Mapping[str, Any]) -> None:
        texts = {"json": json.dumps(report, indent=1) + "\n", "md": markdown(report), "html": html(report)}
        for form, text in texts.items():
            path = self._path(report, form)
            with open(f"{path}.new", "w", encoding="utf-8") as draft:
                draft.write(text)
            os.replace(draft.name, path)

    def page(self, report: Mapping[str, Any]) -> str | None:
        """Return the path of the page, None if none is kept."""
        return self._path(report, "html") if self._folder else None

    def _path(self, report: Mapping[str, Any], form: str) -> str:
        return os.path.join(self._folder or "", f"{report['kind']}-{report['instance']}-{report['run']}.{form}")


def who_and_with_what() -> dict[str, Any]:
    """Return what a report says of the machine that runs the task."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container runs with an id that has no name
        user = f"uid {os.getuid()}"
    return {"who": f"{user}@{platform.node()}", "versions": {"python": platform.python_version()}}
