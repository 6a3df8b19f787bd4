"""The delivery in PySpark on two cores of one machine.

    python bench/peers/pyspark_deliver.py INPUT --lake DIR

Needs PySpark 3.5 and Java, and writes the same columns and values as ``lethe deliver``. The JSON
is parsed once and cached, as Spark writes one type at a time. A line that is not as the schema
says ends the whole run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

# In an environment of its own, which type checkers of this one do not see.
from pyspark.sql import DataFrame, SparkSession  # type: ignore[import-not-found]

_STRING = "struct<S:string>"
_NUMBER = "struct<N:string>"
_BOOLEAN = "struct<BOOL:boolean>"
_TIME = "struct<S:string,N:string>"
_TEXTS = "struct<L:array<struct<S:string>>,SS:array<string>>"
_PREFERENCES = f"struct<M:struct<aisle:{_BOOLEAN},accessible:{_BOOLEAN},note:{_STRING}>>"
_SEAT = f"struct<section:{_STRING},row:{_STRING},seat:{_STRING},price:{_NUMBER}>"

# The attributes of all four types in one struct, since a line's type is known only once read.
_IMAGE = {
    **dict.fromkeys(
        "id type eventId userId email phone currency status demandId channel address template "
        "name venueId orderId".split(),
        _STRING,
    ),
    **dict.fromkeys("version quantity maxPrice capacity total".split(), _NUMBER),
    **dict.fromkeys("createdAt updatedAt sentAt startsAt soldAt".split(), _TIME),
    **dict.fromkeys("sections tags".split(), _TEXTS),
    "onSale": _BOOLEAN,
    "preferences": _PREFERENCES,
    "items": f"struct<L:array<struct<M:{_SEAT}>>>",
}


def _time(attribute: str) -> str:
    return (
        f"coalesce(to_timestamp(i.{attribute}.S), "
        f"timestamp_millis(cast(i.{attribute}.N as bigint)))"
    )


def _texts(attribute: str) -> str:
    return f"coalesce(transform(i.{attribute}.L, x -> x.S), i.{attribute}.SS)"


_COLUMNS = {
    "id": "i.id.S",
    "type": "i.type.S",
    "version": "cast(i.version.N as bigint)",
    "created_at": _time("createdAt"),
    "updated_at": _time("updatedAt"),
    "event_id": "i.eventId.S",
    "user_id": "i.userId.S",
    "email": "i.email.S",
    "phone": "concat(repeat('*', length(i.phone.S) - 2), right(i.phone.S, 2))",
    "quantity": "cast(i.quantity.N as int)",
    "max_price": "cast(i.maxPrice.N as decimal(12,2))",
    "currency": "i.currency.S",
    "sections": _texts("sections"),
    "preferences": """if(i.preferences.M is not null, named_struct(
        'aisle', i.preferences.M.aisle.BOOL, 'accessible', i.preferences.M.accessible.BOOL,
        'note', i.preferences.M.note.S), null)""",
    "status": "i.status.S",
    "system_id": "coalesce(upper(nullif("
    "regexp_extract(i.eventId.S, '^([A-Za-z0-9]{2,10})-', 1), '')), 'UNKNOWN')",
    "demand_id": "i.demandId.S",
    "channel": "i.channel.S",
    "address": "i.address.S",
    "template": "i.template.S",
    "sent_at": _time("sentAt"),
    "name": "i.name.S",
    "venue_id": "i.venueId.S",
    "starts_at": _time("startsAt"),
    "on_sale": "i.onSale.BOOL",
    "capacity": "cast(i.capacity.N as int)",
    "tags": _texts("tags"),
    "order_id": "i.orderId.S",
    "total": "cast(i.total.N as decimal(12,2))",
    "sold_at": _time("soldAt"),
    "items": """transform(i.items.L, x -> named_struct('section', x.M.section.S,
        'row', x.M.row.S, 'seat', x.M.seat.S, 'price', cast(x.M.price.N as decimal(12,2))))""",
    "reference": "concat('urn:lethe:', i.type.S, ':', i.id.S, ':', i.version.N)",
    "deleted": "deleted",
    "deleted_at": "if(deleted, change_time, null)",
    "deleted_by": """if(deleted, if(userIdentity.type = 'Service'
        and userIdentity.principalId = 'dynamodb.amazonaws.com', 'ttl', 'request'), null)""",
    "change_time": "change_time",
    "change_id": "eventID",
    "extra": "cast(null as string)",
    "date": f"cast({_time('updatedAt')} as date)",
}

_FIRST = "id type version created_at updated_at".split()
_LAST = "reference deleted deleted_at deleted_by change_time change_id extra date".split()
_OWN = {
    "demand": "event_id user_id email phone quantity max_price currency sections preferences "
    "status system_id",
    "event": "name venue_id starts_at on_sale capacity tags",
    "notification": "demand_id user_id channel address template sent_at status",
    "sale": "demand_id order_id user_id email quantity total currency sold_at items",
}


def deliver(spark: SparkSession, source: str, lake: str) -> None:
    """Write every change record of ``source`` into ``lake``, by type and date."""
    records = _records(spark, source).cache()
    for name in _OWN:
        rows = records.where(f"i.type.S = '{name}'").selectExpr(*_select(name))
        # One task a date, so that a partition becomes one file and not one for each input split.
        rows.repartition("date").write.partitionBy("date").parquet(f"{lake}/type={name}")


def _records(spark: SparkSession, source: str) -> DataFrame:
    changes = spark.read.schema(_schema()).json(source, mode="FAILFAST")
    return changes.selectExpr(
        "eventID",
        "userIdentity",
        "eventName = 'REMOVE' as deleted",
        "timestamp_millis(dynamodb.ApproximateCreationDateTime) as change_time",
        "if(eventName = 'REMOVE', dynamodb.OldImage, dynamodb.NewImage) as i",
    )


def _schema() -> str:
    attributes = ",".join(f"{name}:{kind}" for name, kind in _IMAGE.items())
    image = f"struct<{attributes}>"
    return (
        "eventID string, eventName string, userIdentity struct<type:string,principalId:string>, "
        "dynamodb struct<ApproximateCreationDateTime:bigint,"
        f"NewImage:{image},OldImage:{image}>"
    )


def _select(name: str) -> list[str]:
    return [f"{_COLUMNS[column]} as {column}" for column in [*_FIRST, *_OWN[name].split(), *_LAST]]


def _session() -> SparkSession:
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "4g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.caseSensitive", "true")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Deliver change records with PySpark.")
    parser.add_argument("input", type=Path)
    parser.add_argument("--lake", type=Path, required=True)
    options = parser.parse_args()
    deliver(_session(), str(options.input), str(options.lake))


if __name__ == "__main__":
    main()
