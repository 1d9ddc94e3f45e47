# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pytest plugin: `rds`, an emulator that each test finds as its seed describes it; README.md has an example.

Behind it is one process for each engine and session (under xdist: and worker), which is reset for each test and ends
with the session even if that is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from .client import PAIR, Emulator

ENGINES = ("memory", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `rds_engine`."""
    parser.addini("rds_engine", "engine of the fixture rds: memory or postgres", default="memory")


def pytest_configure(config: pytest.Config) -> None:
    """Announce the markers."""
    config.addinivalue_line("markers", "seed(seed): what the fixture rds begins with: a mapping, or a YAML file")
    config.addinivalue_line("markers", "rds_engine(name): engine of the fixture rds: memory or postgres")


@pytest.fixture
def rds(request: pytest.FixtureRequest, rds_emulators: Callable[[str], Emulator]) -> Emulator:
    """An emulator as the marker `seed` describes it (without one: the pair seed), on the engine of `rds_engine`."""
    engine = _marked(request, "rds_engine", request.config.getini("rds_engine"))
    if engine not in ENGINES:
        raise pytest.UsageError(f"rds_engine must be memory or postgres, not {engine}")
    seed = _marked(request, "seed", PAIR)
    emulator = rds_emulators(engine)
    emulator.reset(seed if isinstance(seed, Mapping) else request.path.parent / seed)
    return emulator


def _marked(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    """Return the argument of the nearest marker of this name."""
    marker = request.node.get_closest_marker(name)
    if marker and (len(marker.args) != 1 or marker.kwargs):
        raise pytest.UsageError(f"the marker {name} takes one argument")
    return marker.args[0] if marker else default


@pytest.fixture(scope="session")
def rds_emulators() -> Iterator[Callable[[str], Emulator]]:
    """The emulators behind `rds`: one for each engine, started when wanted, and again if a test has stopped it."""
    started: dict[str, Emulator] = {}
    with ExitStack() as stack:

        def of_engine(name: str) -> Emulator:
            if name not in started or not started[name].running:
                started[name] = stack.enter_context(Emulator(engine=name))
            return started[name]

        yield of_engine


@pytest.fixture(scope="session")
def rds_emulator() -> Iterator[Emulator]:
    """The pair seed on the memory engine, for the whole session: tests make instances of their own, or reset it."""
    with Emulator(engine="memory") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def rds_emulator_postgres() -> Iterator[Emulator]:
    """The pair seed on real PostgreSQL clusters, for the whole session."""
    with Emulator(engine="postgres") as emulator:
        yield emulator
