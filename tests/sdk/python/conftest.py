"""The gateway under test, as the end-to-end tests give it."""

import json
import os
from urllib.parse import unquote

import httpx
import pytest

# What stands before the models of each upstream: the provider checks requests as that vendor would.
UPSTREAMS = {
    "openai": "mock/gpt-mock",
    "responses": "responses/gpt-mock",
    "anthropic": "anthropic/claude-sonnet-4-5-mock",
    "gemini": "gemini/gemini-2.5-flash-mock",
    "ollama": "ollama/qwen3-mock:8b",
    "cohere": "cohere/command-a-reasoning-mock",
    "bedrock": "bedrock/anthropic.claude-sonnet-4-5-mock-v1:0",
}
PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/anthropic/v1/messages",
    "gemini": "/gemini/v1beta/models/gemini-2.5-flash-mock",
    "ollama": "/ollama/api/chat",
    "cohere": "/cohere/v2/chat",
    "bedrock": "/bedrock/model/anthropic.claude-sonnet-4-5-mock-v1:0",
}
# One red pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="


def pytest_generate_tests(metafunc):
    """A test that takes `model` runs once for every upstream, but for those that it skips."""
    if "model" in metafunc.fixturenames:
        skipped = metafunc.definition.get_closest_marker("not_on")
        names = [name for name in UPSTREAMS if not skipped or name not in skipped.args]
        metafunc.parametrize("model", [Model(name) for name in names], ids=names)


def pytest_configure(config):
    config.addinivalue_line("markers", "not_on(*upstreams): what these upstreams cannot do, whoever asks")


class Model(str):
    """A model's id that knows its upstream."""

    def __new__(cls, upstream):
        return super().__new__(cls, UPSTREAMS[upstream])

    def __init__(self, upstream):
        self.upstream = upstream

    def scripted(self, script):
        return f"{self}+{script}"


class Received:
    """What reached the provider last."""

    def __call__(self, model):
        last = httpx.get(f"{os.environ['OMNIROUTE_TEST_PROVIDER']}/__mock/last").json()
        assert last["status"] == 200, last
        # A colon in a model's name may travel escaped.
        assert unquote(last["path"]).startswith(PATHS[model.upstream]), last["path"]
        return last["body"]

    def object(self, model):
        return json.loads(self(model))


@pytest.fixture(scope="session")
def received():
    return Received()


@pytest.fixture(scope="session")
def gateway():
    """URL of a proxy, without /v1."""
    return os.environ["OMNIROUTE_TEST_URL"]


@pytest.fixture(scope="session")
def api_key():
    return os.environ["OMNIROUTE_TEST_KEY"]
