"""What a backend shows of a generation, read from the fields that its own pages are made of, not from the attributes it was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from math import isclose
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.backends.generations import Facts
from tests.backends.http_requests import ask
from tests.backends.stored_spans import plain, read_mlflow
from tests.support.deadlines import eventually

_STORED_TIMEOUT_S = 60.0
_PHOENIX_QUERY = """
query ($project: ID!, $trace: ID!) { node(id: $project) { ... on Project { trace(traceId: $trace) {
  session { sessionId }
  rootSpan { statusCode input { value } output { value } }
  spans(first: 100) { edges { node {
    spanKind userId attributes tokenCountPrompt tokenCountCompletion
    tokenPromptDetails { cacheRead cacheWrite } costSummary { total { cost } }
  } } }
} } } }
"""


@dataclass(frozen=True, slots=True)
class View:
    """What a backend shows.

    Attributes:
        facts: of the generation.
        overview: texts in the row of its trace, in the list of traces.
        document: everything that the backend told, as text.
    """

    facts: Facts
    overview: tuple[str, ...]
    document: str


Reader = Callable[[str, str, str], View]
"""Given the backend's address, a trace id and a session."""


def view_agentmesh(address: str, trace_id: str, session: str) -> View:
    spans = eventually(lambda: ask(f"{address}/api/traces/{trace_id}/spans"), _STORED_TIMEOUT_S, "agentmesh to store")
    (root,) = (span for span in spans if span["parent_span_id"] is None)
    generation = next(span for span in spans if span["model"])
    listed = ask(f"{address}/api/sessions/{quote(session)}")
    (trace,) = (trace for trace in listed["traces"] if trace["trace_id"] == trace_id)
    facts = Facts(
        model=generation["model"],
        provider=generation["provider"],
        tokens=_pair(generation["prompt_tokens"], generation["completion_tokens"]),
        cached_tokens=_pair(generation["cached_tokens"], generation["cache_write_tokens"]),
        cost=generation["estimated_cost"] or None,
        messages=_texts(generation["input"], generation["output"]),
        tools=frozenset(_names(generation["output"])),
        session=listed["session_id"],
        user=listed["user_id"],
        error=trace["status"] == "failed",
    )
    return View(facts, _texts(root["input"], root["output"]), json.dumps([spans, listed], ensure_ascii=False))


def view_mlflow(address: str, trace_id: str, _session: str) -> View:
    trace = ask(f"{address}/api/3.0/mlflow/traces/get?trace_id=tr-{trace_id}")["trace"]
    info, metadata = trace["trace_info"], plain(trace["trace_info"]["trace_metadata"])
    usage = metadata.get("mlflow.trace.tokenUsage", {})
    generation = next(
        span.attributes for span in read_mlflow(address, trace_id) if "mlflow.llm.model" in span.attributes
    )
    facts = Facts(
        model=generation["mlflow.llm.model"],
        provider=generation.get("mlflow.llm.provider"),
        tokens=_pair(usage.get("input_tokens"), usage.get("output_tokens")),
        cached_tokens=_pair(usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")),
        cost=metadata.get("mlflow.trace.cost", {}).get("total_cost") or None,
        messages=_texts(generation.get("mlflow.spanInputs"), generation.get("mlflow.spanOutputs")),
        tools=frozenset(_names([generation.get("mlflow.chat.tools"), generation.get("mlflow.spanOutputs")])),
        session=metadata.get("mlflow.trace.session"),
        user=metadata.get("mlflow.trace.user"),
        error=info["state"] == "ERROR",
    )
    overview = _texts(info.get("request_preview"), info.get("response_preview"))
    return View(facts, overview, json.dumps(trace, ensure_ascii=False))


def view_phoenix(address: str, trace_id: str, _session: str) -> View:
    trace = eventually(lambda: _phoenix_trace(address, trace_id), _STORED_TIMEOUT_S, "Phoenix to store")
    spans = [edge["node"] for edge in trace["spans"]["edges"]]
    root = trace["rootSpan"]
    generation = next(span for span in spans if span["spanKind"] in ("llm", "embedding"))
    attributes = json.loads(generation["attributes"])
    model, embedding = attributes.get("llm", {}), attributes.get("embedding", {})
    cached = generation["tokenPromptDetails"]
    contents = [model.get("input_messages"), embedding.get("embeddings"), model.get("output_messages")]
    facts = Facts(
        model=model.get("model_name") or embedding.get("model_name"),
        provider=model.get("provider") or model.get("system"),
        tokens=_pair(generation["tokenCountPrompt"], generation["tokenCountCompletion"]),
        cached_tokens=_pair(cached["cacheRead"], cached["cacheWrite"]),
        cost=((generation["costSummary"] or {}).get("total") or {}).get("cost"),
        messages=_texts(*contents),
        tools=frozenset(_names([plain_tree(model.get("tools")), model.get("output_messages")])),
        session=(trace["session"] or {}).get("sessionId"),
        user=generation["userId"],
        error=root["statusCode"] == "ERROR",
    )
    overview = _texts(*((side or {}).get("value") for side in (root["input"], root["output"])))
    return View(facts, overview, json.dumps(trace, ensure_ascii=False))


def view_weave(address: str, trace_id: str, _session: str) -> View:
    calls = eventually(lambda: ask(f"{address}/?trace_id={trace_id}"), _STORED_TIMEOUT_S, "Weave's reader to store")
    (root,) = (call for call in calls if not call["parent_id"])
    generation = next(call for call in calls if call["attributes"].get("kind") in ("LLM", "EMBEDDING"))
    attributes, (usage,) = generation["attributes"], generation["summary"]["usage"].values()
    contents = plain_tree([generation["inputs"], generation["output"]])
    facts = Facts(
        model=attributes.get("model"),
        provider=attributes.get("provider"),
        tokens=_pair(
            usage["input_tokens"] or usage["prompt_tokens"], usage["output_tokens"] or usage["completion_tokens"]
        ),
        cached_tokens=_pair(usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]),
        messages=_texts(contents),
        tools=frozenset(_names(contents)),
        session=generation["thread_id"],
        user=generation["wb_user_id"],
        error=root["summary"]["weave"]["status"] == "error",
    )
    return View(facts, _texts(root["inputs"], root["output"]), json.dumps(calls, ensure_ascii=False))


