"""The ``file`` login module: users, passwords and roles in a file."""

from asgi_gateway.modules.file.module import FileLoginModule, FileOptions

__all__ = ["FileLoginModule", "FileOptions"]
