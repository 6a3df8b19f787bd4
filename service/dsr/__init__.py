"""Data subject requests over HTTP: what clients send, and what they are shown."""
