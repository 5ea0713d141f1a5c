"""GStreamer of the system for this Python, which may be that of an environment without system packages."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import warnings
from pathlib import Path

INSTALL = (
    "apt-get install python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good"
)
DEBIAN = Path("/usr/lib/python3/dist-packages")


def missing(folder: Path) -> str | None:
    """Make ``gi`` importable; why that fails, or None.

    Args:
        folder: An empty one. It gets a link to Debian's package alone, so that nothing else of the system
            stands in for what the environment has.
    """
    if "gi" not in sys.modules:
        compiled = f"_gi{sysconfig.get_config_var('EXT_SUFFIX')}"
        if (DEBIAN / "gi" / compiled).is_file():
            (folder / "gi").symlink_to(DEBIAN / "gi")
            sys.path.insert(0, str(folder))
        try:
            gi = importlib.import_module("gi")
        except ImportError as error:
            return f"no PyGObject for this Python ({error}): {INSTALL}"
        finally:
            sys.path[:] = [place for place in sys.path if place != str(folder)]
        try:
            for module in ("Gst", "GstApp", "GstVideo"):
                gi.require_version(module, "1.0")
        except ValueError as error:
            return f"no GStreamer ({error}): {INSTALL}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of PyGObject's loader
        gst = importlib.import_module("gi.repository.Gst")
    gst.init(None)
    wanted = ("videotestsrc", "appsink", "videoconvert", "rawvideoparse", "rtspsrc", "multifilesrc", "pngdec")
    absent = [name for name in wanted if gst.ElementFactory.find(name) is None]
    return f"no GStreamer element {absent[0]}: {INSTALL}" if absent else None
