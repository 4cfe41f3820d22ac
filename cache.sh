. /tmp/h4work/env.sh
S="--encoder-num-layers 2 --decoder-num-layers 1 --directions de_en,es_en --freeze-encoder --cache-encoder-states --cache-audio --ctc-weight 0 --max-tokens 600000 --label-smoothing 0.1 --decoder-dropout 0.1"
ft data $S --max-update 12 --save-dir r/c1 > c1.log 2>&1; echo rc $?
ft data $S --max-update 8 --save-dir r/c2 > c2.log 2>&1; echo rc $?
ft data $S --max-update 12 --save-dir r/c2 > c2b.log 2>&1; echo rc $?
ft data $S --max-update 12 --save-dir r/c3 > c3.log 2>&1; echo rc $?
for f in c1 c2 c2b c3; do echo $f; grep -h train_inner $f.log | grep -o "loss=[0-9.]*, nll.*ppl\|num_updates=[0-9]*\|gnorm=[0-9.]*" | paste - - - | tail -5; done
grep "epoch 1:" c1.log
python - <<'P'
import torch
a,b,c=[torch.load(f"r/{n}/checkpoint_last.pt",map_location="cpu",weights_only=False) for n in("c1","c2","c3")]
for y,n in((b,"resumed"),(c,"again")):
    print(n, sum(not torch.equal(a["model"][k],y["model"][k]) for k in a["model"]), max((a["model"][k].float()-y["model"][k].float()).abs().max().item() for k in a["model"]))
P
