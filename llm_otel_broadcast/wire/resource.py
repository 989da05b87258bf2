"""The resource that spans are sent with: the app provider's, else OpenTelemetry's default one."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from opentelemetry.sdk.resources import Resource

from llm_otel_broadcast.record.span_data import Attributes
from llm_otel_broadcast.wire.detectors import default_resource
from llm_otel_broadcast.wire.service_name import named_after_program


class ResourceSource:
    """Finds the resource anew for each batch, because the app may set its provider late; cached by provider.

    Args:
        service_name: wins over whatever else names the service.
        provider: returns the app's tracer provider, or None.
        attributes: those of the destination, which win over all others.
    """

    def __init__(
        self, service_name: str | None, provider: Callable[[], object], attributes: Attributes = MappingProxyType({})
    ) -> None:
        service = {} if service_name is None else {"service.name": service_name}
        self._own = {**service, **attributes}
        self._provider = provider
        # No provider is this object, so the first batch asks.
        self._last_provider: object = self
        self._resource = Resource(self._own)

    def resource(self) -> Resource:
        """Return the resource that spans are sent with now."""
        provider = self._provider()
        if provider is not self._last_provider:
            # A provider of the API alone, or of another library, has none that we could use.
            base = getattr(provider, "resource", None)
            if not isinstance(base, Resource):
                base = named_after_program(default_resource())
            self._resource = base.merge(Resource(self._own))
            self._last_provider = provider
        return self._resource


def plain_attributes(resource: Resource) -> Attributes:
    """Return a resource's attributes; of values that newer SDKs allow and spans do not have (bytes, mappings), the text."""
    return {
        key: value if isinstance(value, str | bool | int | float | list | tuple) else str(value)
        for key, value in resource.attributes.items()
        if value is not None
    }
