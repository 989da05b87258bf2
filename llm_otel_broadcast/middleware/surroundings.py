"""What is around a new web request: the scope and the context of OpenTelemetry's that it begins in.

asyncio lets a connection's next request begin in the context of the one before (python/cpython#140947), which may be at work
still, after its answer. What that one left behind is passed over.
"""

from __future__ import annotations

from typing import Final, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llm_otel_broadcast.tracing.attachment import has_span_of
from llm_otel_broadcast.tracing.scope import Scope, innermost_scope

REQUEST: Final = otel_context.create_key("llm_otel_broadcast_request")
"""Where OpenTelemetry's context has the scope of the web request that it belongs to."""


def surroundings(request: object) -> tuple[Scope | None, Context]:
    """Return the scope around a new web request, and OpenTelemetry's context.

    Args:
        request: what tells it from others; None: others that are not over are around it.
    """
    outer, context = innermost_scope(), otel_context.get_current()
    scope = outer
    while scope is not None:
        if scope.is_over or _is_of_another(scope, request):
            outer = scope.outer
            if scope.outside is not None and (
                context is scope.attached_context or has_span_of(context, scope.attached_context)
            ):
                context = scope.outside
        scope = scope.outer
    earlier = _request_of(context)
    while earlier is not None and earlier.outside is not None and (earlier.is_over or _is_of_another(earlier, request)):
        context = earlier.outside
        earlier = _request_of(context)
    return outer, context


def _request_of(context: Context) -> Scope | None:
    return cast("Scope | None", context.get(REQUEST))


def _is_of_another(scope: Scope, request: object) -> bool:
    return request is not None and scope.request is not None and scope.request is not request
