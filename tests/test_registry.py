"""Names resolve in one place, and a wrong one says what was meant."""

from __future__ import annotations

import pytest

from fnbench import registry
from fnbench.errors import InvalidSettingError, UnknownNameError


def test_a_class_in_a_file(tmp_path):
    (tmp_path / "mine.py").write_text("class Mine:\n    name = 'mine'\n")
    assert registry.resolve(f"{tmp_path}/mine.py:Mine", "model").name == "mine"


def test_a_class_in_a_module():
    from fnbench.camera import Camera

    assert registry.resolve("fnbench.camera:Camera", "model") is Camera


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crosmodal", "Did you mean crossmodal"),
        ("no_such_file.py:Model", "no_such_file.py does not exist"),
        ("no_such_package.models:Model", "no module named 'no_such_package'"),
        ("fnbench.camera:Kamera", "has no 'Kamera'. Classes found there: .*Camera"),
        (":", "There is no model"),
    ],
)
def test_a_wrong_name_says_what_to_do(name, message):
    with pytest.raises(UnknownNameError, match=message):
        registry.resolve(name, "model")


def test_a_broken_file_keeps_its_own_error(tmp_path):
    (tmp_path / "broken.py").write_text("import a_library_of_theirs\n")
    with pytest.raises(ModuleNotFoundError, match="a_library_of_theirs"):
        registry.resolve(f"{tmp_path}/broken.py:Model", "model")


def test_aliases_of_installed_packages_are_found(monkeypatch):
    monkeypatch.setattr(registry, "_entry_points", lambda kind: {"theirs": "fnbench.camera:CropBox"})
    assert "theirs" in registry.names("model")
    assert registry.resolve("theirs", "model").__name__ == "CropBox"


class _Dataset:
    def __init__(self, root=None, *, heads: int = 200, spread: float = 1.0, bald: bool = False) -> None: ...


def test_options_take_the_type_of_their_default():
    found = registry.options_of(_Dataset, ["heads=7", "spread=2", "bald=true"])
    assert found == {"heads": 7, "spread": 2.0, "bald": True}
    assert [type(value) for value in found.values()] == [int, float, bool]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("head=7", UnknownNameError, "no option 'head=7'. Options and defaults: heads=200, spread=1.0, bald=False"),
        ("heads", UnknownNameError, "no option 'heads'"),
        ("heads=many", InvalidSettingError, "heads=many: expected something like 200"),
        ("bald=1", InvalidSettingError, "expected true or false"),
    ],
)
def test_a_wrong_option_is_named(given, kind, message):
    with pytest.raises(kind, match=message):
        registry.options_of(_Dataset, [given])
