"""``st translate``: recordings in, translations out."""

from __future__ import annotations

import argparse

from st.commands.recordings import add_recording_arguments, check_output, run_recordings, warn_untrained

DESCRIPTION = """\
Translate recordings of up to 30 seconds. Results go to standard output (or --out), everything else to standard error.
A recording that cannot be used is skipped and listed; the exit code is then 3.
"""

EXAMPLES = """\
examples:
  st translate clip.mp3 --checkpoint run/checkpoint_best.pt --to de
  st translate talks/*.wav --checkpoint run/checkpoint_best.pt --to en,de --format tsv --out talks.tsv
  curl -s https://example.org/clip.mp3 | st translate - --checkpoint run/checkpoint_best.pt --to en
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(parser)
    parser.add_argument(
        "--to", required=True, metavar="LANG", help="target language, CoVoST code such as de or zh-CN; or a,b,c"
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="hypotheses kept; 1 is greedy (default: 5)")
    parser.add_argument(
        "--lenpen", type=float, default=1.0, metavar="X", help="length penalty; above 1 favours long (default: 1.0)"
    )
    parser.add_argument(
        "--max-len-a",
        type=float,
        default=0.0,
        metavar="A",
        help="at most A * x + B tokens for x memory states (default: 0)",
    )
    parser.add_argument("--max-len-b", type=int, default=200, metavar="B", help="see --max-len-a (default: 200)")
    parser.add_argument(
        "--no-repeat-ngram", type=int, default=0, metavar="N", help="no n-gram of this size twice; 0: any (default: 0)"
    )
    parser.add_argument(
        "--nbest", type=int, default=1, metavar="N", help="translations per language, with --format json (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Translate and write."""
    from st.data.languages import language
    from st.errors import ConfigError, UsageError

    # What the command line got wrong is said before a large model is read.
    targets = list(dict.fromkeys(code.strip() for code in args.to.split(",") if code.strip()))
    if not targets:
        raise UsageError("--to names no language; give a CoVoST code such as de")
    for code in targets:
        language(code)
    check_output(args)
    if args.nbest > 1 and args.format != "json":
        raise UsageError("--nbest above 1 needs --format json")

    from st.decoding.options import BeamOptions
    from st.inference import load_translator
    from st.runtime import tune

    try:
        options = BeamOptions(
            beam=args.beam,
            length_penalty=args.lenpen,
            max_len_a=args.max_len_a,
            max_len_b=args.max_len_b,
            no_repeat_ngram=args.no_repeat_ngram,
            nbest=args.nbest,
        )
    except ConfigError as error:
        raise UsageError(str(error)) from None
    tune(args.threads)
    translator = load_translator(
        args.checkpoint, data_dir=args.data, device=args.device, dtype=args.dtype, options=options
    )
    translator.check_languages(targets)
    warn_untrained(translator, targets)
    return run_recordings(args, translator, targets)
