"""Where work runs: in processes of this machine, or on a cluster."""
