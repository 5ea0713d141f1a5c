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
from collections.abc import Callable, Iterable, Iterator, Mapping
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


DRIVER = "sudo ubuntu-drivers install  # then restart; elsewhere the driver comes from NVIDIA"
CUDA = ("cuda.bindings.runtime", "pycuda.driver")
"""Either gives GPU memory to the back ends."""
CUDA_13 = 580
"""Oldest driver, by its first number, that runs libraries for CUDA 13 (NVIDIA's CUDA release notes)."""
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


def everything(rig_file: Path | None = None, bundle_path: Path | None = None) -> Iterator[Check]:
    """All rows, the needed ones first; None takes what ``run`` would take."""
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
    yield from cameras(rig_file)
    yield torch()
    yield tensorrt("tensorrt")
    yield tensorrt("tensorrt_rtx")
    yield torch_tensorrt()
    yield gpu()
    yield jetpack()


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
    status, found = _imported(name, detail)
    if status == "ok":
        return Check(name, status, found, needed=True)
    again = "--force-reinstall " if status == "broken" else ""
    return Check(name, status, found, fix or f"pip install {again}{name}", needed=True)


def _imported(name: str, detail: Callable[[Any], str] = lambda _: "") -> tuple[Status, str]:
    try:
        importlib.import_module(OUR_WAY.get(name, name))
        module = sys.modules[name]
        # An uninstall may leave an empty folder, which imports and has no version.
        return "ok", f"{module.__version__} {detail(module)}".rstrip()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return "missing", "not installed"
        return "broken", _first_line(error)


def _first_line(error: Exception) -> str:
    return redact(str(error)).partition("\n")[0] or type(error).__name__


def opencv() -> Check:
    """OpenCV, and what it was built with."""
    return library("cv2", fix=OPENCV, detail=lambda module: build(module.getBuildInformation()))


def build(information: str) -> str:
    r"""The two facts of ``cv2.getBuildInformation()`` that differ between packages.

    >>> build("  GUI:   QT5\n  Video I/O:\n    GStreamer:  YES (1.20.3)")
    'with windows (QT5), with GStreamer'
    """
    gui, gstreamer = _line(information, "GUI"), _line(information, "GStreamer")
    return (
        f"{'headless' if gui in ('', 'NONE') else f'with windows ({gui})'}, "
        f"{'with' if gstreamer.startswith('YES') else 'no'} GStreamer"
    )


def _line(information: str, key: str) -> str:
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

        path = bundle.default_path() if path is None else bundle.place(str(path))
        with Fuser(path) as fuse:
            side = max(64, fuse.manifest.graphs[bundle.FUSION].minimum_size)
            if side > LARGEST_PROBE:  # it would take the machine's memory
                raise RuntimeError(f"its network takes no pictures below {side}x{side}")
            black = np.zeros((side, side), np.uint8)
            if not np.isfinite(fuse.look(black, black).fused).all():
                raise RuntimeError("its network gives NaN or infinity for black pictures")
    except Exception as error:
        return Check("bundle", "broken", _first_line(error), _hint(error), needed=True)
    found = f"{fuse.manifest.name} in {path}, verified, runs in {fuse.backend}"
    return Check("bundle", "ok", found, needed=True)


def _hint(error: Exception) -> str | None:
    return redact(error.hint) if isinstance(error, TdfusionError) and error.hint else None


def rig_in_use(explicit: Path | None = None) -> Check:
    """The rig file that ``run`` would take."""
    try:
        from tdfusion_edge.runtime import rig

        path = rig.find(explicit)
        names = few(list(rig.read(path).cameras))
    except Exception as error:
        return Check("rig", "broken", _first_line(error), _hint(error), needed=True)
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


def torch() -> Check:
    """PyTorch, by its metadata: the runtime never loads it."""
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Check("torch (train, export)", "missing", "not installed", install_command("train,export"))
    return Check("torch (train, export)", "ok", found)


