"""The vendors' SDKs for their clouds, and the gateway, send the same requests to the same servers."""

import os

import anthropic
import google.genai as genai
import openai
import pytest
from google.genai import types
from google.oauth2.credentials import Credentials

KEY = os.environ.get("OMNIROUTE_TEST_AZURE_KEY", "")
TOKEN = os.environ.get("OMNIROUTE_TEST_GOOGLE_TOKEN", "")
QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def clouds():
    return os.environ["OMNIROUTE_TEST_CLOUDS"]


def through(gateway, api_key, model):
    """The answer of the gateway's OpenAI API."""
    client = openai.OpenAI(base_url=f"{gateway}/v1", api_key=api_key, max_retries=0)
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=50)
    return answer.choices[0].message.content


def test_azure_with_a_dated_version(clouds, gateway, api_key):
    client = openai.AzureOpenAI(azure_endpoint=clouds, api_key=KEY, api_version="2024-10-21", max_retries=0)
    answer = client.chat.completions.create(model="prod", messages=QUESTION, max_tokens=50)
    assert answer.choices[0].message.content == "Hello!"
    assert through(gateway, api_key, "azure-openai/prod") == "Hello!"


def test_foundry(clouds, gateway, api_key):
    client = anthropic.AnthropicFoundry(api_key=KEY, base_url=f"{clouds}/anthropic", max_retries=0)
    answer = client.messages.create(model="claude-opus-4-6", messages=QUESTION, max_tokens=50)
    assert answer.content[0].text == "Hello!"
    assert through(gateway, api_key, "azure-ai/claude-opus-4-6") == "Hello!"


def test_anthropic_on_vertex(clouds, gateway, api_key):
    client = anthropic.AnthropicVertex(
        region="europe-west4", project_id="project-1", access_token=TOKEN, base_url=f"{clouds}/v1", max_retries=0
    )
    answer = client.messages.create(model="claude-opus-4-6", messages=QUESTION, max_tokens=50)
    assert answer.content[0].text == "Hello!"
    assert through(gateway, api_key, "vertex/claude-opus-4-6") == "Hello!"


def test_gemini_on_vertex(clouds, gateway, api_key):
    client = genai.Client(
        vertexai=True,
        project="project-1",
        location="europe-west4",
        credentials=Credentials(TOKEN),
        http_options=types.HttpOptions(base_url=clouds),
    )
    answer = client.models.generate_content(model="gemini-2.5-pro", contents="hi")
    assert answer.text == "Hello!"
    assert through(gateway, api_key, "vertex/gemini-2.5-pro") == "Hello!"
