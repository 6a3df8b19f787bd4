"""Manners towards services that may fail: a circuit breaker and a rate limit."""
