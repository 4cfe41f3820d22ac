"""The sub-commands of ``covost``: each module has ``add_arguments`` and ``run``."""
