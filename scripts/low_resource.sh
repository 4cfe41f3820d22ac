#!/usr/bin/env bash
# From a prepared tree of little speech (1 to 20 hours) to scored models, from random weights on two CPU cores. Two models learn side by
# side, each to transcribe, then to translate too, at last with a learning rate that goes to zero. They decode together. Scored on the
# test set, or on dev where none has translations.
#   scripts/low_resource.sh DATA OUT [MINUTES] [OVERRIDE…]     MINUTES of training, default: 150
# DATA is what `st prepare` wrote. An OVERRIDE is an option of all stages, such as model.encoder_dim=256. With common.seed=3 the
# models have the seeds 3 and 4.
# MODELS in the environment is how many there are, default: 2, and PROCESSES how many train each of them, default: 1.
# Stopped half-way, it goes on where it was when started again.
set -euo pipefail
shopt -s extglob
case "${1:-}" in -h | --help | "") sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data=$(cd "$1" && pwd)
mkdir -p "${2:?the folder to write to}"
out=$(cd "$2" && pwd)
minutes=${3:-150}
shift $(($# < 3 ? $# : 3))
. "$root/scripts/environment.sh"
. "$root/scripts/stages.sh"
use_environment train,prepare
models=${MODELS:-2} processes=${PROCESSES:-1}
launcher=(torchrun --nproc_per_node "$processes" --rdzv_backend c10d --rdzv_endpoint localhost:0 -m st.fairseq_plugin.hydra_train)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
first_seed=1
overrides=() # ++ sets what a stage's file leaves at its default too
for override in "$@"; do
    case $override in common.seed=*) first_seed=${override#*=} ;; esac
    overrides+=("++${override##+(+)}")
done
set -- "${overrides[@]}"
hours() { awk -v minutes="$minutes" -v share="$1" 'BEGIN { printf "%.9f", minutes * share / 60 }'; }
updates() { # SHARE: as many as the pace of stage 4 and that share of the minutes allow, less what validation takes
    { grep -oE '"ups": "[0-9.]+"' "$out/translation/train.log" || true; } | tr -d '"' |
        awk -v minutes="$minutes" -v share="$1" '{ sum += $2 }
            END { printf "%d", 1 + 0.93 * minutes * share * 60 * (NR ? sum / NR : 1) }'
}

# A batch holds 20 s of audio, or 30 s where a recording of the training set is longer than 20.
size=$(awk -F'\t' 'FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "n_frames") column = i; next }
    $column > longest { longest = $column } END { print (longest > 320000 ? 480000 : 320000) }' "$data"/train_*_*.tsv)

train_model() { # NUMBER OVERRIDE…
    out=$out/$1
    # An update is made of 40 s of audio or of its transcripts, however many processes there are, or of more.
    local options=("${@:2}" common.seed=$((first_seed + $1 - 1)))
    local listening=(dataset.max_tokens="$size" "optimization.update_freq=[$((processes > 1 ? 1 : 2))]" "${options[@]}")
    say "stage 1 of 5: the encoder learns to transcribe"
    train low_resource_ctc ctc "$data" optimization.stop_time_hours="$(hours 0.1)" "${listening[@]}"

    # The time of the stages before counts on.
    say "stage 2 of 5: the same while parts of what it hears are masked"
    train low_resource_ctc_masked ctc-masked "$data" optimization.stop_time_hours="$(hours 0.35)" \
        checkpoint.finetune_from_model="$(quoted "$out/ctc/checkpoint_last.pt")" "${listening[@]}"

    say "stage 3 of 5: the decoder learns to translate transcripts"
    train low_resource_text text "$data" optimization.stop_time_hours="$(hours 0.45)" \
        dataset.max_tokens="$((640000 / processes > size ? 640000 / processes : size))" \
        checkpoint.finetune_from_model="$(quoted "$out/ctc-masked/checkpoint_last.pt")" "${options[@]}"

    say "stage 4 of 5: the whole model learns to translate"
    train low_resource_translation translation "$data" optimization.stop_time_hours="$(hours 0.6)" \
        checkpoint.finetune_from_model="$(quoted "$out/text/checkpoint_last.pt")" "${listening[@]}"

    say "stage 5 of 5: the learning rate goes to zero"
    train low_resource_cooldown cooldown "$data" optimization.max_update="$(updates 0.4)" \
        checkpoint.finetune_from_model="$(quoted "$out/translation/checkpoint_last.pt")" "${listening[@]}"

    # Without what only a training needs.
    st average --overwrite "$out/cooldown/checkpoint_last.pt" --out "$out/model.pt"
}

set -m # each model's processes are a group, which is ended with the script
trap 'for model in $(jobs -p); do kill -- "-$model" 2>/dev/null || true; done' EXIT
ensemble=() others=()
for ((number = 2; number <= models; number++)); do
    mkdir -p "$out/$number"
    train_model "$number" "$@" >>"$out/$number/log" 2>&1 &
    others+=($!)
    ensemble+=(--ensemble "$out/$number/model.pt")
done
say "$models models are trained; this is what the first says, what others say is in $out/NUMBER/log"
train_model 1 "$@" &
wait $!
for number in "${!others[@]}"; do
    wait "${others[number]}" || { tail -n 20 "$out/$((number + 2))/log" >&2; exit 1; }
done

subset=test
compgen -G "$data/test_*_*.tsv" >/dev/null || subset=dev # as where the translations of a test set are not public
say "BLEU, chrF++, WER and CER on $subset: of the models together, then with the training translations as a memory"
evaluate=(st evaluate --overwrite --checkpoint "$out/1/model.pt" "${ensemble[@]}" --data "$data" --subset "$subset")
"${evaluate[@]}" --out "$out/report" --train-log "$out"/1/{ctc,ctc-masked,text,translation,cooldown}/train.log
"${evaluate[@]}" --out "$out/report-memory" --memory "$data"
say "done: open $out/report/report.html; the models are $out/NUMBER/model.pt"
