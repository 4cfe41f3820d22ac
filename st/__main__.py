"""``python -m st`` is the ``st`` command."""

from st.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
