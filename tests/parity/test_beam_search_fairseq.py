"""Our beam search against fairseq's ``SequenceGenerator`` on the same random weights."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from st.decoding import BeamOptions, beam_search
from st.modules.config import AdaptorConfig, DecoderConfig, EncoderConfig, ModelConfig
from st.modules.model import Encoded, SpeechTranslator

fairseq_generator = pytest.importorskip("fairseq.sequence_generator")
from fairseq.data import Dictionary  # noqa: E402
from fairseq.models import FairseqEncoder, FairseqEncoderDecoderModel, FairseqIncrementalDecoder  # noqa: E402

CONFIG = ModelConfig(
    encoder=EncoderConfig(
        conv_layers=((8, 10, 5), (8, 3, 2)), dim=32, ffn_dim=32, num_heads=2, num_layers=1, pos_conv_kernel=4,
        pos_conv_groups=2,
    ),
    adaptor=AdaptorConfig(num_layers=1),
    decoder=DecoderConfig(vocab_size=61, dim=32, ffn_dim=64, num_heads=4, num_layers=2, max_positions=64),
)  # fmt: skip


def make_model(seed: int = 0, *, sharpness: float = 1.6, eos_bias: float = 3.0) -> SpeechTranslator:
    """Random weights, scaled so that tokens depend on memory, history and position, and sentences end at any time.

    Untouched random weights give flat distributions: everything would run into the length limit.
    """
    torch.manual_seed(seed)
    model = SpeechTranslator(CONFIG).eval()
    decoder = model.decoder
    with torch.no_grad():
        decoder.embed_positions.weight.mul_(8)
        for layer in decoder.layers:
            for attention in (layer.encoder_attn, layer.self_attn):
                attention.v_proj.weight.mul_(4)
                attention.q_proj.weight.mul_(3)
        decoder.layer_norm.weight.mul_(sharpness)
        decoder.layer_norm.bias.add_(eos_bias * decoder.embed_tokens.weight[2])
    return model


def make_memory(num: int, seed: int = 1) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 20, (num,), generator=generator)
    states = torch.randn(num, int(lengths.max()), CONFIG.decoder.dim, generator=generator) * 2
    return Encoded(states, lengths)


class MemoryEncoder(FairseqEncoder):
    """Hands the memory through as fairseq's encoder output."""

    def forward(self, src_tokens: Tensor, src_lengths: Tensor) -> dict[str, Tensor]:
        return {"states": src_tokens, "lengths": src_lengths}

    def forward_torchscript(self, net_input: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.forward(net_input["src_tokens"], net_input["src_lengths"])

    def reorder_encoder_out(self, encoder_out: dict[str, Tensor], new_order: Tensor) -> dict[str, Tensor]:
        return {key: value.index_select(0, new_order) for key, value in encoder_out.items()}


class WholeTargetDecoder(FairseqIncrementalDecoder):
    """Recomputes the whole prefix at each step with the training forward, so no cache is shared with our search."""

    def __init__(self, dictionary: Dictionary, model: SpeechTranslator) -> None:
        super().__init__(dictionary)
        self.model = model

    def forward(self, tokens, encoder_out=None, incremental_state=None):  # noqa: ARG002
        logits = self.model.decoder(tokens, encoder_out["states"], encoder_out["lengths"])
        return logits, None

    def max_positions(self) -> int:
        return self.model.config.decoder.max_positions


class Adapted(FairseqEncoderDecoderModel):
    def max_decoder_positions(self) -> int:
        return self.decoder.max_positions()


def make_dictionary() -> Dictionary:
    dictionary = Dictionary()
    for index in range(len(dictionary), CONFIG.decoder.vocab_size):
        dictionary.add_symbol(f"w{index}")
    return dictionary


def fairseq_search(models: list[SpeechTranslator], memory: Encoded, prefix: Tensor, options: BeamOptions):
    dictionary = make_dictionary()
    adapted = [Adapted(MemoryEncoder(dictionary), WholeTargetDecoder(dictionary, model)) for model in models]
    generator = fairseq_generator.SequenceGenerator(
        adapted,
        dictionary,
        beam_size=options.beam,
        max_len_a=options.max_len_a,
        max_len_b=options.max_len_b,
        min_len=options.min_len,
        normalize_scores=options.normalize_scores,
        len_penalty=options.length_penalty,
        unk_penalty=options.unk_penalty,
        temperature=options.temperature,
    )
    if options.no_repeat_ngram:
        generator.repeat_ngram_blocker = fixed_blocker(options.no_repeat_ngram)
    sample = {"net_input": {"src_tokens": memory.states, "src_lengths": memory.lengths}}
    return generator.generate(adapted, sample, prefix_tokens=prefix)


def fixed_blocker(size: int):
    """Return fairseq's own n-gram blocker, given the tokens so far rather than its padded buffer.

    In Python it compares the end of the buffer, which is padding, and so never blocks; its CUDA kernel does block.
    """
    from fairseq.ngram_repeat_block import NGramRepeatBlock

    block = NGramRepeatBlock(size, use_extension=False)
    return lambda tokens, lprobs, bsz, beam, step: block(tokens[:, : step + 1], lprobs, bsz, beam, step)


def assert_same(models: list[SpeechTranslator], memory: Encoded, prefix: Tensor, options: BeamOptions) -> list[int]:
    """Compare and return the lengths of the best hypotheses."""
    expected = fairseq_search(models, memory, prefix, options)
    options = dataclasses.replace(options, nbest=options.beam)
    found = beam_search(models, [memory] * len(models), prefix, options)
    for ours, theirs in zip(found, expected, strict=True):
        assert [list(one.tokens) for one in ours] == [one["tokens"][:-1].tolist() for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(float(other["score"]), abs=1e-4)
            assert one.token_scores == pytest.approx(other["positional_scores"].tolist(), abs=1e-4)
    return [len(ours[0].tokens) for ours in found]


@pytest.mark.parametrize("beam", [1, 5, 8])
@pytest.mark.parametrize("length_penalty", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("batch", [1, 8])
def test_i08_same_hypotheses_and_scores_as_fairseq(beam: int, length_penalty: float, batch: int) -> None:
    model = make_model()
    options = BeamOptions(beam=beam, length_penalty=length_penalty, max_len_b=30)
    lengths = []
    for seed in range(2 if batch == 8 else 6):
        memory = make_memory(batch, seed)
        prefix = torch.randint(4, CONFIG.decoder.vocab_size, (batch, 1), generator=torch.Generator().manual_seed(seed))
        lengths += assert_same([model], memory, prefix, options)
    # The comparison means something only if sentences end at different times and not all at the limit.
    assert len(set(lengths)) >= 3
    assert min(lengths) < 30
