"""The state stores that come with the gateway: memory, SQLite and Redis. One contract, one set of tests."""
