"""The three stage folders install as subpackages of tdfusion_edge."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parent.parent
STAGES = ("train", "export", "runtime")


@pytest.fixture(scope="module")
def setuptools_table() -> dict[str, Any]:
    table: dict[str, Any] = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["tool"]["setuptools"]
    return table


def test_every_package_is_listed(setuptools_table: dict[str, Any]) -> None:
    shared = [path for path in (ROOT / "tdfusion_edge").iterdir() if path.is_dir() and not path.is_symlink()]
    found = {
        "tdfusion_edge",
        *(f"tdfusion_edge.{path.name}" for path in shared if (path / "__init__.py").is_file()),
    }
    for stage in STAGES:
        for init in (ROOT / stage).rglob("__init__.py"):
            found.add(".".join(("tdfusion_edge", *init.parent.relative_to(ROOT).parts)))
    assert sorted(setuptools_table["packages"]) == sorted(found)


@pytest.mark.parametrize("stage", STAGES)
def test_every_folder_with_modules_is_a_package(stage: str) -> None:
    folders = {module.parent for module in (ROOT / stage).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_is_reachable_inside_the_package(stage: str) -> None:
    link = ROOT / "tdfusion_edge" / stage
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / stage


def test_data_files_are_packaged(setuptools_table: dict[str, Any]) -> None:
    """Whatever lies in a package and is no Python must match a pattern, or the wheel lacks it.

    Pictures are for documents, which link to them in the repository.
    """
    folders = setuptools_table["package-dir"]
    packaged = {
        path
        for package, patterns in setuptools_table["package-data"].items()
        for pattern in patterns
        for path in (ROOT / folders[package]).glob(pattern)
    }
    present = {
        path
        for folder in ("tdfusion_edge", *STAGES)
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc", ".png", ".jpg")
        and not path.name.startswith(".")
    }
    assert {str(path) for path in present - packaged} == set()
