"""What a model is written over: another model's files are kept, or replaced as a whole, never mixed with the new ones."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import reference_models as ref
import torch

from st import load
from st.checkpoints.convert import convert
from st.cli import main
from st.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """Two models with a CTC head, as transformers saves them: of one shape, with other letters."""
    import transformers

    folders = []
    for seed, symbols in enumerate(("etaoin", "xyzuvw")):
        folder = tmp_path_factory.mktemp(symbols)
        table = ["<pad>", "<s>", "</s>", "<unk>", "|", *symbols]
        config = ref.wav2vec2_config(vocab_size=len(table), pad_token_id=0)
        ref.perturb(transformers.Wav2Vec2ForCTC(config), seed).save_pretrained(folder)
        (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(table)}))
        folders.append(folder)
    return folders


def test_two_ctc_models_in_one_folder_keep_their_own_letters(letters, tmp_path):
    first, second = letters
    convert(first, tmp_path / "one.pt", "fairseq")
    with pytest.raises(UsageError, match=r"dict\.ltr\.txt: exists, with the symbols of another CTC model"):
        convert(second, tmp_path / "two.pt", "fairseq")
    assert not (tmp_path / "two.pt").exists()
    convert(first, tmp_path / "again.pt", "fairseq")
    convert(second, tmp_path / "two.pt", "fairseq", overwrite=True)
    for source, name in ((first, "one.pt"), (second, "two.pt")):
        assert load(tmp_path / name).ctc.symbols == load(source).ctc.symbols
    (tmp_path / "dict.ltr.txt").unlink()
    assert load(tmp_path / "one.pt").ctc.symbols == load(first).ctc.symbols


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_holds_what_one_model_needs_and_other_peoples_files(letters, training, tmp_path):
    _, translator = training
    out = tmp_path / "out"
    kinds = {"translator": translator, "letters": letters[0]}
    fresh = {}
    for kind, source in kinds.items():
        convert(source, tmp_path / kind, "hf")
        fresh[kind] = names(tmp_path / kind)
    out.mkdir()
    (out / "README.md").write_text("mine")
    for kind in ("translator", "letters", "translator"):
        convert(kinds[kind], out, "hf", overwrite=True)
        for name in ("pytorch_model.bin.index.json", "special_tokens_map.json"):
            (out / name).write_text("{}")
        assert names(out) - fresh[kind] == {"README.md", "pytorch_model.bin.index.json", "special_tokens_map.json"}
        assert fresh[kind] <= names(out)
        assert load(out).description == load(tmp_path / kind).description


def test_a_model_may_be_written_over_the_folder_that_it_is_read_from(training, tmp_path):
    model, path = training
    convert(path, tmp_path / "out", "hf")
    convert(tmp_path / "out", tmp_path / "out", "hf", overwrite=True)
    for name, tensor in load(tmp_path / "out").model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


@pytest.mark.parametrize("moves", range(4))
def test_a_folder_that_was_left_half_replaced_does_not_open(letters, training, tmp_path, monkeypatch, moves):
    _, translator = training
    out = tmp_path / "out"
    convert(letters[0], out, "hf")
    done = []
    replace = Path.replace

    def killed(self, target):
        if ".st-new-" not in str(target):
            done.append(target)
            if len(done) > moves:
                raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        convert(translator, out, "hf", overwrite=True)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(out)


@contextmanager
def no_room_beyond(size):
    """Let no file grow beyond so many bytes: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("target", "name", "message"),
    [("fairseq", "out.pt", "cannot be saved: File too large"), ("hf", "out", "File too large")],
)
def test_t09_a_disk_without_room_is_one_sentence_with_the_name(letters, tmp_path, capsys, target, name, message):
    out = tmp_path / name
    with no_room_beyond(20_000):
        code = main(["convert", str(letters[0]), str(out), "--to", target])
    error = capsys.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    assert error.startswith(f"st: error: {out}")
    assert message in error
    assert not names(tmp_path) & {name, f"{name}/config.json"}
    assert not [file for file in names(tmp_path) if "tmp" in file or ".st-new" in file]


def test_a_model_stays_as_it_was_when_the_new_one_cannot_be_written(letters, training, tmp_path, monkeypatch):
    _, translator = training
    out = tmp_path / "out"
    convert(letters[0], out, "hf")
    before = {name: (out / name).read_bytes() for name in names(out)}

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("st.checkpoints.formats.transformers.writer.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        convert(translator, out, "hf", overwrite=True)
    assert {name: (out / name).read_bytes() for name in names(out)} == before
