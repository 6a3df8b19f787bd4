#!/bin/sh
# The demonstration: sample data through the whole delivery, a look at what came of it, a person
# who is forgotten, and contacts through the service.
set -eu
cd "$(dirname "$0")/.."
rm -rf demo
mkdir demo

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

say "1. Make 50,000 change records, one in a hundred of them broken"
run lethe generate changes --count 50000 --seed 7 --hostile 0.01 --out demo/changes.ndjson

say "2. Deliver them, and the examples in every input format, into a lake"
run lethe deliver demo/changes.ndjson examples/*.ndjson examples/*.json \
    examples/dynamodb-export examples/dynamodb-incremental-export \
    --lake demo/lake --schemas examples/schemas --report demo/report.json

say "3. Deliver them again: nothing is delivered twice"
run lethe deliver demo/changes.ndjson --lake demo/lake

say "4. The partitions"
find demo/lake -name '*.parquet' | sed 's|/[^/]*$||' | sort -u | head -6
echo "... $(find demo/lake -name '*.parquet' | wc -l) files in all"

say "5. Any engine reads them: DuckDB, for one"
python examples/demo_query.py demo/lake

say "6. What could not be delivered is kept, with the reason"
python examples/demo_letters.py demo/lake

say "7. The delivery log"
run lethe log --lake demo/lake

say "8. Forget a person: the rows leave the files, and a certificate says so"
run lethe erase --lake demo/lake --schemas examples/schemas \
    --subject email=jonas.weber2137@example.net,controller_customer_id=u-0002137 \
    --certificate demo/certificate.json
run lethe verify-erasure --lake demo/lake --schemas examples/schemas --certificate demo/certificate.json

say "9. The service: 20,000 contacts enriched through an API, and watched"
run lethe generate contacts --count 20000 --seed 7 --out demo/contacts.ndjson
python examples/demo_service.py demo
