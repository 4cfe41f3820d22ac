"""Full-size tables: a corpus of the true size of all 36 directions, without audio, through ``covost prepare``.

Sentences are words drawn by Zipf's law from a lexicon of the right script; recordings are empty files, and the stores
say that each of them was decoded, so that everything but decoding happens: splits, joins, filters, manifests,
vocabularies, index and report.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from st.evaluation.covost2 import CODES, SIZES, covost_directions
from st.preparation.stores.store import INDEX_HEADER, StoreRecord, local_header, store_size
from st.text.languages import language, split_direction

SCRIPTS = {
    "Latn": "aaabcdeeefghiijklmnoopqrstuuvwxyzäéñõčšżı",
    "Cyrl": "ааабвгдеежзиийклмноопрстууфхцчшщъыьэюя",
    "Arab": "ااابتثجحخدذرزسشصضطظعغفقكلمنهويپچگک",
    "Taml": "அஆஇஈஉஊஎஏஐகஙசஞடணதநபமயரலவழளறனாிீுூெேைொோ",
    "Hans": "".join(map(chr, range(0x4E00, 0x5800))),
    "Jpan": "".join(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), *range(0x4E00, 0x5200)))),
}
SPACELESS = {"Hans", "Jpan"}
WORDS, WORDS_PER_SENTENCE = 30_000, (4, 16)
SPLITS = ("train", "dev", "test")


def sentences(code: str, seed: int, count: int) -> Iterator[str]:
    """Draw sentences of a language; the lexicon is the same for every seed."""
    script = language(code).script
    longest, joint = (3, "") if script in SPACELESS else (11, " ")
    rng = random.Random(f"lexicon {code}")
    lexicon = ["".join(rng.choices(SCRIPTS[script], k=rng.randint(1, longest))) for _ in range(WORDS)]
    weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
    rng = random.Random(f"sentences {code} {seed}")
    supply: list[str] = []
    for _ in range(count):
        if len(supply) < WORDS_PER_SENTENCE[1]:
            supply = rng.choices(lexicon, cum_weights=weights, k=1 << 16)
        length = rng.randint(*WORDS_PER_SENTENCE)
        words, supply[-length:] = supply[-length:], []
        yield joint.join(words).capitalize() + "."


def write_table(path: Path, header: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """Write a TSV table."""
    with path.open("w", encoding="utf-8") as handle:
        handle.write("\t".join(header) + "\n")
        handle.writelines("\t".join(row) + "\n" for row in rows)


def make_language(root: Path, out: Path, code: str) -> int:
    """Write tables, empty recordings and finished stores of a spoken language; return how many clips it has."""
    directions = [name for name in SIZES if split_direction(name)[0] == code]
    sizes = SIZES[directions[0]]
    names = [f"common_voice_{code}_{number + 17_000_000}.mp3" for number in range(sum(sizes))]
    random.Random(code).shuffle(names)
    splits = [split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
    folder = root / code
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / "clips" / name).touch()
    texts = list(sentences(code, 0, len(names)))
    speakers = (f"{code}{number % 5000:0126x}" for number in range(len(names)))
    rows = (
        (speaker, name, text, "2", "0", "", "", "") for speaker, name, text in zip(speakers, names, texts, strict=True)
    )
    header = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent")
    write_table(folder / "validated.tsv", header, rows)
    for seed, direction in enumerate(directions, start=1):
        translations = sentences(split_direction(direction)[1], 1000 * seed + len(names), len(names))
        table = zip(names, translations, splits, strict=True)
        write_table(folder / f"covost_v2.{direction}.tsv", ("path", "translation", "split"), table)
    frames = {name: 12_000 + 1_100 * len(text) for name, text in zip(names, texts, strict=True)}
    for split in SPLITS:
        make_store(
            out / "audio" / code, split, sorted(n for n, s in zip(names, splits, strict=True) if s == split), frames
        )
    return len(names)


def make_store(folder: Path, split: str, clips: Sequence[str], frames: dict[str, int]) -> None:
    """Write the index of a store and, as a hole that takes no room on disk, a zip of the size it tells of."""
    folder.mkdir(parents=True, exist_ok=True)
    records, end = [], 0
    for clip in clips:
        length = frames[clip]
        offset = end + len(local_header(clip, 0, length))
        records.append(StoreRecord(clip, offset, length, 0, frames[clip], "ok", "", 0, 0))
        end = offset + length
    with (folder / f"{split}.zip").open("wb") as handle:
        handle.truncate(store_size(records))
    # Recordings must be older than the index, or they are read again.
    (folder / f"{split}.index.tsv").write_text(INDEX_HEADER + "".join(r.to_line() for r in records), encoding="utf-8")


MEASURED = """\
import sys
from covost.cli import main
from st.memory import peak_memory
if (code := main(sys.argv[1:])) == 0:
    print(peak_memory())
sys.exit(code)
"""


def measured(arguments: Sequence[str]) -> tuple[float, float]:
    """Run ``covost *arguments`` in a process of its own; return its seconds, and the peak of its own memory in GB."""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", MEASURED, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - start, int(run.stdout.split()[-1]) / 1e9


def run_tables(work: Path, directions: str, extra: Sequence[str]) -> list[str]:
    """Make the corpus unless it is there, and measure its preparation in a process of its own."""
    corpus, out = work / "corpus", work / "data"
    if not (work / "complete").exists():
        for code in CODES:
            clips = make_language(corpus, out, code)
            print(f"{code}: {clips} clips", file=sys.stderr, flush=True)
        (work / "complete").touch()
    # Everything but the stores is made anew.
    for leftover in (path for path in out.iterdir() if path.is_file()):
        leftover.unlink()
    seconds, peak = measured(
        ["prepare", "--cv-root", str(corpus), "--directions", directions, "--out", str(out), "--jobs", "1", *extra]
    )
    rows = sum(sum(SIZES[direction]) for direction in covost_directions(directions))
    return [
        f"{rows} rows of translations; {os.cpu_count()} cores",
        "",
        f"covost prepare --directions {directions} {' '.join(extra)}: {seconds:.1f} s, {peak:.2f} GB at most",
    ]
