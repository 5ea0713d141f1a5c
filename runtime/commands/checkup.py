"""What this installation has and lacks: one :class:`Check` for each thing that matters.

Every library is asked by importing it, because a package that is installed and cannot be loaded is
the usual trouble on a device. Nothing here fails: what goes wrong becomes a row. For that reason
this module itself imports no library, and the modules that do are imported at use.
"""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from tdfusion_edge import __version__
from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.install import install_command
from tdfusion_edge.redact import redact
from tdfusion_edge.text import few

Status: TypeAlias = Literal["ok", "missing", "broken"]

OPENCV = "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"
"""Both packages hold the same files: removing one of two damages the other."""


LARGEST_PROBE = 2048
"""Longest side of a picture that a bundle is tried with."""
GROUP = "sudo usermod -aG video $USER  # then log in again"


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the report."""

    name: str
    status: Status
    found: str
    """Version or state, for people."""
    fix: str | None = None
    """Command that installs what is missing or mends what is broken; None where none can."""
    needed: bool = False
    """The base pipeline does not run without it."""


def everything(
    rig_file: Path | None = None, bundle_path: Path | None = None, *, look: bool = True
) -> Iterator[Check]:
    """All rows, the needed ones first; None takes what ``run`` would take.

    Args:
        rig_file: The rig.
        bundle_path: The bundle.
        look: Whether the rig's live cameras are opened and their pictures judged.
    """
    from tdfusion_edge.runtime.commands import gpu_checkup  # it imports this module

    yield python()
    yield library("numpy")
    yield library("msgspec")
    if sys.version_info < (3, 11):
        yield library("tomli")
    yield opencv()
    yield library("onnxruntime", detail=_providers)
    yield library("av", detail=_encoder)
    yield network(bundle_path)
    yield rig_in_use(rig_file)
    yield window()
    yield gstreamer()
    yield from cameras(rig_file)
    if look:
        yield from _looks(rig_file)
    yield from extras()
    yield torch()
    yield from gpu_checkup.rows()


def python() -> Check:
    """Interpreter, package and machine."""
    return Check(
        "Python",
        "ok",
        f"{platform.python_version()}, tdfusion-edge {__version__}, {platform.system()} {platform.machine()}",
        needed=True,
    )


OUR_WAY: Mapping[str, str] = MappingProxyType({"onnxruntime": "tdfusion_edge.runtime.engines.ort"})
"""Modules by which a library is imported where its own import would do more than is asked for."""


def library(name: str, *, fix: str | None = None, detail: Callable[[Any], str] = lambda _: "") -> Check:
    """A library of the base install; ``detail`` looks further into it and may raise."""
    status, found = imported(name, detail)
    if status == "ok":
        return Check(name, status, found, needed=True)
    again = "--force-reinstall " if status == "broken" else ""
    return Check(name, status, found, fix or f"pip install {again}{name}", needed=True)


def imported(name: str, detail: Callable[[Any], str] = lambda _: "") -> tuple[Status, str]:
    """How the import of a library went, and its version or what went wrong; ``detail`` as :func:`library`."""
    try:
        importlib.import_module(OUR_WAY.get(name, name))
        module = sys.modules[name]
        # An uninstall may leave an empty folder, which imports and has no version.
        return "ok", f"{module.__version__} {detail(module)}".rstrip()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return "missing", "not installed"
        return "broken", first_line(error)


def first_line(error: Exception) -> str:
    """What an error says first, without credentials."""
    return redact(str(error)).partition("\n")[0] or type(error).__name__


def opencv() -> Check:
    """OpenCV, and what it was built with."""
    return library("cv2", fix=OPENCV, detail=lambda module: build(module.getBuildInformation()))


def gstreamer() -> Check:
    """GStreamer from Python, for CSI cameras and pipelines; OpenCV's own is not used."""
    try:
        from tdfusion_edge.runtime.sources.gstreamer.library import gstreamer as opened

        return Check("GStreamer", "ok", str(opened().gst.version_string()))
    except TdfusionError as error:
        return Check("GStreamer", "missing", first_line(error), hint(error))
    except Exception as error:  # a library that it needs, whose own row tells
        return Check("GStreamer", "broken", first_line(error))


def build(information: str) -> str:
    r"""The two facts of ``cv2.getBuildInformation()`` that differ between packages.

    >>> build("  GUI:   QT5\n  Video I/O:\n    GStreamer:  YES (1.20.3)")
    'with windows (QT5), with GStreamer'
    """
    gui, gstreamer = line_of(information, "GUI"), line_of(information, "GStreamer")
    return (
        f"{'headless' if gui in ('', 'NONE') else f'with windows ({gui})'}, "
        f"{'with' if gstreamer.startswith('YES') else 'no'} GStreamer"
    )


def line_of(information: str, key: str) -> str:
    """What stands behind ``key:`` in a text of such lines; empty where that is not in it."""
    found = re.search(rf"^\s*{key}:[ \t]*(.*?)\s*$", information, re.MULTILINE)
    return found[1] if found else ""


