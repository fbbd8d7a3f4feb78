"""``python -m asgi_gateway`` is the ``asgi-gateway`` command."""

import sys

from asgi_gateway.cli import main

sys.exit(main())
