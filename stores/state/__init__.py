"""State: what Lethe remembers beside the lakes - runs, leases, the history of schedules.

``stores.state.port`` says what is asked of a store, ``stores.state.sql`` keeps it in SQLite or
PostgreSQL. Import the latter where it is used: SQLAlchemy takes as long to load as a small delivery
takes to run.
"""
