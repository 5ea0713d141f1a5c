from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.requirements import Requirement

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.errors import EngineError
from tdfusion_edge.install import install_command
from tdfusion_edge.runtime.commands import checkup, gpu_checkup
from tdfusion_edge.runtime.commands.checkup import Check
from tdfusion_edge.runtime.commands.doctor import can_run, table
from tdfusion_edge.runtime.engines.cuda import binaries
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.device.probe import Probed

ROOT = Path(__file__).resolve().parent.parent.parent.parent

pytestmark = pytest.mark.usefixtures("no_rig")


@pytest.fixture
def no_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def rows(output: str) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(output)["checks"]}


# --- the command ---------------------------------------------------------------------------------


def test_a_whole_installation_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("The base pipeline can run.\n")
    assert "with libx264" in printed
    assert "ir0, sim://ir" in printed


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    output = capsys.readouterr().out
    assert json.loads(output)["can_run"] is True
    found = rows(output)
    needed = {name for name, check in found.items() if check["needed"]}
    assert needed >= {"Python", "numpy", "msgspec", "cv2", "onnxruntime", "av", "bundle", "rig"}
    assert set(found["numpy"]) == {"name", "status", "found", "fix", "needed"}


@pytest.mark.parametrize("name", ["numpy", "msgspec", "cv2", "onnxruntime", "av"])
def test_whatever_is_missing_the_doctor_still_speaks(name: str) -> None:
    """Each library of the base install in turn is hidden from a fresh interpreter."""
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from tdfusion_edge.cli import main\n"
        "sys.exit(main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stderr
    row = rows(done.stdout)[name]
    assert (row["status"], row["needed"]) == ("missing", True)
    assert "pip install" in row["fix"]


def test_a_damaged_bundle_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = bundle.read(bundle.default_path())
    fields = {name: getattr(opened.manifest, name) for name in opened.manifest.__struct_fields__}
    del fields["format"], fields["sha256"]
    bundle.write(tmp_path / "edge", fields, opened.files)
    (tmp_path / "edge" / "MODEL_CARD.md").write_text("changed")
    assert main(["doctor", "--bundle", str(tmp_path / "edge")]) == 1
    printed = capsys.readouterr().out
    assert "'MODEL_CARD.md' was changed after export" in printed
    assert "<- needed" in printed
    assert "The base pipeline cannot run" in printed


def test_a_rig_that_run_would_refuse_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rig.toml").write_text('[cameras.a]\nurl = "x"')
    assert main(["doctor", "--json"]) == 1
    row = rows(capsys.readouterr().out)["rig"]
    assert (row["status"], row["fix"]) == ("broken", "Did you mean 'uri'?")


def test_a_rig_file_that_is_named_is_looked_at(tmp_path: Path) -> None:
    check = checkup.rig_in_use(tmp_path / "none.toml")
    assert (check.status, check.needed) == ("broken", True)
    assert "none.toml" in check.found


def test_only_what_is_needed_decides() -> None:
    needed, wanted = Check("a", "ok", "", needed=True), Check("b", "broken", "")
    assert can_run([needed, wanted])
    assert not can_run([needed, Check("c", "missing", "", needed=True)])


def test_the_command_that_helps_stands_below_its_row() -> None:
    lines = table(
        [
            Check("numpy", "ok", "2.0", needed=True),
            Check("av", "missing", "gone", "pip install av", needed=True),
        ]
    ).splitlines()
    assert lines == ["ok       numpy  2.0", "missing  av     gone  <- needed", "         pip install av"]


