"""Benchmarks of Lethe beside other ways to do the same work; see ``docs/benchmarks.md``."""
