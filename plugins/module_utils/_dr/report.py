# Copyright: (c) 2026, alicloud.rds contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill as Markdown, and as one self-contained page with a timeline. Pure; values are escaped, any may be missing."""

from __future__ import annotations

import html as _html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.alicloud.rds.plugins.module_utils._api.secrets import printable

Report = Mapping[str, Any]
Table = list[tuple[str, ...]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT = 1000, 330, 60, 20
_TOP, _BOTTOM = 110, 250  # of the curves
_RTO = {
    "out_of_recovery": "from the request until it could be written to",
    "first_write": "from then to the first acknowledged row",
    "queries": "running the queries",
    "service_running": "from the request until the service reported Running",
    "no_writes": "no client could write, from the fence to the first row",
}


_OUTCOMES = {
    "passed": "PASSED",
    "previewed": "PREVIEWED, nothing was changed",
    "promoted": "PROMOTED",
    "adopted": "PROMOTED, by another run or by a request whose reply was lost",
    "unchanged": "PROMOTED BEFORE, nothing was changed",
    "unknown": "UNKNOWN, read both sides before anything else",
}


def verdict(report: Report) -> str:
    """Return in one sentence what became of it."""
    outcome = report.get("outcome")
    if outcome == "running" or not report.get("ended"):
        return f"NOT FINISHED. The last event is: {report.get('stopped_at') or 'none'}."
    words = _OUTCOMES.get(str(outcome), "FAILED")
    message = f": {report['message'].rstrip('.')}" if report.get("message") else ""
    rpo, rto = (report.get("rpo") or {}).get("seconds"), (report.get("rto") or {}).get("total")
    if outcome == "passed" and None not in (rpo, rto):
        message = (
            f": the spare took its first write {rto:g} s after the request; the largest exposure seen was {rpo:g} s of "
            f"writes; {_of_rows(report)}"
        )
    if outcome in ("promoted", "adopted") and report.get("loss"):
        message = f". Data lost: {report['loss'].rstrip('.')}"
        if no_writes := (report.get("rto") or {}).get("no_writes"):
            message += f". No client could write for {no_writes:g} s, and until it is sent to the new primary"
    return f"{words}{message}."


def _of_rows(report: Report) -> str:
    writer = report.get("writer") or {}
    return f"{writer.get('lost_before_cut')} of {writer.get('acknowledged')} rows were lost"


def sections(report: Report) -> list[tuple[str, Table]]:
    """Return the content as tables: a title, and rows of which the first is the head."""
    found: list[tuple[str, Table]] = [("Targets", _targets(report)), ("Figures", _figures(report))]
    queries = [
        ("passed" if each.get("passed") else "FAILED", each.get("sql"), each.get("expect"), each.get("got"))
        for each in report.get("queries") or []
    ]
    found.append(("Queries at the spare", _table(("result", "query", "expected", "returned"), queries)))
    events = [
        (f"{each.get('seconds', 0):.1f} s", each.get("at"), each.get("event")) for each in report.get("events") or []
    ]
    found.append(("Events", _table(("after", "clock (UTC)", "event"), events)))
    found.append(("Checks that did not pass", _checks(report)))
    said = [(text,) for text in [*(report.get("said") or []), report.get("remaining")] if text]
    found.append(("What is so now, and what remains to be done", _table(("",), said)))
    found.append(("Who, where and with what", _table(("", ""), _facts(report))))
    return [(title, table) for title, table in found if len(table) > 1]


def markdown(report: Report) -> str:
    """Return the report as Markdown, without the picture."""
    lines = [f"# {_cell(_title(report))}", "", f"**{_cell(verdict(report))}**", ""]
    for title, table in sections(report):
        lines += [f"## {title}", ""]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table]
        lines[-len(table) + 1 : -len(table) + 1] = ["|" + " --- |" * len(table[0])]
        lines.append("")
    return "\n".join(lines)


