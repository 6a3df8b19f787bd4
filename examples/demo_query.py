"""Ask DuckDB what a lake holds: rows and sales by type and currency."""

import sys

import duckdb

lake = sys.argv[1]
print(
    duckdb.sql(f"""
        SELECT type, count(*) AS rows, count(DISTINCT date) AS dates,
               count(*) FILTER (WHERE deleted) AS deleted,
               count(*) FILTER (WHERE deleted_by = 'ttl') AS by_ttl
        FROM read_parquet('{lake}/type=*/*/*.parquet', hive_partitioning = true,
                          union_by_name = true)
        GROUP BY type ORDER BY rows DESC
    """)
)
print(
    duckdb.sql(f"""
        SELECT currency, count(*) AS sales, sum(quantity) AS tickets, sum(total) AS total
        FROM read_parquet('{lake}/type=sale/*/*.parquet')
        WHERE NOT deleted GROUP BY currency ORDER BY total DESC LIMIT 4
    """)
)
