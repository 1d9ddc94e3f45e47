# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checkers for what people write into seeds and rules: each returns the value, or raises ReadError naming the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


class ReadError(ValueError):
    """A mistake in a seed, a fault rule or a control request; the text names the key and quotes no value."""


Reader = Callable[[str, Any], Any]  # (where, value) -> the value as it is used


def text(where: str, value: Any) -> str:
    """Accept a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ReadError(f"{where} must be a text that is not empty")
    return value


def identifier(where: str, value: Any) -> str:
    """Accept what is safe as a file name too: letters, digits, - and _."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise ReadError(f"{where} must consist of letters, digits, - and _")
    return value


def flag(where: str, value: Any) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise ReadError(f"{where} must be true or false")
    return value


def number(low: float, high: float, kind: type = int) -> Reader:
    """Accept a number in a range; `kind` float accepts whole ones too."""

    def read(where: str, value: Any) -> Any:
        kinds = (int, float) if kind is float else int
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise ReadError(f"{where} must be a number from {low:g} to {high:g}")
        return kind(value)

    return read


def one_of(*words: Any) -> Reader:
    """Accept one of some words, or true and false."""

    def read(where: str, value: Any) -> Any:
        if not any(value == word and type(value) is type(word) for word in words):
            shown = ", ".join(str(word).lower() if isinstance(word, bool) else word for word in words)
            raise ReadError(f"{where} must be one of {shown}")
        return value

    return read


def list_of(item: Reader) -> Reader:
    """Accept a list, each element as `item` has it."""

    def read(where: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ReadError(f"{where} must be a list")
        return [item(f"{where}[{number}]", element) for number, element in enumerate(value)]

    return read


def fields(readers: Mapping[str, Reader], *required: str) -> Callable[[str, Any], dict[str, Any]]:
    """Accept a mapping with these keys and no others; a key with no value (null) counts as absent."""

    def read(where: str, value: Any) -> dict[str, Any]:
        prefix = f"{where}." if where else ""
        if not isinstance(value, dict):
            raise ReadError(f"{where or 'the seed'} must be a mapping")
        for key in value:
            if key not in readers:
                raise ReadError(f"{prefix}{key} is not known; known are {', '.join(readers)}")
        for key in required:
            if value.get(key) is None:
                raise ReadError(f"{prefix}{key} is missing")
        return {key: readers[key](f"{prefix}{key}", item) for key, item in value.items() if item is not None}

    return read


def anything(where: str, value: Any) -> Any:
    """Accept whatever it is."""
    return value