def html(report: Report) -> str:
    """Return the report as a page: no script, no network, prints on paper."""
    body = [f"<h1>{_text(_title(report))}</h1>", f'<p class="verdict">{_text(verdict(report))}</p>', _timeline(report)]
    for title, table in sections(report):
        rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in table[1:])
        head = "".join(f"<th>{_text(cell)}</th>" for cell in table[0]) if any(table[0]) else ""
        body.append(f"<h2>{_text(title)}</h2><table>{f'<tr>{head}</tr>' if head else ''}{rows}</table>")
    return PAGE.replace("@TITLE@", _text(_title(report))).replace("@BODY@", "\n".join(body))


def _title(report: Report) -> str:
    name = report.get("instance") or "an instance"
    what = " ".join(str(report[key]) for key in ("mode", "kind") if report.get(key)) or "drill"
    return f"DR {what} of {name}, {report.get('started') or ''}"


def _targets(report: Report) -> Table:
    targets, rows = report.get("targets") or {}, []
    measured = {"rpo": (report.get("rpo") or {}).get("seconds"), "rto": (report.get("rto") or {}).get("total")}
    meaning = {
        "rpo": "recovery point (RPO): largest exposure seen",
        "rto": "recovery time (RTO): from the request to the first write",
    }
    for name, value in measured.items():
        target = targets.get(f"{name}_seconds")
        result = (
            "no target"
            if target is None
            else "not measured"
            if value is None
            else "PASS"
            if value <= target
            else "FAIL"
        )
        rows.append((result, meaning[name], _seconds(value), _seconds(target)))
    return _table(
        ("result", "", "measured", "target"), rows if any(value is not None for value in measured.values()) else []
    )


def _figures(report: Report) -> Table:
    rpo, rto, writer = (report.get(name) or {} for name in ("rpo", "rto", "writer"))
    rows: list[tuple[Any, ...]] = []
    if writer:
        rows += [
            ("rows acknowledged at the source before the promotion was requested", writer.get("acknowledged")),
            ("rows at the spare", writer.get("survived")),
            ("lost of those acknowledged before the request", writer.get("lost_before_cut")),
            ("gaps among the rows (corruption)", "none" if writer.get("is_prefix") else "YES"),
        ]
    if rpo.get("resolution"):
        rows += [("largest exposure", f"{rpo.get('rows')} rows, {_seconds(rpo.get('seconds'))}"),
                 ("exposure: median, 95th percentile", f"{_seconds(rpo.get('p50'))}, {_seconds(rpo.get('p95'))}"),
                 ("exposure was read every", _seconds(rpo.get("resolution")))]  # fmt: skip
    rows += [("data that was lost", report["loss"])] if report.get("loss") else []
    rows += [(label, _seconds(rto[name])) for name, label in _RTO.items() if rto.get(name) is not None]
    rows += [("not in these times", rto["leaves_out"])] if rto.get("leaves_out") else []
    return _table(("", ""), rows)


def _checks(report: Report) -> Table:
    rows = []
    for when, checks in (report.get("checks") or {}).items():
        bad = [check for check in checks or [] if check.get("result") != "success"]
        if not checks:
            continue
        rows.append((when, f"{len(checks) - len(bad)} of {len(checks)} passed", ""))
        rows += [(f"{when}: {check.get('result')}", check.get("note"), check.get("remedy")) for check in bad]
    return _table(("when", "", "to fix"), rows)


def _facts(report: Report) -> list[tuple[Any, ...]]:
    source = report.get("source") or {}
    parts = (f"{source.get('host')}:{source.get('port')}", source.get("region"))
    place = f"{source.get('name')} ({', '.join(str(part) for part in parts if part)})" if source else None
    names = ("source", "spare" if report.get("kind") == "drill" else "DR instance")
    version = {"PostgreSQL": source.get("postgresql")}
    tasks = {f"RDS task of the {name}": number for name, number in (report.get("task_ids") or {}).items()}
    known = {"run": report.get("run"), "by": report.get("who"), names[0]: place, names[1]: report.get("instance"),
             "production's DR instance, left alone": report.get("production"), "started": report.get("started"),
             "ended": report.get("ended"), "approved as": report.get("digest"), **version,
             **(report.get("versions") or {}), **tasks,
             "request id": report.get("request_id")}  # fmt: skip
    return [(name, value) for name, value in known.items() if value is not None]


