# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role, as people, surveys and command lines write them, as options of the modules. Pure."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.postgres_specs import DR_LINK, POSTGRES_INSTANCE
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import LINK_OPTIONS

_PREFIX = "dr_link_"
NAMES = tuple(f"{_PREFIX}{name}" for name in DR_LINK)


def options_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by name and `problems`, a list of sentences. Never raises for what a variable holds."""
    # Plain values, as a module would read them from JSON: the controller's own carry tags, and may be encrypted.
    given = _without_blanks(json.loads(json.dumps(dict(variables), default=str)))
    known = {f"{_PREFIX}{name}": rule for name, rule in DR_LINK.items()}
    problems = [_unknown(name, known) for name in sorted(given.keys() - known.keys())]
    checked = {name: _as_data(value, known[name]["type"]) for name, value in given.items() if name in known}
    options, wrong = _validated(checked, known)
    options = {name.removeprefix(_PREFIX): value for name, value in options.items()}
    problems += wrong
    if not wrong:
        options["links"], wrong = _links(options)
        problems += wrong
        sides = []
        for name, side in options.get("postgres", {}).pop("instances", {}).items():
            own, wrong = _validated(side if isinstance(side, dict) else {"host": side}, POSTGRES_INSTANCE)
            problems += [f"{_PREFIX}postgres.instances[{name!r}]: {text}" for text in wrong]
            sides.append({"name": name, **own})
        if "postgres" in options:
            options["postgres"]["instances"] = sides
    return {**options, "problems": problems}


def _as_data(value: Any, kind: str) -> Any:
    """Return a list or dictionary that is given as JSON: a survey of AWX has nothing but text."""
    try:
        return json.loads(value) if isinstance(value, str) and kind in ("list", "dict") else value
    except ValueError:
        return value


def _validated(given: dict[str, Any], spec: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    validation = ArgumentSpecValidator(spec).validate(given)
    return _without_blanks(validation.validated_parameters), [
        f"{text.rstrip('.')}." for text in validation.error_messages
    ]


def _links(options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return each link with what the variables beside the list say, and what is wrong with the list."""
    common = {name: options[name] for name in LINK_OPTIONS if name in options}
    links = [{**common, **link} for link in options["links"]] or [common] * ("dr_instance_id" in common)
    return links, links_problems(links)


def links_problems(links: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with links side by side, in sentences."""
    counts = Counter(link["dr_instance_id"] for link in links)
    twice = sorted(name for name, count in counts.items() if count > 1)
    return [f"{_PREFIX}links names {', '.join(twice)} more than once."] * bool(twice)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    advice = f"Did you mean {near[0]}?" if near else "ansible-doc -t role alicloud.rds.dr_link lists the variables."
    return f"{name} is not a variable of the role. {advice}"


def _without_blanks(value: Any) -> Any:
    """Return a value without the keys that are null or blank, at every depth."""
    if isinstance(value, dict):
        kept = {name: _without_blanks(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [_without_blanks(item) for item in value if item is not None and item != ""]
    return None if isinstance(value, str) and not value.strip() else value
