"""Who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
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


def test_the_shared_modules_import_no_stage() -> None:
    assert CORE
    front_door = ROOT / "tdfusion_edge" / "__init__.py"  # which names runtime, and imports it when asked
    assert offences([path for path in CORE if path != front_door], *map(stage, STAGES)) == []
    assert offences([front_door], stage("train"), stage("export")) == []


def test_runtime_imports_neither_torch_nor_another_stage() -> None:
    forbidden = ("torch", "torchvision", "onnx", "onnxscript", "safetensors", stage("train"), stage("export"))
    assert modules("runtime")
    assert offences(modules("runtime"), *forbidden) == []


def test_train_imports_no_other_stage() -> None:
    assert offences(modules("train"), stage("runtime"), stage("export")) == []


def test_export_knows_the_models_of_train_and_nothing_else_of_it() -> None:
    of_train = [
        row for row in offences(modules("export"), stage("train")) if stage("train.models") not in row
    ]
    assert of_train == []


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
