"""What a preview of an erasure reads, as JSON, in a process of its own.

    python -m bench.erase_find LAKE SUBJECTS

``SUBJECTS`` is a file as ``lethe erase --subjects`` takes it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from bench.erase_reading import CountedStore, bytes_read, objects_opened
from config.settings import load_settings
from runners.erase import ErasureOrder, open_site, preview_erasure
from runners.file_runner import open_file_runner
from runners.options import RunnerOptions
from schemas.subject_lists import parse_subjects


def main(lake: str, subjects: Path) -> None:
    """Preview, and print what was read for it."""
    site = replace(open_site(lake, load_settings()), store=CountedStore(lake))
    with subjects.open(encoding="utf-8") as lines:
        order = ErasureOrder(tuple(parse_subjects(lines, "subjects")))
    with open_file_runner(RunnerOptions(workers=1)) as runner:
        preview = preview_erasure(order, site, runner)
    found = {
        "all": bytes_read(),
        "index": bytes_read("_lethe/index/"),
        "log": bytes_read("_lethe/log/"),
        "opened": objects_opened("type="),
        "holding": len(preview.files),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
