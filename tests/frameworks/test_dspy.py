"""dspy: calls the client through LiteLLM, which `engine="litellm"` asks for; its own engine speaks HTTP without any client."""

from __future__ import annotations

import pytest

from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from tests.frameworks.outcomes import (
    FIELDS,
    MODEL,
    assert_each_once,
    assert_each_once_alone,
    assert_failed_once,
    assert_fields_arrive,
    assert_invisible,
)

pytestmark = pytest.mark.framework
SAID = message("[[ ## answer ## ]]\nZurich\n\n[[ ## completed ## ]]")
ANSWER = completion(SAID, usage=usage_of(11, 7))
IN_PIECES = stream(SAID, usage=usage_of(11, 7))


def lm(base_url, **asked):
    import dspy

    return dspy.LM(
        f"openai/{MODEL}", api_base=base_url, api_key="sk-test", cache=False, num_retries=0, engine="litellm", **asked
    )


def plain(base_url, **asked):
    return lm(base_url, **asked)("Hello!")


async def in_async(base_url):
    return await lm(base_url).acall("Hello!")


def asking(base_url):
    import dspy

    with dspy.context(lm=lm(base_url)):
        return dspy.Predict("question -> answer")(question="Which city?").answer


async def asking_async(base_url):
    import dspy

    with dspy.context(lm=lm(base_url)):
        return (await dspy.Predict("question -> answer").acall(question="Which city?")).answer


async def streamed(base_url):
    import dspy

    with dspy.context(lm=lm(base_url)):
        listener = dspy.streaming.StreamListener(signature_field_name="answer")
        ask = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
        return [getattr(piece, "chunk", None) or piece.answer async for piece in ask(question="Which city?")]


@pytest.mark.parametrize("way", [plain, in_async, asking, asking_async, streamed])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way, IN_PIECES if way is streamed else ANSWER)
    assert "Zurich" in str(seen.result)
    assert_invisible(seen)
    assert_each_once(seen)


def in_its_threads(base_url):
    import dspy

    with dspy.context(lm=lm(base_url)):
        ask = dspy.Predict("question -> answer")
        pairs = [(ask, {"question": f"Which city is the {nth}?"}) for nth in ("first", "second", "third")]
        return [made.answer for made in dspy.Parallel(num_threads=3, disable_progress_bar=True)(pairs)]


def test_calls_in_threads_of_its_own_are_told_once_each(told):
    seen = told(in_its_threads, ANSWER, ANSWER, ANSWER)
    assert seen.result == seen.plain == ["Zurich"] * 3
    assert_each_once_alone(seen)


def with_a_tool(base_url):
    import dspy

    def weather(city: str) -> str:
        """Tell the weather."""
        return f"Rain in {city}"

    with dspy.context(lm=lm(base_url)):
        return dspy.ReAct("question -> answer", tools=[weather])(question="How is the weather?").answer


def steps(*said):
    """Return answers with the fields that are asked for, one after another."""
    made = ["".join(f"[[ ## {name} ## ]]\n{text}\n\n" for name, text in fields.items()) for fields in said]
    return [completion(message(f"{text}[[ ## completed ## ]]"), usage=usage_of(11, 7)) for text in made]


def test_each_step_of_an_agent_is_told(told):
    seen = told(
        with_a_tool,
        *steps(
            {"next_thought": "Ask.", "next_tool_name": "weather", "next_tool_args": '{"city": "Zurich"}'},
            {"next_thought": "Known.", "next_tool_name": "finish", "next_tool_args": "{}"},
            {"reasoning": "It rains.", "answer": "Rain in Zurich"},
        ),
    )
    assert seen.result == "Rain in Zurich"
    assert len(seen.requests) == 3
    assert_invisible(seen)
    assert_each_once(seen)


def failing(base_url):
    try:
        return lm(base_url)("trigger error")
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result or "BadRequest" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


def test_trace_fields_go_in_as_extra_body(told):
    assert_fields_arrive(told(lambda base_url: plain(base_url, extra_body=FIELDS), ANSWER))


def test_the_example_runs(run_example):
    run_example("dspy", ANSWER)
