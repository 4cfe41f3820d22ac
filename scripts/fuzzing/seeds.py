"""Valid inputs, small ones, made by the project's own code: each function fills the folder that it is given."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import reference_models as ref
import soundfile
import torch
from omegaconf import OmegaConf
from tone_tree import make_tree
from training_checkpoints import make_model, save_training

from covost.cli import main as covost
from covost.corpus.splits import CorpusLayout
from covost.sample.config import SampleConfig, claim_folder
from fuzzing.trial import Maker
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.formats.transformers.writer import write_transformers
from st.cli import main as st
from st.data.config import DataConfig
from st.data.manifest import SPLITS
from st.evaluation.covost2 import SIZES
from st.evaluation.evaluate import EvaluationConfig, evaluate
from st.evaluation.partial import StoredItem
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses
from st.files import write_json
from st.modules.config import ModelConfig, ctc_heads
from st.modules.model import SpeechTranslator
from st.preparation.stores.spool import fill_spool
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.trimming import trim_sentencepiece
from st.text.vocabulary import TextVocabulary

OPTIONS = "--cv-root cv --directions fr_en --out data --vocab-type char"
ENCODER = make_model(8, 8).config.encoder
SENTENCES = ("bonjour à tous", "le chat dort bien", "il pleut encore", "où est la gare", "merci beaucoup", "à demain")
TRANSLATIONS = ("hello everybody", "the cat sleeps well", "it still rains", "where is the station", "thanks", "bye")


def sound(container: str = "WAV", subtype: str | None = None, *, rate: int = 16_000, channels: int = 1, seed: int = 0,
          seconds: float = 0.1) -> bytes:  # fmt: skip
    """Return a recording of noise."""
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    sink = io.BytesIO()
    soundfile.write(sink, noise, rate, format=container, subtype=subtype)
    return sink.getvalue()


def audio(ending: str, *parts: bytes) -> Maker:
    """Return what writes a recording, or several that are joined."""
    return lambda folder: (folder / f"clip.{ending}").write_bytes(b"".join(parts))


def corpus(folder: Path) -> None:
    """Write six clips in the layout of Common Voice and CoVoST 2."""
    clips = folder / "fr" / "clips"
    clips.mkdir(parents=True)
    splits = ("train", "train", "train", "dev", "test", "train")
    spoken, translated = ["client_id\tpath\tsentence\tup_votes"], ["path\ttranslation\tsplit"]
    for number, (split, text, translation) in enumerate(zip(splits, SENTENCES, TRANSLATIONS, strict=True)):
        (clips / f"c{number}.mp3").write_bytes(sound("MP3", rate=48_000, seed=number, seconds=0.3))
        spoken.append(f"s{number % 2}\tc{number}.mp3\t{text}\t2")
        translated.append(f"c{number}.mp3\t{translation}\t{split}")
    (folder / "fr" / "validated.tsv").write_text("\n".join(spoken) + "\n", encoding="utf-8")
    (folder / "fr" / "covost_v2.fr_en.tsv").write_text("\n".join(translated) + "\n", encoding="utf-8")


def archive(ending: str) -> Maker:
    """Return what writes the same corpus with its clips and their table in an archive."""

    def make(folder: Path) -> None:
        corpus(folder)
        release = folder / "fr"
        paths = [release / "validated.tsv", *sorted(release.glob("clips/*"))]
        (folder / "covost_v2.fr_en.tsv").write_bytes((release / "covost_v2.fr_en.tsv").read_bytes())
        pack(folder / f"fr.{ending}", {f"cv/fr/{path.relative_to(release)}": path.read_bytes() for path in paths})
        shutil.rmtree(release)

    return make


def pack(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an archive whose name tells its kind; without times, so that it is always the same."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def mirror(folder: Path) -> None:
    """Write a mirror of the translation tables."""
    sizes = zip(SPLITS, SIZES["sl_en"], strict=True)
    rows = [f"{split}{number}.mp3\tx\t{split}" for split, size in sizes for number in range(size)]
    table = "\n".join(["path\ttranslation\tsplit", *rows]) + "\n"
    pack(folder / "covost_v2.sl_en.tsv.tar.gz", {"covost_v2.sl_en.tsv": table.encode()})


def prepared(folder: Path, *shards: str) -> None:
    """Prepare the corpus, or shards of it."""
    corpus(folder / "cv")
    with contextlib.chdir(folder):
        for shard in shards or ("",):
            more = ["--shard", shard] if shard else []
            _succeed(covost, ["prepare", *OPTIONS.split(), "--jobs", "1", *more])


def shards(folder: Path) -> None:
    """Prepare two shards, which are not put together yet."""
    prepared(folder, "1/2", "2/2")


def listed(folder: Path) -> None:
    """Write an archive with what preparation keeps of it."""
    archive("tar")(folder)
    _, catalogue = CorpusLayout(cv_root=folder, work=folder / "work").release("fr")
    fill_spool(catalogue, ["c0.mp3", "c1.mp3"], folder / "spool")


def fetched(folder: Path) -> None:
    """Write a mirror, and what was fetched from it."""
    mirror(folder)
    with contextlib.chdir(folder):
        _succeed(covost, ["download", "--out", "out", "--directions", "sl_en", "--mirror", "."])


def sample_folder(folder: Path) -> None:
    """Begin a sample corpus, or go on with one."""
    claim_folder(folder / "sample", SampleConfig(languages=("en", "fr")))


def tree(folder: Path) -> None:
    """Write a tree with few and short recordings, a model to trim, and a language model."""
    make_tree(folder, train=2, dev=2, directions=("de_en",), speakers=1)
    (folder / "mbart.model").write_bytes(ref.make_spm(60))
    _, trimmed = trim_sentencepiece((folder / "mbart.model").read_bytes(), ["speech"], num_appended=3)
    (folder / "trim.json").write_text(trimmed.to_json(), encoding="utf-8")
    (folder / "lm.arpa").write_text(
        "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\t-0.3\n-1.2\t</s>\n-0.9\trot\t-0.2\n"
        "-1.1\tbaum\t-0.1\n\n\\2-grams:\n-0.5\t<s> rot\n-0.4\trot baum\n\n\\end\\\n", encoding="utf-8")  # fmt: skip


def training(folder: Path) -> None:
    """Write a checkpoint of a training, which carries its vocabularies."""
    source = make_tree(folder / "tree", train=1, dev=1, directions=("de_en",), speakers=1)
    sizes = len(TextVocabulary.load(source)), len(CtcVocabulary.load(source / "ctc_vocab.json"))
    save_training(make_model(*sizes), source, folder / "checkpoint.pt")
    shutil.rmtree(source)


def converted(to: str, name: str) -> Maker:
    """Return what writes the checkpoint of a training in another format."""

    def make(folder: Path) -> None:
        training(folder)
        _succeed(st, ["convert", str(folder / "checkpoint.pt"), str(folder / name), "--to", to])
        (folder / "checkpoint.pt").unlink()

    return make


def published(folder: Path) -> None:
    """Write a folder of a translation model as others publish them, without what this project adds."""
    converted("hf", "model")(folder)
    (folder / "model" / "st.json").unlink()


def listener(letters: str = "") -> Exported:
    """Return an encoder, with a CTC head if there are letters."""
    ctc = CtcVocabulary.build({"en": [letters]}) if letters else None
    config = ModelConfig(encoder=ENCODER, heads=ctc_heads(len(ctc) if ctc else 0), parts=("encoder",))
    torch.manual_seed(0)
    state = SpeechTranslator(config).state_dict()
    return Exported(config=config, state=state, text=None, labels={"ctc": ctc} if ctc else {}, data=DataConfig())


def fairseq_encoder(folder: Path, letters: str = "", **save: bool) -> None:
    """Write a file of fairseq, its settings in the classes that fairseq keeps them in, with a config beside it."""
    write_fairseq(listener(letters), folder / "model.pt")
    content = torch.load(folder / "model.pt")
    content |= {"args": argparse.Namespace(**content["cfg"]["model"]), "cfg": OmegaConf.create(content["cfg"])}
    torch.save(content, folder / "model.pt", **save)
    (folder / "config.yaml").write_text(
        "bpe_tokenizer:\n  bpe: sentencepiece\n  sentencepiece_model: /checkpoint/x/spm.model\nprepend_tgt_lang_tag: true\n"
        "sampling_alpha: 1.0\nuse_audio_input: true\nstandardize_audio: true\nvocab_filename: dict.txt\n", encoding="utf-8")  # fmt: skip


def fairseq_ctc(folder: Path) -> None:
    """Write the same with a CTC head, in the format before zip."""
    fairseq_encoder(folder, "a bad cab", _use_new_zipfile_serialization=False)


def transformers_ctc(folder: Path) -> None:
    """Write a folder of ``Wav2Vec2ForCTC``, with all files that its tokenizer may have."""
    write_transformers(listener("a bad cab"), folder / "model")
    tokens = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>"}
    for name, content in (("special_tokens_map", tokens), ("added_tokens", {})):
        write_json(folder / "model" / f"{name}.json", content)


class Echo:
    """Decodes a batch to the same text; breaks off after some batches."""

    def __init__(self, batches: float = float("inf")) -> None:
        """Take the number of batches."""
        self.left = batches

    def decode_batch(self, waveforms: list, target_languages: list, spoken: list) -> list[StoredItem]:  # noqa: ARG002
        """Return texts without looking at the waves."""
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return [StoredItem("rot baum", dict.fromkeys(targets, "red tree")) for targets in target_languages]


def evaluate_here(batches: float = float("inf")) -> None:
    """Evaluate the tree in the folder ``data``, as ``st evaluate`` does with a model."""
    config = EvaluationConfig(normalise=lambda text, *_: text.lower(), subset="dev", batch_size=1, settings={"beam": 1})
    evaluate(Echo(batches), "data", ("de_en",), "out", config)


def broken_off(folder: Path) -> None:
    """Write a small tree and what an evaluation of it had decoded when it was interrupted."""
    make_tree(folder / "data", train=1, dev=3, directions=("de_en",), speakers=1)
    with contextlib.chdir(folder), contextlib.suppress(KeyboardInterrupt):
        evaluate_here(batches=2)


def hypotheses(folder: Path) -> None:
    """Write what two systems said, in each form that is scored, and the log of a simultaneous one."""
    for name, shift in (("one", 0), ("two", 1)):
        said = [TRANSLATIONS[(number + shift * (number % 2)) % 6] for number in range(6)]
        rows = [HypothesisRow(f"c{n}", said[n], TRANSLATIONS[n], SENTENCES[n]) for n in range(6)]
        (folder / name / "hypotheses").mkdir(parents=True)
        write_hypotheses(folder / name / "hypotheses" / "fr_en.tsv", rows)
    (folder / "ref.txt").write_text("\n".join(TRANSLATIONS) + "\n", encoding="utf-8")
    (folder / "hyp.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
    lines = [
        line for n, text in enumerate(said) for line in (f"S-{n}\tx", f"H-{n}\t-0.5\t{text}", f"D-{n}\t-0.5\t{text}")
    ]
    (folder / "generate.txt").write_text("\n".join([*lines, "Generate test with beam=5"]) + "\n", encoding="utf-8")
    records = [{"index": n, "prediction": text, "delays": [float(300 * (i + 1)) for i in range(len(text.split()))],
                "source_length": 3000.0, "reference": TRANSLATIONS[n]} for n, text in enumerate(said)]  # fmt: skip
    (folder / "instances.log").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def logs(folder: Path) -> None:
    """Write the log of a training, resumed once, as this project keeps it and as fairseq prints it."""
    lines = []
    for update in (100, 200, 300, 200, 300, 400):
        train = {"epoch": 1, "train_loss": f"{9 - update / 100}", "train_num_updates": str(update), "train_wall": "12"}
        valid = {"epoch": 1, "valid_loss": f"{8 - update / 100}", "valid_bleu": "3.5", "valid_num_updates": str(update)}
        stamp = f"2024-02-28 10:{update // 100:02}:00"
        lines += [f"{stamp} | INFO | train | {json.dumps(train)}", f"{stamp} | INFO | dev_fr_en | {json.dumps(valid)}"]
    for name in ("log.jsonl", "train.log"):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def blank_model() -> SpeechTranslator:
    """Return a model to begin with the encoder of a checkpoint."""
    return SpeechTranslator(ModelConfig(encoder=ENCODER, parts=("encoder",)))


def _succeed(command: Callable[[list[str]], int], arguments: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        code = command(arguments)
    if code != 0:
        raise RuntimeError(f"{arguments} ended with {code}")


own_folder: Maker = converted("hf", "model")
own_file: Maker = converted("fairseq", "model.pt")
