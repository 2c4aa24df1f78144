"""The official OpenAI SDK drives the gateway."""

import openai
import pytest
from openai import OpenAI

MODEL = "mock/gpt-mock"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(gateway, api_key):
    return OpenAI(base_url=f"{gateway}/v1", api_key=api_key, max_retries=0)


def user(text):
    return [{"role": "user", "content": text}]


def test_chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello from the sdk"))
    assert "hello from the sdk" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_raw_response_has_the_request_id(client):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("raw"))
    assert raw.headers["x-request-id"]
    assert raw.parse().choices


def test_stream(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=user("piece by piece"), stream=True, stream_options={"include_usage": True}
    )
    text, usage, finish = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert "piece by piece" in text
    assert finish == "stop"
    assert usage.completion_tokens > 0


def test_stream_helper_collects_the_answer(client):
    with client.chat.completions.stream(model=MODEL, messages=user("collected")) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= kinds
    assert "collected" in answer.choices[0].message.content


def test_tools_pass_through(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=user("weather in Bern?"), tools=[WEATHER], tool_choice="required"
    )
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, answer.choices[0].finish_reason) == ("weather", "tool_calls")
    after = client.chat.completions.create(
        model=MODEL,
        tools=[WEATHER],
        messages=user("weather in Bern?")
        + [answer.choices[0].message.model_dump(exclude_none=True)]
        + [{"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}],
        tool_choice="none",
    )
    assert "sunny, 21 degrees" in after.choices[0].message.content


def test_streamed_tools(client):
    with client.chat.completions.stream(
        model=MODEL, messages=user("weather?"), tools=[WEATHER], tool_choice="required"
    ) as stream:
        answer = stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert call.function.arguments.startswith("{")


def test_embeddings(client):
    answer = client.embeddings.create(model="mock/embed-mock", input=["one", "two"])
    assert len(answer.data) == 2
    assert len(answer.data[0].embedding) > 0
    assert answer.usage.prompt_tokens > 0


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert {MODEL, "mock/embed-mock"} <= set(ids)
    assert client.models.retrieve(MODEL).id == MODEL


def test_an_unknown_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-unknown").chat.completions.create(model=MODEL, messages=user("x"))
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="mock/gpt-mok", messages=user("x"))
    assert caught.value.code == "model_not_found"


def test_a_wrong_request_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages="not a list")
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"model": 7}, cast_to=object)
    assert caught.value.param == "model"


def test_the_providers_rate_limit_reaches_the_client(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="limited/gpt-mock+status=429+header.retry-after=40", messages=user("x"))
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_a_provider_that_fails_is_a_server_error(client):
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="failing/gpt-mock+status=500", messages=user("x"))


def test_a_stream_that_breaks_raises(client):
    stream = client.chat.completions.create(
        model="breaking/gpt-mock+words=20+hang_up_after=5", messages=user("x"), stream=True
    )
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass


def test_async_client(gateway, api_key):
    import asyncio

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key=api_key, max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=MODEL, messages=user(f"number {n}")) for n in range(8))
            )
            return [answer.choices[0].message.content for answer in answers]

    for number, text in enumerate(asyncio.run(ask())):
        assert f"number {number}" in text
