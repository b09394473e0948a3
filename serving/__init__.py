"""A checkpoint that many ask at once: over HTTP, and for programs of the same process.

In: a checkpoint, then ECG files as bytes with questions. Out: what `ecgllm ask` says of each. `Engine` loads once and
answers, `create_app` puts OpenAI's protocol in front of it; `ecgllm serve` runs both.

    gate (keys, limits) -> api (HTTP, OpenAI's forms) -> engine (read, check, measure, encode once) -> batching (one
    thread that asks the model what waits, together)
"""

from .engine import Engine

__all__ = ["Engine"]
