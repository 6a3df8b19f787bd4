"""Queued requests, in the order in which they are to be forwarded."""
