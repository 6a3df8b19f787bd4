"""Webhooks: events of the outbox, sent to addresses that clients have registered."""
