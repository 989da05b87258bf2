"""What a refusal means and what can be done about it, by HTTP status: one table for the log and for Test Connection. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

from llm_otel_broadcast.settings.endpoints import TRACES_PATH

SUCCESS: Final = range(200, 300)
REDIRECT: Final = range(300, 400)
WEB_PAGE: Final = f"a web page, not an OTLP path: it usually ends in {TRACES_PATH}"
POINTS_ELSEWHERE: Final = "it points elsewhere, where nothing is sent to by itself"


class Advice(NamedTuple):
    """The words for one status.

    Attributes:
        batch: in the log, about a batch that is lost; None: what the server says is enough.
        probe: in a connection test, about a single small span that was sent to find out; None: as for a batch.
    """

    batch: str | None
    probe: str | None = None


_BY_STATUS: Final = {
    400: Advice("it understood the address but refused the content: a header or the encoding"),
    401: Advice("check the API key in headers=", "the API key is wrong"),
    403: Advice("check the API key in headers=", "the API key is wrong, or may not write here"),
    404: Advice(
        f"check the path of the endpoint: it usually ends in {TRACES_PATH}",
        f"nothing is at this path: it usually ends in {TRACES_PATH}",
    ),
    405: Advice(f"this is {WEB_PAGE}"),
    407: Advice("the proxy wants a name and password: http://name:password@host in its variable"),
    413: Advice("the request is too large for it", "it takes no request of this size, though it is a single span"),
    422: Advice("a header is missing or wrong"),
    # A batch is sent again after these, and the log says when; a probe is not.
    429: Advice(
        "it takes no more at the moment: sampling_rate= sends less", "too many requests at the moment: try again later"
    ),
    500: Advice(None, "an error inside it"),
    502: Advice(None, "the server behind it does not work at the moment"),
    503: Advice(None, "it does not work at the moment, or a header is missing"),
    504: Advice(None, "the server behind it does not answer at the moment"),
}
_NONE: Final = Advice(None)


def batch_advice(status: int, content_type: str, *, is_page: bool) -> str | None:
    """Return what to do about a batch that was answered so, None where nothing is to be said.

    Args:
        status: of HTTP.
        content_type: of the request.
        is_page: the answer is a web page.
    """
    if status in SUCCESS:
        return WEB_PAGE if is_page else f"no answer of OTLP, not an OTLP path: it usually ends in {TRACES_PATH}"
    if status in REDIRECT:
        return POINTS_ELSEWHERE
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        other = "json" if "protobuf" in content_type else "protobuf"
        return f'it does not take {content_type}: try encoding="{other}"'
    return _BY_STATUS.get(status, _NONE).batch


def probe_advice(status: int) -> str:
    """Return what a status says about a probe; empty where it says nothing."""
    advice = _BY_STATUS.get(status, _NONE)
    return advice.probe or advice.batch or ""
