"""Which CUDA library for Python opens the GPU: one choice for TensorRT's back ends and for our kernels.

Two libraries are known: cuda-python, which NVIDIA recommends, and PyCUDA, which many devices already have.
Which one is tried first follows from the driver: cuda-python is of one version of CUDA, and what is for CUDA
13 refuses the driver of JetPack 6, which is for 12.6.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver, driver_here

DOCTOR = "tdfusion-edge doctor  # says what is installed, and what is missing"
INSTALL = "pip install cuda-bindings  # of the CUDA version that the driver supports"
CUDA_BINDINGS, PYCUDA = "cuda-bindings", "pycuda"
"""Their names on PyPI."""

T = TypeVar("T")


class Provider(NamedTuple):
    """A library that opens the GPU, in one use of it."""

    package: str
    """Its name on PyPI."""
    module: str
    maker: str
    """``module:Class`` of ours, called with the library's module and the :class:`Driver`."""

    @property
    def versioned(self) -> bool:
        """Whether its version is that of the CUDA that it is for."""
        return self.package == CUDA_BINDINGS


def first_that_opens(
    providers: Sequence[Provider], kind: type[T], known: Callable[[], Driver] = driver_here
) -> T:
    """The first GPU, through the first library that opens it.

    Those that the driver's CUDA version takes come first. The others are tried as well, for a machine may
    have NVIDIA's compatibility libraries.

    Args:
        providers: In the order in which they are tried where the driver takes all.
        kind: What their makers give.
        known: Tells of the driver.

    Raises:
        EngineError: no library is there, or none opens a GPU; each says why.
    """
    del kind  # for the type checker alone
    driver, failed = known(), dict[str, str]()
    for provider in sorted(providers, key=lambda one: not _fits(one, driver)):
        try:
            library = importlib.import_module(provider.module)
            module, name = provider.maker.split(":")
            device: T = getattr(importlib.import_module(module), name)(library, driver)
        except Exception as error:  # PyCUDA raises errors of its own already while it is imported
            if not _absent(provider.module, error):
                failed[f"{provider.package} {_version(provider.package) or ''}".rstrip()] = str(error)
        else:
            return device
    if not failed:
        raise EngineError(
            "no CUDA library for Python", expected="cuda-bindings or pycuda", hint=_install(driver)
        )
    raise EngineError(
        f"no GPU can be used: {'; '.join(f'{name}: {why}' for name, why in failed.items())}",
        hint=DOCTOR if all(_fits(one, driver) for one in providers) else _install(driver),
    )


def _fits(provider: Provider, driver: Driver) -> bool:
    """Whether the driver takes the library, as far as is known."""
    version = _version(provider.package) if provider.versioned else None
    if version is None or driver.cuda is None:
        return True
    return int(version.partition(".")[0]) <= driver.cuda[0]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it may lie in a folder of the path all the same
        return None


def _absent(module: str, error: Exception) -> bool:
    """Whether it is not installed, "cuda" or "pycuda" that is: what lacks another module is damaged."""
    return isinstance(error, ModuleNotFoundError) and (
        error.name is not None and f"{module}.".startswith(f"{error.name}.")
    )


def _install(driver: Driver) -> str:
    if driver.cuda is None:
        return INSTALL
    major, minor = driver.cuda
    return f'pip install "cuda-bindings<{major + 1}"  # the driver is for CUDA {major}.{minor}'
