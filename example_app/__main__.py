"""``python -m example_app``: serve the reference application on its embedded defaults."""

from __future__ import annotations

import argparse
import logging

import uvicorn

from example_app.app import app

HINTS = """
The reference application runs on http://{host}:{port}/  (stop it with Ctrl+C)

Try next, in another terminal:
  curl -i http://{host}:{port}/basic                         401: the realm asks for Basic credentials
  curl -u joe:welcome http://{host}:{port}/basic             who you are, and which roles you hold
  curl -i -u joe:welcome http://{host}:{port}/admin          403: joe lacks the role ADMINISTRATOR
  curl -u ann:welcome http://{host}:{port}/admin             ann is
  curl -u joe:welcome -X POST http://{host}:{port}/basic/ticket   a ticket: good once, for a minute
  curl "http://{host}:{port}/ticket?ticket=THE-TICKET"       in with it; the second time: 403

Or open http://{host}:{port}/ in a browser: log in as joe or ann, with the password welcome.
What protects it: example_app/gateway.yaml and example_app/users.yaml
"""


def main() -> None:
    """Serve until stopped."""
    arguments = argparse.ArgumentParser(prog="python -m example_app", description=__doc__)
    arguments.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    arguments.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    options = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(HINTS.format(host=options.host, port=options.port), flush=True)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
