"""An enrichment API to run against: a real HTTP server that misbehaves as it is told."""