# --- libraries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "status", "found"),
    [
        ("__version__ = '1.2'", "ok", "1.2"),
        ("", "broken", "has no attribute '__version__'"),
        ("raise ImportError('libGL.so.1: cannot open shared object file')", "broken", "libGL.so.1"),
        ("import library_that_is_not_there", "broken", "No module named 'library_that_is_not_there'"),
        ("raise RuntimeError('one\\ntwo')", "broken", "one"),
        ("raise RuntimeError", "broken", "RuntimeError"),
        ("raise OSError('rtsp://admin:hunter2@10.0.0.5')", "broken", "rtsp://***@10.0.0.5"),
    ],
)
def test_a_library_is_judged_by_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, status: str, found: str
) -> None:
    (tmp_path / "probed_library.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for look in (checkup.library, gpu_checkup.tensorrt):
        check = look("probed_library")
        sys.modules.pop("probed_library", None)
        assert check.status == status
        assert found in check.found


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to import from that has both flavours of TensorRT, and what gives them memory."""
    for name in ("tensorrt", "tensorrt_rtx"):
        (tmp_path / f"{name}.py").write_text("__version__ = '9.8'")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(gpu_checkup, "CUDA", ("given",))
    (tmp_path / "given.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def driver(root: Path, version: str) -> None:
    place(root, "proc/driver/nvidia/version", f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  S")


@pytest.mark.parametrize(
    ("flavour", "machine", "jetson", "begin", "extra"),
    [
        ("tensorrt", "x86_64", False, "pip install tensorrt -e ", "[tensorrt]"),
        ("tensorrt", "aarch64", True, "sudo apt install python3-libnvinfer && pip install -e ", "[jetpack6]"),
        ("tensorrt_rtx", "x86_64", False, "pip install -e ", "[tensorrt-rtx]"),
        ("tensorrt_rtx", "aarch64", True, None, None),
    ],
)
def test_what_is_missing_of_tensorrt_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flavour: str,
    machine: str,
    jetson: bool,
    begin: str | None,
    extra: str | None,
) -> None:
    forget(monkeypatch, flavour)
    if jetson:
        place(tmp_path, "etc/nv_tegra_release", RELEASE)
    check = gpu_checkup.tensorrt(flavour, tmp_path, machine)
    assert (check.status, check.needed) == ("missing", False)
    if begin is None or extra is None:
        assert check.fix is None
    else:
        assert (check.fix or "").startswith(begin)
        assert extra in (check.fix or "")
    assert ("desktop GPUs" in check.found) == (begin is None)


def test_a_library_that_cannot_be_loaded_is_brought_again(libraries: Path) -> None:
    (libraries / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    check = gpu_checkup.tensorrt("tensorrt", libraries, "x86_64")
    assert (check.status, check.found) == ("broken", "libnvinfer.so.10: cannot open")
    assert check.fix == install_command("tensorrt", options="--force-reinstall", beside="tensorrt")


OPENED = Check("CUDA", "ok", "a GPU")


def test_tensorrt_without_gpu_memory_is_no_use(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(libraries, "580.95.05")
    assert gpu_checkup.tensorrt("tensorrt", libraries, opened=OPENED) == Check("tensorrt", "ok", "9.8")
    monkeypatch.setattr(gpu_checkup, "CUDA", ("absent", "absent.too"))
    check = gpu_checkup.tensorrt("tensorrt", libraries, "x86_64", opened=OPENED)
    assert (check.status, check.found) == ("broken", "9.8, but no CUDA library for Python")
    assert check.fix == install_command("tensorrt", beside="tensorrt")


@pytest.mark.parametrize(
    ("version", "status"), [("580.65.06", "ok"), ("575.57.08", "broken"), ("540.4.0", "broken")]
)
def test_the_desktop_library_needs_a_driver_for_cuda_13(libraries: Path, version: str, status: str) -> None:
    driver(libraries, version)
    check = gpu_checkup.tensorrt("tensorrt_rtx", libraries, "x86_64", opened=OPENED)
    assert check.status == status
    assert ("ubuntu-drivers" in (check.fix or "")) == (status == "broken")
    assert gpu_checkup.tensorrt("tensorrt", libraries, opened=OPENED).status == "ok"  # JetPack has its own


ORIN = Gpu("Orin", "sm_87", 8, 7 << 30, integrated=True, driver="540.4.0, CUDA 12.6")


def test_the_gpu_is_opened_for_real(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is there may refuse the driver: that of CUDA 13 does on JetPack 6."""
    asked = []

    def opens() -> Probed:
        asked.append(1)
        return Probed(gpu=ORIN, provider="cuda-bindings 12.9.1", free_memory=5 << 30)

    assert gpu_checkup.cuda(libraries, probe=opens).status == "missing"
    assert asked == []
    driver(libraries, "540.4.0")
    said = (
        "Orin (sm_87, 8 SMs, 8 GiB, shared with the CPU), 5.0 GiB free, opened by cuda-bindings 12.9.1; "
        "driver 540.4.0, CUDA 12.6"
    )
    assert gpu_checkup.cuda(libraries, probe=opens) == Check("CUDA", "ok", said)

    def refuses() -> Probed:
        raise EngineError(
            "no GPU can be used: cuda-bindings 13.5.0: too old", hint='pip install "cuda-bindings<13"'
        )

    broken = gpu_checkup.cuda(libraries, probe=refuses)
    assert (broken.status, broken.fix) == ("broken", 'pip install "cuda-bindings<13"')
    check = gpu_checkup.tensorrt("tensorrt", libraries, opened=broken)
    assert check.status == "broken"
    assert "9.8, but the GPU cannot be opened: no GPU can be used: cuda-bindings 13.5.0" in check.found
    assert check.fix == broken.fix


def test_without_an_answer_the_real_gpu_is_asked(libraries: Path) -> None:
    """Whatever machine this is, the row says that it was opened, or why it was not."""
    driver(libraries, "540.4.0")
    check = gpu_checkup.cuda(libraries)
    assert ("opened by" in check.found) == (check.status == "ok")
    assert ("the GPU cannot be opened: " in check.found) == (check.status == "broken")


@pytest.mark.parametrize(
    ("linux", "extra"), [(36, "jetpack6"), (38, "jetpack7"), (39, "jetpack7"), (None, "tensorrt")]
)
def test_a_jetson_gets_the_cuda_library_of_its_jetpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linux: int | None, extra: str
) -> None:
    forget(monkeypatch, "tensorrt")
    told = "unknown" if linux is None else RELEASE.replace("R36", f"R{linux}")
    place(tmp_path, "etc/nv_tegra_release", told)
    assert f"[{extra}]" in (gpu_checkup.tensorrt("tensorrt", tmp_path, "aarch64").fix or "")


