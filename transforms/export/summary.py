"""The summary of an archive: one page for the person whose data it is, which runs nothing.

It needs no network and no script, and says so to the browser. What is shown of a row is text and
nothing else; long texts are cut, and of many rows the first are shown: the files have all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import msgspec

from schemas.erasure import FileKind
from schemas.export import ArchiveIndex, ExportedField, ExportedFile

SHOWN_ROWS = 20
_LONGEST = 200

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border: 1px solid #767676; padding: .25rem .5rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { background: #f0f0f0; }
.wide { overflow-x: auto; }
"""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def summary_page(index: ArchiveIndex, first_rows: Mapping[str, Sequence[bytes]]) -> bytes:
    """The page, in UTF-8. ``first_rows`` are lines of JSON, by the name of their file."""
    body = [
        "<h1>Your data</h1>",
        _overview(index),
        *(_file(file, first_rows.get(file.name, ())) for file in index.files),
        _not_looked_into(index.not_looked_into),
    ]
    return _page("Your data", "\n".join(filter(None, body))).encode()


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _overview(index: ArchiveIndex) -> str:
    if not index.rows:
        found = "<p><strong>Nothing was found about you.</strong></p>"
    else:
        files = ", ".join(f"<code>{_text(file.name)}</code>" for file in index.files)
        found = f"<p>{_count(index.rows, 'record')} about you, in {files}.</p>"
    return f"""{found}
<p>Gathered on {index.made_at:%Y-%m-%d at %H:%M} UTC. This archive is kept until
{index.expires_at:%Y-%m-%d}. <code>index.json</code> says the same for machines, with the SHA-256 of
each file.</p>"""


def _file(file: ExportedFile, lines: Sequence[bytes]) -> str:
    what = "Records that could not be taken in" if _is_letters(file) else f"Records: {file.type}"
    return f"""<section>
<h2>{_text(what)}</h2>
<p>{_count(file.rows, "record")} in <code>{_text(file.name)}</code>.</p>
{_fields(file.fields)}
{_rows(file, lines)}
</section>"""


def _is_letters(file: ExportedFile) -> bool:
    return file.kind is FileKind.DEAD_LETTERS


def _fields(fields: Iterable[ExportedField]) -> str:
    rows = ((one.name, one.type, one.personal or "", one.doc) for one in fields)
    return _table("What each field is", ("Field", "Type", "Personal data", "Meaning"), rows)


def _rows(file: ExportedFile, lines: Sequence[bytes]) -> str:
    names = [field.name for field in file.fields]
    rows = ([_shown(row.get(name)) for name in names] for row in map(_decode, lines))
    all_shown = len(lines) == file.rows
    caption = "The records" if all_shown else f"The first {len(lines)} records"
    return _table(caption, names, rows)


def _table(caption: str, names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    lines = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"""<div class="wide" tabindex="0" role="region" aria-label="{_text(caption)}">
<table>
<caption>{_text(caption)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{lines}
</tbody>
</table>
</div>"""


def _cells(row: Iterable[str]) -> str:
    return "".join(f'<td dir="auto">{_text(cell)}</td>' for cell in row)


def _not_looked_into(files: Mapping[str, str]) -> str:
    if not files:
        return ""
    return (
        "<h2>What is missing</h2>\n"
        f"<p>{_count(len(files), 'file')} could not be looked into: <code>index.json</code> says "
        "which.</p>"
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _text(value: str) -> str:
    """Text that a browser takes for nothing else; control characters are shown as such."""
    visible = "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value
    )
    return escape(visible)
