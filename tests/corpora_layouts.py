"""Tiny corpora in their published layouts, with the traps of each planted, and the rows that must be read from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from corpora_planted import Row, lines, put, sound, tar_of


def fleurs(root: Path) -> list[Row]:
    """No header, quotes, several speakers of a sentence, a packed split, and a sentence in different splits of two languages."""
    sentences = {
        ("fr_fr", "train"): [("1", "a.wav", 'Il dit "non', "il dit non"), ("1", "b.wav", 'Il dit "non', "il dit non")],
        ("fr_fr", "test"): [("7", "c.wav", "Sept.", "sept")],
        ("cmn_hans_cn", "train"): [("1", "d.wav", "他说不。", "他说不"), ("7", "e.wav", "七。", "七")],
    }
    planted = []
    for (name, split), rows in sentences.items():
        place = root / name
        table = [(number, file, raw, plain, "|".join(plain) + "|", "3200", "MALE") for number, file, raw, plain in rows]
        put(place / f"{split}.tsv", lines(table))
        for _, file, raw, _ in rows:
            packed = split == "test"
            if packed:
                put(place / "audio" / "test.tar.gz", tar_of({f"test/{file}": sound()}))
            else:
                put(place / "audio" / split / file, sound())
            audio = f"{name}/audio/{split}{'.tar.gz#test' if packed else ''}/{file}"
            planted.append((name, split, audio, f"{name}/audio/{split}/{file[:-4]}", raw))
    other = {"a.wav": "他说不。", "b.wav": "他说不。", "d.wav": 'Il dit "non'}
    codes = {"fr_fr": ("fr", "zh-CN"), "cmn_hans_cn": ("zh-CN", "fr")}
    return [
        Row(
            audio,
            utterance,
            split=split,
            src_lang=codes[name][0],
            transcript=raw,
            translations={codes[name][1]: other.get(Path(audio).name)},
        )
        for name, split, audio, utterance, raw in planted
    ]


def mls(root: Path) -> list[Row]:
    """FLAC beside opus at 48 kHz, opus alone, ``|`` in the notes on speakers, and limited supervision."""
    rows = []
    for language, code, opus in (("german", "de", False), ("polish", "pl", True)):
        place = root / f"mls_{language}{'_opus' if opus else ''}"
        put(place / "metainfo.txt", "SPEAKER | GENDER | PARTITION | MINUTES | BOOK ID | TITLE | CHAPTER\n")
        for split in ("train", "dev", "test"):
            books = {"train": ["10_20_000000", "10_20_000001"], "dev": ["30_40_000002"], "test": ["50_60_000003"]}
            names = [f"{language[0]}{name}" for name in books[split]]
            texts = {name: f"wort {name}" for name in names}
            put(place / split / "transcripts.txt", lines(texts.items()))
            put(place / split / "segments.txt", lines((name, "http://x", "1.5", "2.5") for name in names))
            for name, text in texts.items():
                speaker, book, _ = name.split("_")
                audio = f"{split}/audio/{speaker}/{book}/{name}.{'opus' if opus else 'flac'}"
                put(place / audio, sound(kind="OPUS", rate=48_000) if opus else sound(kind="FLAC"))
                rows.append(Row(f"{place.name}/{audio}", name, None, None, split, speaker, code, text))
        put(place / "train/limited_supervision/1hr/0/handles.txt", f"{language[0]}10_20_000001\n")
    put(root / "mls_german_opus/train/transcripts.txt", "g10_20_000000\twort g10_20_000000\n")
    return rows


VOXPOPULI = [
    # id, raw, normalised, split
    ("20131007-0900-PLENARY-19-en_20131007-21:26:04_3", 'He said "no', "he said no", "train"),
    ("20140512-0900-PLENARY-01-en_20140512-09:00:10_0", "", "raw text is missing", "dev"),
]


def voxpopuli(root: Path) -> list[Row]:
    """Colons in names, transcripts without their raw form, an unmatched quote."""
    place = root / "transcribed_data" / "en"
    header = ["id", "raw_text", "normalized_text", "speaker_id", "split", "gender", "is_gold_transcript", "accent"]
    rows = []
    for name, raw, plain, split in VOXPOPULI:
        put(place / f"asr_{split}.tsv", lines([header, (name, raw, plain, "96779", split, "male", "True", "None")]))
        put(place / name[:4] / f"{name}.ogg", sound(kind="OGG"))
        audio = f"transcribed_data/en/{name[:4]}/{name}.ogg"
        rows.append(Row(audio, name, None, None, split, "96779", "en", raw or plain))
    return rows


def voxpopuli_sessions(root: Path) -> list[Row]:
    """The published table: gzip, ``|`` between columns, and lists of Python in one of them."""
    header = [
        "session_id",
        "id_",
        "original_text",
        "normed_text",
        "speaker_id",
        "split",
        "gender",
        "start_time",
        "end_time",
        "vad",
    ]
    session = "20131007-0900-PLENARY-19-en"
    vad = "[(0.0, 0.5), (__import__('os').getpid(), 1.0)]"
    table = [
        (session, "20131007-21:26:04_3", 'He said "no', "he said no", "7", "train", "male", "0.25", "1.5", vad),
        (session, "20131007-21:26:09_4", "", "then yes", "7", "train", "male", "1.5", "2.0", "[]"),
    ]
    put(root / "transcribed_data/en/asr_en.tsv.gz", gzip.compress(lines([header, *table], "|").encode()))
    audio = f"raw_audios/original/2013/{session}_original.ogg"
    put(root / audio, sound(2.0, "OGG"))
    return [
        Row(audio, f"{session}-{row[1]}", float(row[7]), float(row[8]), "train", "7", "en", row[2] or row[3])
        for row in table
    ]


def mustc(root: Path) -> list[Row]:
    """Two test sets, U+2028 in a line, an empty last line, more keys than three, a speaker that looks like a number."""
    rows = []
    for split, ours in (("train", "train"), ("dev", "dev"), ("tst-COMMON", "test"), ("tst-HE", None)):
        place = root / "en-de" / "data" / split
        segments = [(0.5, 1.0, "one\u2028more", "eins"), (1.5, 0.25, "two", "")]
        entries = "".join(
            f"- {{duration: {length}, offset: {start}, rW: 1, uW: 0, speaker_id: 007, wav: ted_{split}.wav}}\n"
            for start, length, *_ in segments
        )
        put(place / "txt" / f"{split}.yaml", entries)
        for number, code in enumerate(("en", "de"), start=2):
            put(place / "txt" / f"{split}.{code}", "".join(f"{segment[number]}\n" for segment in segments))
        put(place / "wav" / f"ted_{split}.wav", sound(2.0))
        talk = f"en-de/data/{split}/wav/ted_{split}"
        rows += [
            Row(
                f"{talk}.wav",
                f"{talk}_{number}",
                start,
                start + length,
                ours,
                "007",
                "en",
                text.replace("\u2028", " "),
                {"de": translation or None},
            )
            for number, (start, length, text, translation) in enumerate(segments)
            if ours
        ]
    return rows


def mtedx(root: Path) -> list[Row]:
    """``.flac`` behind ``.wav`` in a YAML in block style, and ``valid`` for dev."""
    rows = []
    for split, ours in (("train", "train"), ("valid", "dev")):
        place = root / "pt-es" / "data" / split
        put(place / "txt" / f"{split}.yaml", "- duration: 1.0\n  offset: 0.5\n  speaker_id: s\n  wav: talk.wav\n")
        put(place / "txt" / f"{split}.pt", "um\n")
        put(place / "txt" / f"{split}.es", "uno\n")
        put(place / "wav" / "talk.flac", sound(2.0, "FLAC"))
        audio = f"pt-es/data/{split}/wav/talk.flac"
        rows.append(Row(audio, audio[:-5], 0.5, 1.5, ours, "s", "pt", "um", {"es": "uno"}))
    return rows


def iwslt(root: Path) -> list[Row]:
    """No pair in a folder's name, a cased text beside the plain one, and a test without texts."""
    rows = []
    for split, ours, texts in (("train", "train", True), ("valid", "dev", True), ("test", "test", False)):
        place = root / split
        put(place / "txt" / f"{split}.yaml", "- {duration: 1.5, offset: 0.0, speaker_id: MANUEL, wav: q0.wav}\n")
        put(place / "wav" / "q0.wav", sound(1.5))
        if texts:
            for ending, text in (("que", "imaynalla"), ("spa", "hola"), ("spa.tc", "Hola.")):
                put(place / "txt" / f"{split}.{ending}", f"{text}\n")
        told = {"transcript": "imaynalla", "translations": {"es": "hola"}} if texts else {"translations": {"es": None}}
        rows.append(Row(f"{split}/wav/q0.wav", None, 0.0, 1.5, ours, "MANUEL", "que", **told))
    return rows


