#!/usr/bin/env bash
# Run a command in the project's own environment, for example: tests/tools/run.sh pytest tests/unit -k signature
#
# Of the caller's environment it gets only the variables named below. So no credentials, Ansible settings, proxies or
# variables of a git hook decide how a test ends, and HOME keeps what the tools write (~/.ansible, ~/antsibull.log) in
# .build. PATH is a fixed one since ansible-test tries every python3.x that it finds, pyenv's dead shims too.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kept=()
for name in CI TERM NO_COLOR TMPDIR PYTEST_ADDOPTS BENCH_ROUNDS FAILOVERS "${!RDS_EMULATOR_@}" "${!MODEL_@}"; do
    if [[ -v $name ]]; then
        kept+=("$name=${!name}")
    fi
done

exec env -i "${kept[@]}" \
    HOME="$repo/.build/home" \
    PATH="$repo/.venv/bin:/usr/local/bin:/usr/bin:/bin" \
    LC_ALL=C.UTF-8 \
    ANSIBLE_COLLECTIONS_PATH="$repo/.build/link:$repo/.build/collections" \
    ANSIBLE_ASYNC_DIR="$repo/.build/home/.ansible_async" \
    HYPOTHESIS_STORAGE_DIRECTORY="$repo/.build/hypothesis" \
    "$@"
