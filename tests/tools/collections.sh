#!/usr/bin/env bash
# Put the collection that the tests need beside this one into .build/collections, out of the package
# `ansible` of PyPI: whoever reaches PyPI can run the tests, whether or not he reaches Galaxy. They run with every
# ansible-core that is supported here, so one version of the package serves all. Started by setup.sh.
set -euo pipefail

package=ansible==13.8.0
wanted=(awx/awx)

work=$(mktemp -d .build/collections.XXXXXX)
trap 'rm -rf "$work"' EXIT
# The package's own demands on Python do not matter: nothing of it is installed, one folder is taken out.
.venv/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: \
    --python-version 3.13 --dest "$work" "$package"
.venv/bin/python - "$work" "${wanted[@]}" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

work, *wanted = sys.argv[1:]
(wheel,) = Path(work).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for collection in wanted:
        names = [name for name in archive.namelist() if name.startswith(f"ansible_collections/{collection}/")]
        if not names:
            sys.exit(f"{wheel.name} has no {collection}")
        archive.extractall(f"{work}/new", names)
PYTHON
rm -rf .build/collections
mv "$work/new" .build/collections
