"""OpenDSR processors that requests are forwarded to: see ``port``."""
