# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The emulator of all histories that a worker runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rds_emulator.client import Emulator

from .test_model import WORLD


@pytest.fixture(scope="session")
def world() -> Iterator[Emulator]:
    with Emulator(seed=WORLD, engine="memory") as rds:
        yield rds
