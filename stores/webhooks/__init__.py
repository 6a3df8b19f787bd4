"""Webhooks of clients: where they are kept (``port``), and how they are signed (``keys``)."""
