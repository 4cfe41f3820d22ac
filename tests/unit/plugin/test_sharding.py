"""Weights divided over processes: what each has of them, what does not go with it, and the same on a GPU."""

import copy

import pytest
import torch
import torch.distributed as dist
from tone_tree import make_tree
from torch.testing._internal.distributed.fake_pg import FakeStore
from trainer_in_process import make_config, make_trainer

from st.errors import ConfigError, StError
from st.fairseq_plugin.repairs.clear_start import refuse_what_this_task_has_not
from st.fairseq_plugin.sharding import UNITS, exhaustion_ends_training, is_divided, is_sharded, local, shard
from st.modules.encoder_config import EncoderConfig
from st.modules.speech_encoder import TransformerEncoder

PROCESSES = 4


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train=4, dev=2, directions=("de_en",))


@pytest.fixture
def group():
    """A group of four processes of which only this one is there: what it sends goes nowhere."""
    dist.init_process_group("fake", rank=1, world_size=PROCESSES, store=FakeStore())
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_each_process_has_its_share_of_every_parameter_and_names_stay(tones, group):
    model = make_trainer(tones, freeze="lna").get_model()
    before = {
        name: (parameter.shape, parameter.requires_grad, parameter.param_group)
        for name, parameter in model.named_parameters()
    }
    keys = list(model.state_dict())
    shard(model, group, torch.device("cpu"))
    assert is_sharded(model)
    assert all(is_sharded(module) for module in model.modules() if isinstance(module, UNITS))
    after = {
        name: (parameter.shape, parameter.requires_grad, parameter.param_group)
        for name, parameter in model.named_parameters()
    }
    assert after == before
    assert not all(learns for _, learns, _ in before.values())
    for name, parameter in model.named_parameters():
        rows = -(-parameter.size(0) // PROCESSES)
        assert len(local(parameter)) == max(0, min(rows, parameter.size(0) - rows)), name
    state = model.state_dict()
    assert list(state) == keys
    assert is_divided(state)


def test_a_checkpoint_is_divided_as_it_is_read(tones, group):
    model = make_trainer(tones).get_model()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    shard(model, group, torch.device("cpu"))
    for parameter in model.parameters():
        local(parameter).detach().zero_()
    model.load_state_dict(state)
    rows = len(state["decoder.embed_tokens.weight"]) // PROCESSES + 1
    found = local(model.translator.decoder.embed_tokens.weight)
    assert torch.equal(found, state["decoder.embed_tokens.weight"][rows : 2 * rows])


def test_processes_that_draw_apart_leave_out_the_same_layers():
    config = EncoderConfig(dim=8, ffn_dim=8, num_heads=1, num_layers=1, layerdrop=0.5, pos_conv_groups=1)
    states, lengths = torch.zeros(1, 3, 8), torch.tensor([3])
    runs = []
    for seed in (1, 2):
        encoder = TransformerEncoder(config).train()
        encoder.drops = torch.Generator().manual_seed(5)
        torch.manual_seed(seed)
        calls: list[int] = []
        encoder.layers[0].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        runs.append([])
        for _ in range(20):
            before = len(calls)
            encoder(states, lengths)
            runs[-1].append(len(calls) - before)
    assert runs[0] == runs[1]
    assert 0 < sum(runs[0]) < 20


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"optimizer": "adam"}, "--optimizer adam"),
        ({"freeze_encoder": True, "cache_encoder_states": True}, "--cache-encoder-states"),
        ({"compile": True}, "--compile"),
        ({"store_ema": True}, "--store-ema"),
        ({"cpu_offload": True}, "--cpu-offload"),
        ({"use_sharded_state": True}, "--use-sharded-state"),
        ({"zero_sharding": "os"}, "--zero-sharding"),
        ({"use_bmuf": True}, "--use-bmuf"),
        ({"fp16": True}, "--fp16"),
    ],
)
def test_t23_what_does_not_go_with_it_is_named(tones, options, flag):
    cfg = make_config(tones, ddp_backend="fully_sharded", **options)
    with pytest.raises(ConfigError, match=f"--ddp-backend fully_sharded does not go with {flag}"):
        refuse_what_this_task_has_not(cfg)


def test_alone_it_is_allowed(tones):
    refuse_what_this_task_has_not(make_config(tones, ddp_backend="fully_sharded"))


def test_a_batch_that_does_not_fit_ends_a_training_of_several(tones, group):
    model = make_trainer(tones).get_model()
    with pytest.raises(torch.OutOfMemoryError), exhaustion_ends_training(model):
        raise torch.OutOfMemoryError("CUDA out of memory")
    shard(model, group, torch.device("cpu"))
    with pytest.raises(StError, match="lower --max-tokens"), exhaustion_ends_training(model):
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_on_a_gpu_is_that_of_whole_weights(tones, tmp_path, precision):
    """One process: torch gathers and divides all the same."""
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    device = torch.device("cuda", torch.cuda.current_device())
    trainer = make_trainer(tones, checkpoint_activations="all")
    dataset = trainer.task.datasets["train"]
    sample = torch.utils._pytree.tree_map(
        lambda value: value.to(device) if torch.is_tensor(value) else value, dataset.collater([dataset[0], dataset[1]])
    )
    losses = []
    try:
        for divided in (False, True):
            model = copy.deepcopy(trainer.get_model())
            model = shard(model, dist.group.WORLD, device) if divided else model.to(device)
            model.eval()
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16", cache_enabled=not divided):
                loss, _, _ = trainer.get_criterion()(model, sample)
            loss.backward()
            norm = torch.stack([local(p.grad).norm() for p in model.parameters() if p.grad is not None]).norm()
            losses.append((loss.item(), norm.item()))
    finally:
        dist.destroy_process_group()
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if precision == "fp32" else 1e-2)
