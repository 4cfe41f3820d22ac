"""Send the folder of a model to the Hugging Face hub: the files of the model, in one commit, and nothing else.

The token is huggingface_hub's own matter: ``hf auth login``, or ``HF_TOKEN``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.checkpoints.door import sha256_of
from st.checkpoints.formats.transformers.reader import INT8_FILENAME
from st.checkpoints.formats.transformers.writer import CARD_FILENAME
from st.checkpoints.hub import looks_like_hub_id, require_endpoint
from st.checkpoints.inspect import inspect
from st.doors.addresses import quiet_requests, without_secrets
from st.errors import StError, UploadError, UsageError

logger = logging.getLogger(__name__)

_RECOGNISER = (
    r"(special_tokens_map|added_tokens|vocab|alphabet|st)\.json|(preprocessor_|processor_|tokenizer_)?config\.json|"
    r"model(\.int8|-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|"
    r"language_model/(attrs\.json|unigrams\.txt|[\w.-]+\.(arpa|bin|binary))"
)
_SENT = re.compile(
    rf"(ctc/)?({_RECOGNISER})|README\.md|generation_config\.json|tokenizer\.json|trim\.json|dict\.txt|"
    r"sentencepiece\.bpe\.model|ctc_head\.safetensors"
)
"""Names of all files that are ever sent."""
_REPLACED = re.compile(rf"{_SENT.pattern}|pytorch_model.*\.bin(\.index\.json)?")
"""What belongs to a model on the hub: with a new one beside it, it would be read with it."""
_WEIGHTS = re.compile(r"(model|pytorch_model).*\.(safetensors|bin)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """What would be sent."""

    folder: Path
    sent: Mapping[str, int]
    """Names below the folder, and sizes in bytes."""
    left: Sequence[str]
    """Names of the files that stay here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PushOptions:
    """How to send a model."""

    public: bool = False
    """Whether a repository that is made new can be seen by everybody; one that is there stays as it is."""
    revision: str | None = None
    """Branch, made if missing; None for ``main``."""
    message: str | None = None
    """Of the commit."""
    overwrite: bool = False
    """Whether the model that is there may be replaced."""


def pack(folder: Path) -> Parcel:
    """Return what of a folder would be sent, after a look at all of it.

    Raises:
        UsageError: If it is no folder of transformers, has no card, or a file of it is a link.
        CheckpointError: If the model in it is damaged or does not open.
        UploadError: If something keeps it from being used.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder}: expected the folder of a model; st convert CHECKPOINT {folder} --to hf writes one")
    if not (folder / CARD_FILENAME).is_file():
        raise UsageError(
            f"{folder}: has no {CARD_FILENAME}, by which people know what it is; st card {folder} writes one"
        )
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    sent = [name for name in names if _SENT.fullmatch(name)]
    for name in sent:
        if (folder / name).is_symlink():
            raise UsageError(
                f"{folder / name}: is a link, to what may not be meant to be sent; put the file itself there"
            )
    if not {"model.safetensors", INT8_FILENAME, "model.safetensors.index.json"} & set(sent):
        raise UsageError(f"{folder}: its weights are no safetensors; st convert {folder} OTHER --to hf writes such")
    problems = inspect(folder)["problems"]
    if problems:
        raise UploadError(f"{folder}: {problems[0]}")
    return Parcel(
        folder=folder,
        sent={name: (folder / name).stat().st_size for name in sent},
        left=[name for name in names if name not in sent],
    )


def push(parcel: Parcel, repository: str, options: PushOptions) -> str:
    """Send a model in one commit.

    Args:
        parcel: From :func:`pack`.
        repository: ``owner/name``; made if it is not there.
        options: How.

    Returns:
        Address of the commit.

    Raises:
        UsageError: If nobody is logged in, the name is none, or there is a model that may not be replaced.
        UploadError: If the hub refuses, cannot be reached, or has other files afterwards.
    """
    if not looks_like_hub_id(repository) or "@" in repository:
        raise UsageError(f"the repository is {repository!r:.80}; expected owner/name, such as me/xls-r-300m-frisian")
    endpoint = require_endpoint(repository)
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UsageError(
            "nobody is logged in to the hub; give `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    quiet_requests()
    try:
        return _push(HfApi(endpoint=endpoint), parcel, repository, options)
    except (StError, KeyboardInterrupt):
        raise
    except Exception as exc:  # its own kinds, and whatever the transport of its version raises
        told = without_secrets(exc, get_token() or "").strip()
        reason = " ".join(told.split()) if told else type(exc).__name__
        raise UploadError(f"{repository}: the hub has not taken the model: {reason}") from exc


def _push(api: Any, parcel: Parcel, repository: str, options: PushOptions) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        present = _names(api.model_info(repository))
    except RepositoryNotFoundError:
        api.create_repo(repository, private=not options.public, repo_type="model")
        logger.info("%s: made, %s", repository, "public" if options.public else "private")
        present = []
    if options.revision not in (None, "main"):
        api.create_branch(repository, branch=options.revision, exist_ok=True)
    info = api.model_info(repository, revision=options.revision)
    present = _names(info)
    if not options.overwrite and (weights := list(filter(_WEIGHTS.fullmatch, present))):
        raise UsageError(f"{repository}: has a model, with {weights[0]}; choose another name, or add `overwrite`")
    operations = [CommitOperationAdd(name, parcel.folder / name) for name in parcel.sent]
    old = [name for name in present if _REPLACED.fullmatch(name) and name not in parcel.sent]
    commit = api.create_commit(
        repository,
        [*operations, *(CommitOperationDelete(name, is_folder=False) for name in old)],
        commit_message=options.message or "Model of xlsr-st",
        revision=options.revision,
        parent_commit=info.sha,
    )
    _compare(parcel, api.model_info(repository, revision=commit.oid, files_metadata=True), repository)
    return str(commit.commit_url)


def _names(info: Any) -> list[str]:
    return [file.rfilename for file in info.siblings or ()]


def _compare(parcel: Parcel, info: Any, repository: str) -> None:
    """Compare what the hub has now with what was sent; a ``.gitignore`` there lets it leave out files without a word.

    Raises:
        UploadError: If a file is missing or another.
    """
    found = {file.rfilename: file for file in info.siblings or ()}
    missing = [name for name in parcel.sent if name not in found]
    if missing:
        raise UploadError(f"{repository}: {missing[0]} did not arrive; see whether the .gitignore there names it")
    for name, size in parcel.sent.items():
        digest = getattr(getattr(found[name], "lfs", None), "sha256", None)
        same = digest == sha256_of(parcel.folder / name) if digest else found[name].size in (None, size)
        if not same:
            raise UploadError(f"{repository}: {name} arrived as another file; send the model again")


def sizes(parcel: Parcel) -> Iterable[str]:
    """Yield a line for each file that would be sent, and one for those that stay."""
    for name, size in parcel.sent.items():
        yield f"{size:>14,}  {name}"
    if parcel.left:
        more = f" and {len(parcel.left) - 5} more" if len(parcel.left) > 5 else ""
        yield f"{len(parcel.left)} other files stay here: {', '.join(parcel.left[:5])}{more}"
