"""Anthropic's, Google's and Ollama's official SDKs over every upstream."""

import base64

import anthropic
import ollama
import pytest
from conftest import PIXEL
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from pydantic import BaseModel

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
SAID = "You said: {} — grüße, 世界 🦀"


class Person(BaseModel):
    name: str
    age: int


# --- Anthropic


@pytest.fixture
def claude(gateway, api_key):
    return anthropic.Anthropic(base_url=gateway, api_key=api_key, max_retries=0)


def ask(text, **more):
    return {"max_tokens": 4096, "messages": [{"role": "user", "content": text}], **more}


def test_messages(claude, model, received):
    answer = claude.messages.create(model=model, **ask("hello claude", system="Be brief, please."))
    assert answer.content[0].text == SAID.format("hello claude")
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", 8)
    assert answer.usage.input_tokens > 0
    assert "Be brief, please." in received(model)


def test_messages_stream(claude, model):
    with claude.messages.stream(model=model, **ask("in pieces")) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert text == answer.content[0].text == SAID.format("in pieces")
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", 8)


@pytest.mark.parametrize("streamed", [False, True])
def test_messages_tool_loop(claude, model, received, streamed):
    tools = [{"name": "weather", "description": "The weather", "input_schema": PARAMETERS}]
    messages = [{"role": "user", "content": "weather?"}]
    for turn in range(3):
        wanted = dict(model=model.scripted("rounds=2+tool_calls=2"), max_tokens=4096, messages=messages, tools=tools)
        if streamed:
            with claude.messages.stream(**wanted) as stream:
                answer = stream.get_final_message()
        else:
            answer = claude.messages.create(**wanted)
        messages.append({"role": "assistant", "content": answer.content})
        calls = [block for block in answer.content if block.type == "tool_use"]
        if turn == 2:
            break
        assert (len(calls), answer.stop_reason) == (2, "tool_use")
        assert all(call.input == {"city": "city in Zürich", "days": 7} for call in calls)
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"round {turn} call {number}: sunny"}
            for number, call in enumerate(calls)
        ]
        messages.append({"role": "user", "content": results})
    assert answer.stop_reason == "end_turn" and "round 1 call 1: sunny" in answer.content[0].text
    assert "round 0 call 0: sunny" in received(model)


@pytest.mark.not_on("openai", "responses")
@pytest.mark.parametrize("streamed", [False, True])
def test_messages_thinking_in_a_tool_loop(claude, model, streamed):
    tools = [{"name": "weather", "description": "The weather", "input_schema": PARAMETERS}]
    messages = [{"role": "user", "content": "weather?"}]
    for turn in range(2):
        wanted = dict(
            model=model, max_tokens=8000, messages=messages, tools=tools,
            thinking={"type": "enabled", "budget_tokens": 2048},
        )
        if streamed:
            with claude.messages.stream(**wanted) as stream:
                answer = stream.get_final_message()
        else:
            answer = claude.messages.create(**wanted)
        thought = answer.content[0]
        assert (thought.type, bool(thought.signature)) == ("thinking", True)
        assert thought.thinking.startswith("Let me think — 思考.")
        messages.append({"role": "assistant", "content": answer.content})
        for call in answer.content:
            if call.type == "tool_use":
                result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
                messages.append({"role": "user", "content": [result]})
    assert "sunny" in answer.content[-1].text


def test_messages_image(claude, model, received):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this?"}]
    answer = claude.messages.create(model=model, **ask(content))
    assert "what is this?" in answer.content[0].text
    assert PIXEL in received(model)


def test_messages_errors(claude, model):
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model=f"{model.split('/')[0]}/nothing", **ask("x"))
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(model=model, max_tokens=9, messages="no list")
    with pytest.raises(anthropic.APIError):
        with claude.messages.stream(model=model.scripted("words=20+error_after=6"), **ask("x")) as stream:
            stream.get_final_message()


# --- Gemini


@pytest.fixture
def gemini(gateway, api_key):
    return genai.Client(api_key=api_key, http_options=types.HttpOptions(base_url=gateway))


def test_generate(gemini, model, received):
    config = types.GenerateContentConfig(system_instruction="Be brief, please.", max_output_tokens=64)
    answer = gemini.models.generate_content(model=model, contents="hello gemini", config=config)
    assert answer.text == SAID.format("hello gemini")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.candidates_token_count == 8
    assert usage.total_token_count == usage.prompt_token_count + 8
    assert "Be brief, please." in received(model)


def test_generate_stream(gemini, model):
    chunks = list(gemini.models.generate_content_stream(model=model, contents="in pieces"))
    assert "".join(chunk.text or "" for chunk in chunks) == SAID.format("in pieces")
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == 8


def test_generate_chat(gemini, model, received):
    chat = gemini.chats.create(model=model)
    assert "first" in chat.send_message("the first").text
    streamed = "".join(chunk.text or "" for chunk in chat.send_message_stream("the second"))
    assert "second" in streamed
    body = received(model)
    assert "the first" in body and "You said: the first" in body


