"""Plans as people may make them, for hypothesis."""

from __future__ import annotations

from hypothesis import reject
from hypothesis import strategies as st

from llm_otel_broadcast.collector.plan import ROLES, Plan, PlanError
from llm_otel_broadcast.collector.rendering import render

PLACEHOLDER = "${env:NAME}"
HOSTS = st.sampled_from(["gateway", "a.b-c.example", "10.0.0.7", "[::1]", PLACEHOLDER])
PORTS = st.integers(1, 65_535).map(str) | st.just(PLACEHOLDER)
PLACES = st.builds("{}:{}".format, HOSTS, PORTS)
URLS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    HOSTS | PLACES,
    st.sampled_from(["", "/", "/v1/traces", "/otlp/v1/traces"]),
)
VARIABLES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,12}", fullmatch=True)
HEADERS = st.dictionaries(
    st.sampled_from(["Authorization", "X-Axiom-Dataset", "api-key", "x~!#*'"]), VARIABLES, max_size=3
)
PATHS = st.sampled_from(["/var/lib/otelcol", "C:\\otel col", "/straße/“x”", 'a"b', "/a#b: c", PLACEHOLDER])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    role = draw(st.sampled_from(ROLES))
    optional = st.none() | PATHS
    certified = draw(st.booleans())
    named = draw(st.booleans())
    plan = Plan(
        role=role,
        to=draw(URLS),
        headers=draw(HEADERS),
        compression=draw(st.sampled_from(["gzip", "zstd", "none"])),
        rate=draw(st.floats(0.001, 5_000)),
        size=draw(st.integers(100, 500_000)),
        outage=draw(st.integers(1, 7 * 86_400)),
        keep=draw(st.floats(0.01, 100) | st.just(100.0)),
        longest=draw(st.integers(1, 3_600)),
        hosts=() if named else tuple(draw(st.lists(HOSTS | PLACES, min_size=1, max_size=4, unique=True))),
        dns=draw(HOSTS.filter(lambda host: "[" not in host)) if named else None,
        brokers=tuple(draw(st.lists(PLACES, min_size=1, max_size=3, unique=True))),
        topic=draw(st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True)),
        listen=draw(st.sampled_from([None, "127.0.0.1", "0.0.0.0", "[::]", PLACEHOLDER])) if role != "agent" else None,
        token_env=draw(st.none() | VARIABLES),
        tls_cert=draw(PATHS) if certified else None,
        tls_key=draw(PATHS) if certified else None,
        ca=draw(optional),
        storage=draw(PATHS),
    )
    try:
        render(plan, "command")
    except PlanError:
        reject()  # too much for one collector
    return plan
