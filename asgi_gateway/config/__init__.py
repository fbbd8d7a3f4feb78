"""Turn an XML or YAML file into a Gateway."""

from asgi_gateway.config.build import build, load_config
from asgi_gateway.config.load import LoadedConfig, load, loads, read

__all__ = ["LoadedConfig", "build", "load", "load_config", "loads", "read"]