def test_generate_calls_python(gemini, model):
    """The SDK runs the functions itself and sends their results."""
    asked = []

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny in " + city

    config = types.GenerateContentConfig(tools=[weather])
    answer = gemini.models.generate_content(model=model, contents="weather?", config=config)
    assert asked == ["city in Zürich"]
    assert "sunny in city in Zürich" in answer.text


@pytest.mark.not_on("openai", "responses")
def test_generate_thinking(gemini, model):
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
    config = types.GenerateContentConfig(thinking_config=thinking, max_output_tokens=8000)
    answer = gemini.models.generate_content(model=model, contents="think", config=config)
    thought = [part for part in answer.candidates[0].content.parts if part.thought]
    assert thought[0].text.startswith("Let me think — 思考.")
    assert answer.text == SAID.format("think")


def test_generate_json(gemini, model):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Person)
    answer = gemini.models.generate_content(model=model, contents="who?", config=config)
    assert answer.parsed.age == 7


def test_generate_image(gemini, model, received):
    image = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
    answer = gemini.models.generate_content(model=model, contents=["what is this?", image])
    assert "what is this?" in answer.text
    # The SDK writes base64 in the alphabet of URLs, which no other vendor reads.
    sent = received(model)
    assert PIXEL in (sent.replace("-", "+").replace("_", "/") if model.upstream == "gemini" else sent)


def test_generate_errors(gemini, model):
    with pytest.raises(genai_errors.ClientError) as caught:
        gemini.models.generate_content(model=f"{model.split('/')[0]}/nothing", contents="x")
    assert caught.value.code == 404


# --- Ollama


@pytest.fixture
def llama(gateway, api_key):
    return ollama.Client(host=gateway, headers={"Authorization": f"Bearer {api_key}"})


def test_ollama_chat(llama, model, received):
    messages = [{"role": "system", "content": "Be brief, please."}, {"role": "user", "content": "hello llama"}]
    answer = llama.chat(model=model, messages=messages, options={"num_predict": 64})
    assert answer.message.content == SAID.format("hello llama")
    assert (answer.done_reason, answer.eval_count) == ("stop", 8)
    assert "Be brief, please." in received(model)


def test_ollama_stream(llama, model):
    parts = list(llama.chat(model=model, messages=[{"role": "user", "content": "in pieces"}], stream=True))
    assert "".join(part.message.content or "" for part in parts) == SAID.format("in pieces")
    assert (parts[-1].done, parts[-1].eval_count) == (True, 8)


def test_ollama_generate(llama, model):
    assert llama.generate(model=model, prompt="once").response == SAID.format("once")
    parts = list(llama.generate(model=model, prompt="twice", stream=True))
    assert "".join(part.response for part in parts) == SAID.format("twice")


@pytest.mark.parametrize("streamed", [False, True])
def test_ollama_tool_loop(llama, model, received, streamed):
    tools = [{"type": "function", "function": {"name": "weather", "description": "Weather", "parameters": PARAMETERS}}]
    messages = [{"role": "user", "content": "weather?"}]
    for turn in range(3):
        wanted = dict(model=model.scripted("rounds=2+tool_calls=2"), messages=messages, tools=tools)
        if streamed:
            calls, text = [], ""
            for part in llama.chat(**wanted, stream=True):
                calls += part.message.tool_calls or []
                text += part.message.content or ""
            message = ollama.Message(role="assistant", content=text, tool_calls=calls or None)
        else:
            message = llama.chat(**wanted).message
        messages.append(message)
        if turn == 2:
            break
        assert len(message.tool_calls) == 2
        for number, call in enumerate(message.tool_calls):
            assert call.function.arguments == {"city": "city in Zürich", "days": 7}
            content = f"round {turn} call {number}: sunny"
            messages.append({"role": "tool", "content": content, "tool_name": call.function.name})
    assert "round 1 call 1: sunny" in message.content
    assert "round 0 call 0: sunny" in received(model)


@pytest.mark.not_on("openai", "responses")
def test_ollama_thinking(llama, model):
    message = llama.chat(model=model, messages=[{"role": "user", "content": "think"}], think=True).message
    assert message.thinking.startswith("Let me think — 思考.")
    assert message.content == SAID.format("think")


def test_ollama_json(llama, model):
    answer = llama.chat(
        model=model, messages=[{"role": "user", "content": "who?"}], format=Person.model_json_schema()
    )
    assert Person.model_validate_json(answer.message.content).age == 7


def test_ollama_image(llama, model, received):
    messages = [{"role": "user", "content": "what is this?", "images": [base64.b64decode(PIXEL)]}]
    assert "what is this?" in llama.chat(model=model, messages=messages).message.content
    assert PIXEL in received(model)


def test_ollama_errors(llama, model):
    with pytest.raises(ollama.ResponseError) as caught:
        llama.chat(model=f"{model.split('/')[0]}/nothing", messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == 404
