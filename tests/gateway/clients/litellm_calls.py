"""LiteLLM against a gateway: `python litellm_calls.py API_BASE API_KEY`. Prints what it got as one JSON object."""

import asyncio
import json
import sys

import litellm

litellm.telemetry = False
base, key = sys.argv[1:]
ours = {"api_base": base, "api_key": key, "max_retries": 0, "timeout": 60}
messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "why is the sky blue?"}]


def error_of(**fields: object) -> str:
    try:
        litellm.completion(**(ours | {"model": "openai/local", "messages": messages} | fields))
    except Exception as error:
        return type(error).__name__
    return "none"


async def many() -> list[str]:
    answers = await asyncio.gather(
        *(litellm.acompletion(model="openai/local", messages=messages, **ours) for _ in range(8))
    )
    return [answer.choices[0].message.content for answer in answers]


whole = litellm.completion(model="openai/moa-m1-k2", messages=messages, **ours)
pieces = list(litellm.completion(model="openai/local", messages=messages, stream=True, **ours))
print(
    json.dumps(
        {
            "text": whole.choices[0].message.content,
            "finish_reason": whole.choices[0].finish_reason,
            "tokens": whole.usage.total_tokens,
            "streamed": "".join(piece.choices[0].delta.content or "" for piece in pieces),
            "pieces": len(pieces),
            "many": asyncio.run(many()),
            "wrong_key": error_of(api_key="sk-wrong"),
            "no_model": error_of(model="openai/gpt-nothing"),
            "too_long": error_of(messages=[{"role": "user", "content": "x" * 200_000}]),
            "image": error_of(
                messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
            ),
        }
    )
)
