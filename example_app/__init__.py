"""The reference application: a handful of services, each protected in another way. Read ``gateway.yaml`` first."""
