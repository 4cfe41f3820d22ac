# Sourced by demo.sh and low_resource.sh, which set `root` and `out`: what they say, and a stage of a training.

launcher=(fairseq-hydra-train)
say() { printf '\n\033[1m%s\033[0m  (%d:%02d since the start)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)) >&2; }
quoted() { printf "'%s'" "${1//\'/\\\'}"; } # a path as Hydra reads it, whatever letters are in it
train() { # CONFIG RUN DATA OVERRIDES…: train by a config; what was trained already is not trained again
    local config=$1 run=$out/$2 data=$3
    shift 3
    mkdir -p "$run"
    "${launcher[@]}" --config-dir "$root/configs" --config-name "$config" \
        common.user_dir="$(quoted "$root/st")" task.data="$(quoted "$data")" \
        checkpoint.save_dir="$(quoted "$run")" hydra.run.dir="$(quoted "$run/hydra")" "$@" 2>&1 | tee -a "$run/train.log" |
        { grep --line-buffered -oE '\[(train_inner|dev)\].*' || true; } || { tail -n 20 "$run/train.log" >&2; return 1; }
}
