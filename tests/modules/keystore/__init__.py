"""Tests of the keystore login module, on the stores of tests/data/keystores."""

from __future__ import annotations

ALICE = "CN=Alice,OU=Test+OU=Sales,O=Example\\, Inc"
OWN_KEYS = {"keyStoreURL": "file:users.jks", "keyStorePasswordURL": "file:store.pw"}
"""Every user has a password for their own key."""
LOCAL = {**OWN_KEYS, "privateKeyPasswordURL": "file:alice.pw"}
"""Nothing of the request is checked."""
