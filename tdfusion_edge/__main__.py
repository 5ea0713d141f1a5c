"""``python -m tdfusion_edge`` is the ``tdfusion-edge`` command."""

import sys

from tdfusion_edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
