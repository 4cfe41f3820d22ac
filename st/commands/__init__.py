"""The sub-commands of ``st``: each a module with ``add_arguments`` and ``run``, imported only when it is asked for."""
