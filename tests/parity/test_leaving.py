"""A stream may be left in many ways: each looks to the host as it does without us, and ends one record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity.observation import observe
from tests.support.host_usage import call, each, entered, settled
from tests.support.scenarios import CHAT

END = object()


async def step(iterator: Any) -> Any:
    """Return the next chunk, END after the last."""
    try:
        return await iterator.__anext__() if hasattr(iterator, "__anext__") else next(iterator)
    except (StopIteration, StopAsyncIteration) as end:
        return END, end.args, [frame for frame in _names(end) if frame != "step"]


def _names(error: BaseException) -> list[str]:
    names, trace = [], error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_qualname)
        trace = trace.tb_next
    return names


async def closed(stream: Any) -> None:
    await settled(stream.close())


async def break_inside_with(stream, note):
    async with entered(stream) as inside:
        note(inside is stream)
        note(await step(stream))
    note(stream.response.is_closed)


async def close_after_the_first_chunk(stream, note):
    note(await step(stream))
    note(await closed(stream))
    note(stream.response.is_closed)


async def close_twice(stream, note):
    await closed(stream)
    await closed(stream)
    note(stream.response.is_closed)


async def close_the_response(stream, note):
    note(await step(stream))
    response = stream.response
    note(await settled(response.aclose() if hasattr(stream, "__anext__") else response.close()))
    note(response.is_closed, sorted(vars(response)))


async def close_the_response_the_wrong_way(stream, note):
    """A sync close of an async response is refused, and the stream goes on."""
    note(await step(stream))
    try:
        await settled(stream.response.close() if hasattr(stream, "__anext__") else stream.response.aclose())
    except RuntimeError as error:
        note(str(error))
    async for chunk in each(stream):
        note(chunk)


async def one_by_one_to_the_end_and_beyond(stream, note):
    for _ in range(12):
        note(await step(stream))


async def go_on_after_closing(stream, note):
    """From memory: over a socket it depends on the moment how much has been read ahead."""
    note(await step(stream))
    await closed(stream)
    note(await step(stream))
    note(await step(stream))


async def in_two_loops(stream, note):
    note(await step(stream))
    async for chunk in each(stream):
        note(chunk)
        if chunk.choices and chunk.choices[0].delta.content == " all":
            break
    async for chunk in each(stream):
        note(chunk)


async def an_error_in_the_body(stream, note):
    async with entered(stream):
        note(await step(stream))
        raise KeyError("the host's own")


async def an_error_in_the_body_without_with(stream, note):
    async for chunk in each(stream):
        note(chunk)
        raise KeyError("the host's own")


async def an_interrupt_in_the_body(stream, note):
    async with entered(stream):
        note(await step(stream))
        raise KeyboardInterrupt


async def never_looked_at(stream, note):
    note(stream.response.is_closed)


async def in_a_cycle(stream, note):
    note(await step(stream))
    stream.me = stream


async def a_generator_closed_in_the_middle(stream, note):
    generator = passing(stream, note)
    note(await generator.__anext__())
    note(await generator.aclose())


async def a_generator_thrown_into(stream, note):
    generator = passing(stream, note)
    note(await generator.__anext__())
    try:
        await generator.athrow(ValueError("thrown"))
    except ValueError as error:
        note(error.args, _names(error))


async def passing(stream, note):
    """A host's own generator, as behind a `StreamingResponse`."""
    try:
        async for chunk in each(stream):
            yield chunk
    except GeneratorExit:
        note("exit")
        raise
    finally:
        note("finally")
        await closed(stream)


WAYS = [
    break_inside_with,
    close_after_the_first_chunk,
    close_twice,
    close_the_response,
    close_the_response_the_wrong_way,
    one_by_one_to_the_end_and_beyond,
    go_on_after_closing,
    in_two_loops,
    an_error_in_the_body,
    an_error_in_the_body_without_with,
    an_interrupt_in_the_body,
    never_looked_at,
    in_a_cycle,
    a_generator_closed_in_the_middle,
    a_generator_thrown_into,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("form", ["stream", "raw_stream", "streaming_stream"])
def test_a_stream_is_left_as_it_is_left_without_us(kind, form, way, stand_in, same):
    """P13, P14: exactly one ended span for each way out."""

    async def host(client, note):
        if form == "stream":
            await way(await call(client, CHAT[form]), note)
        elif form == "raw_stream":
            raw = await call(client, CHAT[form], via="with_raw_response")
            await way(await settled(raw.parse()), note)
        else:
            async with entered(await call(client, CHAT[form], via="with_streaming_response")) as response:
                await way(await settled(response.parse()), note)

    answer = CHAT[form].answer
    memory = answer if way is go_on_after_closing else None
    (span,) = same(lambda: observe(stand_in, kind, host, (answer,), memory=memory))
    assert span.attributes["gen_ai.request.model"] == "gpt-4o-mini"


async def read_lines(response, note):
    lines = response.iter_lines()
    async for line in each(lines):
        note(line)


async def read_bytes(response, note):
    note(await settled(response.read()))
    note(await settled(response.read()))


async def read_text(response, note):
    note(await settled(response.text()))


async def read_nothing(response, note):
    note(response.is_closed)


async def close_it(response, note):
    note(await settled(response.close()))


async def parse_as_text(response, note):
    note(await settled(response.parse(to=str)))


async def parse_as_what_it_is_not(response, note):
    note(await settled(response.parse(to=int)))


READINGS = [read_lines, read_bytes, read_text, read_nothing, close_it, parse_as_text, parse_as_what_it_is_not]


@pytest.mark.parametrize("way", READINGS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("form", ["streaming", "streaming_stream"])
def test_a_streaming_response_is_read_as_it_is_without_us(kind, form, way, stand_in, same):
    async def host(client, note):
        async with entered(await call(client, CHAT[form], via="with_streaming_response")) as response:
            await way(response, note)
            note(sorted(vars(response)), sorted(vars(response.http_response)))

    same(lambda: observe(stand_in, kind, host, (CHAT[form].answer,)))


@pytest.mark.parametrize("form", ["raw", "raw_stream"])
def test_a_raw_response_is_dropped_unparsed_as_it_is_without_us(kind, form, stand_in, same):
    async def host(client, note):
        raw = await call(client, CHAT[form], via="with_raw_response")
        note(type(raw))

    assert len(same(lambda: observe(stand_in, kind, host, (CHAT[form].answer,)))) == 1


def test_a_raw_stream_whose_bytes_the_host_reads_itself_has_not_failed(kind, stand_in, same):
    async def host(client, note):
        raw = await call(client, CHAT["raw_stream"], via="with_raw_response")
        lines = raw.http_response.aiter_lines() if kind == "async" else raw.http_response.iter_lines()
        async for line in each(lines):
            note(line)

    (span,) = same(lambda: observe(stand_in, kind, host, (CHAT["raw_stream"].answer,)))
    assert span.status_code == 0
