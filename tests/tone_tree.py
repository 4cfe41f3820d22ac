"""A prepared tree made in a moment: sentences of a few words, each word a tone."""

import numpy as np

from st.audio.reading import encode_flac
from st.data.config import DataConfig
from st.data.manifest import ManifestRow, write_manifest
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.languages import join_sentences
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces, train_sentencepiece

WORDS = {
    "en": ("red", "tree", "runs", "fast", "home", "now"),
    "de": ("rot", "Baum", "läuft", "schnell", "heim", "jetzt"),
    "zh-CN": ("红", "树", "跑", "快", "家", "今"),
}
WORD_SECONDS = 0.3


def wave(words, generator):
    """Return the tones of words, with a little noise: float32 at 16 kHz."""
    time = np.arange(round(WORD_SECONDS * 16000)) / 16000
    tones = [0.4 * np.sin(2 * np.pi * (250 + 260 * word) * time) * np.hanning(len(time)) for word in words]
    samples = np.concatenate(tones)
    return (samples + 0.003 * generator.standard_normal(len(samples))).astype(np.float32)


def make_tree(
    folder,
    *,
    train=12,
    dev=4,
    directions=("de_en", "en_de", "en_zh-CN"),
    speakers=3,
    seed=0,
    vocabulary=WORDS,
    declared=None,
    vocab_type="char",
):
    """Write a tree.

    ``train`` and ``dev`` are utterances per spoken language, or a mapping of language to number; ``vocabulary`` has six
    words of each language; ``declared`` is what the config says of languages.
    """
    config = DataConfig(directions=tuple(directions), languages=declared or {})
    generator = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    rows = {}
    for split, number in (("train", train), ("dev", dev), ("test", dev)):
        for language in sorted({direction.split("_")[0] for direction in directions}):
            count = number if isinstance(number, int) else number[language]
            for index in range(count):
                words = generator.integers(0, 6, int(generator.integers(3, 8)))
                name = f"{split}_{language}_{index}"
                samples = wave(words, generator)
                (folder / "audio" / f"{name}.flac").write_bytes(encode_flac(samples))
                for direction in directions:
                    source, target = direction.split("_")
                    if source == language:
                        rows.setdefault(f"{split}_{direction}", []).append(
                            ManifestRow(
                                name,
                                f"audio/{name}.flac",
                                len(samples),
                                sentence(words, target, vocabulary),
                                f"speaker{index % speakers}",
                                sentence(words, source, vocabulary),
                                source,
                                target,
                            )
                        )
    for name, table in rows.items():
        write_manifest(folder / f"{name}.tsv", table)
    texts = [row.tgt_text for table in rows.values() for row in table]
    texts += [" ".join(words) for words in vocabulary.values()]
    spm = train_sentencepiece(texts, vocab_type=vocab_type)
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(vocabulary)), encoding="utf-8")
    CtcVocabulary.build({language: [" ".join(words)] for language, words in vocabulary.items()}).save(
        folder / "ctc_vocab.json"
    )
    config.save(folder)
    return folder


def sentence(words, language, vocabulary=WORDS):
    return join_sentences([vocabulary[language][word] for word in words], language)