def europarl(root: Path) -> list[Row]:
    """Recordings converted from M4A, one segment in two pairs, and noisy segments."""
    put(root / "fr/audios/talk.flac", sound(3.0, "FLAC"))
    for target, texts in (("en", ["good", "day"]), ("de", ["gut"])):
        for split in ("train", "train-noisy"):
            place = root / "fr" / target / split
            put(place / "segments.lst", lines([("talk", "0.5", "1.0"), ("talk", "1.0", "2.5")][: len(texts)], " "))
            put(place / "segments.fr", "".join(f"{text}\n" for text in ["bon", "jour"][: len(texts)]))
            put(place / f"segments.{target}", "".join(f"{text}\n" for text in texts))
    talk = "fr/audios/talk"
    return [
        Row(f"{talk}.flac", f"{talk}_0", 0.5, 1.0, "train", None, "fr", "bon", {"en": "good", "de": "gut"}),
        Row(f"{talk}.flac", f"{talk}_1", 1.0, 2.5, "train", None, "fr", "jour", {"en": "day", "de": None}),
    ]


def kaldi(root: Path) -> list[Row]:
    """Segments with -1 for the end, names of recordings from the data folder, ESPnet's texts by case."""
    place = root / "data" / "train"
    put(place / "wav.scp", "talk talk.wav\n")
    put(place / "segments", "u1 talk 0.00 0.50\nu2 talk 0.50 -1\nlost other 0 1\n")
    put(place / "text", "u1 bonjour à  tous\nu2\n")
    put(place / "utt2spk", "u1 s1\nu2 s1\n")
    put(place / "text.lc.de", "u1 hallo\nu2 ja\n")
    put(place / "text.tc.de", "u1 Hallo\nu2 Ja\n")
    put(place / "talk.wav", sound(1.0))
    audio = "data/train/talk.wav"
    return [
        Row(audio, "u1", 0.0, 0.5, "train", "s1", "fr", "bonjour à  tous", {"de": "Hallo"}),
        Row(audio, "u2", 0.5, None, "train", "s1", "fr", None, {"de": "Ja"}),
    ]


