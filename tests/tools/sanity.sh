#!/usr/bin/env bash
# ansible-test sanity, without exceptions, on what Galaxy gets; with an argument, on the tests as well, whose style ruff
# looks after otherwise. Started by `make sanity` in the root of the collection; ALL=1 adds the tests.
set -euo pipefail

copy=.build/sanity/ansible_collections/alicloud/rds
log=$PWD/.build/sanity.log

# ansible-test insists on a folder .../ansible_collections/alicloud/rds that is no symlink, and asks the git repository
# around it for the files. Around .build that is ours, which ignores .build: the copy needs a repository of its own.
tests/tools/stage.sh "$copy"
[[ -n ${1:-} ]] || find "$copy/tests" -mindepth 1 -maxdepth 1 ! -name config.yml -exec rm -r {} +
git init --quiet --template= "$copy"
pip_says='^( |Looking in |Collecting |Processing |Using cached |Installing |Successfully |WARNING: Location )'
(cd "$copy" && ansible-test sanity --local --color no) 2>&1 | tee "$log" | grep --line-buffered -vE "$pip_says"

# It also succeeds when it has found nothing to check.
for name in validate-modules import pylint shellcheck; do
    grep -q "^Running sanity test \"$name\"" "$log" || { echo "sanity: $name did not run" >&2; exit 1; }
done
if grep -q 'All targets skipped' "$log"; then
    exit 1
fi
