"""What is fuzzed: kinds of input, their valid samples, and the doors that a changed one goes through.

A door is a command line, run in the folder of the input, or a function of the project that a command or a training calls.
"""

from __future__ import annotations

from pathlib import Path

import st
from covost.corpus.splits import CorpusLayout, SpokenLanguage, load_direction
from fuzzing import corpora, seeds, subtitles
from fuzzing.seeds import sound
from fuzzing.trial import Door, Maker, Sample
from st.checkpoints.start.initialise import load_encoder
from st.data.config import DataConfig
from st.data.dataset import TranslationDataset
from st.decoding.language_model.ngram import NgramModel
from st.evaluation.corpus import load_test_set
from st.inference.audio_input import load_waveform
from st.preparation.archives.archives import take_file
from st.preparation.archives.releases import clip_names, is_catalogue
from st.preparation.stores.decode import decode_clip
from st.preparation.stores.spool import fill_spool
from st.preparation.tree.vocabularies import read_model
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.trimming import TrimmedVocabulary, trim_sentencepiece
from st.text.vocabulary import TextVocabulary, read_dictionary


def decode() -> None:
    """Decode a clip as preparation does."""
    decode_clip(".", next(Path().glob("clip.*")).name)


def recording() -> None:
    """Decode a clip as translation and transcription do."""
    load_waveform(next(Path().glob("clip.*")))


def recording_in_memory() -> None:
    """Decode a clip as training and serving do."""
    load_waveform(next(Path().glob("clip.*")).read_bytes())


def take_out() -> None:
    """List a release and take its clips out, as preparation does."""
    _, catalogue = CorpusLayout(cv_root=Path(), work=Path("work")).release("fr")
    if is_catalogue(catalogue):
        fill_spool(catalogue, clip_names(catalogue).to_list(), Path("spool"))


def unpack_all() -> None:
    """Take a table out of an archive, as downloading does."""
    take_file(next(Path().glob("fr.*")), "validated.tsv", Path("out.tsv"))


def join_tables() -> None:
    """Read and join the tables of a language and a direction, as preparation does."""
    layout = CorpusLayout(cv_root=Path())
    load_direction(layout, "fr_en", SpokenLanguage.load(layout, "fr"))


def read_tree() -> None:
    """Read a tree as a training does."""
    text, ctc = TextVocabulary.load(Path()), CtcVocabulary.load(Path("ctc_vocab.json"))
    dataset = TranslationDataset.load(Path(), "train", None, text, {"ctc": ctc})
    dataset.begin_epoch(1, 1)
    dataset.collate([dataset[item] for item in range(min(len(dataset), 2))])


def read_test_set() -> None:
    """Read a tree as an evaluation does."""
    load_test_set(".", DataConfig.load(".").directions, "dev")


def read_text_vocabulary() -> None:
    """Read the text vocabulary of a tree, and use it."""
    text = TextVocabulary.load(Path())
    text.decode([*text.encode("red tree\u2028x"), len(text) - 1])
    text.language_id("en")


def read_symbols() -> None:
    """Read a dictionary of fairseq."""
    read_dictionary("dict.txt")


def read_trimmed() -> None:
    """Read the table of the rows that a trimmed vocabulary kept."""
    TrimmedVocabulary.load("trim.json")


def read_labels() -> None:
    """Read the vocabulary of the CTC head, and use it."""
    labels = CtcVocabulary.load(Path("ctc_vocab.json"))
    labels.decode(labels.encode("Rot Baum"))


def trim() -> None:
    """Cut a SentencePiece model down, as preparation does."""
    trim_sentencepiece(read_model(Path("mbart.model")), ["speech translation"], num_appended=3)


def read_language_model() -> None:
    """Read a language model, and use it."""
    model = NgramModel("lm.arpa", ("<pad>", "|", *"abromtu"), 1)
    model.finish((4, 5, 7))


def begin_with_encoder() -> None:
    """Begin a training with the encoder of a checkpoint."""
    load_encoder(seeds.blank_model(), "model.pt")


def begin_sample() -> None:
    """Go on with a sample corpus."""
    seeds.sample_folder(Path())


def load(name: str) -> Door:
    """Return what loads a model."""

    def load_model() -> None:
        st.load(name)

    return load_model


PREPARE = "covost prepare --cv-root . --directions fr_en --out out --jobs 1 --vocab-type char --min-coverage 0"
FETCH = "covost download --out out --directions sl_en --mirror ."
LISTEN = (decode, recording, recording_in_memory)
SCORE = ("st score --hyp {} --ref ref.txt --target en", "st score --hyp {} --ref ref.txt --target en --json")
MP3 = sound("MP3", seconds=0.15)
RECORDINGS: dict[str, Maker] = {
    "wav": seeds.audio("wav", sound()),
    "wav float": seeds.audio("wav", sound(subtype="FLOAT", rate=44_100, channels=2, seconds=0.02)),
    "wav joined": seeds.audio("wav", sound(seconds=0.03), sound(seed=1, seconds=0.03)),
    "flac": seeds.audio("flac", sound("FLAC")),
    "flac joined": seeds.audio("flac", sound("FLAC", seconds=0.03), sound("FLAC", seed=1, seconds=0.03)),
    "ogg": seeds.audio("ogg", sound("OGG", "VORBIS")),
    "opus": seeds.audio("opus", sound("OGG", "OPUS")),
    "ogg joined": seeds.audio("ogg", sound("OGG", "OPUS"), sound("OGG", "VORBIS", seed=1)),
    "mp3": seeds.audio("mp3", MP3),
    "mp3 with a tag": seeds.audio("mp3", b"ID3\x04\0\0\0\0\0\x15TIT2\0\0\0\x0b\0\0\x03some title", MP3),
    "mp3 joined": seeds.audio("mp3", MP3, sound("MP3", seconds=0.15, seed=1)),
    "aiff": seeds.audio("aiff", sound("AIFF", seconds=0.03)),
}
ARCHIVES = ("tar.gz", "tar.xz", "tar.bz2", "tar", "zip")

