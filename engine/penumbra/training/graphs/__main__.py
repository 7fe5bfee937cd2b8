"""Export the templates anew: ``python -m penumbra.training.graphs``."""

from penumbra.training.graphs import write_templates

if __name__ == "__main__":
    write_templates()
