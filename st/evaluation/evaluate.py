"""Evaluate a model on a prepared data set: decode, score, and write hypotheses and report."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from st.console import progress
from st.errors import ConfigError, EvaluationError, UsageError
from st.evaluation.corpus import TestSet, load_test_set
from st.evaluation.decode import decode_utterances
from st.evaluation.decoder import Decoded, Decoder
from st.evaluation.partial import PATTERN, PartialResults, report_key, run_key
from st.evaluation.report.examples import MAX_MEGABYTES, Examples, choose_examples, collect_clips
from st.evaluation.report.published import beside_published
from st.evaluation.report.write import write_report, written_folders
from st.evaluation.scoring.comet import comet_scores
from st.evaluation.scoring.conventions import TRUE_CASE, Convention
from st.evaluation.scoring.declarations import REPORT_FILENAME, read_record, warn_of_unknown
from st.evaluation.scoring.flags import LanguageGuesser, count_flags, flag_hypotheses
from st.evaluation.scoring.hypotheses import HypothesisRow
from st.evaluation.scoring.resampling import METHOD
from st.evaluation.scoring.results import AsrResult, DirectionResult, JsonValue, Report
from st.evaluation.scoring.scores import (
    NO_TRANSCRIPTS,
    NO_WORDS,
    check_references,
    metrics_for,
    score_transcripts,
    summarise,
    translation_statistics,
)
from st.evaluation.shards import WHOLE, Shard, receive_results, release, send_results
from st.files import remove_leftovers
from st.report.curves import TrainingCurves, read_curves
from st.report.provenance import provenance
from st.text.languages import declared, in_order, language, split_direction

logger = logging.getLogger(__name__)

_SHARD_WRITES_S = 60.0
"""Longer than a shard on another machine takes to write one file of the report."""

Tables = dict[str, list[HypothesisRow]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How to evaluate."""

    normalise: Callable[[str, str], str]
    """Applied to transcripts and references, told their language, before WER and CER."""
    subset: str = "test"
    """``test``, ``dev`` or ``train``, or one manifest such as ``dev_fr_en``."""
    translate: bool = True
    """Whether recordings are translated; if not, they are only transcribed, whatever the data hold."""
    batch_seconds: float = 120.0
    """Most seconds of audio in a batch, padding counted."""
    batch_size: int | None = None
    """Most recordings in a batch; None for any number."""
    by_language: bool = False
    """Whether no batch has recordings in two languages, as for a model with adapters for each."""
    shard: Shard = WHOLE
    """Which part of the recordings to decode here."""
    overwrite: bool = True
    """Whether the results of another evaluation may be replaced."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """Recorded in the report: checkpoint digest, decoding options, normalisation. A run with other settings does not
    go on from the results of an interrupted one."""
    numerics: Mapping[str, str] = field(default_factory=dict)
    """Recorded in the report, and compared with that of other parts of the run: see :func:`st.kernels.settings.numerics`."""
    train_logs: Sequence[Path] = ()
    """Logs of the training, stage by stage, for the curves."""
    convention: Convention = TRUE_CASE
    """What of translations and references is compared."""
    published: str = "auto"
    """Whether published figures stand beside ours, see :func:`st.evaluation.report.published.beside_published`."""
    clip_megabytes: float = MAX_MEGABYTES
    """Most audio in the report; infinity for all that it has examples of."""
    comet: str | None = None
    """COMET model to score with too."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If ``batch_seconds`` or ``batch_size`` is not positive, or ``clip_megabytes`` is negative.
        """
        checks = (
            ("batch_seconds", 0 < self.batch_seconds < math.inf, "more than 0, and finite"),
            ("batch_size", self.batch_size is None or self.batch_size >= 1, "at least 1"),
            ("clip_megabytes", self.clip_megabytes >= 0, "at least 0, or inf for all clips"),
        )
        for name, fits, expected in checks:
            if not fits:
                raise ConfigError(f"`{name}` is {getattr(self, name):g}; expected {expected}")


def evaluate(
    decoder: Decoder, data_dir: Path | str, directions: Sequence[str], out_dir: Path | str, config: EvaluationConfig
) -> Report | None:
    """Evaluate all directions in one run, or decode one shard of it; the last shard to finish writes ``out_dir``.

    Args:
        decoder: The model; each recording is given to it once, with all its targets.
        data_dir: Prepared tree.
        directions: Directions of the tree, such as ``("fr_en", "en_de")``; ``fr_fr`` in a tree of transcripts alone.
        out_dir: Gets ``hypotheses/<direction>.tsv``, ``transcripts/<language>.tsv``, ``report.json``, ``report.md`` and
            ``report.html``; existing ones are replaced, each as a whole.
        config: Subset, normalisation and what to record.

    Returns:
        The report, or None if other shards have not finished, or another process or an earlier run of the same shards
        has written it.

    Raises:
        StError: If data are missing or malformed, or hypotheses and references do not belong together.
    """
    for log in config.train_logs:
        log.stat()  # a missing one must not come up after hours of decoding
    provenance()  # nor must a wrong SOURCE_DATE_EPOCH
    test_set = load_test_set(data_dir, directions, config.subset, translate=config.translate)
    for name, rows in test_set.rows.items():
        check_references(config.convention.prepare(row.tgt_text for row in rows), where=name)
        metrics_for(split_direction(name)[1])  # nor must a missing tokenizer
    warn_of_unknown(_languages(test_set))
    run = run_key(config.settings, test_set.utterances)
    key = report_key(run, config.subset, test_set, config.convention.name)
    written = read_record(Path(out_dir) / REPORT_FILENAME).get("run")
    if written not in (None, key):
        if not config.overwrite:
            raise UsageError(f"{out_dir}: holds another evaluation; choose another folder, or add `overwrite`")
        logger.warning("%s: holds another evaluation, which this one will replace when it ends", out_dir)
    if config.shard.count > 1 and not config.shard.connected and written == key:
        # Its results were cleared away with those of all shards, and it would wait for them for ever.
        logger.info(
            "shard %s: %s is already written; remove it to evaluate anew", config.shard, Path(out_dir) / REPORT_FILENAME
        )
        return None
    partial = PartialResults(Path(out_dir) / config.shard.filename, run, config.numerics, test_set.utterances)
    decode_utterances(
        decoder,
        test_set.utterances,
        data_dir,
        partial=partial,
        batch_seconds=config.batch_seconds,
        batch_size=config.batch_size,
        by_language=config.by_language,
        shard=config.shard,
    )
    if not _come_together(partial, test_set, config.shard):
        return None
    report = _score_and_write(test_set, partial.items, data_dir, out_dir, config, key=key)
    partial.remove()
    for folder in written_folders(out_dir):
        remove_leftovers(folder, min_age_s=_SHARD_WRITES_S if config.shard.count > 1 else 0.0)
    release(config.shard)
    return report


def _come_together(partial: PartialResults, test_set: TestSet, shard: Shard) -> bool:
    """Gather the results of all shards; return whether this process has them all and is the one to go on."""
    if shard.connected and not shard.leads:
        own = {item.audio for item in test_set.utterances} & set(partial.items)
        send_results(shard, partial.lines(sorted(own)))
        partial.remove()
        return False
    if shard.connected:
        for lines in receive_results(shard):
            partial.absorb(lines)
    elif shard.count > 1 and partial.removed:
        logger.info("shard %s: the report has been written by another shard", shard)
        return False
    partial.refresh()
    missing = sum(item.audio not in partial.items for item in test_set.utterances)
    for path in partial.strangers() if missing else ():
        logger.warning(
            "%s: does not belong to this evaluation: it was made with other options, another model or other data; make "
            "that shard again with the options of this one",
            path,
        )
    if missing:
        logger.info(
            "shard %s is done; %d of %d recordings are missing yet. The last shard to finish writes the report, if all "
            "had the same `batch_seconds` and `batch_size`. If the shards run on machines without a folder in common, "
            "copy all %s into one and give the command again without `shard`",
            shard,
            missing,
            len(test_set.utterances),
            PATTERN,
        )
    return not missing


def _score_and_write(
    test_set: TestSet,
    decoded: Mapping[str, Decoded],
    data_dir: Path | str,
    out_dir: Path | str,
    config: EvaluationConfig,
    *,
    key: str,
) -> Report:
    curves = read_curves(config.train_logs) if config.train_logs else TrainingCurves()
    translations, transcripts = translation_tables(test_set, decoded), transcript_tables(test_set, decoded)
    if not translations and not transcripts:
        raise EvaluationError("the model gave no transcripts, and there is nothing to translate into: nothing to score")
    logger.info("scoring %d directions, transcripts of %d languages", len(translations), len(transcripts))
    guesser = LanguageGuesser(_texts(translations))
    results, examples, flags = {}, {}, {}
    for name, rows in progress(translations.items(), desc="scoring", unit="direction"):
        flags[name] = flag_hypotheses(name, rows, guesser)
        results[name], examples[name] = _score_direction(name, rows, flags[name], config.convention)
    notes = {"intervals": METHOD, "compared": config.convention.description} if translations else {}
    if config.numerics:
        notes["numerics"] = ", ".join(f"{name} {value}" for name, value in config.numerics.items())
    if config.comet:
        comet, notes["comet"] = comet_scores(config.comet, translations)
        results = {name: replace(result, comet=comet.get(name)) for name, result in results.items()}
    asr = {name: _score_language(name, rows, config.normalise) for name, rows in transcripts.items()}
    report = Report(
        subset=config.subset,
        directions=results,
        asr=asr,
        settings={**config.settings, **({"convention": config.convention.name} if translations else {})},
        notes=notes | _missing_rates(asr),
        run=key,
        provenance=provenance(),
        languages=declared(_languages(test_set)),
    )
    report = beside_published(report, config.published)
    recordings = {(name, row.id): row.audio for name, rows in test_set.rows.items() for row in rows}
    clips = collect_clips(data_dir, examples, recordings, config.clip_megabytes)
    write_report(
        out_dir,
        report,
        translations=translations,
        transcripts=transcripts,
        curves=curves,
        examples=examples,
        flags=flags,
        clips=clips,
    )
    return report


def _languages(test_set: TestSet) -> list[str]:
    """Return what is spoken and written in a test set, each language once."""
    found = [code for name in test_set.rows for code in split_direction(name)]
    return list(dict.fromkeys([*found, *(item.language for item in test_set.utterances)]))


def _texts(translations: Mapping[str, Sequence[HypothesisRow]]) -> dict[str, list[str]]:
    """Return what the test set itself says in each language, every text once."""
    texts: dict[str, dict[str, None]] = {}
    for direction, rows in translations.items():
        source, target = split_direction(direction)
        texts.setdefault(source, {}).update(dict.fromkeys(row.source for row in rows))
        texts.setdefault(target, {}).update(dict.fromkeys(row.reference for row in rows))
    return {code: list(found) for code, found in texts.items()}


def translation_tables(test_set: TestSet, decoded: Mapping[str, Decoded]) -> Tables:
    """Return the hypotheses of each direction in the order of its manifest."""
    tables: Tables = {}
    for direction, rows in test_set.rows.items():
        _, target = split_direction(direction)
        tables[direction] = [
            HypothesisRow(row.id, decoded[row.audio].translations[target], row.tgt_text, row.src_text) for row in rows
        ]
    return tables


def transcript_tables(test_set: TestSet, decoded: Mapping[str, Decoded]) -> Tables:
    """Return the transcripts of each spoken language, every recording once; empty without a CTC head.

    Raises:
        EvaluationError: If only some recordings have a transcript.
    """
    silent = [item.audio for item in test_set.utterances if decoded[item.audio].transcript is None]
    if len(silent) == len(test_set.utterances):
        return {}
    if silent:
        raise EvaluationError(f"the model gave no transcript for {len(silent)} recordings, such as {silent[0]}")
    tables: Tables = {}
    for item in test_set.utterances:
        row = HypothesisRow(item.id, decoded[item.audio].transcript or "", item.text, item.text)
        tables.setdefault(item.language, []).append(row)
    return {code: tables[code] for code in in_order(tables)}


def _score_direction(
    direction: str, table: Sequence[HypothesisRow], flags: Sequence[tuple[str, ...]], convention: Convention
) -> tuple[DirectionResult, Examples]:
    hypotheses = convention.prepare(row.hypothesis for row in table)
    references = convention.prepare(row.reference for row in table)
    statistics = translation_statistics(split_direction(direction)[1], hypotheses, references, convention)
    result = replace(summarise(statistics, hypotheses, references), flags=count_flags(flags))
    return result, choose_examples(table, chrf=statistics["chrf"].segments(), flags=flags)


def _missing_rates(asr: Mapping[str, AsrResult]) -> dict[str, str]:
    """Return why languages have no error rates, for the notes of the report, and say which have none at all."""
    notes = {}
    untold = [name for name, result in asr.items() if result.cer is None]
    if untold:
        notes["error rates"] = NO_TRANSCRIPTS.format(" ".join(untold)) + "; the averages are of the other languages"
        logger.warning("%s", notes["error rates"])
    without_wer = [name for name, result in asr.items() if result.wer is None and name not in untold]
    if without_wer:
        notes["word error rates"] = NO_WORDS.format(" ".join(without_wer)) + "; the average is of the other languages"
    return notes


def _score_language(code: str, table: Sequence[HypothesisRow], normalise: Callable[[str, str], str]) -> AsrResult:
    heard, said = [row.hypothesis for row in table], [row.reference for row in table]

    def spell(text: str) -> str:
        return normalise(text, code)

    if not any(spell(text).strip() for text in said):
        return AsrResult(wer=None, cer=None, n=len(said), num_words=None, num_characters=0, empty_references=len(said))
    return score_transcripts(heard, said, normalise=spell, where=code, spaced=language(code).spaced)
