"""Draws and losses of pre-training for the reference implementations, and our model with their weights."""

from __future__ import annotations

import torch

from st.checkpoints.formats.names import KEYMAPS
from st.checkpoints.formats.objective import take_objective
from st.modules.encoder_config import EncoderConfig
from st.modules.pretraining.draws import Draws, draw
from st.modules.pretraining.model import SpeechPretrainer


def ours(reference, kind, settings, conv_layers, shape, **encoder):
    """Return our model with the weights of one of theirs."""
    tensors = dict(reference.state_dict())
    objective = take_objective(tensors, kind, settings)
    assert objective is not None
    config = EncoderConfig(
        conv_layers=conv_layers, dim=shape["dim"], ffn_dim=shape["ffn"], num_heads=shape["heads"],
        num_layers=shape["layers"], pos_conv_kernel=shape["kernel"], pos_conv_groups=shape["groups"],
        mask_time_prob=0.65, mask_time_length=4, **encoder,
    )  # fmt: skip
    model = SpeechPretrainer(config, objective.config)
    state = {KEYMAPS[kind].ours(name): tensor for name, tensor in tensors.items()} | objective.state
    model.load_state_dict(state)
    return model


def draws_for(model, lengths, samples, *, same=False, seed=0):
    """Return draws for waves of ``lengths`` samples; with ``same``, as many masked frames in each, as fairseq has it."""
    frames = model.encoder.output_lengths(lengths)
    size = int(model.encoder.output_lengths(torch.tensor(samples)))
    keys = [(seed, 3, row) for row in range(len(lengths))]
    options = {"encoder": model.encoder.config, "objective": model.config, "noise_on": torch.device("cpu")}
    draws = draw(frames, size, keys, **options)
    if not same:
        return draws
    fewest = int(draws.mask.sum(1).min())
    mask = draws.mask & (draws.mask.cumsum(1) <= fewest)
    negatives = torch.stack([torch.randint(0, fewest - 1, (fewest, model.config.num_negatives)) for _ in lengths])
    negatives += negatives >= torch.arange(fewest)[None, :, None]
    groups, entries = model.config.latent_groups, model.config.latent_vars
    noise = -torch.empty(int(mask.sum()), groups, entries).exponential_().log()
    return Draws(mask, negatives, noise)


def absolute(draws):
    """Return distractors as places in the flattened batch of frames ``(N, S, K)``, as transformers has them."""
    rows, size = draws.mask.shape
    indices = torch.zeros(rows, size, draws.negatives.size(2), dtype=torch.long)
    for row in range(rows):
        places = draws.mask[row].nonzero()[:, 0]
        indices[row, places] = places[draws.negatives[row, : len(places)]] + row * size
    return indices


def gumbel_with(noise):
    """Return a stand-in of ``gumbel_softmax`` that adds this noise, in the order of its rows, instead of drawing some."""

    def gumbel_softmax(logits, tau=1.0, hard=False):
        assert hard
        soft = ((logits + noise.flatten(0, 1)) / tau).softmax(-1)
        chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        return chosen - soft.detach() + soft

    return gumbel_softmax
