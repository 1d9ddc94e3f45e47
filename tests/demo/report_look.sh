#!/usr/bin/env bash
# Render a sample report as people will see it, into .build/report: wide, narrow and printed.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
browser=$(command -v chromium || command -v chromium-browser) || {
    echo "report-look: chromium is missing: apt-get install chromium" >&2
    exit 1
}
there=$repo/.build/report
mkdir -p "$there"
cd "$there"
flags=(--headless --no-sandbox --disable-gpu)
for kind in drill promotion; do
    PYTHONPATH="$repo/.build/link" python - "$repo/tests/vectors/${kind}_report.json" >"$kind.html" <<'END'
import json, sys
from ansible_collections.alicloud.rds.plugins.module_utils._dr.report import html
print(html(json.load(open(sys.argv[1], encoding="utf-8"))), end="")
END
    "$browser" "${flags[@]}" --screenshot="$kind-wide.png" --window-size=1200,1600 "$kind.html" 2>/dev/null
    "$browser" "${flags[@]}" --screenshot="$kind-narrow.png" --window-size=500,1600 "$kind.html" 2>/dev/null
    "$browser" "${flags[@]}" --no-pdf-header-footer --print-to-pdf="$kind.pdf" "$kind.html" 2>/dev/null
done
echo "Look at the pictures and the printed pages in $there"
