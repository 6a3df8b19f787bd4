"""Telling operators what they have to look at: see ``port``."""
