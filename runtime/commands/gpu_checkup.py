"""What this machine has of NVIDIA's: driver, GPU, TensorRT, JetPack; a :class:`Check` each.

As in :mod:`tdfusion_edge.runtime.commands.checkup`, nothing here fails, and libraries are imported at use.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.install import install_command
from tdfusion_edge.runtime.commands.checkup import Check, first_line, hint, imported, line_of
from tdfusion_edge.runtime.driver import module_version
from tdfusion_edge.runtime.measuring import jetson

DRIVER = "sudo ubuntu-drivers install  # then restart; elsewhere the driver comes from NVIDIA"
CUDA = ("cuda.bindings.runtime", "pycuda.driver")
"""Either gives GPU memory to the back ends."""
CUDA_13 = 580
"""Oldest driver, by its first number, that runs libraries for CUDA 13 (NVIDIA's CUDA release notes)."""
JETPACK_6, JETPACK_7 = 36, 38
"""First numbers of their Jetson Linux."""
UPDATE = "Install JetPack 6 or later: https://developer.nvidia.com/embedded/jetpack"


def rows() -> Iterator[Check]:
    """All of them; the GPU is opened once."""
    probe = functools.cache(_probed)
    opened = cuda(probe=probe)
    yield tensorrt("tensorrt", opened=opened)
    yield tensorrt("tensorrt_rtx", opened=opened)
    yield torch_tensorrt()
    yield gpu()
    yield opened
    yield kernels(opened, probe)
    yield jetpack()


def tensorrt(
    flavour: str,
    root: Path = Path("/"),
    machine: str = platform.machine(),
    *,
    opened: Check | None = None,
) -> Check:
    """One flavour of TensorRT, and what it needs beside its own package.

    Args:
        flavour: Its module.
        root: Of the device's files.
        machine: Its processor.
        opened: What :func:`cuda` said; None asks it, if it comes to that.
    """
    status, found = imported(flavour)
    if flavour.replace("_", "-") not in _backends():
        return Check(flavour, status, f"{found}; no back end of this version uses it")
    fix = _install(flavour, root, machine, again=status == "broken")
    if status != "ok":
        desktop = flavour == "tensorrt_rtx" and machine != "x86_64"
        note = "; it is for desktop GPUs" if desktop else ""
        return Check(flavour, status, f"{found}{note}", None if desktop else fix)
    if not any(map(_installed, CUDA)):
        return Check(flavour, "broken", f"{found}, but no CUDA library for Python", fix)
    driver = module_version(root)
    if flavour == "tensorrt_rtx" and driver is not None and _too_old(driver):
        return Check(flavour, "broken", f"{found}, for driver {CUDA_13} or newer; here is {driver}", DRIVER)
    opened = cuda(root, machine) if opened is None else opened
    if opened.status == "broken":
        return Check(flavour, "broken", f"{found}, but {opened.found}", opened.fix)
    note = "" if opened.status == "ok" else "; it builds, and without a GPU runs nothing"
    return Check(flavour, "ok", f"{found}{note}")


def cuda(
    root: Path = Path("/"),
    machine: str = platform.machine(),
    probe: Callable[[], Any] | None = None,
) -> Check:
    """The GPU as programs have it: it is opened, in a process of its own, by the library that engines take.

    Args:
        root: Of the device's files.
        machine: Its processor.
        probe: Opens it; None takes the program's own.
    """
    name = "CUDA"
    if module_version(root) is None and not jetson.is_jetson(root):
        return Check(name, "missing", "no NVIDIA driver is loaded")
    try:
        seen = _probed() if probe is None else probe()
    except Exception as error:
        advised = hint(error) or ""
        # What opens it may advise the doctor, who speaks here.
        fix = advised if advised.startswith("pip ") else _install("tensorrt", root, machine, again=True)
        return Check(name, "broken", f"the GPU cannot be opened: {first_line(error)}", fix)
    it, shared = seen.gpu, ", shared with the CPU" if seen.gpu.integrated else ""
    return Check(
        name,
        "ok",
        f"{it.name} ({it.capability}, {it.multiprocessors} SMs, {it.memory_gib} GiB{shared}), "
        f"{seen.free_memory / (1 << 30):.1f} GiB free, opened by {seen.provider}; "
        f"driver {it.driver or 'unknown'}",
    )


def kernels(opened: Check, probe: Callable[[], Any], folder: Path | None = None) -> Check:
    """Our own kernels (``--backend cuda``): which compiled ones this GPU and its driver take, or why none.

    Args:
        opened: What :func:`cuda` said.
        probe: Tells of the GPU; asked where it was opened.
        folder: Where the compiled kernels lie; None takes those of this installation.
    """
    name = "kernels (--backend cuda)"
    try:
        from tdfusion_edge.runtime.engines.cuda import binaries

        place = binaries.FOLDER if folder is None else folder
        try:
            there = binaries.manifest(place).binaries
        except TdfusionError as error:
            absent = not (place / binaries.MANIFEST).exists()
            return Check(name, "missing" if absent else "broken", first_line(error), hint(error))
        made = ", ".join(f"{one.file} of CUDA {one.cuda[0]}.{one.cuda[1]}" for one in there)
        if opened.status != "ok":
            return Check(name, "missing", f"compiled: {made}; but no GPU could be opened")
        gpu = probe().gpu
        capability, version = int(gpu.capability.removeprefix("sm_")), _cuda_version(gpu.driver)
        if version is None:
            return Check(name, "broken", f"compiled: {made}; but the driver does not tell its CUDA version")
        taken = binaries.binary_for(version, capability, place)
        own = capability in taken.targets
        how = f"{'' if own else 'no '}code of its own for {gpu.capability}"
        how += "" if own else ": the driver makes it"
        return Check(name, "ok", f"{taken.file} of CUDA {taken.cuda[0]}.{taken.cuda[1]}, {how}")
    except Exception as error:
        return Check(name, "broken", first_line(error), hint(error))


def _cuda_version(driver: str) -> tuple[int, int] | None:
    found = re.search(r"CUDA (\d+)\.(\d+)", driver)
    return None if found is None else (int(found[1]), int(found[2]))


def torch_tensorrt() -> Check:
    """Torch-TensorRT, by its metadata: its import loads PyTorch, and fails where there is no GPU."""
    name = "torch_tensorrt (export)"
    try:
        return Check(name, "ok", importlib.metadata.version("torch-tensorrt"))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "missing", "not installed", install_command("torch-tensorrt"))


