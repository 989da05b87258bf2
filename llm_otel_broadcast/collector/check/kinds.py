"""The kinds of components that the contrib distribution has and that a pipeline of traces may want."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN: Final[dict[str, frozenset[str]]] = {
    "receivers": _names(
        "otlp kafka jaeger zipkin datadog skywalking awsxray sapm solace pulsar nop host_metrics hostmetrics prometheus "
        "filelog file_log journald syslog statsd googlecloudpubsub azureeventhub webhookevent faro otlpjsonfile "
        "otlp_json_file k8s_cluster k8sobjects k8s_events kubeletstats docker_stats redis httpcheck rabbitmq"
    ),
    "processors": _names(
        "memory_limiter batch queue_batch tail_sampling probabilistic_sampler filter transform attributes resource "
        "resourcedetection resource_detection k8sattributes k8s_attributes groupbytrace group_by_trace groupbyattrs "
        "group_by_attrs redaction span span_pruning remotetap intervalprocessor interval cumulativetodelta deltatorate "
        "metricstransform logdedup geoip schema sumologic coralogix dns_lookup isolationforest"
    ),
    "exporters": _names(
        "otlp_grpc otlp_http otlp otlphttp debug nop kafka loadbalancing load_balancing file zipkin datadog honeycombmarker "
        "prometheus prometheusremotewrite elasticsearch opensearch clickhouse awsxray awss3 aws_s3 azuremonitor azureblob "
        "googlecloud google_cloud googlecloudpubsub googlecloudstorage otelarrow pulsar rabbitmq sapm sentry splunk_hec "
        "coralogix logzio sumologic tencentcloud_logservice bmchelix dataset cassandra doris faro stef signalfx "
        "tinybird mezmo syslog"
    ),
    "connectors": _names(
        "forward routing count sum spanmetrics span_metrics servicegraph service_graph failover roundrobin round_robin "
        "exceptions grafanacloud datadog otlpjson signaltometrics signal_to_metrics slowsql spanpruning"
    ),
    "extensions": _names(
        "health_check healthcheckv2 pprof zpages file_storage redis_storage db_storage bearertokenauth basicauth oidc "
        "oauth2client asapclient sigv4auth headers_setter azureauth googleclientauth ack opamp memory_limiter "
        "host_observer docker_observer k8s_observer ecs_observer encoding otlp_encoding jaeger_encoding remotetap "
        "jaegerremotesampling jaeger_remote_sampling cgroupruntime sumologic datadog k8s_leader_elector"
    ),
}
RENAMED: Final = {"otlp": "otlp_grpc", "otlphttp": "otlp_http"}
"""Exporters that have another name since 0.144."""
GONE: Final = {
    "exporters": {"logging": "debug", "jaeger": "otlp_grpc", "jaeger_thrift": "otlp_grpc"},
    "extensions": {"memory_ballast": "memory_limiter with GOMEMLIMIT"},
    "processors": {"spanmetrics": "the spanmetrics connector", "service_graph": "the servicegraph connector"},
    "receivers": {"opencensus": "otlp"},
    "connectors": {},
}
POLICIES: Final = _names(
    "always_sample latency numeric_attribute probabilistic status_code string_attribute trace_state trace_flags rate_limiting "
    "bytes_limiting span_count boolean_attribute ottl_condition and drop not composite"
)
"""Of `tail_sampling`."""


def kind_of(name: str) -> str:
    """Return `otlp` for `otlp/second`."""
    return name.partition("/")[0]


def suggestion(section: str, kind: str) -> str | None:
    """Return the known kind that this one is a misspelling of."""
    plain = {known.replace("_", ""): known for known in KNOWN[section]}
    if kind.replace("_", "") in plain:
        return None  # a name of another version
    found = get_close_matches(kind, KNOWN[section], n=1, cutoff=0.75)
    return found[0] if found else None
