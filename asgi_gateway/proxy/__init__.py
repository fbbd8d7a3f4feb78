"""Stand in front of back ends over HTTP, WebSocket and TCP; serve files, echo and redirects; answer other proxies."""
