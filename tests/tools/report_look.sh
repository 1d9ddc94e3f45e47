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
PYTHONPATH="$repo/.build/link" python - "$repo/tests/vectors/drill_report.json" >"$there/sample.html" <<'END'
import json, sys
from ansible_collections.alicloud.rds.plugins.module_utils._dr.report import html
print(html(json.load(open(sys.argv[1], encoding="utf-8"))), end="")
END
cd "$there"
flags=(--headless --no-sandbox --disable-gpu)
"$browser" "${flags[@]}" --screenshot=wide.png --window-size=1200,1600 sample.html 2>/dev/null
"$browser" "${flags[@]}" --screenshot=narrow.png --window-size=500,1600 sample.html 2>/dev/null
"$browser" "${flags[@]}" --print-to-pdf=printed.pdf sample.html 2>/dev/null
echo "Look at $there/wide.png, narrow.png and printed.pdf"
