"""Remembered credentials."""

from __future__ import annotations

import pytest

from asgi_gateway.client import BasicChallengeHandler
from asgi_gateway.client.memory import MAX_ENTRIES, CredentialMemory, ProtectionSpace

SPACE = ProtectionSpace(("http", "h", 80), "basic", "demo", BasicChallengeHandler())


@pytest.mark.parametrize(
    ("location", "known"),
    [
        ("http://h/a/b", True),
        ("http://h:80/a/c", True),
        ("http://h/a/", True),
        ("http://h/a/b/c/d?q=/", True),
        ("http://h/a", False),
        ("http://h/", False),
        ("http://h", False),
        ("http://h/ab/c", False),
        ("https://h/a/b", False),
        ("http://h:81/a/b", False),
        ("http://other/a/b", False),
    ],
)
def test_credentials_are_good_in_their_folder_and_below(location: str, known: bool) -> None:
    """What was accepted for a URL is sent to the same folder of the same origin and to what lies below."""
    memory = CredentialMemory()
    memory.store("http://h/a/b", SPACE, "credentials")
    assert (memory.recall(location) is not None) is known


def test_the_deepest_folder_counts() -> None:
    """Where two folders hold a URL, the credentials of the deeper one are taken."""
    memory = CredentialMemory()
    memory.store("http://h/", SPACE, "top")
    memory.store("http://h/a/b", SPACE, "deep")
    assert (memory.recall("http://h/a/x"), memory.recall("http://h/x")) == ("deep", "top")


def test_forgetting() -> None:
    """Refused credentials are forgotten everywhere, others stay; None forgets all."""
    memory = CredentialMemory()
    for path, credentials in (("a/", "x"), ("b/", "x"), ("c/", "y")):
        memory.store(f"http://h/{path}", SPACE, credentials)
    memory.forget("x")
    assert [memory.recall(f"http://h/{path}/") for path in "abc"] == [None, None, "y"]
    memory.forget()
    assert memory.recall("http://h/c/") is None


def test_the_memory_is_bounded_and_shows_nothing() -> None:
    """The oldest entry makes room, and nothing of the credentials is printed."""
    memory = CredentialMemory()
    for number in range(MAX_ENTRIES + 1):
        memory.store(f"http://h{number}/", SPACE, "canary")
    assert memory.recall("http://h0/") is None
    assert memory.recall("http://h1/") == "canary"
    assert repr(memory) == f"CredentialMemory({MAX_ENTRIES} folders)"
