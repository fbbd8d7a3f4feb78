"""The login modules that come with the gateway."""
