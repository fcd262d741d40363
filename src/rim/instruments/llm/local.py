"""A local model in place of a server: the inference backend that also answers the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rim.instruments.llm.store import Failure, Reply
from rim.models import chat, control, loading
from rim.models.generate import TransformersBackend
from rim.settings.instruments import Endpoint

TOGETHER = 16  # requests of a batch: which ones are together decides how sums are rounded, so no setting changes it


class LocalTransport:
    """Loads the endpoint's model and answers all requests in batches, without thinking. Nothing enforces the schema."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.tokenizer = loading.load_tokenizer(endpoint.model)
        model = loading.load_model(endpoint.model, endpoint.dtype)
        self.backend = TransformersBackend(model, self.tokenizer, TOGETHER)

    def send(self, requests: Sequence[dict[str, Any]], received: Callable[[int, Reply | Failure], None]) -> None:
        for first in range(0, len(requests), TOGETHER):
            batch = requests[first : first + TOGETHER]
            prompts = [chat.render_messages(self.tokenizer, request["messages"]) for request in batch]
            replies = self.backend.generate(
                prompts, self.endpoint.max_tokens, self.endpoint.temperature, 0, f"{self.endpoint.model}: requests"
            )
            for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
                tokens = len(control.encode(self.tokenizer, prompt))
                finish = "stop" if reply.stopped else "length"
                received(first + i, Reply(reply.text, finish, self.endpoint.model, tokens, reply.tokens))
