"""A model as a graph of ONNX: what is traced, and the graph without its weights.

Legend: N recordings, T samples, S frames, M model dim, C labels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from st.kernels.power_spectrum import ConvolvedSpectrum, PowerSpectrum
from st.modules.ctc_head import BLANK
from st.modules.masking import lengths_to_mask, zero_padding
from st.modules.model import SpeechTranslator

WAVES, LENGTHS = "input_values", "input_lengths"
"""Names of the inputs, ``(N, T)`` in float32 and ``(N,)`` in int64, as onnx-asr has them."""
LOG_PROBS = "logprobs"
STATES, STATE_LENGTHS = "states", "state_lengths"
OPSET = 18
IMPOSSIBLE = -1e4
"""Log-probability of a label that is never written."""
ANY_LENGTH = 1 << 40
"""Length that stands for the whole wave: the default of the lengths, which some runtimes do not give."""


class EncoderGraph(nn.Module):
    """Waves as they are to states of the encoder ``(N, S, M)`` and their lengths ``(N,)``."""

    outputs: tuple[str, ...] = (STATES, STATE_LENGTHS)

    def __init__(self, model: SpeechTranslator, *, standardize: bool) -> None:
        """Take a model in evaluation mode, which is changed: what ONNX has no operators for is replaced.

        Args:
            model: It has an encoder.
            standardize: Whether waves are brought to zero mean and unit variance first.
        """
        super().__init__()
        self.model = model
        self.standardize = standardize
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, PowerSpectrum):
                    setattr(module, name, ConvolvedSpectrum(child))

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Encode ``(N, T)`` of ``lengths`` ``(N,)`` samples; longer ones stand for ``T``."""
        encoded = self.model.encode(*self._prepared(waveforms, lengths))
        return encoded.states, encoded.lengths

    def _prepared(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        lengths = lengths.clamp(max=waveforms.size(1))
        waves = zero_padding(waveforms.unsqueeze(-1), lengths).squeeze(-1)
        if not self.standardize:
            return waves, lengths
        count = lengths.to(waves.dtype).unsqueeze(1)
        waves = waves - waves.sum(1, keepdim=True) / count
        waves = zero_padding(waves.unsqueeze(-1), lengths).squeeze(-1)
        variance = waves.square().sum(1, keepdim=True) / count
        return waves / (variance + self.model.config.encoder.wave_epsilon).sqrt(), lengths


class CtcGraph(EncoderGraph):
    """Waves as they are to log-probabilities of the CTC head ``(N, S, C)``; beyond a recording's frames all is blank.

    Labels that are never written count as the blank where they are more likely, so that whoever takes the best label of each
    frame writes what this project writes.
    """

    outputs = (LOG_PROBS,)

    def __init__(self, model: SpeechTranslator, *, standardize: bool, unwritten: Collection[int]) -> None:
        """Take a model as :class:`EncoderGraph` does; ``unwritten`` are labels beside the blank that no text shows."""
        super().__init__(model, standardize=standardize)
        unseen = torch.zeros(model.config.ctc_vocab_size, dtype=torch.bool)
        unseen[[BLANK, *unwritten]] = True
        self.unseen = nn.Buffer(unseen)
        blank = torch.full((model.config.ctc_vocab_size,), IMPOSSIBLE)
        blank[BLANK] = 0.0
        self.blank = nn.Buffer(blank)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Score the labels of each frame; arguments as for :class:`EncoderGraph`."""
        encoded = self.model.encode(*self._prepared(waveforms, lengths))
        scores = self.model.ctc_logits(encoded).log_softmax(-1)
        blank = scores.masked_fill(~self.unseen, IMPOSSIBLE).amax(-1, keepdim=True)  # (N, S, 1)
        scores = torch.cat([blank, scores.masked_fill(self.unseen, IMPOSSIBLE)[..., BLANK + 1 :]], dim=-1)
        valid = lengths_to_mask(encoded.lengths, scores.size(1)).unsqueeze(-1)
        return (torch.where(valid, scores, self.blank),)


def trace(graph: EncoderGraph) -> tuple[Any, dict[str, Tensor]]:
    """Return a graph as ONNX's ``ModelProto`` without weights, and its weights by the names that they have there.

    torch's older exporter is used: its newer one takes minutes to reason about lengths of frames, and holds all weights twice.
    """
    import onnx

    shortest = graph.model.encoder.receptive_field
    # Two rows of which one is padded: what happens to padding has to be in the graph.
    lengths = torch.tensor([4 * shortest, 3 * shortest])
    waveforms = torch.randn(2, 4 * shortest, generator=torch.Generator().manual_seed(0))
    axes = {WAVES: {0: "recordings", 1: "samples"}, LENGTHS: {0: "recordings"}}
    axes |= {name: {0: "recordings", 1: "frames"} for name in graph.outputs[:1]}
    axes |= {name: {0: "recordings"} for name in graph.outputs[1:]}
    sink = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is fixed by a trace, and that the exporter is the older one
        torch.onnx.export(
            graph,
            (waveforms, lengths),
            sink,  # type: ignore[arg-type]
            input_names=[WAVES, LENGTHS],
            output_names=[*graph.outputs],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
            export_params=False,
            do_constant_folding=False,
        )
    proto = onnx.load_from_string(sink.getvalue())
    tensors = {name: tensor.detach() for name, tensor in (*graph.named_parameters(), *graph.named_buffers())}
    return proto, _take_weights(proto.graph, tensors)


def _take_weights(graph: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make inputs that are weights no inputs, and transpose them beforehand where the graph does; return those it reads."""
    transposed = {}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in tensors:
            transposed[node.output[0]] = tensors[node.input[0]].permute(*node.attribute[0].ints)
            graph.node.remove(node)
    known = tensors | transposed
    made = {name for node in graph.node for name in node.output}  # copies of a weight that is the same
    read = {name for node in graph.node for name in node.input} - made
    inputs = [value for value in graph.input if value.name not in tensors]
    del graph.input[:]
    graph.input.extend(inputs)
    return {name: tensor for name, tensor in known.items() if name in read}
