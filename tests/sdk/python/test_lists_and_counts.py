"""Lists of models and counts of tokens, by the vendors' official SDKs."""

import json

import anthropic
import httpx
import ollama
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from websockets.sync.client import connect

CLAUDE = "anthropic/claude-sonnet-4-5-mock"
GEMINI = "gemini/gemini-2.5-flash-mock"
GPT = "mock/gpt-mock"


@pytest.fixture
def claude(gateway, api_key):
    return anthropic.Anthropic(base_url=gateway, api_key=api_key, max_retries=0)


@pytest.fixture
def google(gateway, api_key):
    return genai.Client(api_key=api_key, http_options=genai_types.HttpOptions(base_url=gateway))


@pytest.fixture
def llama(gateway, api_key):
    return ollama.Client(host=gateway, headers={"Authorization": f"Bearer {api_key}"})


def test_anthropic_lists_page_by_page(claude):
    everything = [model.id for model in claude.models.list(limit=2)]
    assert GPT in everything and len(everything) == len(set(everything)) > 2
    first = claude.models.list(limit=1)
    assert (len(first.data), first.has_more, first.first_id) == (1, True, everything[0])
    assert claude.models.retrieve(GPT).id == GPT
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("mock/none")


@pytest.mark.parametrize("counted", [CLAUDE, GEMINI, GPT])
def test_anthropic_counts(claude, counted):
    short = claude.messages.count_tokens(model=counted, messages=[{"role": "user", "content": "hello"}])
    tool = {"name": "weather", "description": "The weather of a city", "input_schema": {"type": "object"}}
    long = claude.messages.count_tokens(
        model=counted, system="Be brief.", tools=[tool], messages=[{"role": "user", "content": "hello " * 100}]
    )
    assert 0 < short.input_tokens < long.input_tokens


def test_google_lists_page_by_page(google):
    names = [model.name for model in google.models.list(config={"page_size": 2})]
    assert f"models/{GPT}" in names and len(names) == len(set(names)) > 2
    assert google.models.get(model=GPT).name == f"models/{GPT}"
    with pytest.raises(genai_errors.ClientError) as refused:
        google.models.get(model="mock/none")
    assert refused.value.code == 404


@pytest.mark.parametrize("counted", [CLAUDE, GEMINI, GPT])
def test_google_counts(google, counted):
    short = google.models.count_tokens(model=counted, contents="hello")
    long = google.models.count_tokens(model=counted, contents="hello " * 100)
    assert 0 < short.total_tokens < long.total_tokens


def test_ollama_looks_around(llama, gateway):
    names = [model.model for model in llama.list().models]
    assert GPT in names
    shown = llama.show(GPT)
    assert "completion" in shown.capabilities and "tools" in shown.capabilities
    assert llama.ps().models == []
    loaded = llama.generate(model=GPT, prompt="", keep_alive=60)
    assert (loaded.done, loaded.done_reason) == (True, "load")
    with pytest.raises(ollama.ResponseError) as refused:
        llama.show("none")
    assert refused.value.status_code == 404
    assert httpx.head(gateway).status_code == 200


def test_a_websocket_streams_two_requests_at_once(gateway, api_key):
    address = gateway.replace("http://", "ws://") + "/v1/ws"
    with connect(address, additional_headers={"Authorization": f"Bearer {api_key}"}) as socket:
        assert json.loads(socket.recv())["type"] == "session.ready"
        for name, model in [("a", GPT), ("b", CLAUDE)]:
            payload = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": f"hello {name}"}]}
            socket.send(json.dumps({"type": "request", "id": name, "payload": payload}))
        text, done = {"a": "", "b": ""}, set()
        while done != {"a", "b"}:
            frame = json.loads(socket.recv(timeout=30))
            assert frame["type"] not in ("response.error", "protocol.error"), frame
            text[frame["id"]] += frame.get("chunk", "")
            if frame["type"] == "response.completed":
                done.add(frame["id"])
    for name in text:
        assert text[name].endswith("data: [DONE]\n\n") and text[name].count("chat.completion.chunk") > 1
