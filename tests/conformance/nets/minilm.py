"""all-MiniLM-L6-v2: a six-layer BERT encoder, mean pooling, unit length.

Source: Devlin et al., "BERT" (2018); the sizes are those of the model's config.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

_VOCABULARY, _POSITIONS, _WIDTH, _LAYERS, _HEADS, _HIDDEN = 30522, 512, 384, 6, 12, 1536
_EPSILON = 1e-12

MASKED = -32.0
"""What a masked score is lowered by: e^-32 is nothing next to 1.

BERT's own -10000 (let alone the smallest float) would claim the whole range of an 8-bit score: one
step would be 40, and every unmasked score would round to the same value.
"""

_RENAMED = (
    (r"^embeddings\.(word|position|token_type)_embeddings\.", r"\1."),
    (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", "."),
    (r"\.attention\.output\.dense\.", ".mix."),
    (r"\.attention\.output\.LayerNorm\.", ".mix_norm."),
    (r"\.intermediate\.dense\.", ".up."),
    (r"\.output\.dense\.", ".down."),
    (r"\.output\.LayerNorm\.", ".down_norm."),
)
"""Published parameter names -> ours, in this order."""


class Layer(nn.Module):
    """Self-attention and a two-layer perceptron, each followed by add and normalise."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.mix_norm = nn.LayerNorm(_WIDTH, eps=_EPSILON)
        self.up, self.down = nn.Linear(_WIDTH, _HIDDEN), nn.Linear(_HIDDEN, _WIDTH)
        self.down_norm = nn.LayerNorm(_WIDTH, eps=_EPSILON)

    def forward(self, x: Tensor, lowered: Tensor) -> Tensor:
        """Map (N, T, 384) to the same shape; `lowered` (N, 1, 1, T) is added to the scores."""
        query, key, value = (_heads(project(x)) for project in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) * (_WIDTH // _HEADS) ** -0.5 + lowered
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = self.mix_norm(x + self.mix(mixed))
        return cast(Tensor, self.down_norm(x + self.down(nn.functional.gelu(self.up(x)))))


class MiniLM(nn.Module):
    """Token ids and mask, both (N, T) int64 -> sentence vectors (N, 384) of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(_VOCABULARY, _WIDTH)
        self.position = nn.Embedding(_POSITIONS, _WIDTH)
        self.token_type = nn.Embedding(2, _WIDTH)
        self.norm = nn.LayerNorm(_WIDTH, eps=_EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = mask.to(torch.float32)
        x = self.norm(self.word(ids) + self.position.weight[: ids.shape[1]] + self.token_type.weight[0])
        for layer in self.layers:
            x = layer(x, (1.0 - kept[:, None, None, :]) * MASKED)
        pooled = (x * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
        return cast(Tensor, pooled / pooled.norm(dim=1, keepdim=True))


def renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights under the names of `MiniLM`; its unused pooler is left out."""
    ours: dict[str, Tensor] = {}
    for name, value in published.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if not name.startswith("pooler.") and name != "embeddings.position_ids":
            ours[name] = value
    return ours


def _heads(x: Tensor) -> Tensor:
    """Split (N, T, 384) into heads: (N, 12, T, 32)."""
    return x.view(x.shape[0], x.shape[1], _HEADS, _WIDTH // _HEADS).transpose(1, 2)
