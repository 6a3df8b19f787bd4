"""State in one DynamoDB table. Opened by ``dynamodb://TABLE?region=REGION[&endpoint=URL]``.

An item's key is ``pk`` and ``sk``, texts both; parts of them are joined by ``#`` and quoted. Times
are microseconds since 1970, in sort keys as 16 digits, so that texts sort as the times do.

    what                 pk                        sk                 for
    job                  job#ID                    record             the job
    part of a job        job#ID                    part#NUMBER        progress, until its end
    event                job#ID, run#ID, dsr#ID    event#VERSION      ``Outbox.of``
    jobs added together  unfinished                TIME#ID            a set of ids, until empty
    fingerprint          fingerprint#ORG#KIND#SHA  claim              a set of ids
    run                  run#ID                    record             the run
    commit               outbox                    LAST PLACE         the events of one change
    place                outbox                    newest             the last place given
    lease                lease#NAME                record             the lease
    schedule's entry     schedule#SCHEDULE         JOB#TIME#SEQUENCE  the entry
    idempotency key      answer#KEY                record             claim and answer
    counter              counter#NAME#SECS#PERIOD  record             a number
    API key              api-key#DIGEST            record             the key
    API key's id         api-key-id#ID             claim              its digest
    request              dsr#ID                    record             the data subject request
    request's subject    dsr#ID                    subject#HASH       for the subject's list
    request's group      dsr#ID                    group              for the group's list
    open request         dsr-open#ORG#HASH#LAW#TYPE  claim            the id of the one
    request that is held dsrs-held                 TIME#ID            its place
    request that waits   dsrs-waiting              TIME#ID            its subjects, its next try
    one that is parked   dsrs-parked               TIME#ID            its place
    one to be cancelled  dsrs-to-cancel            TIME#ID            its next try
    one to be asked about  dsrs-to-ask-about       NEXT TRY#ID        its id
    audit entry          audit                     NUMBER             the entry
    audit head           audit                     head               the last number and hash
    checkpoint           audit-checkpoints         NUMBER#KEY         the signature
    webhook              webhooks                  webhook#ID         the webhook
    who adds a webhook   webhooks-of#ORG           turn               a number, to be the one
    told alert           alerts-told               alert#KEY          when it was told

Four indexes, each of keys, ``status``, ``kind`` and ``job_id`` alone, so that progress costs no
write to them; the records are read from the table by the keys that an index gives:

    index                partition (attribute)                        sorted by
    listed-everywhere    list_all: jobs#KIND, runs, api-keys, ...     list_time: TIME#ID
    listed-organization  list_organization: jobs#KIND#ORGANIZATION    list_time
    listed-owner         list_owner: jobs#KIND#ORGANIZATION#OWNER     list_time
    due                  due: jobs, runs, answers, counters, dsrs-... due_time: TIME#ID

An index is a moment behind the table, so nothing that is decided rests on one: lists and counts
that people see, and what is to be forgotten. All else is read from the table, consistently.

A change is one ``TransactWriteItems`` under a client request token, so that asking again after an
answer was lost does it once: conditions on what was read, the new record, its event, the commit and
the next place. Each place is given within the transaction that uses it, so whoever reads commits in
their order is never passed by an earlier one. That makes the last place the one item that all
changes with an event meet at: see ``stores.state.dynamo.outbox``. Changes of data subject requests
meet at the head of the audit log as well, in the same way: see ``stores.state.dynamo.audit``.
"""