def test_jetpack_5_is_said_to_be_too_old(tmp_path: Path) -> None:
    place(tmp_path, "etc/nv_tegra_release", RELEASE.replace("R36", "R35"))
    check = gpu_checkup.jetpack(tmp_path)
    assert (check.status, "JetPack 6 or later" in check.found) == ("broken", True)


def test_without_a_driver_it_builds_and_runs_nothing(libraries: Path) -> None:
    check = gpu_checkup.tensorrt("tensorrt_rtx", libraries, "x86_64")
    assert (check.status, check.found) == ("ok", "9.8; it builds, and without a GPU runs nothing")


def test_torch_tensorrt_is_asked_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "torch_tensorrt")
    have = {"torch-tensorrt": "2.13.0"}

    def version(name: str) -> str:
        if name not in have:
            raise importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    name = "torch_tensorrt (export)"
    assert gpu_checkup.torch_tensorrt() == Check(name, "ok", "2.13.0")
    have.clear()
    fix = install_command("torch-tensorrt")
    assert gpu_checkup.torch_tensorrt() == Check(name, "missing", "not installed", fix)


def test_a_library_that_is_not_there_is_missing() -> None:
    check = checkup.library("probed_library")
    assert check == Check(
        "probed_library", "missing", "not installed", "pip install probed_library", needed=True
    )
    assert gpu_checkup.tensorrt("tensorrt_of_tomorrow").status == "missing"


@pytest.mark.parametrize(
    ("information", "said"),
    [
        (
            "  GUI:                           NONE\n    GStreamer:                   NO\n",
            "headless, no GStreamer",
        ),
        (
            "  GUI: \n    GTK+:    YES (ver 3.24)\n    GStreamer:    YES (1.20.3)\n",
            "headless, with GStreamer",
        ),
        ("  GUI:    GTK3\n    GStreamer:    YES (1.20.3)\n", "with windows (GTK3), with GStreamer"),
        ("", "headless, no GStreamer"),
    ],
)
def test_what_opencv_was_built_with(information: str, said: str) -> None:
    assert checkup.build(information) == said


