"""Enrichment as the service offers it: what is submitted, uploaded, shown and fetched."""
