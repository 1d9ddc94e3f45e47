#!/usr/bin/env bash
# The wheel of the emulator, alone in an empty environment in another folder, runs the example test of its own README:
# without its extra up to one line that names what is missing, and with it whole. Started by `make package`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip() {
    python -m pip --disable-pip-version-check "$@" >>"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
}
pip wheel --no-deps --wheel-dir "$work" ./tests/rds_emulator
cd "$work"
python -m venv --without-pip venv

try() { # EXTRA STATUS WORDS WORDS: pytest ends with this status, and says both
    pip --python venv/bin/python install "$(echo ./*.whl)$1" pytest
    venv/bin/python - <<'PYTHON'
import importlib.metadata, pathlib, re
readme = str(importlib.metadata.metadata("rds-emulator").get_payload())
pathlib.Path("test_example.py").write_text(re.search(r"```python\n(# test_example\.py\n.*?)```", readme, re.S)[1])
PYTHON
    local ended=0
    venv/bin/pytest test_example.py >tests.log 2>&1 || ended=$?
    if [[ $ended != "$2" ]] || ! grep -qF "$3" tests.log || ! grep -qF "$4" tests.log; then
        cat tests.log >&2
        exit 1
    fi
    echo "wheel$1: $3"
}
try "" 1 "1 passed, 1 error" "cannot start: pg8000 is missing: pip install 'rds-emulator[postgres]'"
try "[postgres]" 0 "2 passed" "test_example.py .."
