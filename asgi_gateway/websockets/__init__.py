"""Open, re-authorize and close WebSockets."""
