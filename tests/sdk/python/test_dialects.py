"""The other vendors' official SDKs drive the gateway; the model behind it speaks OpenAI's dialect."""

import anthropic
import httpx
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

MODEL = "mock/gpt-mock"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


# --- Anthropic


@pytest.fixture
def claude(gateway, api_key):
    return anthropic.Anthropic(base_url=gateway, api_key=api_key, max_retries=0)


def test_messages(claude):
    answer = claude.messages.create(
        model=MODEL, max_tokens=64, system="Be brief.", messages=[{"role": "user", "content": "hello claude"}]
    )
    assert "hello claude" in answer.content[0].text
    assert (answer.role, answer.stop_reason) == ("assistant", "end_turn")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


def test_messages_stream(claude):
    with claude.messages.stream(
        model=MODEL, max_tokens=64, messages=[{"role": "user", "content": "piece by piece"}]
    ) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert "piece by piece" in text
    assert text == answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


def test_messages_tool_loop(claude):
    tools = [{"name": "weather", "description": "The weather", "input_schema": PARAMETERS}]
    question = {"role": "user", "content": "weather in Bern?"}
    with claude.messages.stream(
        model=MODEL, max_tokens=64, messages=[question], tools=tools, tool_choice={"type": "any"}
    ) as stream:
        answer = stream.get_final_message()
    call = next(block for block in answer.content if block.type == "tool_use")
    assert (call.name, answer.stop_reason) == ("weather", "tool_use")
    assert isinstance(call.input, dict)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 21 degrees"}
    after = claude.messages.create(
        model=MODEL,
        max_tokens=64,
        tools=tools,
        tool_choice={"type": "none"},
        messages=[question, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}],
    )
    assert "sunny, 21 degrees" in after.content[0].text


def test_messages_errors(claude):
    ask = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="mock/nothing", **ask)
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="sk-unknown").messages.create(model=MODEL, **ask)
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(model=MODEL, max_tokens=9, messages="no list")


# --- OpenAI Responses


@pytest.fixture
def client(gateway, api_key):
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key=api_key, max_retries=0)


def test_responses(client):
    answer = client.responses.create(model=MODEL, input="hello responses", store=False)
    assert "hello responses" in answer.output_text
    assert answer.status == "completed"
    assert answer.usage.output_tokens > 0


def test_responses_stream(client):
    with client.responses.stream(model=MODEL, input="piece by piece", store=False) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert "piece by piece" in answer.output_text


def test_responses_tools(client):
    tools = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
    answer = client.responses.create(
        model=MODEL, input="weather?", tools=tools, tool_choice="required", store=False
    )
    call = next(item for item in answer.output if item.type == "function_call")
    after = client.responses.create(
        model=MODEL,
        tools=tools,
        tool_choice="none",
        store=False,
        input=[
            {"role": "user", "content": "weather?"},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 degrees"},
        ],
    )
    assert "sunny, 21 degrees" in after.output_text


def test_legacy_completions(client):
    answer = client.completions.create(model=MODEL, prompt="once upon a time")
    assert "once upon a time" in answer.choices[0].text
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(model=MODEL, prompt="again", stream=True) if chunk.choices)
    assert "again" in text


# --- Gemini


@pytest.fixture
def gemini(gateway, api_key):
    return genai.Client(api_key=api_key, http_options=genai_types.HttpOptions(base_url=gateway))


def test_gemini(gemini):
    answer = gemini.models.generate_content(model=MODEL, contents="hello gemini")
    assert "hello gemini" in answer.text
    assert answer.candidates[0].finish_reason == genai_types.FinishReason.STOP
    assert answer.usage_metadata.candidates_token_count > 0


def test_gemini_stream(gemini):
    text = "".join(
        chunk.text or "" for chunk in gemini.models.generate_content_stream(model=MODEL, contents="piece by piece")
    )
    assert "piece by piece" in text


def test_gemini_tools(gemini):
    declaration = genai_types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)
    config = genai_types.GenerateContentConfig(
        tools=[genai_types.Tool(function_declarations=[declaration])],
        tool_config=genai_types.ToolConfig(
            function_calling_config=genai_types.FunctionCallingConfig(mode="ANY")
        ),
        automatic_function_calling=genai_types.AutomaticFunctionCallingConfig(disable=True),
    )
    answer = gemini.models.generate_content(model=MODEL, contents="weather?", config=config)
    assert answer.function_calls[0].name == "weather"


def test_gemini_errors(gemini):
    with pytest.raises(genai_errors.ClientError) as caught:
        gemini.models.generate_content(model="mock/nothing", contents="x")
    assert caught.value.code == 404


# --- Ollama


@pytest.fixture
def llama(gateway, api_key):
    return ollama.Client(host=gateway, headers={"Authorization": f"Bearer {api_key}"})


def test_ollama_chat(llama):
    answer = llama.chat(model=MODEL, messages=[{"role": "user", "content": "hello llama"}])
    assert "hello llama" in answer.message.content
    assert answer.done and answer.done_reason == "stop"
    assert answer.eval_count > 0


def test_ollama_stream(llama):
    parts = list(llama.chat(model=MODEL, messages=[{"role": "user", "content": "piece by piece"}], stream=True))
    assert "piece by piece" in "".join(part.message.content or "" for part in parts)
    assert parts[-1].done


def test_ollama_generate(llama):
    assert "once upon a time" in llama.generate(model=MODEL, prompt="once upon a time").response


def test_ollama_errors(llama):
    with pytest.raises(ollama.ResponseError) as caught:
        llama.chat(model="mock/nothing", messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == 404


# --- every dialect


def test_what_could_not_cross_is_listed(gateway, api_key):
    body = {
        "model": MODEL,
        "max_tokens": 9,
        "top_k": 3,
        "messages": [{"role": "user", "content": "x"}],
    }
    answer = httpx.post(f"{gateway}/v1/messages", json=body, headers={"x-api-key": api_key})
    assert answer.status_code == 200
    assert "top_k" in answer.headers["x-omniroute-dropped"]
