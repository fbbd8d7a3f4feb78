"""Report what the gateway decides. Listeners of one stream of events."""
