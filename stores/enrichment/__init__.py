"""The enrichment API, as a client sees it."""