def _timeline(report: Report) -> str:
    """Return the picture: events with their names, exposure and lag as curves, acknowledged rows as ticks."""
    events, samples = report.get("events") or [], report.get("samples") or []
    rows = (report.get("writer") or {}).get("rows") or []
    end = max([each.get("seconds") or 0 for each in [*events, *samples, *rows]] or [0]) or 1

    def x(seconds: float) -> str:
        return f"{_LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / end:.1f}"

    parts = [f'<line x1="{_LEFT}" y1="{_BOTTOM}" x2="{_WIDTH - _RIGHT}" y2="{_BOTTOM}" class="axis"/>']
    for number, each in enumerate(events):
        at, y = x(each.get("seconds") or 0), 14 + 16 * (number % 6)
        anchor = "end" if float(at) > _WIDTH * 0.7 else "start"
        parts.append(f'<line x1="{at}" y1="{y}" x2="{at}" y2="{_BOTTOM}" class="event"/>')
        label = f"{each.get('event')} {each.get('seconds') or 0:.1f} s"
        parts.append(f'<text x="{at}" y="{y}" text-anchor="{anchor}">{_text(label)}</text>')
    for name, style, unit in (("exposed_seconds", "exposure", "s exposed"), ("lag_bytes", "lag", "bytes of lag")):
        most = max([each.get(name) or 0 for each in samples] or [0])
        points = " ".join(
            f"{x(each.get('seconds') or 0)},{_BOTTOM - (_BOTTOM - _TOP) * (each.get(name) or 0) / (most or 1):.1f}"
            for each in samples
        )
        if points:
            parts.append(f'<polyline points="{points}" class="{style}"/>')
            y = _BOTTOM + (50 if style == "lag" else 66)
            line = "dashed" if style == "lag" else "line"
            parts.append(f'<text x="{_LEFT}" y="{y}">{line}: at most {most:g} {unit}, on a scale of its own</text>')
    ticks = "".join(f"M{x(each.get('seconds') or 0)} {_BOTTOM + 8}v8" for each in rows)
    parts.append(f'<path d="{ticks}" class="rows"/>' if ticks else "")
    parts.append(
        f'<text x="{_LEFT}" y="{_BOTTOM + 34}">each tick: a row acknowledged at the source</text>' if ticks else ""
    )
    title = "<title>What happened when</title>"
    height = _HEIGHT if samples or rows else _BOTTOM + 10
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{title}{"".join(parts)}</svg>'


def _table(head: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> Table:
    return [head, *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]


def _seconds(value: Any) -> str:
    return "not measured" if value is None else f"{value:g} s" if isinstance(value, (int, float)) else str(value)


def _text(value: Any) -> str:
    return _html.escape(printable(str(value)), quote=True)


def _cell(value: Any) -> str:
    text = " ".join(printable(str(value)).split())
    return _html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
@page { size: A4; margin: 12mm }
body { font: 15px/1.45 system-ui, sans-serif; color: #111; background: #fff; max-width: 1000px; margin: 1em auto;
  padding: 0 1em }
h1 { font-size: 1.4em; margin-bottom: .2em }
h2 { font-size: 1.05em; margin: 1.2em 0 .3em; border-bottom: 1px solid #999 }
.verdict { font-size: 1.15em; font-weight: bold; border: 2px solid #111; padding: .5em .8em }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .15em .8em .15em 0; border-bottom: 1px solid #ddd;
  overflow-wrap: break-word }
th { white-space: nowrap }
svg { width: 100%; height: auto; font-size: 13px }
.axis { stroke: #111 } .event { stroke: #999; stroke-width: .7 } .rows { stroke: #111; stroke-width: .8 }
polyline { fill: none; stroke: #111; stroke-width: 1.6 } .lag { stroke-dasharray: 6 4; stroke: #555 }
@media print { body { font-size: 9px; line-height: 1.25; margin: 0; padding: 0 } h2 { margin-top: .5em }
  svg { max-height: 50mm; font-size: 16px } td, th { padding-top: 0; padding-bottom: 0 } }
</style></head><body>
@BODY@
</body></html>
"""
