"""Parse and write what HTTP messages carry. Pure functions, shared by the server and the client."""
