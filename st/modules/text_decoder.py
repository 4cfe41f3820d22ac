"""mBART's text decoder: pre-layer-norm transformer with learned positions and tied embeddings (Liu et al. 2020).

Parameter names are fairseq's. Legend: N sentences, R rows (hypotheses; R = N * beam), U target tokens, S' memory
states, M model dim, H heads, D head dim, V vocabulary.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.attention import additive
from st.kernels.dropout import dropout
from st.kernels.embedding import look_up
from st.kernels.packed_linear import linear_activation
from st.modules.attention import MultiheadAttention
from st.modules.config import DecoderConfig
from st.modules.decoder_cache import FIRST_CAPACITY, DecoderCache, LayerCache
from st.modules.masking import attention_bias
from st.modules.recompute import run_layer

POSITION_OFFSET = 2
"""Learned positions of fairseq start behind the padding index: position 0 is row 2 of the table."""
FIRST_WORD = 2
"""Where words begin in the decoder's input, behind ``</s>`` and the language."""


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the memory, feed-forward; each behind a layer norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.self_attn = MultiheadAttention(config.dim, config.num_heads, dropout=config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.encoder_attn = MultiheadAttention(config.dim, config.num_heads, dropout=config.attention_dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def drop(self, states: Tensor) -> Tensor:
        """Apply the residual dropout."""
        return dropout(states, self.config.dropout, self.training)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Transform ``(R, U, M)`` position by position, with the residual."""
        hidden = linear_activation(self.fc1, self.final_layer_norm(states), self.config.activation)
        hidden = dropout(hidden, self.config.activation_dropout, self.training)
        return states + self.drop(self.fc2(hidden))

    def forward(self, states: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Transform whole targets ``(R, U, M)`` given the memory ``(R, S', M)``."""
        normed = self.self_attn_layer_norm(states)
        states = states + self.drop(self.self_attn(normed, normed, causal=True))
        normed = self.encoder_attn_layer_norm(states)
        states = states + self.drop(self.encoder_attn(normed, memory, mask=memory_mask))
        return self.feed_forward(states)

    def step(self, states: Tensor, cache: LayerCache, position: int, memory_mask: Tensor | None) -> Tensor:
        """Transform one new position ``(R, 1, M)``, reading and extending ``cache``."""
        normed = self.self_attn_layer_norm(states)
        query, key, value = self.self_attn.project(normed)
        cache.keys[:, :, position] = key[:, :, 0]
        cache.values[:, :, position] = value[:, :, 0]
        seen = slice(0, position + 1)
        states = states + self.self_attn.attend(
            query, cache.keys[:, :, seen], cache.values[:, :, seen], mask=None, causal=False
        )
        # The beams of a sentence share its memory: they stand as queries of one row, (R, 1, M) -> (N, beam, M).
        sentences = cache.memory_keys.size(0)
        queries = self.encoder_attn_layer_norm(states).view(sentences, -1, states.size(-1))
        context = self.encoder_attn.attend(
            self.encoder_attn.queries(queries), cache.memory_keys, cache.memory_values, mask=memory_mask, causal=False
        )
        return self.feed_forward(states + context.reshape(states.shape))


class TextDecoder(nn.Module):
    """Target tokens and memory in, logits over the vocabulary out."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad)
        self.embed_positions = nn.Embedding(config.max_positions + POSITION_OFFSET, config.dim)
        self.layernorm_embedding = nn.LayerNorm(config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.layer_norm = nn.LayerNorm(config.dim)
        self.output: nn.Module | None = None
        """Stands for the projection to the vocabulary in inference; see :func:`st.inference.precision.pack`."""
        self.recompute = False
        """Whether training trades time for memory; see :func:`run_layer`."""
        nn.init.normal_(self.embed_tokens.weight, std=config.dim**-0.5)
        nn.init.zeros_(self.embed_tokens.weight[config.pad].detach())
        nn.init.normal_(self.embed_positions.weight, std=config.dim**-0.5)

    def embed(self, tokens: Tensor, first_position: int = 0) -> Tensor:
        """Embed tokens ``(R, U)`` that stand at ``first_position`` and after, to ``(R, U, M)``."""
        scale = math.sqrt(self.config.dim) if self.config.scale_embedding else 1.0
        embedded = look_up(tokens, self.embed_tokens.weight, self.embed_tokens.padding_idx)
        if self.training and self.config.word_dropout > 0:
            embedded = self.drop_words(embedded)
        start = first_position + POSITION_OFFSET
        positions = self.embed_positions.weight[start : start + tokens.size(1)]
        states = self.layernorm_embedding(scale * embedded + positions)
        return dropout(states, self.config.dropout, self.training)

    def drop_words(self, embedded: Tensor) -> Tensor:
        """Set the embeddings ``(R, U, M)`` of random words to zero; the others are not scaled up, as a word is there or not."""
        words = embedded.new_ones(embedded.shape[:2])
        words[:, FIRST_WORD:].bernoulli_(1 - self.config.word_dropout)
        return embedded * words.unsqueeze(-1)

    def project(self, states: Tensor) -> Tensor:
        """Return logits ``(…, V)`` of states ``(…, M)``; the projection is tied to the embeddings."""
        states = self.layer_norm(states)
        return F.linear(states, self.embed_tokens.weight) if self.output is None else self.output(states)

    def forward(self, tokens: Tensor, memory: Tensor, memory_lengths: Tensor) -> Tensor:
        """Score whole targets at once, as in training.

        Args:
            tokens: Decoder input ``(R, U)``, padded on the right; ``U`` at most ``max_positions``.
            memory: Adapted encoder states ``(R, S', M)``.
            memory_lengths: Valid states of each row ``(R,)``.

        Returns:
            Logits ``(R, U, V)``.
        """
        mask = attention_bias(memory_lengths, memory.size(1))
        states = self.embed(tokens)
        for layer in self.layers:
            states = run_layer(layer, states, memory, mask, recompute=self.recompute and self.training)
        return self.project(states)

    def start(self, memory: Tensor, memory_lengths: Tensor, *, beam: int = 1, max_length: int = 0) -> DecoderCache:
        """Prepare step-by-step decoding: project the memory once per sentence, make room for the tokens.

        Args:
            memory: Adapted encoder states ``(N, S', M)``.
            memory_lengths: Valid states ``(N,)``.
            beam: Rows per sentence.
            max_length: Most tokens that will be fed; 0 for ``max_positions``.

        Returns:
            A cache for :meth:`step`.
        """
        config = self.config
        length = max_length or config.max_positions
        rows, capacity = memory.size(0) * beam, min(length, FIRST_CAPACITY)
        shape = (rows, config.num_heads, capacity, config.dim // config.num_heads)
        layers = []
        for layer in self.layers:
            keys, values = layer.encoder_attn.keys_values(memory)  # type: ignore[union-attr, operator]
            # Under autocast the projections may have another type than the memory; the cache takes theirs.
            layers.append(LayerCache(keys.new_empty(shape), keys.new_empty(shape), keys, values))
        valid = attention_bias(memory_lengths, memory.size(1))
        if valid is None:
            return DecoderCache(layers, None, length)
        return DecoderCache(layers, additive(valid, layers[0].memory_keys.dtype), length)

    def step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Feed the next token of every row.

        Args:
            tokens: Shape ``(R,)``.
            cache: Read and extended.

        Returns:
            Logits of the token after it, ``(R, V)``.

        Raises:
            ValueError: If the cache has taken its most tokens.
        """
        cache.reserve()
        states = self.embed(tokens[:, None], cache.position)
        for layer, layer_cache in zip(self.layers, cache.layers, strict=True):
            states = layer.step(states, layer_cache, cache.position, cache.memory_mask)  # type: ignore[operator]
        cache.position += 1
        return self.project(states[:, 0])
