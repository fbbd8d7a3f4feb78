"""The recipes of the documentation, followed to the letter."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from asgi_gateway.config.build import load_config
from asgi_gateway.model import Allow, AuthRequest, Challenge
from asgi_gateway.modules.ldap import LdapOptions
from tests.integration.process import free_port, running

pytestmark = pytest.mark.anyio

RECIPES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(recipe: str, language: str) -> list[str]:
    """The code blocks of one language in a recipe."""
    return [text for name, text in BLOCK.findall((RECIPES / recipe).read_text()) if name == language]


async def test_openldap(tmp_path: Path) -> None:
    """The directory, configuration and login of the OpenLDAP recipe work as they stand, but for the port."""
    port = free_port()
    _, directory, password, *_ = blocks("openldap.md", "sh")
    (configuration,) = blocks("openldap.md", "yaml")
    prepare, start = directory.rsplit("/usr/sbin/slapd ", 1)
    subprocess.run(["bash", "-ec", prepare], cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / "trial"
    subprocess.run(["bash", "-ec", password], cwd=folder, check=True)
    (folder / "gateway.yaml").write_text(configuration.replace("3389", str(port)))
    words = ["/usr/sbin/slapd", *start.replace("3389", str(port)).removesuffix("&\n").split()]
    with running(words, port=port, log=tmp_path / "log", cwd=folder):
        gateway = load_config(folder / "gateway.yaml")
        assert await gateway.realms[0].chain.entries[0].module.check() == []
        for login, expected in ((b"joe:welcome", Allow), (b"joe:wrong", Challenge), (b"joe:", Challenge)):
            headers = [(b"authorization", b"Basic " + b64encode(login))]
            decision = await gateway.decide(AuthRequest("http", "GET", "/", headers=headers))
            assert isinstance(decision, expected)
            if isinstance(decision, Allow):
                assert decision.subject is not None
                assert (decision.subject.name, decision.subject.roles) == ("joe", frozenset({"AUTHORIZED"}))
        await gateway.close()


def test_active_directory_options() -> None:
    """The options of the Active Directory recipe are ones that the module takes."""
    chains = [yaml.safe_load(text)["login-modules"] for text in blocks("active-directory.md", "yaml")]
    modules = [LdapOptions.model_validate(m["options"]) for chain in chains for m in chain if m["type"] == "ldap"]
    assert [module.mode for module in modules] == ["search-first", "authentication-first", "lookup"]
