"""Run ``asgi-gateway convert`` and ``asgi-gateway schema``."""

from __future__ import annotations

import argparse
import json

from asgi_gateway.cli.definitions import definitions
from asgi_gateway.cli.output import Output
from asgi_gateway.config import load
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.schema import json_schema

__all__ = ["convert", "schema"]


def convert(arguments: argparse.Namespace, output: Output) -> int:
    """Print or write the configuration in the other spelling."""
    loaded = load(arguments.file, properties=definitions(arguments))
    output.problems(loaded.problems)
    target = arguments.to or ("yaml" if arguments.file.suffix.lower() == ".xml" else "xml")
    text = to_xml(loaded) if target == "xml" else to_yaml(loaded)
    if arguments.output is None:
        output.line(text.rstrip("\n"))
        output.record({"form": target, "text": text})
    else:
        with arguments.output.open("x", encoding="utf-8") as file:  # never overwrites a file
            file.write(text)
        output.line(f"{arguments.output} written")
        output.record({"form": target, "file": str(arguments.output)})
    return 0


def schema(arguments: argparse.Namespace, output: Output) -> int:
    """Print the JSON Schema; it is JSON in either format."""
    print(json.dumps(json_schema(), indent=2))
    return 0
