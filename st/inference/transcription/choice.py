"""What a model's checkpoint says about how it may transcribe: by which of its heads, and in which languages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from st.checkpoints.bundle import ModelBundle
from st.errors import ConfigError
from st.inference.transcription.transcriber import AUTO, TranscriptOptions
from st.text.languages import canonical, is_code, is_same, split_direction


def spoken_languages(directions: Sequence[str]) -> tuple[str, ...]:
    """Return the languages that are spoken in directions, each once."""
    return tuple(dict.fromkeys(split_direction(direction)[0] for direction in directions))


def name_languages(options: TranscriptOptions, bundle: ModelBundle) -> TranscriptOptions:
    """Put the languages of a model in place of :data:`AUTO`; of one alone nothing is chosen.

    They are those that are spoken in the directions that it was trained on, or that a head of it classifies.

    Raises:
        ConfigError: If the model does not tell them.
    """
    if options.languages != (AUTO,):
        return options
    heads = bundle.model.config.classifying_heads
    known = (list(bundle.labels[name].symbols) for name in heads if name in bundle.labels)
    classes = next((labels for labels in known if all(map(is_code, labels))), [])
    codes = spoken_languages(bundle.trained_directions) or tuple(dict.fromkeys(map(canonical, classes)))
    if not codes:
        raise ConfigError(
            f"{bundle.source}: does not say which languages it was trained on; name those to choose from by `languages`, such as "
            "de,fr"
        )
    return dataclasses.replace(
        options, languages=codes if len(codes) > 1 else (), language=codes[0] if len(codes) == 1 else None
    )


def settle_transcripts(
    options: TranscriptOptions, directions: Sequence[str], *, decoder_transcribes: bool
) -> TranscriptOptions:
    """Let the decoder write where :attr:`TranscriptOptions.decoder_if_trained` asks for it and it can.

    It can if a training has taught it to, and the languages are of that training: those given, or the only one.

    Args:
        options: As they were asked for.
        directions: Those that the model was trained on.
        decoder_transcribes: Whether that taught the decoder to transcribe.
    """
    wanted, spoken = options.decoder_if_trained, spoken_languages(directions)
    given = options.languages or ((options.language,) if options.language else spoken)
    known = options.languages or len(given) == 1
    learned = known and all(any(is_same(code, other) for other in spoken) for code in given)
    if wanted is None or not decoder_transcribes or not learned:
        return dataclasses.replace(options, decoder_if_trained=None)
    return dataclasses.replace(
        options,
        language=None if options.languages else given[0],
        decoder=wanted,
        decoder_if_trained=None,
        search=None,
        words=None,
    )


def describe_writer(options: TranscriptOptions, *, decoder_transcribes: bool) -> str:
    """Return who writes transcripts as a sentence without its first capital, for a log."""
    if options.decoder is None:
        could = "; the decoder, which was trained to, would need to know the language" if decoder_transcribes else ""
        return f"the CTC head writes the transcripts{could}"
    weight = options.decoder.joint_ctc_weight
    return "the decoder writes the transcripts" + (f", judged by the CTC head with weight {weight:g}" if weight else "")
