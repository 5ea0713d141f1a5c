"""The command line on a disk that allows no large file, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from tdfusion_edge.cli import main
sys.exit(main(sys.argv[2:]))
"""


def run_limited(arguments: Sequence[object], limit: int) -> subprocess.CompletedProcess[str]:
    """``tdfusion-edge ARGUMENTS`` where no file may pass ``limit`` bytes; a write beyond is EFBIG."""
    command = [sys.executable, "-c", LIMITED, str(limit), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