# --- cameras -------------------------------------------------------------------------------------


def test_a_machine_without_cameras_can_simulate(tmp_path: Path) -> None:
    checks = list(checkup.cameras(sysfs=tmp_path / "none"))
    assert [(check.name, check.status) for check in checks] == [
        ("cameras", "missing"),
        ("camera", "ok"),
        ("camera", "ok"),
    ]


def test_a_camera_that_may_not_be_opened_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sys" / "video0").mkdir(parents=True)
    (tmp_path / "sys" / "video0" / "name").write_text("USB Camera\n")
    (tmp_path / "video0").touch()

    def denied(*_: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    (*_, device) = checkup.cameras(sysfs=tmp_path / "sys", dev=tmp_path)
    assert (device.status, device.needed) == ("broken", False)
    assert "USB Camera" in device.found
    assert device.fix is not None
    assert device.fix.startswith("sudo usermod -aG video $USER")


# --- the device ----------------------------------------------------------------------------------


def place(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_no_gpu_is_no_trouble(tmp_path: Path) -> None:
    check = gpu_checkup.gpu(tmp_path)
    assert (check.status, check.fix, check.needed) == ("missing", None, False)


@pytest.mark.parametrize(
    ("vendor", "kind", "status"),
    [
        ("0x10de", "0x030000", "broken"),
        ("0x10de", "0x040300", "missing"),
        ("0x8086", "0x030000", "missing"),
    ],
    ids=["card", "its sound", "another maker"],
)
def test_a_card_without_its_driver_is_seen(tmp_path: Path, vendor: str, kind: str, status: str) -> None:
    place(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", f"{vendor}\n")
    place(tmp_path, "sys/bus/pci/devices/0000:01:00.0/class", f"{kind}\n")
    check = gpu_checkup.gpu(tmp_path)
    assert check.status == status
    assert ("ubuntu-drivers" in (check.fix or "")) == (status == "broken")


@pytest.mark.parametrize(
    "version",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 11",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.183.01  Release Build\n",
    ],
)
def test_the_kernel_tells_driver_and_gpus(tmp_path: Path, version: str) -> None:
    place(tmp_path, "proc/driver/nvidia/version", version)
    for bus, model in (("0000:01:00.0", "NVIDIA RTX A2000"), ("0000:02:00.0", "NVIDIA L4")):
        card = f"Model: \t\t {model}\nIRQ:   \t\t 48\nBus Type: \t PCIe\n"
        place(tmp_path, f"proc/driver/nvidia/gpus/{bus}/information", card)
    assert gpu_checkup.gpu(tmp_path) == Check("GPU", "ok", "NVIDIA RTX A2000, NVIDIA L4, driver 535.183.01")


RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8\n"
PACKAGES = """Package: libc6
Status: install ok installed
Version: 2.35-0ubuntu3

Package: nvidia-jetpack
Status: install ok installed
Architecture: arm64
Version: 6.2+b77

Package: zlib1g
Version: 1.2.11
"""


def test_jetpack_is_read_from_the_device(tmp_path: Path) -> None:
    assert gpu_checkup.jetpack(tmp_path) == Check("JetPack", "missing", "this is no Jetson")
    place(tmp_path, "etc/nv_tegra_release", RELEASE)
    without = gpu_checkup.jetpack(tmp_path)
    assert (without.status, without.fix) == ("missing", "sudo apt install nvidia-jetpack")
    assert "Jetson Linux 36.4.3" in without.found
    place(tmp_path, "var/lib/dpkg/status", PACKAGES)
    assert gpu_checkup.jetpack(tmp_path) == Check("JetPack", "ok", "6.2+b77, Jetson Linux 36.4.3")


def test_another_package_s_version_is_not_taken(tmp_path: Path) -> None:
    place(tmp_path, "etc/nv_tegra_release", RELEASE)
    place(tmp_path, "var/lib/dpkg/status", PACKAGES.replace("nvidia-jetpack", "nvidia-jetpack-runtime"))
    assert gpu_checkup.jetpack(tmp_path).status == "missing"


def compiled(folder: Path, cuda: tuple[int, int] = (12, 6)) -> Path:
    """A folder with kernels that were made of its sources; the fat binary is any file."""
    folder.mkdir(exist_ok=True)
    (folder / "kernels.cu").write_text("// a source")
    raw = b"any fat binary"
    name = f"kernels-cuda{cuda[0]}.fatbin"
    (folder / name).write_bytes(raw)
    digest = hashlib.sha256(raw).hexdigest()
    binaries.manifest_with(
        binaries.Binary(name, digest, cuda, (80, 87), binaries.sources_digest(folder)), folder
    )
    return folder


OPENED_GPU = Check("CUDA", "ok", "Orin")


def orin(capability: str = "sm_87") -> Probed:
    return Probed(gpu=replace(ORIN, capability=capability), provider="cuda-bindings 12.9.1", free_memory=1)


def test_the_row_of_our_kernels_says_which_are_taken(tmp_path: Path) -> None:
    name = "kernels (--backend cuda)"
    folder = tmp_path / "kernels"
    folder.mkdir()
    row = gpu_checkup.kernels(OPENED_GPU, orin, folder)
    assert row == Check(name, "missing", "this installation has no compiled kernels", binaries.BUILD)
    compiled(folder)
    assert gpu_checkup.kernels(OPENED_GPU, orin, folder) == Check(
        name, "ok", "kernels-cuda12.fatbin of CUDA 12.6, code of its own for sm_87"
    )
    compiled(folder, (13, 0))  # the driver of JetPack 6 cannot load what is for CUDA 13, and gets the other
    assert "kernels-cuda12.fatbin" in gpu_checkup.kernels(OPENED_GPU, orin, folder).found
    newer = gpu_checkup.kernels(OPENED_GPU, lambda: orin("sm_121"), folder)
    assert newer.found.endswith("no code of its own for sm_121: the driver makes it")
    without = gpu_checkup.kernels(Check("CUDA", "missing", "no driver"), orin, folder)
    assert (without.status, without.found) == (
        "missing",
        "compiled: kernels-cuda12.fatbin of CUDA 12.6, kernels-cuda13.fatbin of CUDA 13.0; "
        "but no GPU could be opened",
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "kernels-cuda12.fatbin").write_bytes(b"other"), "changed since"),
        (lambda folder: (folder / "kernels-cuda12.fatbin").unlink(), "cannot be read"),
        (lambda folder: (folder / "kernels.cu").write_text("// edited"), "other sources"),
        (lambda folder: (folder / "kernels.json").write_text("{"), "manifest of the compiled kernels"),
    ],
)
def test_kernels_that_are_not_what_they_were_are_broken(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    folder = compiled(tmp_path)
    spoil(folder)
    row = gpu_checkup.kernels(OPENED_GPU, orin, folder)
    assert row.status == "broken"
    assert says in row.found
    assert row.fix == binaries.BUILD


def test_kernels_for_a_newer_driver_or_gpu_are_told(tmp_path: Path) -> None:
    row = gpu_checkup.kernels(OPENED_GPU, orin, compiled(tmp_path, (13, 0)))
    assert row.status == "broken"
    assert "for a newer driver: expected kernels of CUDA 12 or earlier" in row.found
    old = gpu_checkup.kernels(OPENED_GPU, lambda: orin("sm_72"), compiled(tmp_path))
    assert "too old for our kernels" in old.found


def test_every_extra_of_the_stream_has_a_row_with_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra whose packages changed in pyproject.toml changes here too."""
    project = msgspec.toml.decode((Path(__file__).parents[3] / "pyproject.toml").read_bytes())["project"]
    for extra, (_, packages) in checkup.EXTRAS.items():
        wanted = project["optional-dependencies"][extra]
        assert {Requirement(one).name for one in wanted} == set(packages)
    assert all(row.status == "ok" for row in checkup.extras())

    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    rows = list(checkup.extras())
    assert [row.fix for row in rows] == [install_command(extra) for extra in checkup.EXTRAS]
    assert not any(row.needed for row in rows)
