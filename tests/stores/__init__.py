"""Tests of the stores; the contract's assertions explain themselves as those of a test file do."""

import pytest

pytest.register_assert_rewrite("tests.stores.contract", "tests.stores.listing_contract")
