"""Tests of sessions; the contract's assertions explain themselves as those of a test file do."""

import pytest

pytest.register_assert_rewrite("tests.sessions.limits_contract")
