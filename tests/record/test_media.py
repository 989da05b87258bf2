"""Media are described by kind, type and size, from the text that carries them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.record import media


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_the_size_of_base64_is_that_of_its_bytes(data):
    text = base64.b64encode(data).decode()
    assert media.base64_size(text) == len(data)
    assert media.data_url(f"data:image/png;base64,{text}")["bytes"] == len(data)


@settings(deadline=None)
@given(st.text())
def test_any_text_that_is_no_data_url_is_none_of_them(text):
    if text[:5].lower() != "data:":
        assert media.data_url(text) is None
    else:
        assert media.data_url(text)["stripped"] is True


@pytest.mark.parametrize(
    ("url", "mime_type", "modality", "size"),
    [
        ("data:image/png;base64,AAAA", "image/png", "image", 3),
        ("DATA:audio/wav;BASE64,AAA=", "audio/wav", "audio", 2),
        ("data:text/plain;charset=utf-8;base64,AA==", "text/plain", "document", 1),
        ("data:,hello", "text/plain", "document", 5),
        ("data:application/pdf,abc", "application/pdf", "document", 3),
    ],
)
def test_a_data_url_tells_its_type(url, mime_type, modality, size):
    expected = {"type": "blob", "modality": modality, "mime_type": mime_type, "stripped": True, "bytes": size}
    assert media.data_url(url) == expected


def test_of_a_data_url_without_data_no_size_is_made_up():
    assert "bytes" not in media.data_url("data:image/png;base64")


@pytest.mark.parametrize(
    ("start", "mime_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF....WEBP", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"who knows", None),
    ],
)
def test_an_image_tells_its_type_by_its_first_bytes(start, mime_type):
    assert media.image(base64.b64encode(start + bytes(30)).decode()).get("mime_type") == mime_type
