"""What this project replaces in a process that trains: found by looking at every function before and after.

Run as a program: ``replaced_functions.py OUT fairseq-train …`` trains. What was replaced is written to ``OUT`` as JSON:
names in this process, names in one that reads, and names in this one once torchrun's environment is there.
"""

import json
import os
import sys
import types
import warnings
from pathlib import Path


def functions():
    """Return all functions and classes of all modules but ours, and of their classes, by dotted name."""
    found = {}
    for name, module in [*sys.modules.items()]:
        # Some modules have two names, and torch makes others of objects.
        ours = name.partition(".")[0] in ("st", "covost", "__main__")
        if ours or type(module) is not types.ModuleType or module.__name__ != name:
            continue
        for key, value in [*vars(module).items()]:
            found[f"{name}.{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}.{key}.{part}": inner for part, inner in vars(value).items()}
    return {
        name: value for name, value in found.items() if callable(value) or isinstance(value, (staticmethod, property))
    }


class Replaced:
    """As a data set: what is replaced in the process that reads it."""

    def __init__(self):
        self.before = functions()

    def __len__(self):
        return 1

    def __getitem__(self, _index=0):
        after = functions()
        return sorted(name for name, value in self.before.items() if after.get(name, value) is not value)


def main(out, *command):
    warnings.simplefilter("ignore")
    import fairseq_cli.train  # noqa: I001 (first, because it sets up the logging)
    import fairseq_cli.hydra_train
    import torch._dynamo  # which replaces a function of torch itself
    import torch.utils.tensorboard
    from fairseq.data import data_utils  # noqa: F401

    replaced = Replaced()
    import st  # noqa: F401
    from st.fairseq_plugin.data.iterator import begin_reading
    from st.fairseq_plugin.repairs.table import install

    sys.argv = [*command]
    fairseq_cli.train.cli_main()
    loader = torch.utils.data.DataLoader(replaced, batch_size=None, num_workers=1, worker_init_fn=begin_reading)
    found = [replaced[0], *loader]
    os.environ.update(WORLD_SIZE="2", RANK="0")
    install()
    Path(out).write_text(json.dumps([*found, replaced[0]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
