"""Match a request to a service, and decide who may use it."""
