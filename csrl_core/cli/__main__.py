"""``python -m csrl_core.cli``."""

from csrl_core.cli import main

if __name__ == "__main__":
    main()
