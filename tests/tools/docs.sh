#!/usr/bin/env bash
# Build the site of the documentation: the pages of the repository, and a page for each module, plugin and role. Its tools
# have a venv of their own in .build/docs-venv, which pip fills the first time; all else works without a network. A
# warning is an error. Started by `make docs` in the root of the collection.
set -euo pipefail

work=$PWD/.build/docs
venv=$PWD/.build/docs-venv
wanted=$(cat docs/docsite/requirements.txt && grep ^antsibull-docs== requirements-dev.txt)
if [[ $wanted != "$(cat "$venv/installed.txt" 2>/dev/null)" ]]; then
    echo "docs: making .build/docs-venv" >&2
    rm -rf "$venv"
    python -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -r <(echo "$wanted") >"$venv/install.log" 2>&1 || {
        tail -n 3 "$venv/install.log" >&2
        exit 1
    }
    echo "$wanted" >"$venv/installed.txt"
fi

rm -rf "$work"
mkdir -p "$work/source"
mkdir -m 0755 "$work/source/reference" # antsibull-docs writes to no folder that others may write to
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$work/source/reference" alicloud.rds
git -c safe.directory='*' ls-files -z '*.md' ':!docs/docsite' | xargs -0 cp --parents -t "$work/source"
cp -r docs/images "$work/source/docs"
python docs/docsite/playbooks.py >"$work/source/reference/playbooks.md"
cp docs/docsite/{conf.py,index.md} "$work/source"
"$venv/bin/sphinx-build" --fail-on-warning --keep-going --quiet -b html "$work/source" "$work/html"
if grep -rlE '<(script|link|img)[^>]*(src|href)="(https?:)?//' "$work/html" --include='*.html' | head -n 3 | grep .; then
    echo "docs: these pages load something from elsewhere" >&2
    exit 1
fi
echo "docs: $work/html/index.html, $(find "$work/html" -name '*.html' | wc -l) pages"
