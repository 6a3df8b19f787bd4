"""Show a lake's dead letters: how many of each kind, and one in full."""

import json
import sys
from collections import Counter
from pathlib import Path

letters = [
    json.loads(line)
    for path in sorted(Path(sys.argv[1], "errors").rglob("*.ndjson"))
    for line in path.open()
]
for code, count in Counter(letter["code"] for letter in letters).most_common(8):
    print(f"{count:6,}  {code}")
example = next(letter for letter in letters if letter["code"] == "out_of_range")
example["original"] = example["original"][:60] + "..."
print(json.dumps(example, indent=2))
