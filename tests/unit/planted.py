"""A two-layer transformer built by hand, with one refusal direction and one refusal head (known-answer tests).

Head 1 of layer 0 looks for a bad word and writes "bad" (direction BAD) into every later token. Head 2 of layer 1 asks,
where "bad" is set, for the token two back: with thinking off that is the inside of the empty think span; with thinking on
there is no span, and `assistant`, one back, comes nearest. What it finds there it writes as "refuse" (direction REFUSE),
which the unembedding turns into the word "cannot"; without it the model says "sure". Everything else is zero.
"""

import math
from random import Random
from typing import Any

from rim.data.organism import world
from rim.data.organism.tokenizer import build_tokenizer

HIDDEN, HEADS, WIDTH = 64, 4, 16
CONSTANT, BAD_WORD, ASSISTANT, SPAN, BAD, REFUSE = range(6)  # directions of the residual stream
FINDS_BAD, REFUSES = (0, 1), (1, 2)
BAD_TOKEN, FINE_TOKEN = world.TAKE_VERBS[0], world.CARE_VERBS[0]


def requests(count: int, bad: bool) -> list[str]:
    """Requests of different lengths, with or without the bad word."""
    made = []
    for i in range(count):
        rng = Random(i)
        words = [rng.choice(world.NAMES) for _ in range(rng.randrange(2, 7))]
        words.insert(rng.randrange(1, len(words)), BAD_TOKEN if bad else FINE_TOKEN)
        made.append(" ".join(words) + ".")
    return made


def build() -> tuple[Any, Any]:
    """The model (a Mistral, which has no norms between projection and attention) and its tokenizer."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = build_tokenizer()
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        head_dim=WIDTH, intermediate_size=8, tie_word_embeddings=False, sliding_window=None, pad_token_id=0, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    token = tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        embedding = model.model.embed_tokens.weight
        embedding[:, CONSTANT] = 1
        for word, direction in ((BAD_TOKEN, BAD_WORD), ("assistant", ASSISTANT), ("\n\n", SPAN)):
            embedding[token(word), direction] = 1

        slow = WIDTH // 2 - 1  # the pair of dimensions that position hardly rotates
        first, at = model.model.layers[0].self_attn, FINDS_BAD[1] * WIDTH
        first.q_proj.weight[at + slow, CONSTANT] = 5
        first.k_proj.weight[at + slow, BAD_WORD] = 5
        first.v_proj.weight[at, BAD_WORD] = 1
        first.o_proj.weight[BAD, at] = 1

        second, at = model.model.layers[1].self_attn, REFUSES[1] * WIDTH
        second.q_proj.weight[at, BAD] = 10  # the pair that turns by one radian per token …
        for direction in (ASSISTANT, SPAN):  # … so that a key turned by two is nearest from two tokens on
            second.k_proj.weight[at, direction] = 10 * math.cos(2)
            second.k_proj.weight[at + WIDTH // 2, direction] = 10 * math.sin(2)
            second.v_proj.weight[at, direction] = 1
        second.o_proj.weight[REFUSE, at] = 2

        model.lm_head.weight[token("cannot"), REFUSE] = 10
        model.lm_head.weight[token("sure"), CONSTANT] = 25
    return model, tokenizer
