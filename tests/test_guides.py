"""What the guides tell people to type is true: every command of every guide runs, and their Python too.

The commands of a document run in their order in one folder, as written, but for the stand-ins below: a dataset's folder
is its fake tree, a large rendering stops after its first capture at a small size, and files that a reader brings along
(other people's predictions, released weights, a file rendered before) are small ones made here. The heads of most fake
trees are invented shapes that are no faces: their renderings are planned (``--dry-run``), those of ``FACES`` are made.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fnbench import catalog, registry
from fnbench.cards import card_names, load_card
from fnbench.cli import main
from fnbench.registry import resolve
from fnbench.store import Store, write_samples
from tests.fakes import desk
from tests.results import imperfect, landmarks_of
from tests.spheres import ATTRIBUTES, sphere_sample

REPOSITORY = Path(__file__).resolve().parent.parent
GUIDES = sorted(
    str(path.relative_to(REPOSITORY))
    for pattern in ("README.md", "*/README.md", "datasets/*/ACCESS.md", "baselines/*/MODEL_CARD.md")
    for path in REPOSITORY.glob(pattern)
    if not path.parent.name.startswith(".")
)
ELSEWHERE = {"fnbench demo": "run by .ci/run from an empty folder"}
SIZE = 32
QUICK = ["--limit", "1"]
FACES = ("synthetic", "folder", "florence", "ict", "makehuman")
"""Datasets whose stand-ins can be rendered."""


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / path).read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(path: str) -> list[str]:
    """The fnbench commands in the code of a document: fenced, with or without a prompt, or indented by four."""
    found = []
    fenced = False
    for line in (REPOSITORY / path).read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        text = re.sub(r"\s#\s.*", "", line.strip().removeprefix("$ ")).strip()
        if (fenced or line.startswith("    ")) and text.startswith("fnbench "):
            found.append(text)
    return found


def with_commands() -> list[str]:
    return [path for path in GUIDES if commands(path)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Spheres as data files: for testing, and for training (other people)."""
    folder = tmp_path_factory.mktemp("stores")
    landmarks = landmarks_of(SIZE)
    for name, people in (("test", "s"), ("train", "t")):
        samples = [
            sphere_sample(f"{people}{k:03d}/0", SIZE, seed=k + 100 * (name == "train"), split=name, landmarks=landmarks)
            for k in range(3)
        ]
        write_samples(folder / f"{name}.h5", samples, ATTRIBUTES)
    both = [
        sphere_sample(f"{split}{k}/0", SIZE, seed=k, split=split, landmarks=landmarks)
        for split in ("train", "val")
        for k in range(2)
    ]
    write_samples(folder / "pairs.h5", both, ATTRIBUTES)
    return folder


@pytest.fixture(scope="module")
def dask_cluster():
    distributed = pytest.importorskip("distributed", reason="needs Dask, the extra cluster")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as running:
        yield running.scheduler_address


