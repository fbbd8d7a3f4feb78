"""Check the properties of a service by the model of its type."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from asgi_gateway.config.accept_checks import AddProblem
from asgi_gateway.config.kaazing_compat import NOT_SUPPORTED
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.validate import describe

__all__ = ["ServiceProperties", "read_properties"]


class ServiceProperties(BaseModel):
    """The base class of the models of properties: unknown names are errors. A dash in a name is an underscore here."""

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        frozen=True,
        hide_input_in_errors=True,
    )


P = TypeVar("P", bound=ServiceProperties)


def read_properties(
    model: type[P], config: ServiceConfig, path: ConfigPath, add_problem: AddProblem, ignored: Collection[str] = ()
) -> P | None:
    """Return a service's properties; None if they are invalid, which is added to the problems.

    Args:
        model: the properties that the type has.
        config: the service.
        path: the service's path in the configuration.
        add_problem: called for each problem.
        ignored: the names of the original's properties that change nothing here.
    """
    where = (*path, "properties")
    given = {}
    for name, value in config.properties.items():
        if name in ignored:
            add_problem((*where, name), NOT_SUPPORTED, severity="ignored")
        else:
            given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            _add(details, model, config.kind, where, add_problem)
        return None


def _add(details: Any, model: type[P], kind: str, where: ConfigPath, add_problem: AddProblem) -> None:
    name = str(details["loc"][0])[:80] if details["loc"] else ""
    if details["type"] == "extra_forbidden":
        known = [field.alias or key for key, field in model.model_fields.items()]
        hint = did_you_mean(name, known) or "it has no properties"
        add_problem((*where, name), f"unknown property {name!r} of a service of type {kind}", hint)
    elif details["type"] == "missing":
        add_problem(where, f"missing property {name!r}: a service of type {kind} needs it", f"add {name}")
    else:
        add_problem((*where, *details["loc"]), *describe(details))
