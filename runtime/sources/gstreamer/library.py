"""GStreamer through PyGObject, which the system brings: imported when a source is opened."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

from tdfusion_edge.errors import RequestError

PACKAGES = "python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good"
"""What Debian, Ubuntu and JetPack call what is needed."""
INSTALL = f"sudo apt install {PACKAGES}"
_SYSTEM_VENV = "python3 -m venv --system-site-packages"


class GStreamer(NamedTuple):
    """The modules of GStreamer, initialised."""

    gst: Any
    """``gi.repository.Gst``."""
    video: Any
    """``gi.repository.GstVideo``."""
    error: Any
    """``gi.glib.GError``, which it raises."""


def gstreamer() -> GStreamer:
    """GStreamer, ready for use.

    Raises:
        RequestError: PyGObject or GStreamer is not there, or belongs to another Python; the hint says what
            to install.
    """
    try:
        gi = importlib.import_module("gi")
    except ModuleNotFoundError:
        raise RequestError(
            "GStreamer needs PyGObject, and this Python has no module gi",
            hint=f"{INSTALL}  # and make the environment with {_SYSTEM_VENV}",
        ) from None
    except ImportError as error:  # it is compiled for one version of Python
        raise RequestError(
            f"GStreamer needs PyGObject, which cannot be imported: {error}",
            hint=f"Make the environment with the system's own Python: /usr/bin/{_SYSTEM_VENV} .venv",
        ) from error
    try:
        for module in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(module, "1.0")
        with warnings.catch_warnings():
            # Its loader is of a kind that Python has put aside, which nobody here can change.
            warnings.simplefilter("ignore", ImportWarning)
            # GstApp gives the sink its methods.
            gst, video, _, glib = (
                importlib.import_module(f"gi.repository.{module}")
                for module in ("Gst", "GstVideo", "GstApp", "GLib")
            )
        if not gst.is_initialized():
            gst.init(None)
    except (ValueError, ImportError, AttributeError) as error:
        raise RequestError(f"GStreamer cannot be used from Python: {error}", hint=INSTALL) from error
    return GStreamer(gst, video, glib.GError)
