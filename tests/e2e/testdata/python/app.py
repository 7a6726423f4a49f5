"""The official SDK, unmodified, against a gateway: python3 app.py BASE_URL MODEL CANARY.

One line per check; the exit code is the number of checks that failed.
"""

import asyncio
import json
import sys

import openai

base_url, model, canary = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none")
messages = [{"role": "user", "content": f"hi {canary}"}]
words = "Hello from a scripted model running inside llama-server."
checks = []


def check(f):
    checks.append(f)
    return f


def refused(kind, call):
    """The error must be of this class, and name a code."""
    try:
        call()
    except kind as e:
        assert e.code, e
        return e
    raise AssertionError("it was not refused")


@check
def models():
    listed = [m.id for m in client.models.list()]
    assert any(m.split("@")[0] == model for m in listed), listed
    assert client.models.retrieve(listed[0]).id == listed[0]


@check
def chat():
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, temperature=0)
    got = raw.parse()
    assert got.choices[0].message.content == words
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens
    assert len(raw.headers["x-receipt-id"]) == 64


@check
def stream_with_usage():
    text, usage = "", None
    for e in client.chat.completions.create(model=model, messages=messages, stream=True, stream_options={"include_usage": True}):
        text += (e.choices[0].delta.content or "") if e.choices else ""
        usage = e.usage or usage
    assert text == words and usage.completion_tokens == 11, (text, usage)


@check
def stream_of_the_asynchronous_client():
    async def run():
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as c:
            stream = await c.chat.completions.create(model=model, messages=messages, stream=True)
            return "".join([e.choices[0].delta.content or "" async for e in stream if e.choices])

    assert asyncio.run(run()) == words


@check
def tools():
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    call = client.chat.completions.create(model=model, messages=messages, tools=[tool], tool_choice="auto").choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Paris"}


@check
def json_schema():
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"], "additionalProperties": False}
    got = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "json please"}],
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}},
    )
    assert json.loads(got.choices[0].message.content) == {"answer": 42}


@check
def logprobs():
    got = client.chat.completions.create(model=model, messages=messages, logprobs=True, top_logprobs=2, max_tokens=3)
    assert len(got.choices[0].logprobs.content[0].top_logprobs) == 2


@check
def completions():
    assert isinstance(client.completions.create(model=model, prompt="hi", max_tokens=4).choices[0].text, str)


@check
def responses():
    assert client.responses.create(model=model, input="hi").output_text == words


@check
def responses_stream():
    events = list(client.responses.create(model=model, input="hi", stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == words
    assert events[-1].type == "response.completed"


@check
def unknown_model():
    assert refused(openai.NotFoundError, lambda: client.chat.completions.create(model="no/such", messages=messages)).status_code == 404


@check
def bad_parameter():
    e = refused(openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=messages, max_tokens=-1))
    assert e.param == "max_tokens" and e.request_id.startswith("req_"), (e.param, e.request_id)


@check
def abort():
    with client.chat.completions.create(model=model, messages=[{"role": "user", "content": "loop"}], stream=True, max_tokens=900) as stream:
        for n, _ in enumerate(stream):
            if n == 3:
                break
    assert client.chat.completions.create(model=model, messages=messages).choices[0].message.content == words


failed = 0
for one in checks:
    try:
        one()
        print("ok", one.__name__)
    except Exception as e:  # a check that breaks is one that failed
        failed += 1
        print(f"FAILED {one.__name__}: {type(e).__name__}: {str(e)[:600]}")
sys.exit(failed)
