#!/usr/bin/env bash
# What self-supervised pre-training brings on little speech: error rates of recognisers that begin with a pre-trained encoder
# and with a random one, fine-tuned for equally long on a tenth, three tenths and all of the transcripts of a prepared tree.
#   research/pretraining_gain.sh DATA OUT [PRETRAINING_MINUTES] [MINUTES] [RUN…]
# PRETRAINING_MINUTES of two cores (default: 60), on all recordings of train; MINUTES of one core for each fine-tuning (15), the two
# of a RUN side by side on cores 0 and 1. A RUN is PERCENT:SEED; by default 10:1 10:2 10:3 30:1 100:1.
# PRETRAINED_OPTIONS and RANDOM_OPTIONS in the environment are overrides of one side's fine-tunings.
# Stopped half-way, it goes on where it was when started again.
set -euo pipefail
case "${1:-}" in -h | --help | "") sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data=$(cd "$1" && pwd)
mkdir -p "${2:?the folder to write to}"
out=$(cd "$2" && pwd)
pretraining_minutes=${3:-60} minutes=${4:-15}
shift $(($# < 4 ? $# : 4))
runs=("$@")
((${#runs[@]})) || runs=(10:1 10:2 10:3 30:1 100:1)
. "$root/scripts/environment.sh"
. "$root/scripts/stages.sh"
use_environment train,prepare
export OMP_NUM_THREADS=1
read -ra pretrained_options <<<"${PRETRAINED_OPTIONS:-}"
read -ra random_options <<<"${RANDOM_OPTIONS:-}"
hours() { awk -v minutes="$1" -v share="$2" 'BEGIN { printf "%.9f", minutes * share / 60 }'; }

part() { # PERCENT: the tree with so many of the training sentences, every hundred of them divided alike
    local tree=$out/data-$1 file
    [ -d "$tree" ] || {
        mkdir "$tree.new"
        for file in "$data"/*; do
            case ${file##*/} in
                train_* | asr_train_*)
                    awk -v percent="$1" 'NR == 1 || (NR * 37) % 100 < percent' "$file" >"$tree.new/${file##*/}" ;;
                *) ln -s "$file" "$tree.new/" ;;
            esac
        done
        mv "$tree.new" "$tree"
    }
    printf '%s' "$tree"
}

fine_tune() { # CORE NAME PERCENT SEED OVERRIDE…: letters without masks for a third of the time, then with masks
    local core=$1 name=$3-$4-$2 tree seed=$4
    tree=$(part "$3")
    shift 4
    launcher=(taskset -c "$core" torchrun --nproc_per_node 1 --rdzv_backend c10d --rdzv_endpoint localhost:0
        -m st.fairseq_plugin.hydra_train)
    # A tenth of the sentences is a short epoch: checked every 500 updates, not after each.
    local options=(common.seed="$seed" dataset.max_tokens=320000 "optimization.update_freq=[2]" dataset.validate_interval=1000
        checkpoint.save_interval=1000)
    train low_resource_ctc "$name/ctc" "$tree" "${options[@]}" optimization.stop_time_hours="$(hours "$minutes" 0.333)" "$@"
    train low_resource_ctc_masked "$name/masked" "$tree" "${options[@]}" optimization.stop_time_hours="$(hours "$minutes" 1)" \
        checkpoint.finetune_from_model="$(quoted "$out/$name/ctc/checkpoint_last.pt")"
    [ -f "$out/$name/report/report.json" ] ||
        taskset -c "$core" st evaluate --overwrite --checkpoint "$out/$name/masked/checkpoint_last.pt" --data "$data" \
            --subset asr_test --threads 1 --out "$out/$name/report"
}

say "pre-training on the recordings"
launcher=(torchrun --nproc_per_node 2 -m st.fairseq_plugin.hydra_train)
train pretraining_small pretraining "$data" optimization.stop_time_hours="$(hours "$pretraining_minutes" 1)"
for run in "${runs[@]}"; do
    percent=${run%:*} seed=${run#*:}
    say "fine-tuning on $percent % of the transcripts, seed $seed"
    part "$percent" >/dev/null # once, before the two
    fine_tune 0 random "$percent" "$seed" "${random_options[@]}" &
    other=$!
    fine_tune 1 pretrained "$percent" "$seed" \
        +model.encoder="$(quoted "$out/pretraining/checkpoint_last.pt")" "${pretrained_options[@]}"
    wait "$other"
done
