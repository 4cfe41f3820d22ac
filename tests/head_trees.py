"""What tests of heads change in a prepared tree: columns of its manifests, heads of its config, rows without a text."""

import dataclasses

from st.data.config import DataConfig
from st.text.ctc_vocabulary import CtcVocabulary


def edit_manifests(folder, change, pattern="*_*.tsv"):
    """Replace each row of the manifests by what ``change`` returns for it, a table of columns; None drops the row."""
    for path in sorted(folder.glob(pattern)):
        header, *lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [change(dict(zip(header, line, strict=True))) for line in lines]
        rows = [row for row in rows if row is not None]
        table = [list(rows[0]), *(list(row.values()) for row in rows)]
        path.write_text("".join("\t".join(line) + "\n" for line in table), encoding="utf-8")


def declare_heads(folder, **heads):
    """Add heads to ``config.yaml``."""
    dataclasses.replace(DataConfig.load(folder), heads=heads).save(folder)


def add_phones(folder, layer=1):
    """Give a tree a second CTC head: each word is pronounced by its first letter, twice, and its last one."""

    def pronounced(row):
        phones = " ".join(word[0].lower() * 2 + word[-1].lower() for word in row["src_text"].split())
        return row | {"phones": phones}

    edit_manifests(folder, pronounced)
    CtcVocabulary.build({"de": ["rot Baum läuft schnell heim jetzt"], "en": ["red tree runs fast home now"]}).save(
        folder / "phones.json"
    )
    declare_heads(folder, phones={"kind": "ctc", "vocab_filename": "phones.json", "column": "phones", "layer": layer})
    return folder


def without_translation(row):
    """Return a row of a transcript only."""
    return row | {"tgt_text": "", "tgt_lang": ""}


def without_any_text(row):
    """Return a row of a recording alone."""
    return without_translation(row) | {"src_text": ""}
