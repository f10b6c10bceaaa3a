"""The house rules that can be read off the source: layers, light imports, pairs of files, no machine paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fnbench import cards, registry

PACKAGE = Path(__file__).resolve().parent.parent / "fnbench"
REPOSITORY = PACKAGE.parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "types", "frames", "camera", "compiled", "__init__"),
    (
        "registry", "catalog", "cards", "metrics", "statistics", "octahedral", "store", "record", "estimator",
        "scans", "photometric", "scale", "splits", "lens", "files", "images", "compiled", "quantiles",
        "encodings", "png", "maps", "heap",
    ),
    ("adapters", "render", "models", "torch_metric"),
    (
        "protocol", "training", "scoring", "breakdown", "evaluate", "submission", "doctor", "compare", "reproduce",
        "export", "validate", "predict", "refine",
    ),
    ("leaderboard", "report", "demo", "cite"),
    ("cli", "__main__"),
)  # fmt: skip
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """fnbench.scans.read -> scans; fnbench -> __init__."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "fnbench" else {node.module}
    return {name for name in found if name.split(".")[0] == "fnbench"}


def module_name(path: Path) -> str:
    return ".".join(("fnbench", *path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    here = part_of(module_name(path))
    assert here in LEVEL, f"{here} has no layer yet: add it to LAYERS where it belongs"
    for imported in imports_of(path):
        there = part_of(imported)
        if imported == "fnbench.__version__":
            continue
        assert LEVEL[there] <= LEVEL[here], f"{path.name} imports {imported}, which lies above it"
        if (here, there) in {("adapters", "render"), ("models", "adapters"), ("models", "render")}:
            # the one exception: prn rasterises its mesh with our renderer (a model whose output is a mesh)
            assert path.name in {"prn.py"}, f"{path.name} imports {imported}; {here} never imports {there}"


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout


def test_importing_fnbench_costs_numpy_and_nothing_else():
    heavy = "torch|numba|scipy|skimage|pandas|h5py|trimesh|PIL|matplotlib|jinja2|pyarrow|click"
    code = (
        "import sys, fnbench.types, fnbench.frames, fnbench.registry, fnbench.cards;"
        "print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    loaded = set(run_python(code).split())
    assert not loaded & set(heavy.split("|"))


def test_the_command_line_starts_without_heavy_libraries():
    code = "import sys, fnbench.cli; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    assert not set(run_python(code).split()) & {"torch", "numba", "scipy", "skimage", "pandas", "h5py", "matplotlib"}


def test_every_dataset_has_a_card_an_access_page_a_fake_and_an_alias():
    with_card = set(cards.card_names())
    assert with_card == set(registry.DATASETS)
    for name in with_card:
        assert (REPOSITORY / "datasets" / name / "ACCESS.md").is_file(), f"{name} lacks ACCESS.md"
        fake = REPOSITORY / "tests" / "fakes" / f"{name.replace('-', '_')}.py"
        assert name == "synthetic" or fake.is_file(), f"{name} lacks {fake.name}"


def test_every_model_has_a_card_and_its_module_exists():
    for name, path in registry.MODELS.items():
        module = path.split(":")[0].split(".")[1:]
        assert PACKAGE.joinpath(*module).with_suffix(".py").is_file(), path
        assert (REPOSITORY / "baselines" / name / "MODEL_CARD.md").is_file(), f"{name} lacks MODEL_CARD.md"


def tracked_texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    suffixes = {".py", ".md", ".toml", ".txt", ".csv", ".json", ".html", ".js", ".css", ".yml", ""}
    paths = [REPOSITORY / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


def test_no_machine_paths_and_no_registry_addresses_in_the_project():
    machine = re.compile(r"/(?:wor[k]|far[m]|roo[t]|tm[p])/[a-z]|pypi\.or[g]|registry\.npmj[s]|deb\.debia[n]")
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if machine.search(line)
    ]
    assert not found
