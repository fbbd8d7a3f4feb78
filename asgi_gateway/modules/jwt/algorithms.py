"""List the signature algorithms that may be configured; ``none`` is not one of them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ALGORITHMS", "OCTETS"]

OCTETS = "oct"
"""The key type of secrets, which sign as well as verify."""
ALGORITHMS: Mapping[str, tuple[str, frozenset[str]]] = {
    **{name: ("RSA", frozenset[str]()) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
    **{name: (OCTETS, frozenset[str]()) for name in ("HS256", "HS384", "HS512")},
}
"""Algorithms that may be configured, with the key type and the curves of each (RFC 7518 section 3.1, RFC 8037)."""
