#!/usr/bin/env bash
# The whole job on this machine, in about a quarter of an hour on two cores: make a small spoken corpus, prepare it, train a
# multilingual speech translation model from random weights, score it on unseen sentences by unseen voices, use it.
# Stopped half-way, it goes on where it was when started again.
#   scripts/demo.sh [FOLDER]     default: ./demo
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/demo}
mkdir -p "$out"
out=$(cd "$out" && pwd)
. "$root/scripts/environment.sh"
. "$root/scripts/stages.sh"
own_environment=${VIRTUAL_ENV:-}
use_environment train,prepare,sample

directions=de_en,es_en,id_en,en_de,en_zh-CN,en_ja
say "1/6  a corpus: 3 hours of speech in four languages, by many voices"
covost sample --out "$out/corpus" --languages en,de,es,id --targets zh-CN,ja --hours 3 --seed 1

say "2/6  preparation for $directions"
covost prepare --cv-root "$out/corpus" --directions "$directions" --out "$out/data"

say "3/6  training, stage 1: the encoder learns to transcribe"
train demo_ctc ctc "$out/data"

say "4/6  training, stage 2: the decoder learns to translate"
train demo_translation translation "$out/data" checkpoint.finetune_from_model="$(quoted "$out/ctc/checkpoint_best.pt")"

say "5/6  BLEU of every direction on the test set"
st evaluate --overwrite --checkpoint "$out/translation/checkpoint_best.pt" --data "$out/data" --directions "$directions" \
    --subset test --out "$out/report" --train-log "$out/ctc/train.log" "$out/translation/train.log"

say "6/6  one of the test recordings, translated"
clip=$(awk -F'\t' '$3 == "test" { print $1; exit }' "$out/corpus/de/covost_v2.de_en.tsv")
command=(st translate "$out/corpus/de/clips/$clip" --checkpoint "$out/translation/checkpoint_best.pt" --to en)
printf '$ %s\n' "${command[*]}"
"${command[@]}"
say "done: open $out/report/report.html"
[ -n "$own_environment" ] || echo "for st, covost and fairseq-train in your shell: . $root/.venv/bin/activate" >&2
