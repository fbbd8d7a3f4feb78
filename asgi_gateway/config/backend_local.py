"""Build the back ends that connect to nothing: directory, echo and http.redirect."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.accept_checks import AddProblem
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.service_properties import ServiceProperties, read_properties
from asgi_gateway.proxy.directory import Directory, DirectorySettings, is_hidden
from asgi_gateway.proxy.echo import MAX_BODY, Echo
from asgi_gateway.proxy.redirect import STATUS_CODES, Redirect, check_location
from asgi_gateway.services.backend import Backend
from asgi_gateway.services.model import Service
from asgi_gateway.services.paths import is_below

if TYPE_CHECKING:  # backends imports this module
    from asgi_gateway.config.backends import BackendContext

__all__ = ["build_directory", "build_echo", "build_redirect", "warn_of_shared_folders"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _relative(text: str) -> str:
    """Return a path below a folder, without slashes around it."""
    if re.search(r"[\\\x00-\x1f\x7f]", text):
        raise ValueError("invalid path: it holds a backslash or a control character; write folders with /")
    if ".." in text.split("/"):
        raise ValueError("invalid path: nothing outside the folder is served; write it without ..")
    return os.path.normpath(text.strip("/") or ".")


def _file(text: str) -> str:
    path = _relative(text)
    if path == "." or is_hidden(path):
        raise ValueError("not the name of a file that is served; write one such as index.html")
    return path


def _folder(text: str) -> str:
    path = _relative(text)
    if is_hidden(path):
        raise ValueError("names that begin with a dot are not served; rename the folder")
    return path


def _status_code(value: object) -> object:
    try:
        status = int(str(value))
    except ValueError:
        status = 0
    if status not in STATUS_CODES:
        raise ValueError(f"not a status code that redirects; one of: {', '.join(map(str, STATUS_CODES))}")
    return status


class _DirectoryProperties(ServiceProperties):
    directory: Annotated[str, Field(min_length=1), AfterValidator(_folder)]
    welcome_file: Annotated[str, Field(min_length=1), AfterValidator(_file)] | None = None
    options: Annotated[Literal["indexes"], BeforeValidator(lambda text: str(text).lower())] | None = None


class _EchoProperties(ServiceProperties):
    repeat: Annotated[int, Field(ge=1, le=100)] = 1


class _RedirectProperties(ServiceProperties):
    location: Annotated[str, Field(min_length=1), AfterValidator(check_location)]
    status_code: Annotated[int, BeforeValidator(_status_code)] = 302


def build_directory(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return what serves a folder; None where a problem was added."""
    ignored = ("error-pages-directory", "location")
    properties = read_properties(_DirectoryProperties, config, path, add_problem, ignored)
    if properties is None:
        return None
    folder = _existing_folder(properties.directory, context, (*path, "properties", "directory"), add_problem)
    if folder is None:
        return None
    return Directory(
        DirectorySettings(
            folder=folder,
            accepts=tuple(dict.fromkeys(mount.path for mount in context.service.mounts)),
            welcome_file=properties.welcome_file or "",
            indexes=properties.options is not None,
            types={each.extension.lower().lstrip("."): each.mime_type for each in config.mime_mapping},
        )
    )


def build_echo(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return what echoes; None where a problem was added."""
    properties = read_properties(_EchoProperties, config, path, add_problem)
    return None if properties is None else Echo(properties.repeat, config.max_body or MAX_BODY)


def build_redirect(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return what redirects; None where a problem was added."""
    properties = read_properties(_RedirectProperties, config, path, add_problem)
    if properties is None:
        return None
    if any(_leads_to(properties.location, accept) for accept in config.accepts):
        where = (*path, "properties", "location")
        add_problem(where, "the location is accepted by the same service: clients would be redirected for ever")
        return None
    return Redirect(properties.location, properties.status_code)


def warn_of_shared_folders(services: Mapping[int, Service], add_problem: AddProblem) -> None:
    """Warn of services that serve the files of another one to clients whom that one would not let in.

    Args:
        services: the services by their index.
        add_problem: called for each problem.
    """
    folders = {index: each.backend.folder for index, each in services.items() if isinstance(each.backend, Directory)}
    for index, folder in folders.items():
        for other, inner in folders.items():
            opener, protected = services[index], services[other]
            if index == other or not inner.is_relative_to(folder) or _asks_as_much(opener, protected):
                continue
            if _takes_the_paths(protected, opener, inner.relative_to(folder).as_posix()):
                continue
            message = (
                f"the folder {folder} holds that of service {protected.name!r}, which asks for another login: "
                "this service serves its files without it"
            )
            where = ("services", index, "properties", "directory")
            add_problem(where, message, "move one of them, or give this service the same realm and roles", "warning")


def _asks_as_much(service: Service, other: Service) -> bool:
    """Return whether a service lets in only clients that another one lets in, too."""
    roles = service.authorization.roles if service.realms else frozenset()
    return set(other.realms) <= set(service.realms) and other.authorization.roles <= roles


def _takes_the_paths(service: Service, other: Service, relative: str) -> bool:
    """Return whether requests for a folder below another service's folder come to this service instead."""
    below = "" if relative == "." else f"/{relative}"
    return bool(below) and all(
        any(
            is_below(f"{theirs.path}{below}", ours.path)
            and len(ours.path) > len(theirs.path)
            and "http" in ours.protocols
            and ours.host is None
            and ours.port in (None, theirs.port)
            for ours in service.mounts
        )
        for theirs in other.mounts
    )


def _leads_to(location: str, accept: AcceptURL) -> bool:
    """Return whether a request for a redirect's location would come to an accept URL."""
    url = urlsplit(location)
    if not is_below(unquote(url.path) or "/", accept.path.rstrip("/")) or not accept.kinds:
        return False
    if not url.scheme:
        return True
    scheme = url.scheme.lower()
    port = url.port or _DEFAULT_PORTS[scheme]
    return (scheme, url.hostname, port) == (
        accept.scheme,
        (accept.host or "").strip("[]"),
        accept.port or _DEFAULT_PORTS.get(accept.scheme),
    )


def _existing_folder(
    directory: str, context: BackendContext, where: ConfigPath, add_problem: AddProblem
) -> Path | None:
    """Return the folder without symbolic links; None where a problem was added."""
    root = context.directory / (context.web_root if context.web_root is not None else Path("web")).expanduser()
    folder = root / directory
    real, real_root = (Path(os.path.realpath(each)) for each in (folder, root))
    if not real.is_dir():
        kind = "is not a folder" if real.exists() else "is missing"
        hint = "it is relative to web-root, by default the folder web beside the configuration file"
        add_problem(where, f"the folder {folder} {kind}", hint)
        return None
    if not real.is_relative_to(real_root):
        message = f"the folder {folder} is a symbolic link to {real}, which is outside {root}"
        add_problem(where, message, "set web-root to a folder that holds it")
        return None
    held = [file for file in context.files if real in (file, *file.parents)]
    for file in held:
        message = f"the folder {folder} holds {file}, which no client may read"
        add_problem(where, message, "move one of them")
    return None if held else real