def _providers(onnxruntime: Any) -> str:
    found = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    if "CPU" not in found:
        raise RuntimeError(f"it cannot run on the CPU, only on {', '.join(found) or 'nothing'}")
    return f"({', '.join(found)})"


def _encoder(av: Any) -> str:
    try:
        av.Codec("libx264", "w")
    except ValueError:
        raise RuntimeError("it was built without libx264, which writes the videos") from None
    return "with libx264"


def network(path: Path | None = None) -> Check:
    """The bundle: every digest, and one pass of its networks; None takes the one shipped."""
    try:
        import numpy as np

        from tdfusion_edge import bundle
        from tdfusion_edge.runtime.fuser import Fuser

        path = path or bundle.default_path()
        with Fuser(path) as fuse:
            side = max(64, fuse.manifest.graphs[bundle.FUSION].minimum_size)
            if side > LARGEST_PROBE:  # it would take the machine's memory
                raise RuntimeError(f"its network takes no pictures below {side}x{side}")
            black = np.zeros((side, side), np.uint8)
            if not np.isfinite(fuse.look(black, black).fused).all():
                raise RuntimeError("its network gives NaN or infinity for black pictures")
    except Exception as error:
        return Check("bundle", "broken", first_line(error), hint(error), needed=True)
    found = f"{fuse.manifest.name} in {path}, verified, runs in {fuse.backend}"
    return Check("bundle", "ok", found, needed=True)


def hint(error: Exception) -> str | None:
    """What an error of ours advises, without credentials."""
    return redact(error.hint) if isinstance(error, TdfusionError) and error.hint else None


def rig_in_use(explicit: Path | None = None) -> Check:
    """The rig file that ``run`` would take."""
    try:
        from tdfusion_edge.runtime import rig

        path = rig.find(explicit)
        names = few(list(rig.read(path).cameras))
    except Exception as error:
        return Check("rig", "broken", first_line(error), hint(error), needed=True)
    where = "no rig file, simulated cameras" if path is None else str(path.resolve())
    return Check("rig", "ok", f"{where}: {names}", needed=True)


def window() -> Check:
    """Whether ``run --show`` can work."""
    try:
        import cv2

        from tdfusion_edge.runtime.sinks.window import INSTALL, require_windows

        require_windows(cv2.getBuildInformation(), sys.platform, os.environ)
    except TdfusionError as error:
        no_display = "display" in error.what
        return Check("window (--show)", "missing", error.what, None if no_display else INSTALL)
    except Exception:
        return Check("window (--show)", "broken", "OpenCV cannot be loaded", OPENCV)
    return Check("window (--show)", "ok", "can be opened")


def cameras(rig_file: Path | None = None, **machine: Any) -> Iterator[Check]:
    """One row a camera, of the rig and of this machine.

    ``machine`` goes to :func:`tdfusion_edge.runtime.sources.listing.cameras`.
    """
    try:
        from tdfusion_edge.runtime import rig
        from tdfusion_edge.runtime.sources import listing

        found = listing.cameras(rig.read(rig.find(rig_file)), **machine)
    except Exception:
        return  # rig_in_use() tells
    if all(camera.in_rig for camera in found):
        yield Check("cameras", "missing", "no V4L2 device; simulated cameras and files work without")
    for camera in found:
        told = f"{camera.name}, {camera.address}"
        if camera.problem is None:
            formats = ", ".join(form.fourcc for form in camera.formats)
            yield Check("camera", "ok", f"{told}: {formats}" if formats else told)
        else:
            fix = GROUP if camera.problem == os.strerror(errno.EACCES) else None
            yield Check("camera", "broken", f"{told}: {camera.problem}", fix)


def _looks(rig_file: Path | None) -> Iterator[Check]:
    """Rows of :mod:`camera_checkup`; none where the libraries that it needs cannot be loaded."""
    try:
        from tdfusion_edge.runtime.commands import camera_checkup
    except Exception:
        return  # the rows of the libraries tell
    yield from camera_checkup.looks(rig_file)


EXTRAS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "serve": ("page (--serve)", ("starlette", "uvicorn", "websockets", "prometheus-client")),
        "mqtt": ("MQTT (mqtt://)", ("paho-mqtt",)),
        "bags": ("bags (.mcap, .bag)", ("rosbags",)),
        "calibrate": ("calibrate", ("tomlkit",)),
    }
)
"""What a running stream can do beyond the plain install: by extra, the row's name and the packages."""


def extras() -> Iterator[Check]:
    """One row an extra of the runtime, by the metadata of its packages."""
    for extra, (name, packages) in EXTRAS.items():
        found, lacking = [], []
        for package in packages:
            try:
                found.append(f"{package} {importlib.metadata.version(package)}")
            except importlib.metadata.PackageNotFoundError:
                lacking.append(package)
        if lacking:
            yield Check(name, "missing", f"{', '.join(lacking)} not installed", install_command(extra))
        else:
            yield Check(name, "ok", ", ".join(found))


def torch() -> Check:
    """PyTorch, by its metadata: the runtime never loads it."""
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Check("torch (train, export)", "missing", "not installed", install_command("train,export"))
    return Check("torch (train, export)", "ok", found)
