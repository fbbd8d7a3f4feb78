"""LDAP URLs of login module options."""

from __future__ import annotations

import pytest

from asgi_gateway.modules.ldap.client.urls import Address, DirectoryURL, domain_of, parse_urls


def test_several_urls_keep_their_order() -> None:
    """URLs are separated by any white space and kept in order, with the ports of their schemes."""
    assert parse_urls(" ldap://a.example.com/dc=a \n ldaps://b.example.com:3636/dc=b ldaps://c") == (
        DirectoryURL(False, "a.example.com", 389, "dc=a"),
        DirectoryURL(True, "b.example.com", 3636, "dc=b"),
        DirectoryURL(True, "c", 636, ""),
    )


def test_percent_encoding_in_the_dn() -> None:
    """Percent-encoding in the base DN is undone, as UTF-8."""
    (url,) = parse_urls("ldap://h/ou=our%20people%2Co=Zo%C3%AB")
    assert url.base == "ou=our people,o=Zoë"


def test_ipv6_addresses() -> None:
    """An IPv6 host loses its brackets, and gets them back for libldap."""
    (url,) = parse_urls("ldaps://[::1]:1636/dc=a")
    assert url.host == "::1"
    assert Address("::1", 1636, "tls").uri == "ldaps://[::1]:1636"


def test_no_host_needs_a_domain() -> None:
    """Without a host the DN must name a domain, whose servers the DNS knows."""
    assert parse_urls("ldap:///ou=people,dc=example,dc=com")[0].host is None
    with pytest.raises(ValueError, match="has no host"):
        parse_urls("ldap:///o=Example")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the URL is missing"),
        ("http://a/dc=a", "must begin with ldap://"),
        ("ldap.example.com", "must begin with ldap://"),
        ("ldap://h/ou=our people", "spaces in a DN are %20"),
        ("ldap://h:port/dc=a", "is not an LDAP URL"),
        ("ldap://h:99999/dc=a", "is not an LDAP URL"),
        ("ldap://h/ou=%ff", "is not an LDAP URL"),
        ("ldap://h/dc=a?uid?sub?(a=b)", "may only hold"),
        ("ldap://user:hunter2@h/dc=a", "may only hold"),
    ],
)
def test_wrong_urls(text: str, message: str) -> None:
    """What is no such URL is an error that says why, and shows no password."""
    with pytest.raises(ValueError, match=message) as error:
        parse_urls(text)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@h/dc=a",
        "ldap:user:hunter2@h",
        "user:hunter2@h/dc=a",
        "ldaps//user:hunter2@h/dc=a",
        "ldap://user:hunter2@h:99999/dc=a",
        "ldap://user:hunter2@[::1/dc=a",
        "https://user:hun@hunter2@h/",
        "ldapi://user:hunter2@/dc=a",
        "http://h/user:hunter2@h",
        "http://h/dc=a?hunter2",
    ],
)
def test_passwords_in_urls_are_not_shown(text: str) -> None:
    """A password in a URL, however wrong the URL is, is not in the error."""
    with pytest.raises(ValueError, match=r".") as error:
        parse_urls(text)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("base", "domain"),
    [
        ("dc=example,dc=com", "example.com"),
        ("ou=people, DC=Example , DC=Com", "Example.Com"),
        ("dc=not,o=this", ""),
        ("ou=x,dc=com", "com"),
        (r"cn=a\,dc=com", ""),
        ("", ""),
    ],
)
def test_domain_of_a_dn(base: str, domain: str) -> None:
    """The domain is made of the trailing dc parts (RFC 2247)."""
    assert domain_of(base) == domain


@pytest.mark.parametrize(
    ("url", "use_ssl", "security"),
    [
        ("ldap://h", None, "starttls"),
        ("ldap://h", True, "tls"),
        ("ldap://h", False, "plain"),
        ("ldaps://h", None, "tls"),
        ("ldaps://h", False, "tls"),
    ],
)
def test_security(url: str, use_ssl: bool | None, security: str) -> None:
    """Only an explicit useSSL=false on ldap:// goes without TLS."""
    assert parse_urls(url)[0].security(use_ssl) == security


def test_addresses_in_words() -> None:
    """An address says in logs that StartTLS is used."""
    assert str(Address("h", 389, "starttls")) == "ldap://h:389 (StartTLS)"
    assert str(Address("h", 389, "tls")) == "ldaps://h:389"
