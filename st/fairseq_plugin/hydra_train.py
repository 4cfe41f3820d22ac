"""``fairseq-hydra-train`` for the processes that torchrun starts on CPUs.

    torchrun --nproc_per_node 2 -m st.fairseq_plugin.hydra_train --config-dir configs --config-name low_resource_ctc …

fairseq joins the processes before it imports ``common.user_dir``; without this project's repairs it then divides by the
number of GPUs.
"""

import fairseq.models  # noqa: F401  (with fairseq loaded, importing the project registers it)
from fairseq_cli.hydra_train import cli_main

import st

st.register_plugins()

if __name__ == "__main__":
    cli_main()
