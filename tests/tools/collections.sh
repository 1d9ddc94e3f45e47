#!/usr/bin/env bash
# Put the collections that the tests need beside this one into .build/collections, out of the package `ansible` of PyPI:
# whoever reaches PyPI can run the tests, whether or not he reaches Galaxy. One version of it serves every ansible-core.
# Nothing of it is installed, so its own demands on Python do not matter. Started by setup.sh.
set -euo pipefail

work=$(mktemp -d .build/collections.XXXXXX)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: \
    --python-version 3.13 --dest "$work" ansible==13.8.0
.venv/bin/python - "$work" awx/awx <<'PYTHON'
import pathlib, sys, zipfile
work, *wanted = sys.argv[1:]
with zipfile.ZipFile(next(pathlib.Path(work).glob("*.whl"))) as archive:
    for collection in wanted:
        names = [name for name in archive.namelist() if name.startswith(f"ansible_collections/{collection}/")]
        archive.extractall(f"{work}/new", names)
        assert names, f"no {collection} in {archive.filename}"
PYTHON
rm -rf .build/collections
mv "$work/new" .build/collections