def _probed() -> Any:
    from tdfusion_edge.runtime.engines.tensorrt.device.probe import probe

    return probe()


def _install(flavour: str, root: Path, machine: str, *, again: bool) -> str:
    """The command that brings a flavour of TensorRT with what it needs, or brings it again."""
    force = "--force-reinstall" if again else ""
    if flavour == "tensorrt_rtx":
        return install_command("tensorrt-rtx", options=force)
    if jetson.is_jetson(root):
        return (
            f"sudo apt install {'--reinstall ' if again else ''}python3-libnvinfer && "
            f"{install_command(_extra(root))}  # in an environment made with --system-site-packages"
        )
    return install_command("tensorrt", options=force, beside="tensorrt")


def _extra(root: Path) -> str:
    """The extra whose CUDA library a Jetson's driver takes."""
    linux = _jetson_linux(root)
    return "tensorrt" if linux is None else "jetpack6" if linux < JETPACK_7 else "jetpack7"


def _jetson_linux(root: Path) -> int | None:
    """First number of Jetson Linux; None where that is not told."""
    version = jetson.release(root)
    return None if version is None else int(version.partition(".")[0])


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
    driver = module_version(root)
    if driver is None:
        if _has_nvidia_card(root):
            return Check("GPU", "broken", "an NVIDIA card, and no driver for it is loaded", DRIVER)
        return Check("GPU", "missing", "no NVIDIA driver is loaded; the CPU does the work")
    models = [
        line_of(card.read_text(errors="replace"), "Model")
        for card in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    ]
    return Check("GPU", "ok", f"{', '.join(models) or 'NVIDIA'}, driver {driver}")


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


def jetpack(root: Path = Path("/")) -> Check:
    """Jetson Linux and JetPack, as the device's own files tell them."""
    if not jetson.is_jetson(root):
        return Check("JetPack", "missing", "this is no Jetson")
    number = _jetson_linux(root)
    linux = f"Jetson Linux {jetson.release(root) or 'of unknown version'}"
    if number is not None and number < JETPACK_6:
        return Check("JetPack", "broken", f"{linux}: the GPU's back ends need JetPack 6 or later", UPDATE)
    version = jetson.jetpack(root)
    if version is None:
        return Check(
            "JetPack", "missing", f"{linux}, without its packages", "sudo apt install nvidia-jetpack"
        )
    return Check("JetPack", "ok", f"{version}, {linux}")
