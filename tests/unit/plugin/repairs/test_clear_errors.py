"""What a user of fairseq's commands reads: fields of our configs are named by the options of those commands."""

from __future__ import annotations

import sys
from argparse import Namespace

import pytest

pytest.importorskip("fairseq")
from fairseq import options as fairseq_options
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)

from st.data.direction_sampling import epoch_counts
from st.errors import CheckpointError
from st.fairseq_plugin.data.options import augmentation_config
from st.fairseq_plugin.generator import FairseqGenerator
from st.fairseq_plugin.repairs.clear_errors import clear_errors

AUGMENTATION = {
    "speed_perturb": "", "noise": "", "noise_prob": 0.5, "noise_snr": "5,25", "time_masks": 0, "time_mask_seconds": 0.2,
    "band_masks": 0, "band_mask_hz": 500.0, "concat_prob": 0.0, "concat_max_seconds": 20.0, "concat_any_speaker": False,
    "crop_seconds": 0.0,
}  # fmt: skip


def augment(**changes):
    return lambda: augmentation_config(Namespace(**AUGMENTATION | changes))


def search(**changes):
    return lambda: FairseqGenerator.from_namespace(None, Namespace(**changes))


def fail():
    raise CheckpointError("found nothing; expected an entry `model`")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (augment(noise="/no/such"), "--noise is '/no/such'; expected white, pink, or a folder of recordings"),
        (augment(speed_perturb="9"), "--speed-perturb is (9.0,); expected factors from 0.5 to 2"),
        (lambda: epoch_counts([], 2.0), "--sampling-alpha is 2; expected a number from 0 (all directions alike) to 1"),
        (search(lenpen=float("nan")), "--lenpen is nan; expected a finite number"),
        (search(no_repeat_ngram_size=-1), "--no-repeat-ngram-size is -1; expected at least 0"),
        (search(sampling=True, sampling_topp=2.0), "--sampling-topp is 2.0; expected from 0 to 1"),
        (fail, "found nothing; expected an entry `model`"),
    ],
)
def test_t23_fields_are_written_as_the_options_of_fairseqs_command(monkeypatch, capsys, call, sentence):
    monkeypatch.setattr(sys, "argv", ["/bin/fairseq-train"])
    with pytest.raises(SystemExit):
        clear_errors(call)()
    assert capsys.readouterr().err == f"fairseq-train: error: {sentence}\n"


def test_the_options_are_those_of_fairseqs_commands():
    parser = fairseq_options.get_generation_parser()
    known = {action.dest for action in parser._actions}
    assert {"lenpen", "no_repeat_ngram_size", "unkpen", "sampling_topk", "sampling_topp"} <= known
