"""The documentation: complete, and true where a program can tell."""

from __future__ import annotations

import argparse
import ast
import importlib
import io
import logging
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import mypy.api
import pytest

from asgi_gateway import LoginModule, config
from asgi_gateway.cli.main import main, parser
from asgi_gateway.config import load, registry
from asgi_gateway.config.element_names import IGNORED, fields
from asgi_gateway.config.load import loads, read
from asgi_gateway.config.model import ConfigElement, GatewayConfig
from asgi_gateway.documents import read_xml, read_yaml
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.modules.file.readers import read_users_file
from asgi_gateway.passwords import hash_password
from asgi_gateway.websockets.live import CloseReason
from tests.asgi import get
from tests.documents.plain import plain
from tests.helpers import ManualClock
from tools.api_reference import MODULES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FILES = sorted(DOCS.rglob("*.md"))
HASH = hash_password("welcome")
ORIGINALS = (
    "security keystore type file password-file truststore realm name authentication http-challenge-scheme http-header "
    "http-query-parameter http-cookie login-modules login-module success options filename userProvider userFilter "
    "{USERNAME} authzIdentity {EMPLOYEENUMBER} JCEKS jaas-config.xml ldap jndi kerberos5 gss required requisite "
    "sufficient optional sharedState ExpiringState putIfAbsent nonce FailedLoginException initialize() LoginModule "
    "CallbackHandler WWW-Authenticate Authorization Basic Negotiate http.max.authentication.attempts "
    "http.authenticator Authenticator.setDefault"
)
"""What the two documents of the original name, besides the names of two words."""


REALM = (
    "<realm><name>demo</name><authentication><http-challenge-scheme>Basic</http-challenge-scheme><login-modules>"
    "<login-module><type>file</type><success>required</success><options><file>users.yaml</file></options></login-module>"
    "</login-modules></authentication></realm>"
)
"""What a part of the element security needs in it."""


@dataclass(frozen=True)
class Block:
    """A code block: its language, what stands behind it, and its text."""

    language: str
    info: str
    text: str


def blocks(file: Path) -> list[Block]:
    """A document's code blocks, those inside lists too."""
    found = re.findall(r"^( *)```(\w+) *(.*?)\n(.*?)^\1```$", file.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, info, textwrap.dedent(text)) for _, language, info, text in found]


EXAMPLES = [
    pytest.param(block, id=f"{file.relative_to(DOCS)}-{number}")
    for file in FILES
    for number, block in enumerate(blocks(file), 1)
    if block.language in ("xml", "yaml")
]


def documented(*names: str) -> str:
    """The text of some documents of ``docs/``."""
    return "\n".join((DOCS / name).read_text() for name in names)


def elements(cls: type[ConfigElement] = GatewayConfig) -> set[type[ConfigElement]]:
    """The model's classes."""
    return {cls}.union(*(elements(field.element) for field in fields(cls).values() if field.element))


# -------------------------------------------------------------------------------------------------------- completeness


def test_every_element_is_documented() -> None:
    """Every field of the model, and every element that is ignored, stands in the reference by its name in files."""
    text = documented("reference/configuration.md")
    wanted = {name for cls in elements() for name in fields(cls)} | set().union(*IGNORED.values())
    assert sorted(name for name in wanted if f"`{name}`" not in text) == []


@pytest.mark.parametrize("name", registry.login_module_names())
def test_every_option_is_documented(name: str) -> None:
    """Every option of every login module stands in the modules' documents."""
    text = documented(*(str(file.relative_to(DOCS)) for file in FILES if file.parent.name == "modules"))
    options = registry.login_module(name).Options.model_fields
    aliases = {info.alias or key for key, info in options.items()}
    assert sorted(alias for alias in aliases if f"`{alias}`" not in text) == []


def test_status_names_everything() -> None:
    """Everything that the original's two documents name stands in the status table."""
    text = documented("reference/status.md")
    assert [name for name in ORIGINALS.split() if f"`{name}`" not in text] == []
    assert "`Application Token`" in text
    assert "`Application Negotiate`" in text