def audiofolder(root: Path) -> list[Row]:
    """A quoted field of two lines, ``validation`` for dev, and splits told by folders alone."""
    text = 'file_name,transcription,translation_de\ntrain/a.wav,"one,\n""two""",eins\nvalidation/b.wav,three,\n'
    put(root / "metadata.csv", text)
    put(root / "train/a.wav", sound())
    put(root / "validation/b.wav", sound())
    return [
        Row("train/a.wav", split="train", src_lang="en", transcript='one, "two"', translations={"de": "eins"}),
        Row("validation/b.wav", split="dev", src_lang="en", transcript="three", translations={"de": None}),
    ]


def hugging_face(root: Path) -> list[Row]:
    """Parquet shards with the bytes of recordings, beside lists and numbers."""
    rows = []
    for shard, (split, ours) in enumerate((("validation", "dev"), ("validation", "dev"), ("train", "train"))):
        path = f"data/{split}-0000{shard}-of-00002.parquet"
        audio = [{"bytes": sound(), "path": f"{shard}{number}.wav"} for number in range(2)]
        (root / "data").mkdir(parents=True, exist_ok=True)
        table = {"audio": audio, "sentence": [f"s{shard}0", f"s{shard}1"], "words": [["a"], []], "up_votes": [2, 3]}
        features = {"info": {"features": {"audio": {"_type": "Audio", "sampling_rate": 16_000}}}}
        pl.DataFrame(table).write_parquet(root / path, metadata={"huggingface": json.dumps(features)})
        rows += [
            Row(f"{path}#{number}", f"{path}#{number}", split=ours, src_lang="en", transcript=f"s{shard}{number}")
            for number in range(2)
        ]
    return rows


CV_17 = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
)


def common_voice(root: Path) -> list[Row]:
    """The columns since 17, several domains in one field, and an escaped quote."""
    place = root / "cv-corpus-25.0-2026-03-09" / "sv-SE"
    rows = []
    for split in ("train", "dev", "test"):
        clip = f"common_voice_sv-SE_{len(split)}{split}.mp3"
        table = [CV_17.split(), ("s1", clip, "h", rf"Hon sa \"ja\" {split}", "a,b", *"20", "", "", "", "", "sv-SE", "")]
        put(place / f"{split}.tsv", lines(table))
        put(place / "clips" / clip, sound(kind="MP3"))
        audio = f"cv-corpus-25.0-2026-03-09/sv-SE/clips/{clip}"
        rows.append(Row(audio, clip[:-4], None, None, split, "s1", "sv-SE", f'Hon sa "ja" {split}'))
    return rows


def covost(root: Path) -> list[Row]:
    """Two directions of one language with different splits of a clip, and a clip that ``validated.tsv`` has twice."""
    clips = [f"common_voice_en_{number}.mp3" for number in range(3)]
    for clip in clips:
        put(root / "en/clips" / clip, sound(kind="MP3"))
    table = [("client_id", "path", "sentence"), *(("s", clip, f"word {clip[-5]}") for clip in [*clips, clips[0]])]
    put(root / "en/validated.tsv", lines(table))
    header = ("path", "translation", "split")
    german = [(clips[0], "null", "train"), (clips[1], "eins", "test"), (clips[2], "zwei", "dev_covost")]
    chinese = [(clips[0], "零", "train_covost"), (clips[1], "一", "train"), ("lost.mp3", "二", "train")]
    put(root / "en/covost_v2.en_de.tsv", lines([header, *german]))
    put(root / "en/covost_v2.en_zh-CN.tsv", lines([header, *chinese]))
    planted = [
        ("train", clips[0], {"de": "null", "zh-CN": "零"}),
        ("test", clips[1], {"de": "eins", "zh-CN": None}),
        ("train", clips[1], {"de": None, "zh-CN": "一"}),
    ]
    return [
        Row(f"en/clips/{clip}", clip[:-4], None, None, split, "s", "en", f"word {clip[-5]}", translations)
        for split, clip, translations in planted
    ]


