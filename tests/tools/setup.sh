#!/usr/bin/env bash
# Make .venv with the packages of requirements-dev.txt, .build/home with pip's settings, .build/link, through which
# Ansible and Python find this folder as ansible_collections.alicloud.rds, and .build/collections with other collections.
# Everything is made anew when the requirements, the interpreter or the folder's path have changed; otherwise nothing is
# done. ANSIBLE_CORE='ansible-core>=2.18,<2.19' narrows the requirement of requirements-dev.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
    echo "setup: $*" >&2
    exit 1
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || die "$python is missing: apt-get install python3-venv, or make PYTHON=/path/to/python3"
command -v git >/dev/null || die "git is missing: apt-get install git"

# The interpreter itself, not a shim or an activated venv, which may be the very one that is about to be removed.
python=$("$python" -c 'import os, sys; print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))')
version=$("$python" -c 'import sys; print(sys.version)')
key=$({ echo "$PWD $python $version ${ANSIBLE_CORE:-}"; cat requirements*.txt tests/rds_emulator/pyproject.toml tests/tools/{setup.sh,pip_home.py,collections.sh}; } | sha256sum)
if [[ $key == "$(cat .venv/stamp 2>/dev/null)" && -e .build/link/ansible_collections/alicloud/rds/galaxy.yml &&
    -e .build/collections/ansible_collections ]]; then
    exit 0
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed, $python is ${version%% *}: make PYTHON=/path/to/a/newer/python3"
"$python" -c 'import venv, ensurepip' 2>/dev/null || die "Python cannot make a venv: apt-get install python3-venv"
echo "setup: making .venv with Python ${version%% *}" >&2
[[ $PWD != *" "* ]] || echo "setup: $PWD has a blank: Ansible runs no async task with an interpreter in there" >&2
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
rm -rf .venv .build
mkdir -p .build/home .build/link/ansible_collections/alicloud
ln -s ../../../.. .build/link/ansible_collections/alicloud/rds
"$python" -m venv .venv

# uv takes seconds where pip takes half a minute, but it does not read pip's settings and does not exist for every
# machine: pip has the last word. Without compiled bytecode every start of a tool is twice as slow.
log=.build/setup.log
packages=(-r requirements-dev.txt ${ANSIBLE_CORE:+"$ANSIBLE_CORE"})
pip() {
    .venv/bin/python -m pip --disable-pip-version-check "$@" >>"$log" 2>&1
}
uv() {
    UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never .venv/bin/uv --quiet "$@" >>"$log" 2>&1
}
if ! { pip install uv && uv pip install --python .venv/bin/python "${packages[@]}"; } &&
    ! pip install "${packages[@]}"; then
    if grep -qE 'Retrying|onnection|timed out' "$log"; then
        die "the package registry (PyPI, or the index in pip's settings) cannot be reached; see $log"
    fi
    die "$(grep -E '^ERROR' "$log" | tail -n 1); see $log"
fi
.venv/bin/python tests/tools/pip_home.py .build/home >>"$log" 2>&1 || die "no pip for ansible-test: $(tail -n 1 "$log")"
tests/tools/collections.sh >>"$log" 2>&1 || die "no collections from the package ansible: $(tail -n 1 "$log")"
echo "$key" >.venv/stamp
