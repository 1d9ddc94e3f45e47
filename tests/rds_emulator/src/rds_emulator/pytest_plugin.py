# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""pytest fixtures: an emulator for the session (under xdist: one per worker), ended with it even if it is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .client import Emulator


@pytest.fixture(scope="session")
def rds_emulator() -> Iterator[Emulator]:
    """The pair seed on the memory engine. Call reset() first if an earlier test may have changed it."""
    with Emulator(engine="memory") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def rds_emulator_postgres() -> Iterator[Emulator]:
    """The pair seed on real PostgreSQL clusters."""
    with Emulator(engine="postgres") as emulator:
        yield emulator
