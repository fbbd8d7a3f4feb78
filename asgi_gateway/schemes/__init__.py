"""The challenge schemes that come with the gateway."""
