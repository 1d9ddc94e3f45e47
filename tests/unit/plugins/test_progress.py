# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person sees while a task waits."""

from __future__ import annotations

import pytest

from ansible_collections.alicloud.rds.plugins.module_utils._dr.follow import Progress
from ansible_collections.alicloud.rds.plugins.modules import replication_link
from ansible_collections.alicloud.rds.plugins.plugin_utils._progress import Reporter

from .conftest import ACCOUNT, DR, QUICK


class Screen:
    def __init__(self, verbosity=0):
        self.lines, self.verbosity = [], verbosity

    def display(self, line, stderr=False):
        assert stderr, "stdout may be meant for a program"
        self.lines.append(line)


def watch(on_terminal, *polls, verbosity=0):
    screen = Screen(verbosity)
    reporter = Reporter(screen, on_terminal)
    for elapsed, stage, note in polls:
        reporter(Progress("pgm-dr", stage, elapsed, 3600, note))
    return screen


HOUR = [(second, "precheck" if second < 60 else "basebackup", "") for second in range(0, 3600, 5)]


def test_a_log_gets_one_line_for_each_stage():
    screen = watch(False, *HOUR, (3600, "increment", "3.0 MiB behind"))
    assert screen.lines == [
        "pgm-dr: precheck, 5 s of at most 1 h 0 min",
        "pgm-dr: basebackup, 1 min 0 s of at most 1 h 0 min",
        "pgm-dr: increment, 1 h 0 min of at most 1 h 0 min, 3.0 MiB behind",
    ]


def test_a_terminal_gets_a_line_from_time_to_time_and_fewer_as_it_goes_on():
    lines = watch(True, *HOUR).lines
    assert lines[:3] == [
        "pgm-dr: precheck, 5 s of at most 1 h 0 min",
        "pgm-dr: precheck, 35 s of at most 1 h 0 min",
        "pgm-dr: basebackup, 1 min 0 s of at most 1 h 0 min",
    ]
    assert 20 < len(lines) < 50


def test_a_short_wait_is_not_told_of_and_v_shows_each_poll():
    polls = (0, "precheck", ""), (4, "increment", "")
    assert watch(True, *polls).lines == []
    assert len(watch(True, *polls, verbosity=1).lines) == 2


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_a_wait_may_be_without_end(timeout):
    screen = Screen()
    Reporter(screen, True)(Progress("pgm-dr", "precheck", 9, timeout))
    assert screen.lines and screen.lines[0].startswith("pgm-dr: precheck, 9 s of at most ")


def test_a_fault_of_the_display_ends_nothing():
    class Broken(Screen):
        def display(self, line, stderr=False):
            raise BrokenPipeError

    Reporter(Broken(), True)(Progress("pgm-dr", "precheck", 9, float("nan")))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.thorough
def test_a_wait_tells_of_each_stage(rds, run_as_action, monkeypatch, again):
    """Whether this run created the link or found it under way, the person in front of it sees the same."""
    told = []
    monkeypatch.setattr(Reporter, "__call__", lambda _reporter, seen: told.append((seen.instance_id, seen.stage)))
    rds.add_fault(stage="basebackup", fault="slow", seconds=0.4)
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)
    source = {"source_address": "127.0.0.1", "source_port": rds.sources["onprem"]["port"]}
    options = {"dr_instance_id": DR, **source, **ACCOUNT, **QUICK}
    if again:
        run_as_action(replication_link, {**options, "wait": False})
        assert told == []
    assert run_as_action(replication_link, options)["link"]["state"] == "streaming"
    assert (DR, "basebackup") in told and told[-1] == (DR, "increment")
