"""What a sampler keeps: every trace with an error, and whole sessions, by a rule that is the same on every instance."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.sizing import Load

_ALL_PERCENT: Final = 100
_ALL_POLICY: Final = "  - name: all\n    type: always_sample"
# A hash rather than the sampler's own dice: every trace of a session, on every sampler and after a restart, decides alike.
_SESSION_POLICIES: Final = """\
  - name: errors
    type: status_code
    status_code:
      status_codes: [ERROR]
  # {keep:g} % of all sessions, each as a whole: the hash is the same for all traces of a session and on all instances
  - name: sessions
    type: ottl_condition
    ottl_condition:
      error_mode: ignore
      span:
        - 'attributes["session.id"] != nil and SHA256(attributes["session.id"]) < "{threshold}"'
  # {keep:g} % of the traces that belong to no session
  - name: traces-without-session
    type: and
    and:
      and_sub_policy:
        - name: no-session
          type: string_attribute
          string_attribute:
            key: session.id
            values: [".*"]
            enabled_regex_matching: true
            invert_match: true
        - name: by-trace-id
          type: probabilistic
          probabilistic:
            sampling_percentage: {keep:g}"""


def tail_sampling(load: Load, keep: float, longest: float) -> str:
    """Return the processor's settings.

    Args:
        load: what comes in.
        keep: percent of the sessions that are kept.
        longest: seconds from a trace's first span to its last.
    """
    wait = sizing.decision_wait(longest)
    is_all = keep >= _ALL_PERCENT
    policies = _ALL_POLICY if is_all else _SESSION_POLICIES.format(keep=keep, threshold=sizing.threshold(keep))
    num_traces = sizing.traces_held(load, wait)
    held_mib = max(1, round(sizing.sampler_bytes(load, wait) / sizing.MIB))
    return f"""\
decision_wait: {wait}s # the longest trace, {longest:g} s, and {sizing.DECISION_MARGIN_S} s for the way here
num_traces: {num_traces} # twice what arrives in that time; {load.rate * wait:,.0f} generations hold {held_mib:,} MiB on the wire
expected_new_traces_per_sec: {max(1, round(load.rate))}
decision_cache: # spans that come later still follow their trace
  sampled_cache_size: {10 * num_traces}
  non_sampled_cache_size: {10 * num_traces}
policies: # a trace is kept when one of them says so
{policies}"""