KINDS: dict[str, dict[str, Sample]] = {
    "audio": {name: Sample(make, LISTEN) for name, make in RECORDINGS.items()},
    "archives": {
        **{name: Sample(seeds.archive(name), (take_out, take_out, unpack_all, PREPARE), "fr.*") for name in ARCHIVES},
        "listed": Sample(seeds.listed, (take_out,), "[ws]*/**/*"),
        "fetched": Sample(seeds.fetched, (FETCH,), "out/**/*"),
        "mirror": Sample(seeds.mirror, (FETCH,)),
    },
    "corpora": corpora.SAMPLES,
    "subtitles": subtitles.SAMPLES,
    "yaml": {
        "tree": Sample(seeds.tree, (read_text_vocabulary, read_test_set, read_tree), "config.yaml"),
        "release": Sample(seeds.fairseq_encoder, ("st inspect . --json",), "config.yaml"),
    },
    "checkpoints": {
        "training": Sample(
            seeds.training,
            ("st inspect checkpoint.pt", load("checkpoint.pt"), "st convert checkpoint.pt out --to hf", "st average checkpoint.pt checkpoint.pt --out x.pt"),
        ),
        "fairseq": Sample(seeds.own_file, ("st inspect model.pt --json", load("model.pt"), "st convert model.pt out --to hf")),
        "fairseq encoder": Sample(seeds.fairseq_encoder, ("st inspect model.pt --names", "st convert model.pt out --to hf", begin_with_encoder), "model.pt"),
        "fairseq, ctc, old": Sample(seeds.fairseq_ctc, ("st inspect model.pt", "st convert model.pt out.pt --to fairseq"), "model.pt"),
        **{
            f"{name}, {files}": Sample(make, ("st inspect model", load("model"), "st convert model out.pt --to fairseq"), files)
            for name, make in (("folder", seeds.own_folder), ("published", seeds.published), ("ctc", seeds.transformers_ctc))
            for files in ("*", "*.safetensors")
        },
    },
    "tokenizers": {
        "spm": Sample(seeds.tree, (read_text_vocabulary,), "spm.model"),
        "dict": Sample(seeds.tree, (read_text_vocabulary, read_symbols), "dict.txt"),
        "ctc": Sample(seeds.tree, (read_labels,), "ctc_vocab.json"),
        "trim": Sample(seeds.tree, (read_trimmed,), "trim.json"),
        "mbart": Sample(seeds.tree, (trim,), "mbart.model"),
        "lm": Sample(seeds.tree, (read_language_model,), "lm.arpa"),
    },
    "tables": {
        "corpus": Sample(seeds.corpus, (join_tables, join_tables, join_tables, PREPARE), "*.tsv"),
        "manifests": Sample(seeds.tree, (read_tree, read_test_set), "*.tsv"),
    },
    "prepared": {
        "tree": Sample(
            seeds.prepared,
            ("covost verify data", "covost verify data --quick", "covost stats data --json", "covost stats data",
             f"covost prepare {seeds.OPTIONS} --jobs 1"),
            "data/**/*",
        ),
        "shards": Sample(seeds.shards, (f"covost merge {seeds.OPTIONS}",), "data/**/*"),
        "sample": Sample(seeds.sample_folder, (begin_sample,), "sample/*"),
    },
    "partial": {"partial": Sample(seeds.broken_off, (seeds.evaluate_here,), "out/*.jsonl")},
    "hypotheses": {
        "text": Sample(seeds.hypotheses, tuple(line.format("hyp.txt") for line in SCORE), "*p.txt"),
        "references": Sample(seeds.hypotheses, tuple(line.format("hyp.txt") for line in SCORE), "ref.txt"),
        "log": Sample(seeds.hypotheses, tuple(line.format("generate.txt") for line in SCORE), "generate.txt"),
        "table": Sample(
            seeds.hypotheses,
            ("st score --hyp one/hypotheses/fr_en.tsv --target en", "st score --hyp one/hypotheses/fr_en.tsv --target fr --transcripts",
             "st score --hyp one/hypotheses/fr_en.tsv --target ja --transcripts --json", "st compare one two --metrics bleu"),
            "one/**/*.tsv",
        ),
        "latency": Sample(seeds.hypotheses, ("st score --latency instances.log --target en", "st score --latency instances.log --target de --json"), "*.log"),
    },
    "logs": {"log": Sample(seeds.logs, ("st plot . --out out.svg", "st plot log.jsonl train.log --out out.html"))},
}  # fmt: skip
"""Samples by kind."""
