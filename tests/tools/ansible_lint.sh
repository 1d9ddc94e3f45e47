#!/usr/bin/env bash
# ansible-lint against a copy of the collection without its action plugins. Its rule args[module], which holds every
# task against the options of its module, passes over a module that has an action plugin of the same name.
# Started by `make ansible-lint` in the root of the collection.
set -euo pipefail

tests/tools/stage.sh .build/lint/ansible_collections/alicloud/rds
rm -rf .build/lint/ansible_collections/alicloud/rds/plugins/action
ANSIBLE_COLLECTIONS_PATH=$PWD/.build/lint:$PWD/.build/collections ansible-lint --offline --strict
