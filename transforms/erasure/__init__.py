"""Erasure: finding the rows of subjects in any kind of file, and rewriting it without them."""