def _phoenix_trace(address: str, trace_id: str) -> dict[str, Any] | None:
    """Return a trace of any project, as the page of a trace asks for it; None: not stored yet."""
    for edge in _graphql(address, "{ projects { edges { node { id } } } }", {})["projects"]["edges"]:
        variables = {"project": edge["node"]["id"], "trace": trace_id}
        trace: dict[str, Any] | None = _graphql(address, _PHOENIX_QUERY, variables)["node"]["trace"]
        if trace is not None:
            return trace
    return None


def _graphql(address: str, query: str, variables: dict[str, str]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        answer = json.load(response)
    if answer.get("errors"):
        raise RuntimeError(answer["errors"])
    data: dict[str, Any] = answer["data"]
    return data


def unseen(expected: Facts, view: View) -> set[str]:
    """Return the facts that a backend does not show as they are, `overview` among them."""
    found, shown = view.facts, "\n".join(view.facts.messages)
    equal = {item.name: getattr(expected, item.name) == getattr(found, item.name) for item in fields(Facts)}
    equal["provider"] = found.provider in expected.provider.split("/")
    equal["cost"] = expected.cost == found.cost or (
        None not in (expected.cost, found.cost) and isclose(expected.cost, found.cost, rel_tol=1e-6)
    )
    equal["messages"] = all(text in shown for text in expected.messages) and bool(shown) == bool(expected.messages)
    equal["tools"] = expected.tools <= found.tools
    row = "\n".join(view.overview)
    equal["overview"] = all(text in row for text in expected.overview) and bool(row) == bool(expected.overview)
    return {name for name, is_seen in equal.items() if not is_seen}


def plain_tree(value: Any) -> Any:
    """Return a value with every JSON text in it parsed; a text that only begins like one stays."""
    if isinstance(value, dict):
        return {key: plain_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_tree(item) for item in value]
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith(("[", "{")) else value
    except ValueError:
        return value


def _pair(first: int | None, second: int | None) -> tuple[int, int] | None:
    """Return two counts; None where both are none: some backends show 0 of what nobody stated."""
    return (first or 0, second or 0) if first or second else None


def _texts(*values: Any) -> tuple[str, ...]:
    return tuple(text for value in values for text in _leaves(value))


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts of messages in whatever shape, without their roles and kinds."""
    if isinstance(value, str):
        yield value
    for item in _items(value):
        yield from _leaves(item)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [item for key, item in value.items() if key not in ("role", "type", "finish_reason")]
    return value if isinstance(value, list) else ()


def _names(value: Any) -> Iterator[str]:
    """Yield the names of tools, wherever in a definition or a call they stand."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value["name"]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(item)
