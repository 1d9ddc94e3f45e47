#!/usr/bin/env bash
# Build the collection, install it into an empty folder, pass it through galaxy-importer, the gate
# of Galaxy and Automation Hub. The archive stays in .build/package. Started by `make package` in the root of the
# collection; with --release, by `make release-check`, the changelog of a version that is not released yet is rehearsed.
set -euo pipefail

work=$PWD/.build/package
rm -rf "$work"
mkdir -p "$work/home"

# From a copy: `ansible-galaxy collection build` does not read .gitignore.
tests/tools/stage.sh "$work/source"
if [[ ${1:-} == --release ]] && compgen -G 'changelogs/fragments/*' >/dev/null; then
    (cd "$work/source" && antsibull-changelog release --update-existing)
fi
ansible-galaxy collection build --output-path "$work" "$work/source"

export ANSIBLE_COLLECTIONS_PATH=$work/installed
ansible-galaxy collection install --offline -p "$work/installed" "$work"/*.tar.gz
ansible-galaxy collection verify --offline alicloud.rds
modules=("$work"/installed/ansible_collections/alicloud/rds/plugins/modules/[!_]*.py)
names=("${modules[@]##*/}")
names=("${names[@]%.py}")
documented=$(ansible-doc --type module "${names[@]/#/alicloud.rds.}" | grep -c '^> MODULE')
if [[ $documented != "${#names[@]}" ]]; then
    echo "package: ansible-doc shows $documented of the ${#names[@]} installed modules" >&2
    exit 1
fi

# Its own home, where it may install what it likes. It exits 0 whatever it finds: its words count.
log=$work/importer.log
(cd "$work" && HOME=$work/home GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true \
    python -m galaxy_importer.main ./*.tar.gz) 2>&1 | tee "$log"
if grep -E '^(WARNING|ERROR|CRITICAL)' "$log" || ! grep -q '^Importer processing completed successfully' "$log"; then
    echo "package: galaxy-importer is not content" >&2
    exit 1
fi
