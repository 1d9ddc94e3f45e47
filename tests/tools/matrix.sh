#!/usr/bin/env bash
# `make test` with several versions of ansible-core: matrix.sh CORE:PYTHON[,PYTHON]..., for example 2.21:3.13,3.12
# Each runs in .build/matrix/CORE, a fresh copy of the work tree with a .venv of its own, with the first of its
# interpreters (a version or a path) that is installed. Started by `make matrix`; a version that cannot run fails it.
set -euo pipefail

# Names on PATH are tried, not believed: pyenv leaves some there behind which is no interpreter.
find_python() {
    local python candidate
    for python in ${1//,/ }; do
        while read -r candidate; do
            "$candidate" -c 'import ensurepip, venv' 2>/dev/null && echo "$candidate" && return
        done < <(type -aP "$python" "python$python"; compgen -G "$HOME/.pyenv/versions/*/bin/python$python"
            compgen -G "$HOME/.local/share/uv/python/*/bin/python$python")
    done
    return 1
}

summary=() status=0
for row in "$@"; do
    core=${row%%:*} verdict=passed
    if python=$(find_python "${row#*:}"); then
        what="ansible-core $core, $("$python" --version)"
        echo "===== $what"
        tests/tools/stage.sh ".build/matrix/$core"
        git init --quiet --template= ".build/matrix/$core" # the tools ask git for the files
        ANSIBLE_CORE="ansible-core==$core.*" make --no-print-directory -C ".build/matrix/$core" PYTHON="$python" test ||
            verdict=FAILED status=1
    else
        what="ansible-core $core" status=1
        verdict="no Python ${row#*:} on PATH, of pyenv or of uv: make MATRIX=$core:/path/to/python matrix"
    fi
    summary+=("$what: $verdict")
done
printf '%s\n' "===== matrix" "${summary[@]}"
exit "$status"