@pytest.fixture
def sandbox(tmp_path, monkeypatch, stores):
    """A folder with the files that a reader of the guides has, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("synthetic", "florence", "synthetic-test", "ict-test", "florence-a", "florence-b"):
        shutil.copy(stores / "test.h5", f"{name}.h5")
    for name in ("train", "F"):
        shutil.copy(stores / "train.h5", f"{name}.h5")
    shutil.copytree(REPOSITORY / "leaderboard", "leaderboard", ignore=shutil.ignore_patterns("records"))
    Path("baselines/crossmodal/packaged").mkdir(parents=True)
    shutil.copy(REPOSITORY / "baselines/crossmodal/packaged/plan.toml", "baselines/crossmodal/packaged/plan.toml")
    shutil.copytree(REPOSITORY / "pictures", "pictures", ignore=shutil.ignore_patterns("*.png", "*.jpg"))
    Path("my_model.py").write_text(blocks("baselines/README.md", "python")[0])
    adapter, fake = blocks("datasets/README.md", "python")
    Path("toyfaces.py").write_text(adapter)
    Path("toyfaces_fake.py").write_text(fake)
    monkeypatch.setitem(registry.DATASETS, "toyfaces", f"{tmp_path / 'toyfaces.py'}:ToyFaces")
    shutil.copytree(REPOSITORY / "datasets", "cards")
    Path("cards/toyfaces").mkdir()
    Path("cards/toyfaces/card.toml").write_text(blocks("datasets/README.md", "toml")[1])
    real = catalog.folder
    monkeypatch.setattr(catalog, "folder", lambda name: tmp_path / "cards" if name == "datasets" else real(name))
    return tmp_path


def fake_tree(dataset: str, sandbox: Path) -> Path:
    """The fake of a dataset, written once; skips where an extra is missing that it needs."""
    root = sandbox / f"root-{dataset}"
    if root.exists():
        return root
    if dataset == "toyfaces":
        spec = importlib.util.spec_from_file_location("toyfaces_fake", sandbox / "toyfaces_fake.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(f"fakes.{dataset.replace('-', '_')}")
        if hasattr(module, "NEEDS"):
            pytest.importorskip(module.NEEDS, reason=f"the fake of {dataset} needs {module.NEEDS}")
    root.mkdir()
    module.write(root)
    return root


def answers(folder: Path, data: Path) -> None:
    """Believable predictions for every sample of a data file, as somebody would have saved them."""
    shutil.rmtree(folder, ignore_errors=True)
    with Store(data) as store:
        for seed, name in enumerate(store.ids):
            target = store.target(seed)
            path = folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, imperfect(np.where(target.mask[..., None], target.normals, [0, 0, 1]), 8.0, seed))


def prepared(command: str, sandbox: Path, request: pytest.FixtureRequest) -> list[str]:
    """The words of a command, with the stand-ins of this folder."""
    words = shlex.split(command)[1:]
    if "--root" in words:
        dataset = next(word for word in words if word in registry.DATASETS)
        words[words.index("--root") + 1] = str(fake_tree(dataset, sandbox))
    if "--scheduler" in words:
        words[words.index("--scheduler") + 1] = request.getfixturevalue("dask_cluster")
    if words[:2] == ["datasets", "validate"]:
        words += ["--locate", "0", *([] if "--limit" in words else QUICK)]
    if "--figures" in words:  # tests/test_report.py draws them
        place = words.index("--figures")
        del words[place : place + 2]
    if words[0] == "render-gt":
        out = sandbox / words[words.index("--out") + 1]
        out.unlink(missing_ok=True)  # a stand-in, rendered with other settings
        if "--plan" in words:
            plan = Path(words[words.index("--plan") + 1])
            plan.write_text(re.sub(r"^size = \d+", "size = 48", plan.read_text(), flags=re.MULTILINE))
        words += [*QUICK, *([] if "--plan" in words or "photo" in words else ["--size", "48"])]
        words += [] if words[1] in FACES else ["--dry-run"]
    if "external:" in command:
        words[words.index("--data") + 1] = "synthetic.h5"
    if words[0] == "train":  # one rendered capture has no validation split
        words[words.index("--data") + 1] = str(request.getfixturevalue("stores") / "pairs.h5")
    if words[0] in ("predict", "refine") and not Path("photo.jpg").exists():
        desk.write(sandbox, blocks("baselines/README.md", "json")[0])
    if "--predictions" in words and "--data" in words and words[0] != "report":
        answers(Path(words[words.index("--predictions") + 1]), Path(words[words.index("--data") + 1]))
    if words[0] == "report" and "--dataset" in words:  # of the committed records: here are those of spheres
        words[words.index("--dataset") + 1] = ATTRIBUTES["dataset"]
        record = ["eval", "--model", "frontal", "--data", words[words.index("--data") + 1], "--out"]
        assert CliRunner().invoke(main, [*record, words[words.index("--records") + 1]]).exit_code == 0
    if "--weights" in words or words[0] == "convert-weights":
        request.getfixturevalue("released")
    return [word.replace("MODEL", "mean-face") for word in words]


@pytest.fixture
def released(sandbox):
    """Weights as the authors released them, with random numbers."""
    import torch

    from tests.fakes.released_crossmodal import old_state_dict, released_network

    if not (sandbox / "model.pth").exists():
        torch.save(old_state_dict(released_network()), sandbox / "model.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", with_commands())
def test_every_command_runs(path, sandbox, request):
    for command in commands(path):
        if command in ELSEWHERE:
            continue
        answer = CliRunner().invoke(main, prepared(command, sandbox, request))
        # 1 says that something was found: the heads of a fake tree are invented, and some do not measure like heads.
        found = (0, 1) if command.startswith("fnbench datasets validate") else (0,)
        if "external:" in command:  # weights of others, which nobody has here
            assert answer.exit_code == 2, answer.output
            assert re.search(r"\.(onnx|pt2): no such file", answer.output), answer.output
            continue
        assert answer.exit_code in found, f"{command}\n{answer.output}\n{answer.exception!r}"


def test_what_runs_elsewhere_does():
    assert "fnbench demo" in (REPOSITORY / ".ci" / "run").read_text()
    shown = {command for path in GUIDES for command in commands(path)}
    assert set(ELSEWHERE) <= shown | {"fnbench demo"}


def test_the_example_model_of_the_guide_predicts(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(blocks("baselines/README.md", "python")[0])
    monkeypatch.chdir(tmp_path)
    model = resolve("my_model.py:MyModel", "model")()
    normals = model.predict(np.zeros((2, 8, 8, 3), np.float32))
    np.testing.assert_array_equal(np.linalg.norm(normals, axis=-1), 1)
    assert normals.dtype == np.float32


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, stores, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(stores / "test.h5", "synthetic.h5")
    for code in blocks("README.md", "python"):
        runnable = compile(code, "README.md", "exec")
        if "SLURMCluster" not in code:  # needs a Slurm cluster
            exec(runnable, {})
    assert capsys.readouterr().out.startswith("s000/0 (32, 32, 3)")


def test_the_readme_lists_every_dataset_as_its_card_says():
    readme = (REPOSITORY / "README.md").read_text()
    for name in card_names():
        card = load_card(name)
        verified = "yes" if card.verified_on_real_data else "no"
        assert f"| [`{name}`](datasets/{name}/ACCESS.md) | {card.title} | {card.gt_kind} | {verified} |" in readme
