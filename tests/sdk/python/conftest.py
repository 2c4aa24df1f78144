"""The gateway under test, as the end-to-end tests give it."""

import os

import pytest


@pytest.fixture(scope="session")
def gateway():
    """URL of a proxy, without /v1."""
    return os.environ["OMNIROUTE_TEST_URL"]


@pytest.fixture(scope="session")
def api_key():
    return os.environ["OMNIROUTE_TEST_KEY"]
