"""The documentation: complete, and true where a program can tell."""

from __future__ import annotations

import io
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asgi_gateway import config
from asgi_gateway.cli.main import main, parser
from asgi_gateway.config import load, registry
from asgi_gateway.config.element_names import IGNORED, fields
from asgi_gateway.config.load import loads
from asgi_gateway.config.model import Element, GatewayConfig
from asgi_gateway.documents import read_xml, read_yaml
from asgi_gateway.errors import ConfigError
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.modules.file.readers import read_users_file
from asgi_gateway.passwords import hash_password
from tests.asgi import get
from tests.helpers import ManualClock

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


def elements(cls: type[Element] = GatewayConfig) -> set[type[Element]]:
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
    assert set(states.values()) == {"state", "works", "elsewhere"}
    modules = {f"`{name}` (module)" for name in ("file", "ldap", "jndi", "keystore", "kerberos5", "gss")}
    schemes = {"`Basic`", "`Application Basic`", "`Application Token`", "`Negotiate`", "`Application Negotiate`"}
    known = {f"`{name}` (module)" for name in registry.login_module_names()}
    known |= {f"`{name}`" for name in registry.scheme_names()}
    assert {name for name in modules | schemes | known if states.get(name) == "works"} == known


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
    elif "security" in root and block.info != "partial":
        loads(text, "yaml", environment={})
    else:
        load(whole(read_yaml(text.encode()).plain()), environment={"TICKET_KEY_FILE": "ticket.key"})


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
    assert len(lines) == 3
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


# -------------------------------------------------------------------------------------------- the ticket, as documented


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of docs/how-to/login-modules.md, importable as ``tickets``, in a folder with its configuration and key."""
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


@pytest.mark.usefixtures("tickets")
def test_short_key_stops_the_start(tmp_path: Path) -> None:
    """The documented module does not start with a key that can be guessed."""
    (tmp_path / "ticket.key").write_bytes(b"k" * 31)
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        config.load_config(tmp_path / "gateway.yaml")


# ------------------------------------------------------------------------------------------- links, commands and tests


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DOCS)))
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


def test_tests_named_in_security_exist() -> None:
    """Every test that docs/explanation/security.md names is there."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", documented("explanation/security.md"))
    assert len(named) > 20
    assert [name for name in named if f"def {name[1]}(" not in (ROOT / "tests" / name[0]).read_text()] == []
