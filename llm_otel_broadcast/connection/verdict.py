"""What an answer to the probe means, in words. Pure."""

from __future__ import annotations

from http import HTTPStatus
from http.client import responses
from typing import Final
from urllib.parse import urljoin, urlsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import TRACES_PATH, redact_url
from llm_otel_broadcast.settings.presets import PRESETS
from llm_otel_broadcast.wire.advice import SUCCESS, WEB_PAGE, probe_advice
from llm_otel_broadcast.wire.exchange import Answer

_NAMES: Final = {"json": "JSON", "protobuf": "protobuf"}
_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_UNSUPPORTED: Final = 415
_HEADER_WANTED: Final = frozenset({400, 422})
_JSON_REFUSED: Final = " (JSON was refused)"


def is_taken(answer: Answer) -> bool:
    """Return whether the span has arrived: a 2xx that rejects it is a refusal."""
    return answer.kind == "ok" and not answer.rejected


def describe_acceptance(destination: Destination, answer: Answer, encoding: str) -> str:
    """Say how the span was taken; a warning of the server's included."""
    switched = _JSON_REFUSED if destination.encoding == "auto" and encoding == "protobuf" else ""
    packed = ", gzip" if destination.compression == "gzip" else ""
    warning = f'; it warns: "{answer.message}"' if answer.message else ""
    return f"{answer.status}, taken as {_NAMES[encoding]}{packed}{switched}{warning}"


def describe_refusal(destination: Destination, answer: Answer, encoding: str) -> str:
    """Say why the span was not taken, and what can be done."""
    if answer.kind == "ok":
        return f"{answer.status}, but the span was rejected{_quoted(answer.message)}"
    if answer.status is None:
        return answer.excerpt
    name = responses.get(answer.status, "")
    status = f"{answer.status} {name}".rstrip()
    if answer.location:
        target = redact_url(urljoin(destination.endpoint or "", answer.location))
        return f"{status}: it points to {target}, where nothing is sent to by itself"
    advice = _advice(destination, answer, encoding)
    wait = f", in {answer.retry_after:g} s as it says" if answer.retry_after else ""
    return status + (f": {advice}{wait}" if advice else "") + _quoted(answer.excerpt)


def summarize_refusal(answer: Answer) -> str:
    """Say in a few words why a span was not taken."""
    if answer.status is None:
        return answer.excerpt or answer.message
    return (
        "the span was rejected"
        if answer.kind == "ok"
        else f"{answer.status} {responses.get(answer.status, '')}".rstrip()
    )


def _advice(destination: Destination, answer: Answer, encoding: str) -> str:
    status = answer.status or 0
    # A page that asks for a login is about the key, not about the path.
    if answer.is_page and status not in _UNAUTHORIZED:
        return WEB_PAGE
    if status in SUCCESS:
        return f"no answer of OTLP: it usually comes from a path that ends in {TRACES_PATH}"
    if status in _UNAUTHORIZED:
        return _of_key(destination, status)
    if status == _UNSUPPORTED:
        packed = " with gzip" if destination.compression == "gzip" else ""
        return f"it does not take {_NAMES[encoding]}{packed}"
    # Some backends answer 404 to a project, dataset or index that a header names and that does not exist.
    if status == _NOT_FOUND and urlsplit(destination.endpoint or "").path.endswith(TRACES_PATH):
        header_names = (
            f", and does what the headers name exist ({', '.join(destination.headers)})" if destination.headers else ""
        )
        return f"the path is the usual one: does it take OTLP/HTTP there{header_names}?"
    if status in _HEADER_WANTED:
        present = {"authorization", *(name.lower() for name in destination.headers)}
        # A preset may set a header of which the server speaks, as MLflow does of `x-mlflow-experiment-id`.
        offers = (
            f': the preset "{preset.name}" sets {header}'
            for preset in PRESETS.values()
            for header in preset.headers
            # `project` and `api_key` are headers of single backends, and words that any server may say.
            if "-" in header and header.lower() not in present and header.lower() in answer.excerpt.lower()
        )
        return probe_advice(status) + next(offers, "")
    return probe_advice(status)


def _of_key(destination: Destination, status: int) -> str:
    """Say what may be wrong with the key, as far as its form tells."""
    if not destination.headers:
        return "it wants an API key, and no header was given"
    names = ", ".join(destination.headers)
    value = next((value for name, value in destination.headers.items() if name.lower() == "authorization"), None)
    # The value of Authorization is a scheme, a blank and what proves who asks (RFC 9110, section 11.4).
    if value is not None and " " not in value.strip():
        return 'Authorization has a key alone: most servers want "Bearer " in front of it'
    advice = probe_advice(status)
    return f"{advice} ({names})" if status == HTTPStatus.FORBIDDEN else f"{advice}: check {names}"


def _quoted(excerpt: str) -> str:
    return f'; it says: "{excerpt}"' if excerpt else ""
