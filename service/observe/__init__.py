"""What is told of the service's work: metrics, traces, slow operations, a line a request."""
