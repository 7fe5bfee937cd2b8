"""``python -m penumbra``: how hosts start the engine."""

from penumbra.cli import main

if __name__ == "__main__":
    main()
