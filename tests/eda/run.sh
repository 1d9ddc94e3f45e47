#!/usr/bin/env bash
# Run a rulebook of the collection with ansible-rulebook: a link breaks in the local endpoint, and verify runs. The tools
# have a venv of their own in .build/eda, which pip fills the first time. Started by `make eda`.
set -euo pipefail

venv=$PWD/.build/eda
wanted=tests/eda/requirements.txt
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
version=$("$java" -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p') || true
if ((${version:-0} < 17)); then
    echo "eda: Java 17 or newer is missing: apt-get install default-jre-headless" >&2
    exit 1
fi
if ! cmp --quiet "$wanted" "$venv/installed.txt"; then
    echo "eda: making .build/eda" >&2
    rm -rf "$venv"
    python -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -r "$wanted" >"$venv/install.log" 2>&1 || {
        tail -n 3 "$venv/install.log" >&2
        exit 1
    }
    cp "$wanted" "$venv/installed.txt"
fi
exec python -m tests.eda.run "$venv"
