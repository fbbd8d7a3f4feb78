"""Answer the requests that the gateway serves itself: tickets, logout, re-authorization, the browser client, checks."""
