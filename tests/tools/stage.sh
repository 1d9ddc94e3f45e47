#!/usr/bin/env bash
# Copy the files of the work tree, committed or not but not the ignored ones, to a new folder: stage.sh FOLDER
set -euo pipefail
export LC_ALL=C

# A checkout owned by another user, as in some CI, is no reason to refuse; files deleted but not yet committed are left out.
list() {
    git -c safe.directory='*' ls-files -z "$@" | sort -z
}
rm -rf "$1"
mkdir -p "$1"
comm -z -23 <(list --cached --others --exclude-standard) <(list --deleted) | tar -c --null --files-from=- | tar -x -C "$1"
if [[ ! -e $1/galaxy.yml ]]; then
    echo "stage: nothing was copied: is this a git checkout?" >&2
    exit 1
fi
