"""``python -m tdfusion_edge`` is the ``tdfusion-edge`` command."""

import sys

from tdfusion_edge.cli import program

if __name__ == "__main__":
    sys.exit(program())
