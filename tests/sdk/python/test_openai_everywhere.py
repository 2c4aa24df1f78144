"""The official OpenAI SDK over every upstream."""

import json

import openai
import pytest
from conftest import PIXEL
from pydantic import BaseModel

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather", "parameters": PARAMETERS}}
FLAT_WEATHER = {"type": "function", "name": "weather", "description": "Weather", "parameters": PARAMETERS, "strict": False}


class Address(BaseModel):
    street: str
    number: int


class Person(BaseModel):
    name: str
    addresses: list[Address]


@pytest.fixture
def client(gateway, api_key):
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key=api_key, max_retries=0)


def user(text):
    return {"role": "user", "content": text}


def test_chat(client, model, received):
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "system", "content": "Be brief, please."}, user("hello there")], max_tokens=64
    )
    assert answer.choices[0].message.content == "You said: hello there — grüße, 世界 🦀"
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
    assert usage.completion_tokens == 8
    assert "Be brief, please." in received(model)


def test_stream(client, model):
    with client.chat.completions.stream(
        model=model, messages=[user("in pieces")], stream_options={"include_usage": True}
    ) as stream:
        events = list(stream)
        answer = stream.get_final_completion()
    text = "".join(event.delta for event in events if event.type == "content.delta")
    assert text == answer.choices[0].message.content == "You said: in pieces — grüße, 世界 🦀"
    assert answer.usage.completion_tokens == 8


def test_length(client, model):
    answer = client.chat.completions.create(model=model.scripted("words=100"), messages=[user("x")], max_tokens=20)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client, model, received, streamed):
    messages = [user("weather in Bern?")]
    for turn in range(3):
        ask = dict(model=model.scripted("rounds=2+tool_calls=2"), messages=messages, tools=[WEATHER])
        if streamed:
            with client.chat.completions.stream(**ask) as stream:
                answer = stream.get_final_completion()
        else:
            answer = client.chat.completions.create(**ask)
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if turn == 2:
            break
        assert answer.choices[0].finish_reason == "tool_calls"
        assert len({call.id for call in message.tool_calls}) == 2
        for number, call in enumerate(message.tool_calls):
            assert json.loads(call.function.arguments) == {"city": "city in Zürich", "days": 7}
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"round {turn} call {number}: sunny"})
    assert answer.choices[0].finish_reason == "stop"
    assert "round 1 call 1: sunny" in answer.choices[0].message.content
    body = received(model)
    assert all(f"round {turn} call {number}: sunny" in body for turn in range(2) for number in range(2))


def test_a_named_tool(client, model):
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = client.chat.completions.create(
        model=model, messages=[user("x")], tools=[WEATHER, other], tool_choice=choice
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def test_parse(client, model):
    answer = client.chat.completions.parse(model=model, messages=[user("who?")], response_format=Person)
    assert answer.choices[0].message.parsed.addresses[0].number == 7


@pytest.mark.parametrize("streamed", [False, True])
def test_image(client, model, received, streamed):
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client.chat.completions.create(model=model, messages=[user(content)], stream=streamed)
    if streamed:
        assert any("this?" in (chunk.choices[0].delta.content or "") for chunk in answer if chunk.choices)
    else:
        assert "what is this?" in answer.choices[0].message.content
    assert PIXEL in received(model)


def test_errors(client, model):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=f"{model.split('/')[0]}/nothing", messages=[user("x")])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=[{"role": "boss", "content": "x"}])
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[user("x")], tools=[{"type": "function"}])
    assert caught.value.response.json()["error"]["message"]


def test_a_stream_that_breaks_raises(client, model):
    stream = client.chat.completions.create(
        model=model.scripted("words=20+error_after=6"), messages=[user("x")], stream=True
    )
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass


def test_responses(client, model, received):
    answer = client.responses.create(
        model=model, instructions="Be brief, please.", input="hello responses", store=False, max_output_tokens=64
    )
    assert answer.output_text == "You said: hello responses — grüße, 世界 🦀"
    assert (answer.status, answer.usage.output_tokens) == ("completed", 8)
    assert "Be brief, please." in received(model)


def test_responses_stream(client, model):
    with client.responses.stream(model=model, input="in pieces", store=False) as stream:
        events = list(stream)
        answer = stream.get_final_response()
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == answer.output_text == "You said: in pieces — grüße, 世界 🦀"
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.parametrize("streamed", [False, True])
def test_responses_tool_loop(client, model, received, streamed):
    items = [{"role": "user", "content": "weather?"}]
    for turn in range(3):
        ask = dict(model=model.scripted("rounds=2+tool_calls=2"), input=items, tools=[FLAT_WEATHER], store=False)
        if streamed:
            with client.responses.stream(**ask) as stream:
                answer = stream.get_final_response()
        else:
            answer = client.responses.create(**ask)
        calls = [item for item in answer.output if item.type == "function_call"]
        if turn == 2:
            break
        assert len(calls) == 2
        for call in calls:
            assert json.loads(call.arguments)["days"] == 7
            items.append({"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments})
        for number, call in enumerate(calls):
            output = f"round {turn} call {number}: sunny"
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
    assert not calls and "round 1 call 1: sunny" in answer.output_text
    assert "round 0 call 0: sunny" in received(model)


def test_responses_parse(client, model):
    answer = client.responses.parse(model=model, input="who?", text_format=Person, store=False)
    assert answer.output_parsed.addresses[0].number == 7


@pytest.mark.not_on("openai")
def test_responses_reasoning(client, model):
    answer = client.responses.create(
        model=model, input="think", reasoning={"effort": "high", "summary": "auto"}, store=False,
        include=["reasoning.encrypted_content"], max_output_tokens=20000,
    )
    thought = next(item for item in answer.output if item.type == "reasoning")
    assert thought.summary[0].text.startswith("Let me think — 思考.")
    after = client.responses.create(
        model=model,
        input=[
            {"role": "user", "content": "think"},
            *[item.model_dump(exclude_none=True, exclude={"status"}) for item in answer.output],
            {"role": "user", "content": "again"},
        ],
        reasoning={"effort": "high", "summary": "auto"}, store=False, max_output_tokens=20000,
    )
    assert "again" in after.output_text