def tensorrt(flavour: str, root: Path = Path("/"), machine: str = platform.machine()) -> Check:
    """One flavour of TensorRT, and what it needs beside its own package."""
    status, found = _imported(flavour)
    if flavour.replace("_", "-") not in _backends():
        return Check(flavour, status, f"{found}; no back end of this version uses it")
    fix = _install(flavour, root, machine, again=status == "broken")
    if status != "ok":
        desktop = flavour == "tensorrt_rtx" and machine != "x86_64"
        note = "; it is for desktop GPUs" if desktop else ""
        return Check(flavour, status, f"{found}{note}", None if desktop else fix)
    if not any(map(_installed, CUDA)):
        return Check(flavour, "broken", f"{found}, but no CUDA library for Python", fix)
    driver = _driver(root)
    if flavour == "tensorrt_rtx" and driver is not None and _too_old(driver):
        return Check(flavour, "broken", f"{found}, for driver {CUDA_13} or newer; here is {driver}", DRIVER)
    note = "" if driver is not None or _is_jetson(root) else "; it builds, and without a GPU runs nothing"
    return Check(flavour, "ok", f"{found}{note}")


def torch_tensorrt() -> Check:
    """Torch-TensorRT, by its metadata: its import loads PyTorch, and fails where there is no GPU."""
    name = "torch_tensorrt (export)"
    try:
        return Check(name, "ok", importlib.metadata.version("torch-tensorrt"))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "missing", "not installed", install_command("torch-tensorrt"))


def _install(flavour: str, root: Path, machine: str, *, again: bool) -> str:
    """The command that brings a flavour of TensorRT with what it needs, or brings it again."""
    force = "--force-reinstall" if again else ""
    if flavour == "tensorrt_rtx":
        return install_command("tensorrt-rtx", options=force)
    if _is_jetson(root):
        return (
            f"sudo apt install {'--reinstall ' if again else ''}python3-libnvinfer && "
            f"{install_command('tensorrt')}  # in an environment made with --system-site-packages"
        )
    return install_command("tensorrt", options=force, beside="tensorrt")


def _too_old(driver: str) -> bool:
    major = driver.partition(".")[0]
    return major.isdigit() and int(major) < CUDA_13


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the package that it would be in is missing
        return False


def _backends() -> Iterable[str]:
    try:
        from tdfusion_edge.runtime.engines import BACKENDS
    except ImportError:  # NumPy is missing, which has its own row
        return ()
    return BACKENDS


def gpu(root: Path = Path("/")) -> Check:
    """NVIDIA driver and GPUs, as the kernel module tells them."""
    driver = _driver(root)
    if driver is None:
        if _has_nvidia_card(root):
            return Check("GPU", "broken", "an NVIDIA card, and no driver for it is loaded", DRIVER)
        return Check("GPU", "missing", "no NVIDIA driver is loaded; the CPU does the work")
    models = [
        _line(card.read_text(errors="replace"), "Model")
        for card in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    ]
    return Check("GPU", "ok", f"{', '.join(models) or 'NVIDIA'}, driver {driver}")


def _driver(root: Path) -> str | None:
    """Version of the NVIDIA driver; None where none is loaded."""
    try:
        told = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    version = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", told)
    return version[1] if version else "unknown"


def _has_nvidia_card(root: Path) -> bool:
    """Whether a display controller (PCI class 03) of NVIDIA (vendor 10de) is on the bus."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _is_jetson(root: Path) -> bool:
    return (root / "etc/nv_tegra_release").exists()


def jetpack(root: Path = Path("/")) -> Check:
    """Jetson Linux and JetPack, as the device's own files tell them."""
    try:
        release = (root / "etc/nv_tegra_release").read_text(errors="replace")
    except OSError:
        return Check("JetPack", "missing", "this is no Jetson")
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    linux = f"Jetson Linux {found[1]}.{found[2]}" if found else "Jetson Linux of unknown version"
    try:
        packages = (root / "var/lib/dpkg/status").read_text(errors="replace")
    except OSError:
        packages = ""
    version = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", packages, re.MULTILINE)
    if version is None:
        return Check(
            "JetPack", "missing", f"{linux}, without its packages", "sudo apt install nvidia-jetpack"
        )
    return Check("JetPack", "ok", f"{version[1]}, {linux}")
