"""The stores behind ExpiringState."""
