"""``st convert``: write a model in another format."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from st.commands.shared.options import add_overwrite_argument, add_vocabulary_arguments, number_type

DESCRIPTION = """\
Write a model in another format.

hf: a folder that transformers loads, as what the model is. A recogniser, also one of a training that taught only the CTC
head, becomes a Wav2Vec2ForCTC, which pipeline("automatic-speech-recognition", OUT) opens. A translation model becomes a
SpeechEncoderDecoderModel; if it has a CTC head, OUT/ctc is a Wav2Vec2ForCTC of its own. An encoder becomes a Wav2Vec2Model.
WavLM and w2v-BERT 2.0 become WavLMForCTC, Wav2Vec2BertForCTC, WavLMModel, Wav2Vec2BertModel.
OUT has a card, README.md, with what the model knows of itself; st card adds scores and more, st push sends it to the hub.
A language model in the folder that is converted goes along, or --lm gives one.

fairseq: a .pt file that fairseq loads with --user-dir st, and stock fairseq too if it is an encoder or a recogniser.

onnx: a folder for programs without torch: onnx-asr and sherpa-onnx run it as it is. It has model.onnx (float32), model.int8.onnx,
and the vocabulary. Waves of 16 kHz and their lengths go in, log-probabilities of the CTC head come out; what the model does
to a wave first is inside. A model without a CTC head gives the states of its encoder instead. Needs the extra onnx.

adapter: the adapters and the head of one language (adapter.LANG.safetensors, vocab.json), of MMS or of a training with
--train-adapter, into a folder that may be that of the model.
"""

EXAMPLES = """\
examples:
  st convert checkpoint_best.pt my-model --to hf
  st convert checkpoint_best.pt recogniser --to hf --parts ctc
  st convert checkpoint_best.pt languages --to hf --parts classes
  st convert checkpoint_best.pt recogniser --to hf --lm 4gram.arpa --alpha 0.6 --beta 1.0
  st convert xls_r_300m_21_en.pt my-model --to hf --spm sentencepiece.bpe.model
  st convert checkpoint_best.pt my-int8-model --to hf --dtype int8
  st convert checkpoint_best.pt my-model --to hf --full-vocab mbart50.ft.nn/model.pt
  st convert facebook/mms-1b-all my-model --to hf --lang fra
  st convert checkpoint_best.pt mms-1b-all --to adapter
  st convert checkpoint_best.pt recogniser-onnx --to onnx
  st convert checkpoint_best.pt recogniser-onnx --to onnx --dtype int8
  st convert facebook/wav2vec2-xls-r-300m-21-to-en model.pt --to fairseq --dtype float16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("checkpoint", metavar="IN", help="file, folder or hub id")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for hf, onnx and adapter, file for fairseq")
    parser.add_argument("--to", required=True, choices=("hf", "fairseq", "adapter", "onnx"), help="format to write")
    parser.add_argument(
        "--parts",
        choices=("whole", "ctc", "classes", "encoder"),
        help="what to write: the whole model, its encoder and CTC head, its encoder and the head that classifies, or the encoder "
        "alone (default: whole; with --to hf, ctc if no training has taught the decoder, classes if the model does nothing else; "
        "with --to onnx, ctc if there is such a head, else encoder)",
    )
    parser.add_argument(
        "--dtype",
        type=number_type,
        choices=("float32", "bfloat16", "float16", "int8"),
        help="number type to write; int8, with --to hf: a folder of a quarter of the size for st with --dtype int8, which "
        "transformers does not open (default: that of IN; with --to onnx, float32 and int8, a file each)",
    )
    add_vocabulary_arguments(parser)
    parser.add_argument(
        "--language-id",
        action="append",
        default=[],
        metavar="LANG=ID",
        help="token of a language instead of the usual one, e.g. lv=250017 (default: those of the vocabulary)",
    )
    parser.add_argument(
        "--padding",
        choices=("masked", "fairseq", "transformers"),
        help="treatment of padding that the result is marked with (default: that of IN)",
    )
    parser.add_argument(
        "--full-vocab",
        metavar="ORIGINAL",
        help="for a model trained on a trimmed vocabulary: the checkpoint that its decoder began with, from which the "
        "rows that were cut away are put back (default: keep the trimmed one)",
    )
    parser.add_argument(
        "--lm",
        type=Path,
        metavar="FILE",
        help="with --to hf: n-gram language model of words (ARPA or KenLM binary) for the recogniser, which transformers uses "
        "where pyctcdecode and kenlm are installed",
    )
    parser.add_argument("--alpha", type=float, metavar="X", help="its weight in pyctcdecode (default: 0.5)")
    parser.add_argument("--beta", type=float, metavar="X", help="what pyctcdecode adds for each word (default: 1.5)")
    parser.add_argument(
        "--lang",
        metavar="CODE",
        help="language whose adapters and head a model of MMS shall have; for adapter of a training, its name",
    )
    parser.add_argument("--revision", metavar="COMMIT", help="commit of a hub id (default: main)")
    parser.add_argument("--sha256", metavar="DIGEST", help="digest that the weight file must have; vouches for it")
    add_overwrite_argument(parser, "OUT")


def run(args: argparse.Namespace) -> int:
    """Convert and say what was found."""
    from st.errors import UsageError

    for name in ("lm", "alpha", "beta"):
        if getattr(args, name) is not None and (args.to != "hf" or args.lm is None):
            raise UsageError(f"--{name} needs {'--lm' if args.to == 'hf' else '--to hf'}")
    from st.checkpoints.convert import convert
    from st.checkpoints.vocabularies import VocabularyFiles

    files = VocabularyFiles(
        data_dir=args.data,
        spm=args.spm,
        dictionary=args.dict,
        ctc_vocab=args.ctc_vocab,
        language_ids=_language_ids(args.language_id) or None,
    )
    found = convert(
        args.checkpoint,
        args.out,
        args.to,
        files=files,
        revision=args.revision,
        sha256=args.sha256,
        padding=args.padding,
        dtype=args.dtype,
        overwrite=args.overwrite,
        full_vocab=args.full_vocab,
        parts=args.parts,
        finish=_finish(args) if args.to == "hf" else None,
        language=args.lang,
    )
    sys.stdout.write(f"{args.checkpoint}: {found}; written to {args.out} for {args.to}\n")
    return 0


def _finish(args: argparse.Namespace) -> Callable[[Path], None]:
    """Return what adds a language model, if there is one, and the card to a folder."""
    from st.checkpoints.loading import resolve
    from st.publishing.card import write_card
    from st.publishing.language_model import given_language_model, language_model_of, write_language_model

    weights = {"alpha": args.alpha, "beta": args.beta}
    if args.lm is None:
        model = language_model_of(resolve(args.checkpoint, args.revision)[0])
    else:
        model = given_language_model(args.lm, **weights)

    def finish(folder: Path) -> None:
        if model is not None:
            write_language_model(model, folder)
        write_card(folder, place=args.out)

    return finish


def _language_ids(pairs: list[str]) -> dict[str, int]:
    from st.doors.shown import shown
    from st.errors import UsageError
    from st.text.languages import canonical

    ids: dict[str, int] = {}
    for pair in pairs:
        code, _, number = pair.partition("=")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise UsageError(f"--language-id is {shown(pair)}; expected LANG=ID, such as lv=250017")
        ids[canonical(code)] = int(number)
    return ids