def lhotse_recording(name: str, source: str, **changes: Any) -> dict[str, Any]:
    source_of = {"type": "file", "channels": [0], "source": source} | changes.pop("source_changes", {})
    return {
        "id": name,
        "sources": [source_of],
        "sampling_rate": 16_000,
        "num_samples": 32_000,
        "duration": 2.0,
    } | changes


def lhotse(root: Path) -> list[Row]:
    """Packed manifests; what is no file, one channel of two, and a recording that is not listed."""
    return [row for split in ("train", "dev") for row in _lhotse_split(root, split)]


def _lhotse_split(root: Path, split: str) -> list[Row]:
    audio = f"{split}/a.wav"
    recordings = [
        lhotse_recording("r1", audio),
        lhotse_recording("r2", f"{split}/b.wav"),
        lhotse_recording("two", audio, source_changes={"channels": [0, 1]}),
        lhotse_recording("run", "touch planted |", source_changes={"type": "command"}),
        lhotse_recording("fast", audio, transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}]),
    ]
    piece = {"channel": 0, "language": "Spanish", "speaker": "s"}
    supervisions = [
        piece | {"id": "u1", "recording_id": "r1", "start": 0.0, "duration": 2.0, "text": "hola"},
        piece | {"id": "u2", "recording_id": "r2", "start": 0.5, "duration": 1.0, "text": "sí", "language": ["es"]},
        *(
            piece | {"id": name, "recording_id": name, "start": 0, "duration": 1}
            for name in ("two", "run", "fast", "lost")
        ),
    ]
    supervisions[1]["custom"] = {"translated_text": {"en": "yes"}}
    for kind, objects in (("recordings", recordings), ("supervisions", supervisions)):
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects)
        put(root / f"corpus_{kind}_{split}.jsonl.gz", gzip.compress(text.encode()))
    for name in "ab":
        put(root / f"{split}/{name}.wav", sound(2.0))
    return [
        Row(audio, "u1", None, None, split, "s", "es", "hola", {"en": None}),
        Row(f"{split}/b.wav", "u2", 0.5, 1.5, split, "s", "es", "sí", {"en": "yes"}),
    ]


def text_files(root: Path) -> list[Row]:
    """Names with dots, translations with and without ``.txt``, and a recording without a text."""
    for name in ("train/a.1", "test/b"):
        put(root / f"{name}.wav", sound())
    put(root / "train/a.1.txt", "\ufeffun deux\n")
    put(root / "train/a.1.de.txt", "eins zwei\n")
    put(root / "test/b.txt", "trois")
    put(root / "test/b.de", "drei")
    put(root / "train/number.one.wav", sound())
    put(root / "train/number.one.txt", "numéro un")
    put(root / "train/alone.wav", sound())
    return [
        Row("train/a.1.wav", split="train", src_lang="fr", transcript="un deux", translations={"de": "eins zwei"}),
        Row("train/number.one.wav", split="train", src_lang="fr", transcript="numéro un"),
        Row("test/b.wav", split="test", src_lang="fr", transcript="trois", translations={"de": "drei"}),
    ]


LAYOUTS: dict[str, tuple[str, Callable[[Path], list[Row]], dict[str, Any]]] = {
    "fleurs": ("fleurs", fleurs, {}),
    "mls": ("mls", mls, {}),
    "voxpopuli": ("voxpopuli", voxpopuli, {}),
    "voxpopuli-sessions": ("voxpopuli", voxpopuli_sessions, {}),
    "mustc": ("mustc", mustc, {}),
    "mtedx": ("mustc", mtedx, {}),
    "iwslt": ("mustc", iwslt, {"language": "que"}),
    "europarl": ("europarl", europarl, {}),
    "kaldi": ("kaldi", kaldi, {"language": "fr"}),
    "audiofolder": ("audiofolder", audiofolder, {"language": "en"}),
    "parquet": ("parquet", hugging_face, {"language": "en"}),
    "commonvoice": ("commonvoice", common_voice, {}),
    "covost": ("covost", covost, {}),
    "lhotse": ("lhotse", lhotse, {}),
    "textfiles": ("textfiles", text_files, {"language": "fr"}),
}
"""By name: the source, what writes it, and the options that it is to be read with."""
