"""The real Python bindings of several versions of TensorRT, behind libraries that do nothing.

A binding wheel is a megabyte and needs a dozen C functions of libraries that are gigabytes. Empty ones
of the same names are enough to import it and to ask what its classes have; no Builder can be made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tdfusion_edge.runtime.engines.tensorrt.store.private import default_folder, make_private

RTX = "tensorrt-rtx-cu13==1.7.1.116"
BINDINGS: Mapping[str, tuple[str, int]] = {
    "8.6": ("tensorrt-bindings==8.6.1", 8),
    "10.3": ("tensorrt-cu12-bindings==10.3.0", 10),
    "10.13": ("tensorrt-cu13-bindings==10.13.3.9.post1", 10),
    "10.16": ("tensorrt-cu13-bindings==10.16.1.11", 10),  # JetPack 7.2 has 10.16.2
    "11.4": ("tensorrt-cu13-bindings==11.4.0.106", 11),
}
"""Version to package and number of its libraries."""

FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getPluginRegistry",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")

CHOICES = (
    "strongly_typed",
    "network_flags",
    "largest_opset",
    "has_progress_monitor",
    "takes_capabilities",
    "has_timing_cache",
    "has_runtime_cache",
)
"""Functions of ``bindings`` that ask a module what it has."""

ASK = """
import importlib, json, sys
module, wanted = sys.argv[1], json.load(sys.stdin)
trt = importlib.import_module(module)
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.log import Log

def told(cls, name):
    member = getattr(getattr(trt, cls, None), name, None)
    if member is None:
        return None
    return int(member) if isinstance(member, getattr(trt, cls)) else member.__doc__ or ""

def starts(make):
    try:
        bindings.started(module, make, Log())
    except EngineError as error:
        return str(error)
    return ""

logger = trt.Logger()
print(json.dumps({
    "version": trt.__version__,
    "members": {cls: {name: told(cls, name) for name in names} for cls, names in wanted.items()},
    "choices": {name: getattr(bindings, name)(trt) for name in sys.argv[2:]},
    "starts": starts(lambda: trt.Builder(logger)),
}))
"""


def cache() -> Path:
    """Where wheels are kept: in the user's cache, so that another clone need not fetch them again."""
    return default_folder().with_name("tensorrt_bindings")


def fetched(version: str) -> tuple[Path, Path]:
    """Folders of the unpacked wheel and of the empty libraries; skips where pip cannot fetch it.

    A skip, since no network is no fault of the code; its reason quotes pip.
    """
    package, number = BINDINGS[version]

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(downloaded(package)) as archive:
            archive.extractall(folder)

    return _made(f"{version}-{sys.version_info[1]}", unpack), _made(f"lib{number}", partial(_compile, number))


def downloaded(package: str) -> Path:
    """The wheel of a package; skips where pip cannot fetch it."""

    def fetch(folder: Path) -> None:
        call = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*call, "-d", folder, package], capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip() or "no message").splitlines()[-1]
            pytest.skip(
                f"pip cannot fetch {package} for Python {sys.version_info[0]}.{sys.version_info[1]}: {reason}"
            )

    return next(_made(f"wheels-{package}-{sys.version_info[1]}", fetch).glob("*.whl"))


def _made(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, whole or not there: other processes may want the same one now."""
    folder = cache() / name
    if folder.is_dir():
        return folder
    make_private(cache())  # code is run from it
    aside = Path(tempfile.mkdtemp(dir=cache(), prefix=f".{name}."))
    try:
        fill(aside)
        with contextlib.suppress(OSError):  # another process was first
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _compile(number: int, folder: Path) -> None:
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for library in LIBRARIES:
        name = f"lib{library}.so.{number}"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source], check=True
        )


def ask(
    module: str, wanted: Mapping[str, list[str]], *, paths: list[Path], libraries: Path | None
) -> dict[str, Any]:
    """What the classes of an installed version have, asked in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *sys.path]),
        **({} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK, module, *CHOICES],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
