"""Who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdfusion_edge.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train", "export", "runtime")
CORE = sorted(
    path
    for path in (ROOT / "tdfusion_edge").rglob("*.py")
    if path.relative_to(ROOT / "tdfusion_edge").parts[0] not in STAGES
)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imported(path)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def stage(name: str) -> str:
    return f"tdfusion_edge.{name}"


def test_the_reader_of_imports_sees_every_form(tmp_path: Path) -> None:
    source = "import a.b as c\nfrom d import e, f\ndef g():\n    from torch import nn\n"
    (tmp_path / "m.py").write_text(source)
    assert list(imported(tmp_path / "m.py")) == ["a.b", "d.e", "d.f", "torch.nn"]


def table() -> dict[str, str]:
    """Folder to the column "may import" of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = text.partition("| folder |")[2].partition("\n\n")[0].splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| `")]
    return {row[0].strip(" `/"): row[3].strip() for row in rows if "`, `" not in row[0]}


def allowed(words: str) -> set[str]:
    """The stages, or parts of them, that a column names."""
    return {word for word in ("train", "train.models", "export", "runtime") if f"`{word}`" in words}


def test_the_table_says_what_this_test_holds() -> None:
    assert {folder: allowed(words) for folder, words in table().items() if folder != "benchmarks"} == {
        "tdfusion_edge": set(),
        "train": set(),
        "export": {"train.models", "runtime"},
        "runtime": set(),
    }
    assert table()["runtime"] == "shared; never PyTorch or `onnx`"


@pytest.mark.parametrize("folder", ["tdfusion_edge", *STAGES])
def test_a_stage_imports_what_the_table_says(folder: str) -> None:
    paths = CORE if folder == "tdfusion_edge" else modules(folder)
    front_door = ROOT / "tdfusion_edge" / "__init__.py"  # which names runtime, and imports it when asked
    assert paths
    may = {stage(name) for name in allowed(table()[folder])}
    bad = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imported(path)
        for other in STAGES
        if other != folder and (name == stage(other) or name.startswith(f"{stage(other)}."))
        if not any(name == one or name.startswith(f"{one}.") for one in may)
        if not (path == front_door and other == "runtime")
    ]
    assert bad == []


def test_runtime_imports_no_library_of_the_training() -> None:
    forbidden = ("torch", "torchvision", "onnx", "onnxscript", "safetensors")
    assert offences(modules("runtime"), *forbidden) == []
    assert offences([path for path in CORE if path.stem != "checkpoint"], *forbidden) == []


def test_runtime_has_few_modules_at_its_top() -> None:
    assert len(list((ROOT / "runtime").glob("*.py"))) <= 6


@pytest.mark.parametrize("title", ["A frame's way", "A pair's way"])
def test_a_way_through_the_modules_is_short(title: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_0-9/]+\.py)`", section))
    assert 8 <= len(named) <= 12
    assert [name for name in named if not (ROOT / name).is_file()] == []


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def third_party(loaded: set[str]) -> set[str]:
    return loaded - loaded_after("pass") - sys.stdlib_module_names - {"tdfusion_edge"}


def imports_of(paths: list[Path], package: str, folder: Path) -> str:
    names = (".".join(path.relative_to(folder).with_suffix("").parts) for path in paths)
    wanted = sorted(f"{package}.{name}".removesuffix(".__init__") for name in names)
    return "import " + ", ".join(wanted)


def test_importing_the_shared_modules_costs_numpy_and_msgspec() -> None:
    """No network library, no OpenCV, no video: whoever needs a value type does not pay for a stage."""
    paths = [path for path in CORE if path.stem != "__main__"]
    loaded = third_party(loaded_after(imports_of(paths, "tdfusion_edge", ROOT / "tdfusion_edge")))
    # msgspec takes tomli on Python 3.10, and typing_extensions where it is there
    assert loaded <= {"numpy", "msgspec", "tomli", "typing_extensions"}


def test_importing_all_of_runtime_loads_nothing_of_the_training() -> None:
    code = imports_of(modules("runtime"), "tdfusion_edge.runtime", ROOT / "runtime")
    names = "[n for n in sys.modules if n.startswith(('tdfusion_edge.train', 'tdfusion_edge.export'))]"
    loaded = loaded_after(f"{code}\nassert not {names}, {names}")
    assert loaded & {"torch", "onnx", "onnxscript", "safetensors", "tensorrt"} == set()


def loaded_by_help(*command: str) -> set[str]:
    call = f"from tdfusion_edge.cli import main\ntry: print(main({[*command, '--help']!r}))"
    return loaded_after(f"{call}\nexcept SystemExit as leaving: assert leaving.code == 0\nelse: sys.exit(1)")


def test_top_level_help_loads_no_library_at_all() -> None:
    assert third_party(loaded_by_help()) == set()


@pytest.mark.parametrize(
    "name", [command.name for command in COMMANDS if command.module.startswith(stage("runtime"))]
)
def test_help_of_a_runtime_command_loads_no_torch(name: str) -> None:
    assert "torch" not in loaded_by_help(name)
