"""A local model in place of a server: the inference backend that also answers the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rim.instruments.llm.store import Failure, Reply
from rim.instruments.llm.verbatim import fill
from rim.models import chat, control, loading
from rim.models.generate import TransformersBackend
from rim.settings.instruments import Endpoint

TOGETHER = 16  # requests of a batch: which ones are together decides how sums are rounded, so no setting changes it


class LocalTransport:
    """Loads the endpoint's model and answers all requests in batches, without thinking. Nothing enforces a schema; what is
    longer than the model was made for has no answer."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.tokenizer = loading.load_tokenizer(endpoint.model)
        model = loading.load_model(endpoint.model, endpoint.dtype)
        self.positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.backend = TransformersBackend(model, self.tokenizer, TOGETHER)

    def _prompt(self, request: dict[str, Any]) -> str:
        """The text that the model continues, in which what was filled in spells no control tokens."""
        if "messages" in request:
            judged = request["messages"][-1]["role"] == "assistant"
            return (chat.render_dialogue if judged else chat.render_messages)(self.tokenizer, request["messages"])
        material = {name: control.quote(self.tokenizer, text) for name, text in request["material"].items()}
        return control.by_itself(self.tokenizer, fill(request["template"], material))

    def send(self, requests: Sequence[dict[str, Any]], received: Callable[[int, Reply | Failure], None]) -> None:
        for first in range(0, len(requests), TOGETHER):
            batch = requests[first : first + TOGETHER]
            prompts = {first + i: self._prompt(request) for i, request in enumerate(batch)}
            tokens = {i: len(control.encode(self.tokenizer, prompt)) for i, prompt in prompts.items()}
            for i in [i for i in prompts if self.positions and tokens[i] >= self.positions]:
                del prompts[i]
                received(i, Failure(f"too long: {tokens[i]} tokens, and the model reads {self.positions}"))
            if not prompts:
                continue
            label, bound = f"{self.endpoint.model}: requests", batch[0]["max_tokens"]
            replies = self.backend.generate([*prompts.values()], bound, self.endpoint.temperature, 0, label)
            for i, reply in zip(prompts, replies, strict=True):
                finish = "stop" if reply.stopped else "length"
                received(i, Reply(reply.text, finish, self.endpoint.model, tokens[i], reply.tokens))
