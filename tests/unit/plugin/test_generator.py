"""What fairseq's generation options become."""

from __future__ import annotations

import dataclasses
from argparse import Namespace

import pytest

pytest.importorskip("fairseq")
from fairseq.dataclass.configs import GenerationConfig

from st.decoding.options import BeamOptions
from st.decoding.sampling import SamplingOptions
from st.errors import ConfigError
from st.fairseq_plugin.generator import UNSUPPORTED, FairseqGenerator


def options(**changes: object) -> BeamOptions:
    args = Namespace(**(dataclasses.asdict(GenerationConfig()) | changes))
    return FairseqGenerator.from_namespace(None, args).options


def test_fairseqs_defaults_are_ours():
    assert options() == BeamOptions()


def test_options_arrive_under_our_names():
    assert options(beam=3, nbest=2, lenpen=0.6, unnormalized=True, no_repeat_ngram_size=3) == BeamOptions(
        beam=3, nbest=2, length_penalty=0.6, normalize_scores=False, no_repeat_ngram=3
    )


def test_sampling_draws_from_what_fairseq_would():
    assert options(sampling=True) == SamplingOptions()
    assert options(sampling=True, sampling_topk=10) == SamplingOptions(top_k=10)
    assert options(sampling=True, sampling_topp=0.9, temperature=0.7) == SamplingOptions(top_p=0.9, temperature=0.7)


@pytest.mark.parametrize(
    "changes",
    [{"match_source_len": True}, {"diverse_beam_groups": 2}, {"diversity_rate": 0.5}, {"constraints": "ordered"},
     {"lm_path": "lm.pt"}, {"print_alignment": "hard"}, {"replace_unk": ""}, {"retain_dropout": True}, {"eos_token": "x"}],
)  # fmt: skip
def test_options_that_nothing_stands_behind_are_refused(changes):
    with pytest.raises(ConfigError, match=f"--{next(iter(changes)).replace('_', '-')} is not supported"):
        options(**changes)


def test_what_is_refused_is_what_fairseq_has():
    assert set(UNSUPPORTED) <= {field.name for field in dataclasses.fields(GenerationConfig)}
