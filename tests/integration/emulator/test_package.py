# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The emulator as its users have it: the examples of its README, its fixture in a folder of theirs, what it prints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "rds_emulator" / "README.md"


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_examples_of_the_readme_pass(tmp_path: Path) -> None:
    for text, name in re.findall(r"```\w+\n(# (\w+\.\w+)\n.*?)```", README.read_text("utf-8"), re.DOTALL):
        (tmp_path / name).write_text(text, "utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"test_playbook.py", "link.yml", "test_example.py"}
    done = run_pytest(tmp_path, "--strict-markers", "-W", "error")
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_files_engines_and_mistakes_in_markers(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my.yml").write_text("{keys: [{access_key_id: mine, access_key_secret: made-up}]}", "utf-8")
    (tmp_path / "here" / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.seed('my.yml')\n"
        "def test_file(rds): assert rds.environment['ALIBABA_CLOUD_ACCESS_KEY_ID'] == 'mine'\n"
        "def test_stop(rds): rds.stop()\n"
        "def test_started_again(rds): assert rds.journal() == []\n"
        "@pytest.mark.seed({})\n"
        "def test_empty(rds): pass\n"
        "@pytest.mark.seed\n"
        "def test_no_seed(rds): pass\n"
        "@pytest.mark.rds_engine('mysql')\n"
        "def test_engine(rds): pass\n",
        "utf-8",
    )
    done = run_pytest(tmp_path)
    assert "3 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    for says in ("keys is missing", "the marker seed takes one argument", "must be memory or postgres, not mysql"):
        assert says in done.stdout


def test_each_psql_line_that_is_printed_opens_its_cluster() -> None:
    process = subprocess.Popen([sys.executable, "-m", "rds_emulator"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Stop it"):
                break
        printed = [line.strip() for line in lines if line.startswith("  ")]
        users = [line.rpartition(" -U ")[2] for line in printed]
        assert users == ["postgres", "postgres", "dr_sync", "postgres", "dr_sync"]
        for line in printed:
            command = f"{line} -AXtc 'SELECT current_user, inet_server_port() IS NULL'"
            shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
            assert shown.stdout.strip() in ("postgres|t", "dr_sync|f"), line + shown.stderr
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
