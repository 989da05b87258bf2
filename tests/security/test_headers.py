"""A value with a line break would add headers of its own to a request: it is refused wherever headers come from."""

from __future__ import annotations

import pytest

from llm_otel_broadcast import ConfigError, Destination, instrument
from llm_otel_broadcast.settings.file import read_file
from llm_otel_broadcast.settings.headers import read_entries, read_pairs

BREAKS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1b", "\x7f", "\x85"]
INJECTED = "X-Admin: yes"


def ids(text):
    return ascii(text)


@pytest.mark.parametrize("name", [False, True], ids=["in a value", "in a name"])
@pytest.mark.parametrize("line_break", BREAKS, ids=ids)
def test_a_destination_is_refused(line_break, name):
    text = f"secret{line_break}{INJECTED}"
    headers = {text: "value"} if name else {"Authorization": text}
    with pytest.raises(ConfigError) as refusal:
        Destination(endpoint="https://backend.example", headers=headers)
    assert "X-Admin" not in str(refusal.value)


@pytest.mark.parametrize("line_break", BREAKS, ids=ids)
def test_a_preset_is_refused(line_break):
    with pytest.raises(ConfigError):
        Destination.preset("axiom", token=f"secret{line_break}{INJECTED}", dataset="d")


@pytest.mark.parametrize("line_break", BREAKS, ids=ids)
def test_a_header_of_opentelemetrys_variables_is_left_out(line_break):
    encoded = "".join(f"%{octet:02x}" for octet in line_break.encode())
    headers, faults = read_entries(f"Authorization=secret{encoded}X-Admin: yes,a=b")
    assert headers == {"a": "b"}
    assert len(faults) == 1
    assert "secret" not in faults[0]


# No environment has a variable with a zero in it.
@pytest.mark.parametrize("line_break", sorted({*BREAKS} - {"\0"}), ids=ids)
def test_what_a_variable_puts_into_a_settings_file_is_refused(tmp_path, line_break):
    path = tmp_path / "settings.toml"
    path.write_text('[[destinations]]\nname = "x"\nendpoint = "https://b.example"\nheaders = { A = "Bearer ${T}" }\n')
    with pytest.raises(ConfigError):
        read_file(path, {"T": f"secret{line_break}{INJECTED}"})


@pytest.mark.parametrize("line_break", ["\r\n", "\n"], ids=ids)
def test_a_pair_of_the_command_line_is_refused(line_break):
    with pytest.raises(ConfigError):
        Destination(endpoint="https://backend.example", headers=read_pairs([f"A=b{line_break}{INJECTED}"]))


def test_a_tab_is_no_line_break():
    assert Destination(endpoint="https://backend.example", headers={"A": "b\tc"}).headers["A"] == "b\tc"


@pytest.mark.parametrize("part", ["/v1\r\nX-Admin: yes", "?a=b\r\nX-Admin: yes", "/v1%0d%0aX-Admin:%20yes", "/é \x85x"])
def test_nothing_in_an_endpoint_becomes_a_header(receiver, client, part):
    try:
        handle = instrument(endpoint=receiver.endpoint + part)
    except ConfigError:
        return
    with handle:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        handle.flush(5)
    assert receiver.requests
    assert all("x-admin" not in request.headers for request in receiver.requests)


def test_nothing_that_a_prompt_or_its_fields_say_becomes_a_header(receiver, client):
    texts = {"model": "m", "messages": [{"role": "user", "content": f"Hi\r\n{INJECTED}"}], "user": f"u\r\n{INJECTED}"}
    with instrument(endpoint=receiver.endpoint, service_name=f"s\r\n{INJECTED}") as handle:
        client.chat.completions.create(**texts, extra_body={"session_id": f"s\r\n{INJECTED}"})
        handle.flush(5)
    (request,) = receiver.requests
    assert "x-admin" not in request.headers
    assert b"X-Admin" in request.body
