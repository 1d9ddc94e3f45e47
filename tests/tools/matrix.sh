#!/usr/bin/env bash
# `make test` with several versions of ansible-core: matrix.sh CORE:PYTHON[,PYTHON]..., for example 2.21:3.13,3.12
# Each runs in .build/matrix/CORE, a fresh copy of the work tree with a .venv of its own, with the first of its
# interpreters (a version or a path) that is installed. Started by `make matrix`; a version that cannot run fails it.
set -euo pipefail

# Names on PATH are tried, not believed: pyenv leaves some there behind which is no interpreter.
find_python() {
    local python candidate candidates
    for python in ${1//,/ }; do
        mapfile -t candidates < <(
            type -aP "$python" "python$python"
            compgen -G "$HOME/.pyenv/versions/*/bin/python$python"
            compgen -G "$HOME/.local/share/uv/python/*/bin/python$python"
        )
        for candidate in "${candidates[@]}"; do
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

summary=()
status=0
for row in "$@"; do
    core=${row%%:*}
    if ! python=$(find_python "${row#*:}"); then
        summary+=("ansible-core $core: not run: no Python ${row#*:} on PATH, of pyenv or of uv; make MATRIX=$core:/path/to/python matrix")
        status=1
        continue
    fi
    what="ansible-core $core, $("$python" --version)"
    echo "===== $what"
    copy=.build/matrix/$core
    tests/tools/stage.sh "$copy"
    git init --quiet --template= "$copy" # the tools ask git for the files
    if ANSIBLE_CORE="ansible-core==$core.*" make --no-print-directory -C "$copy" PYTHON="$python" test; then
        summary+=("$what: passed")
    else
        summary+=("$what: FAILED")
        status=1
    fi
done

echo "===== matrix"
printf '%s\n' "${summary[@]}"
exit "$status"