def test_status_says_what_is_there() -> None:
    """Modules and schemes work, by the status table, if and only if this release knows them."""
    rows = [line.split("|")[1:3] for line in documented("reference/status.md").splitlines() if line.startswith("| ")]
    states = {name.strip(): state.strip() for name, state in rows}
    assert set(states.values()) == {"state", "works", "ignored", "refused", "error"}
    modules = {f"`{name}` (module)" for name in ("file", "ldap", "jndi", "keystore", "kerberos5", "gss")}
    schemes = {"`Basic`", "`Application Basic`", "`Application Token`", "`Negotiate`", "`Application Negotiate`"}
    known = {f"`{name}` (module)" for name in registry.login_module_names()}
    known |= {f"`{name}`" for name in registry.scheme_names()}
    assert {name for name in modules | schemes | known if states.get(name) == "works"} == known


def first_cells(page: str, heading: str) -> set[str]:
    """The code in the first cells of the tables below a heading of a page."""
    below = re.split(rf"^#+ {re.escape(heading)}$", documented(page), flags=re.MULTILINE)[1]
    rows = re.findall(r"^\| ([^|]*) \|", re.split(r"^#", below, flags=re.MULTILINE)[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_command_stands_in_the_table() -> None:
    """The first table of command-line.md lists all commands, and no others."""
    (commands,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    assert first_cells("reference/command-line.md", "Command line") - {"0", "1", "2"} == set(commands.choices)


def test_every_scheme_stands_in_the_table() -> None:
    """The table of schemes lists all that this release knows."""
    assert first_cells("reference/configuration.md", "Schemes") == set(registry.scheme_names())


def test_every_type_of_module_stands_in_its_row() -> None:
    """The element ``type`` of a login module names each module, and each module has a page."""
    (row,) = [line for line in documented("reference/configuration.md").splitlines() if "`class:package." in line]
    named = set(re.findall(r"`([^`]+)`", row)) - {"type", "class:package.module.Class"}
    assert named == set(registry.login_module_names())
    pages = documented(*(f"reference/modules/{file.name}" for file in (DOCS / "reference" / "modules").iterdir()))
    assert [name for name in named if f"`{name}`" not in "\n".join(re.findall(r"^# .*", pages, re.MULTILINE))] == []


def test_every_state_store_stands_in_the_tables() -> None:
    """Deployment lists the options of each store, and the element ``type`` of ``state`` names each."""
    stores = set(registry.state_store_names())
    assert first_cells("how-to/deployment.md", "Options") >= stores
    assert all(f"`{name}`" in documented("reference/configuration.md") for name in stores)


def test_every_close_code_stands_in_the_table() -> None:
    """sockets.md lists each code with its reason, as sockets are closed with them; a timeout has not the code 1000."""
    rows = re.findall(r"^\| (\d{4}) \| `([^`]+)` \|", documented("explanation/sockets.md"), re.MULTILINE)
    assert {(int(code), reason) for code, reason in rows} == {(each.code, each.reason) for each in CloseReason}
    assert "session timeout" in documented("how-to/from-kaazing.md")
    assert CloseReason.SESSION_TIMEOUT.code == 1008


def test_what_is_remembered_is_told() -> None:
    """The paragraph on remembered credentials names the modules that allow it, and some that do not."""
    (text,) = re.findall(r"A \*\*remembered credential\*\*.*?\n\n", documented("reference/configuration.md"), re.DOTALL)
    allowing, _, others = text.partition(" do; ")
    modules = {name: registry.login_module(name).cacheable for name in registry.login_module_names()}
    assert set(re.findall(r"`(\w+)`", allowing)) == {name for name, cacheable in modules.items() if cacheable}
    assert set(re.findall(r"`(\w+)`", others)) == {name for name, cacheable in modules.items() if not cacheable}


# ------------------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize("block", EXAMPLES)
def test_example_loads(block: Block, tmp_path: Path) -> None:
    """Every example loads: a configuration, a users file, or a part of one where it belongs."""
    text = block.text.replace("$argon2id$v=19$m=19456,t=2,p=1$…", HASH).replace("$argon2id$…", HASH)
    text = text.replace("{…}", "{}")
    if not "".join(line for line in text.splitlines() if not line.startswith("#")).strip():
        return
    root = root_names(block.language, text)
    if root & {"users", "roles", "jaas-config"}:
        file = tmp_path / f"users.{block.language}"
        file.write_text(text)
        lookup_only = "password" not in text
        assert read_users_file(file).users or lookup_only
    elif block.language == "xml":
        loads(text.replace("</security>", f"{REALM}</security>") if block.info == "partial" else text, "xml")
    elif block.info == "listening":
        file = tmp_path / "gateway.yaml"
        file.write_text(text)
        assert read(file, environment={}, by_port=True).valid
    elif "security" in root and block.info != "partial":
        loads(text, "yaml", environment={})
    else:
        load(whole(plain(read_yaml(text.encode()))), environment={"TICKET_KEY_FILE": "ticket.key"})


def test_the_two_spellings_of_the_whole_file_are_equal() -> None:
    """The XML of configuration.md loads to the same configuration as the YAML that it is said to equal."""
    page = blocks(DOCS / "reference" / "configuration.md")
    in_yaml, in_xml = page[0], page[1]
    assert (in_yaml.language, in_xml.language) == ("yaml", "xml")
    assert loads(in_yaml.text, "yaml", environment={}).config == loads(in_xml.text, "xml", environment={}).config


def root_names(language: str, text: str) -> set[str]:
    """The names at a document's top."""
    return {read_xml(text.encode()).name} if language == "xml" else set(read_yaml(text.encode()).entries)


def whole(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a configuration with what it needs around it."""
    chain = part.pop("login-modules", [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}])
    named = [service.get("realm-name", []) for service in part.get("services", [])]
    names = sorted({name for each in named for name in ([each] if isinstance(each, str) else each)}) or ["demo"]
    authentication = {"http-challenge-scheme": "Basic", "login-modules": chain}
    return part | {"security": {"realms": [{"name": name, "authentication": authentication} for name in names]}}


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A working directory with a users file; gives the configuration that the samples were made with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.yaml").write_text(f"users: [{{name: joe, password: '{HASH}'}}]")
    return (
        "security:\n  realms:\n    - name: demo\n      authentication:\n        http-challenge-scheme: Basic\n"
        "        login-modules:\n          - {type: file, success: required, options: {file: users.yaml}}\n"
        "services:\n  - {name: chat, accept: /chat, realm-name: demo, authorization-constraint: {require-role: "
        "AUTHORIZED}}\n"
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_samples_of_check(sample: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What command-line.md shows of check is what check prints."""
    Path("bad.yaml").write_text(sample.replace("realm-name: demo", "realm-name: dmo"))
    assert main(["check", "bad.yaml", "--format", form]) == 1
    out, err = capsys.readouterr()
    lines = (err + out).splitlines()
    assert len(lines) == (3 if form == "json" else 5)
    assert "\n".join(lines) in documented("reference/command-line.md")


@pytest.mark.parametrize("form", ["text", "json"])
def test_samples_of_explain(
    sample: str, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What command-line.md shows of explain is what explain prints."""
    Path("gateway.yaml").write_text(sample)
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong"))
    assert main(["explain", "gateway.yaml", "GET", "/chat", "--user", "joe", "--format", form]) == 1
    assert capsys.readouterr().out in documented("reference/command-line.md")


def test_python_can_be_compiled() -> None:
    """Every example in Python is Python."""
    for file in FILES:
        for block in blocks(file):
            if block.language == "python":
                compile(block.text, str(file), "exec")


PYTHON = [
    pytest.param(block.text, id=f"{file.relative_to(ROOT)}-{number}")
    for file in [ROOT / "README.md", *FILES]
    for number, block in enumerate(blocks(file), 1)
    if block.language == "python"
] + [pytest.param(file.read_text(), id=str(file.relative_to(ROOT))) for file in (ROOT / "example_app").glob("*.py")]


def own_imports(source: str) -> list[str]:
    """What a source imports of the package: ``module.name``, or a module's name alone."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.split(".")[0] == "asgi_gateway"]


def is_public(name: str) -> bool:
    """Whether a name is a public module, or exported by one."""
    module, _, attribute = name.rpartition(".")
    return name in MODULES or (module in MODULES and attribute in importlib.import_module(module).__all__)


@pytest.mark.parametrize("source", PYTHON)
def test_examples_import_public_names_only(source: str) -> None:
    """What README, docs/ and the reference application import of the package is public."""
    assert [name for name in own_imports(source) if not is_public(name)] == []


@pytest.mark.parametrize(
    ("source", "inner"),
    [
        ("from asgi_gateway.gateway import Gateway", ["asgi_gateway.gateway.Gateway"]),
        ("import asgi_gateway.middleware", ["asgi_gateway.middleware"]),
        ("def f():\n    from asgi_gateway import config", ["asgi_gateway.config"]),
        ("from asgi_gateway.plugins import clock, Clock", ["asgi_gateway.plugins.clock"]),
        ("from asgi_gateway.client import connect, sync\nimport starlette", []),
    ],
)
def test_inner_imports_are_found(source: str, inner: list[str]) -> None:
    """A module that is not public, and a name that a public module does not export, are told apart from public ones."""
    assert [name for name in own_imports(source) if not is_public(name)] == inner


# -------------------------------------------------------------------------------------------- the ticket, as documented


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of login-modules.md, importable as ``tickets``, in a folder with its configuration and key."""
    module = ModuleType("tickets")
    source = next(block.text for block in blocks(DOCS / "how-to" / "login-modules.md") if block.language == "python")
    exec(compile(source, "docs/how-to/login-modules.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "tickets", module)
    gateway = next(block.text for block in blocks(DOCS / "how-to" / "login-modules.md") if block.language == "yaml")
    (tmp_path / "gateway.yaml").write_text(gateway)
    (tmp_path / "ticket.key").write_bytes(b"k" * 32)
    return module


@pytest.mark.anyio
async def test_ticket_is_good_once(tickets: ModuleType, tmp_path: Path) -> None:
    """The documented module lets a ticket in once; used, expired and forged ones, and none, stay out."""
    clock = ManualClock()
    gateway = config.load_config(tmp_path / "gateway.yaml", clock=clock)
    entered: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["user"].display_name)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def issue(nonce: str, key: bytes = b"k" * 32) -> str:
        ticket = tickets.URLSafeTimedSerializer(key, signer_kwargs={"digest_method": tickets.hashlib.sha256}).dumps(
            {"user": "joe", "roles": ["AUTHORIZED"], "nonce": nonce}
        )
        return f"/?ticket={ticket}"

    first, late, forged = issue("1"), issue("2"), issue("3", b"f" * 32)
    loader = tickets.URLSafeTimedSerializer(b"k" * 32, signer_kwargs={"digest_method": tickets.hashlib.sha256})
    clock.now = loader.loads(first.partition("=")[2], return_timestamp=True)[1].timestamp()
    gated = GatewayMiddleware(app, gateway)
    assert (await get(gated, "/")).status == 401
    assert (await get(gated, first)).status == 200
    assert (await get(gated, first)).status == 403
    assert (await get(gated, forged)).status == 403
    clock.advance(61)
    assert (await get(gated, late)).status == 403
    assert (await get(gated, first)).status == 403
    assert entered == ["joe"]
    await gateway.close()


def test_the_module_passes_mypy(tmp_path: Path) -> None:
    """The documented module passes ``mypy --strict``."""
    source = next(block.text for block in blocks(DOCS / "how-to" / "login-modules.md") if block.language == "python")
    (tmp_path / "tickets.py").write_text(source)
    arguments = [
        "--strict",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    out, err, code = mypy.api.run([*arguments, str(tmp_path / "tickets.py")])
    assert (out, err, code) == ("Success: no issues found in 1 source file\n", "", 0)


def test_what_a_class_may_say_is_complete() -> None:
    """The table of login-modules.md names every attribute and method of LoginModule but login and Options."""
    told = {name.partition("(")[0] for name in first_cells("how-to/login-modules.md", "More that a class may say")}
    assert told == {name for name in vars(LoginModule) if not name.startswith("_")} - {"login", "Options"}


@pytest.mark.usefixtures("tickets")
def test_short_key_stops_the_start(tmp_path: Path) -> None:
    """The documented module does not start with a key that can be guessed."""
    (tmp_path / "ticket.key").write_bytes(b"k" * 31)
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        config.load_config(tmp_path / "gateway.yaml")


# ------------------------------------------------------------------------------------------- logging, as documented


@pytest.fixture
def logging_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The examples of security.md that set up logging, in a folder of their own; their handlers are removed again."""
    monkeypatch.chdir(tmp_path)
    loggers = [logging.getLogger(name) for name in ("asgi_gateway.audit", "uvicorn.access")]
    before = [(each.level, each.propagate, each.handlers[:], each.filters[:]) for each in loggers]
    yield [block.text for block in blocks(DOCS / "explanation" / "security.md") if block.language == "python"]
    for logger, (level, propagate, handlers, filters) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.level, logger.propagate, logger.handlers, logger.filters = level, propagate, handlers, filters
    logging.getLogger("asgi_gateway.audit").manager._clear_cache()  # type: ignore[attr-defined]


@pytest.mark.parametrize("rotate", ["rename", "remove", "replace"])
def test_audit_log_outlives_its_rotation(rotate: str, logging_examples: list[str]) -> None:
    """The documented handler writes to audit.log again after logrotate renamed, removed or replaced it."""
    exec(compile(logging_examples[0], "security.md", "exec"), {})
    audit, file = logging.getLogger("asgi_gateway.audit"), Path("audit.log")
    audit.info("before")
    if rotate == "rename":
        file.rename("audit.log.1")
    elif rotate == "remove":
        file.unlink()
    else:
        Path("new").write_text("")
        Path("new").replace(file)
    audit.info("after")
    assert file.read_text() == "after\n"
    assert rotate != "rename" or Path("audit.log.1").read_text() == "before\n"


@pytest.mark.parametrize("line", ["/a?ticket=s3cret", "/a?b=1&ticket=s3cret", "/?ticket=s3cret&c=2"])
def test_access_log_hides_credentials(line: str, logging_examples: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The documented filter keeps a credential query parameter out of the server's access log."""
    exec(compile(logging_examples[1], "security.md", "exec"), {})
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", line, "1.1", 200)
    assert "s3cret" not in caplog.text
    assert "ticket=***" in caplog.text


# ------------------------------------------------------------------------------------------- links, commands and tests


@pytest.mark.parametrize(
    "file", [*FILES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_links(file: Path) -> None:
    """Every relative link leads to a file, and to a heading that is in it."""
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (file.parent / name).resolve() if name else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_index_lists_every_page() -> None:
    """Every page of docs/ is linked from docs/README.md, and the README of the project leads there."""
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", index.read_text())}
    assert [str(file.relative_to(DOCS)) for file in FILES if file not in linked | {index}] == []
    assert "](docs/README.md)" in (ROOT / "README.md").read_text()


def test_no_conflict_of_a_merge_is_left() -> None:
    """No page holds a line that git writes into files which it cannot merge."""
    files = [*FILES, *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
    marks = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
    assert [str(file.relative_to(ROOT)) for file in files if marks.search(file.read_text())] == []


def test_the_changelog_has_each_section_once() -> None:
    """Below each version of CHANGELOG.md each section stands once, in Keep a Changelog's order, and holds its lines."""
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert versions[0].startswith("[Unreleased]\n")
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for version in versions:
        sections = re.split(r"^### (.*)\n", version, flags=re.MULTILINE)[1:]
        assert sections[::2] == [name for name in order if name in sections[::2]]
        assert all(re.fullmatch(r"\n(- .*\n(  .*\n)*)+\n?", text) for text in sections[1::2])


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_can_be_parsed() -> None:
    """Every command of the documents is one, and each has its section in command-line.md."""
    text = "\n".join(block.text for file in FILES for block in blocks(file) if block.language == "sh")
    lines = [line.rpartition("| ")[2].partition(" > ")[0] for line in text.splitlines()]
    commands = [line for line in lines if line.startswith("asgi-gateway ")]
    used = {parser().parse_args(shlex.split(command)[1:]).command for command in commands}
    assert used == {"check", "run", "explain", "hash-password", "token", "revoke", "sessions", "convert", "schema"}
    headings = documented("reference/command-line.md").splitlines()
    assert {name for name in used if f"## {name}" not in headings} == set()


def test_run_is_given_applications_that_are_not_wrapped() -> None:
    """No example has ``run`` serve the reference application's ``app``, which the gateway wraps already."""
    examples = [*(file.read_text() for file in FILES), (ROOT / "README.md").read_text(), parser().format_help()]
    (commands,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    examples.append(commands.choices["run"].format_help())
    targets = re.findall(r"asgi-gateway run \S+ (\S+)", "\n".join(examples))
    assert len(targets) >= 5
    assert "example_app.app:api" in targets
    assert [target for target in targets if target in ("example_app.app:app", "main:app")] == []


def test_tests_named_in_security_exist() -> None:
    """Every test that docs/explanation/security.md names is there."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", documented("explanation/security.md"))
    assert len(named) > 20
    assert [name for name in named if f"def {name[1]}(" not in (ROOT / "tests" / name[0]).read_text()] == []
