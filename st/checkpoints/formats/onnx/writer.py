"""Write a recogniser, or an encoder alone, as a graph of ONNX that onnx-asr and sherpa-onnx run.

A folder has ``model.onnx`` in float32, ``model.int8.onnx``, for onnx-asr ``config.json`` and ``vocab.txt``, for sherpa-onnx
``tokens.txt``. Weights of more than 2 GB, the most that a file of protobuf holds, are beside a graph in ``….onnx.data``.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from st import __version__
from st.audio.reading import SAMPLE_RATE
from st.checkpoints.assemble import build_model
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.new_folder import move_up, new_folder, remove_broken_off
from st.checkpoints.formats.onnx.graph import ANY_LENGTH, LENGTHS, CtcGraph, EncoderGraph, trace
from st.checkpoints.formats.transformers.encoder_writer import CONFIG_FILENAME
from st.errors import CheckpointError, UsageError
from st.text.ctc_vocabulary import WORD_DELIMITER, CtcVocabulary

GRAPHS = {"float32": "model.onnx", "int8": "model.int8.onnx"}
"""Files by the numbers of their products."""
VOCAB_FILENAMES = ("vocab.txt", "tokens.txt")
"""onnx-asr's and sherpa-onnx's names of the same file."""
DATA_SUFFIX = ".data"
MODEL_TYPE = "wav2vec2-ctc"
"""What onnx-asr calls models that read waves and write log-probabilities of CTC."""
LARGEST_FILE = 2**31 - 2**20
"""Bytes of weights in a file of protobuf, with room for the graph."""
BLANK_SYMBOL, SPACE = "<blk>", "\u2581"
PAGE = 4096
"""Bytes that weights in a file of their own begin at multiples of."""

_FILES = (*(f"{name}*" for name in GRAPHS.values()), *VOCAB_FILENAMES, CONFIG_FILENAME)


def write_onnx(
    model: Exported,
    folder: Path | str,
    *,
    dtype: str | None = None,
    overwrite: bool = True,
    largest_file: int = LARGEST_FILE,
) -> None:
    """Write a folder.

    Args:
        model: A recogniser, as :func:`st.checkpoints.formats.exported.ctc_part` makes it, or an encoder alone.
        folder: Made if missing.
        dtype: ``float32`` or ``int8``; None for both.
        overwrite: Whether the files of such a model that is there may be replaced; other files stay in any case.
        largest_file: Bytes of weights from which on they are in a file of their own.

    Raises:
        CheckpointError: If the model has parts that are neither encoder nor CTC head.
        UsageError: If there is no such type, files may not be replaced, or the folder has a model of another kind.
        ModuleNotFoundError: If ``onnx``, or for int8 ``onnxruntime``, is not installed.
        OSError: If a file cannot be written; what was there is as it was.
    """
    folder, config = Path(folder), model.config
    if dtype not in (None, *GRAPHS):
        raise UsageError(f"`dtype` is {dtype}; ONNX is written in {' or '.join(GRAPHS)}, or both if it is left out")
    if config.parts != ("encoder",) or {*config.heads} - {"ctc"}:
        raise CheckpointError(
            "ONNX has a place for an encoder, with its CTC head or alone, which `parts` encoder writes"
        )
    if config.heads and model.ctc is None:
        raise CheckpointError("a recogniser needs the vocabulary of its CTC head; give it as `ctc_vocab`")
    for package in ("onnx", "onnxruntime") if dtype != "float32" else ("onnx",):
        importlib.import_module(package)  # before anything is done
    remove_broken_off(folder)
    found = [path for pattern in _FILES for path in folder.glob(pattern)]
    if found and not overwrite:
        raise UsageError(f"{found[0]}: exists; choose another folder, or add `overwrite`")
    if (folder / CONFIG_FILENAME).exists() and not any((folder / name).exists() for name in GRAPHS.values()):
        raise UsageError(f"{folder}: holds a model of another kind, which this one would break; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as new:
        _write(model, new, dtype, largest_file)
        move_up(new, found, CONFIG_FILENAME)


def _write(model: Exported, folder: Path, dtype: str | None, largest_file: int) -> None:
    graph = _graph(model)
    proto, weights = trace(graph)
    _describe(proto, model)
    path = folder / GRAPHS["float32"]
    _save(proto, weights, path, largest_file)
    if dtype != "float32":
        _quantize(path, folder / GRAPHS["int8"], large=_bytes(weights) > largest_file)
    if dtype == "int8":
        for part in (path, _data_file(path)):
            part.unlink(missing_ok=True)
    if model.ctc is not None:
        for name in VOCAB_FILENAMES:
            (folder / name).write_text(vocabulary_text(model.ctc), encoding="utf-8")
        settings = {"model_type": MODEL_TYPE, "subsampling_factor": graph.model.encoder.hop}
        (folder / CONFIG_FILENAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _graph(model: Exported) -> EncoderGraph:
    built = build_model(model.config, dict(model.state), source="model", mapped=False)
    standardize = model.data.standardize_audio and model.config.encoder.standardizes
    if model.ctc is None:
        return EncoderGraph(built, standardize=standardize)
    return CtcGraph(built, standardize=standardize, unwritten=model.ctc.unwritten)


def vocabulary_text(vocabulary: CtcVocabulary) -> str:
    """Return a vocabulary as onnx-asr and sherpa-onnx read it: a symbol and its number on each line.

    The blank is ``<blk>``; ``▁`` stands for a space, and before each symbol where symbols are written with spaces between.
    """
    before = SPACE if vocabulary.spaced else ""
    lines = []
    for number, symbol in enumerate(vocabulary.symbols):
        written = SPACE if symbol == WORD_DELIMITER or symbol.isspace() else "".join(symbol.split()) or SPACE
        lines.append(f"{BLANK_SYMBOL if number == vocabulary.blank else before + written} {number}\n")
    return "".join(lines)


def _describe(proto: Any, model: Exported) -> None:
    """Say in the graph what it is, and let its lengths be left out: then whole waves count."""
    import onnx

    proto.producer_name, proto.producer_version = "st", __version__
    notes = {"sample_rate": str(SAMPLE_RATE), "language": model.language, "origins": ", ".join(model.origins or ())}
    onnx.helper.set_model_props(proto, {name: value for name, value in notes.items() if value})
    any_length = onnx.helper.make_tensor(LENGTHS, onnx.TensorProto.INT64, [1], [ANY_LENGTH])
    proto.graph.initializer.append(any_length)


def _bytes(weights: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in weights.values())


def _data_file(path: Path) -> Path:
    return path.with_name(path.name + DATA_SUFFIX)


def _save(proto: Any, weights: Mapping[str, Tensor], path: Path, largest_file: int) -> None:
    """Write a graph with its weights, one after the other where they have a file of their own."""
    import onnx

    apart = _bytes(weights) > largest_file
    with _data_file(path).open("wb") if apart else nullcontext() as data:
        for name, tensor in weights.items():
            array = tensor.contiguous().numpy()
            entry = proto.graph.initializer.add(name=name, dims=array.shape)
            entry.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            if data is None:
                entry.raw_data = array.tobytes()
                continue
            data.seek(-data.tell() % PAGE, os.SEEK_CUR)  # so that the file can be mapped
            entry.data_location = onnx.TensorProto.EXTERNAL
            place = {"location": _data_file(path).name, "offset": data.tell(), "length": array.nbytes}
            for key, value in place.items():
                entry.external_data.add(key=key, value=str(value))
            array.tofile(data)
    onnx.save(proto, path)


def _quantize(path: Path, out: Path, *, large: bool) -> None:
    """Write the graph of a file with the products of its layers in int8; first projection and CTC head stay as they are.

    Weights have a scale for each output, as XLS-R has channels far larger than others; what is multiplied with them gets one
    scale at each call. They have 7 bits: a CPU without VNNI adds pairs of products up in 16 bits, and cuts off what is larger.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(path, load_external_data=False).graph.node
    kept = [node.name for node in nodes if node.op_type == "MatMul" and "/layers." not in node.name]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to preprocess, which changes nothing here
    try:
        quantize_dynamic(
            path,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=kept,
            use_external_data_format=large,
        )
    finally:
        root.setLevel(level)
