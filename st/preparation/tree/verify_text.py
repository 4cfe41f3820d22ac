"""Check the manifests of a prepared tree against its stores, its vocabularies and its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from st.data.config import CTC, DataConfig
from st.data.manifest import COLUMNS, TRANSCRIPTS
from st.errors import ManifestError
from st.preparation.stores.verify_stores import CheckedStore
from st.preparation.tree.corpus_index import read_index, translation_rows
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.normalisation import Alphabet
from st.text.vocabulary import TextVocabulary

_SAMPLED_TEXTS = 500


def read_manifest_table(path: Path, more: Sequence[str] = ()) -> pl.DataFrame:
    """Read a manifest without building a row of Python objects for each line.

    Columns may come in any order and others may be present, as for :func:`st.data.manifest.read_manifest`.

    Args:
        path: The file.
        more: Columns that it must have besides: those of heads.

    Raises:
        ManifestError: If it is missing or malformed.
    """
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except FileNotFoundError:
        raise ManifestError(f"{path.name}: missing") from None
    except pl.exceptions.PolarsError as exc:
        raise ManifestError(f"{path.name}: malformed: {str(exc).splitlines()[0]}") from None
    wanted = list(dict.fromkeys((*COLUMNS, *more)))
    if missing := [name for name in wanted if name not in table.columns]:
        raise ManifestError(f"{path.name}: no column {', '.join(missing)}; expected {' '.join(wanted)}")
    return table.select(pl.col(wanted).fill_null(""))


def manifest_key(name: str) -> tuple[str, str, str]:
    """Return split, source and target that a manifest's name says; the target of transcripts is their language."""
    split, languages = name.removeprefix(TRANSCRIPTS).removesuffix(".tsv").split("_", 1)
    if name.startswith(TRANSCRIPTS):
        return split, languages, languages
    source, target = languages.split("_")
    return split, source, target


def slices_table(stores: Sequence[CheckedStore]) -> pl.DataFrame:
    """Return ``audio stored_frames`` of every clip with audio."""
    records = [(store.name, record) for store in stores for record in store.records if record.length]
    return pl.DataFrame(
        {
            "audio": [f"{name}:{record.offset}:{record.length}" for name, record in records],
            "stored_frames": [record.n_frames for _, record in records],
        },
        schema={"audio": pl.String, "stored_frames": pl.Int64},
    )


def check_manifest(name: str, table: pl.DataFrame, slices: pl.DataFrame) -> Iterator[str]:
    """Check rows against the stores and against the name of the manifest."""
    split, source, target = manifest_key(name)
    rows = table.with_row_index("line", 2).join(slices, on="audio", how="left", maintain_order="left")
    untranslated = pl.col("tgt_lang") == ""
    rules = {
        "its audio is no clip of a store": pl.col("stored_frames").is_null(),
        "n_frames differs from the store's table": pl.col("n_frames") != pl.col("stored_frames").cast(pl.String),
        f"its audio is not of {source} {split}": ~pl.col("audio").str.starts_with(f"audio/{source}/{split}.zip:"),
        f"it is not a row from {source} to {target}": (pl.col("src_lang") != source)
        | ~(untranslated | (pl.col("tgt_lang") == target)),
        "its id is there already": ~pl.col("id").is_first_distinct(),
        # A transcript may be empty in dev and test, where it is flagged; a translation may not.
        "its translation is empty": ~untranslated
        & (pl.col("tgt_text") == "")
        & (pl.lit(source != target) | pl.lit(split == "train")),
    }
    for message, rule in rules.items():
        bad = rows.filter(rule)
        if len(bad):
            yield f"{name}:{bad['line'][0]}: {message} ({len(bad)} such rows)"


def check_index(root: Path, num_rows: Mapping[str, int]) -> Iterator[str]:
    """Check that the index tells of as many rows as each manifest has."""
    index = read_index(root)
    kept = translation_rows(index.select("split", "characters", "characters_per_second", "translations"))
    kept = kept.filter(pl.col("reason").is_null())
    spoken = index.filter(pl.col("asr_reason").is_null())
    expected = {
        f"{split}_{name}.tsv": count for name, split, count in kept.group_by("direction", "split").len().iter_rows()
    } | {
        f"{TRANSCRIPTS}{split}_{name}.tsv": count
        for name, split, count in spoken.group_by("language", "split").len().iter_rows()
    }
    for name in sorted(expected.keys() | num_rows.keys()):
        found = num_rows.get(name, 0)
        if found != expected.get(name, 0):
            yield f"{name}: {found} rows, but the index has {expected.get(name, 0)}"


class VocabularyCheck:
    """Checks that every language has its tag, and that the texts of train can be written."""

    def __init__(self, root: Path) -> None:
        """Read the vocabularies of a tree.

        Raises:
            ConfigError: If one is missing or malformed.
        """
        self.config = DataConfig.load(root)
        self.text = TextVocabulary.load_if_any(root)
        # Heads of kind ctc spell; read without the table of heads, which loads torch.
        self.spelling = {
            name: CtcVocabulary.load(root / head.vocab_filename)
            for name, head in self.config.head_data.items()
            if head.kind == "ctc"
        }
        # mBART-50's model need not cover every character; one trained on the corpus does.
        self.complete = self.config.lang_tag_format == DataConfig().lang_tag_format

    def check(self, name: str, table: pl.DataFrame) -> Iterator[str]:
        """Check one manifest."""
        split, *languages = manifest_key(name)
        untagged = sorted(set(languages) - set(self.text.languages)) if self.text is not None else []
        if untagged:
            yield f"{self.config.vocab_filename}: no language tag for {' '.join(untagged)} of {name}"
        if split != "train":
            return
        for head in self.spelling:
            # Of transcripts, those of their own manifests count: they hold every clip.
            if head != CTC or name.startswith(TRANSCRIPTS):
                yield from self._check_labels(name, table, languages[0], head)
        if self.text is not None and self.complete and not name.startswith(TRANSCRIPTS):
            for sentence in table["tgt_text"].gather_every(max(1, len(table) // _SAMPLED_TEXTS)):
                if self.text.unk in self.text.encode(sentence):
                    yield f"{self.config.vocab_filename}: cannot write {sentence!r} of {name}"
                    break

    def _check_labels(self, name: str, table: pl.DataFrame, language: str, head: str) -> Iterator[str]:
        """Check that a head that spells has the letters of its texts."""
        vocabulary, data = self.spelling[head], self.config.head_data[head]
        unknown = _characters(vocabulary.alphabet, table[data.column], language) - set(vocabulary.symbols) - {" "}
        if unknown:
            yield f"{data.vocab_filename}: lacks {' '.join(sorted(unknown))[:80]} of {name}"


def _characters(alphabet: Alphabet, texts: pl.Series, language: str) -> set[str]:
    """Return the characters of texts as labels have them; many at once, which takes a tenth of the time."""
    found = set[str]()
    for start in range(0, len(texts), 10_000):
        found |= alphabet.characters(texts[start : start + 10_000], language)
    return found
