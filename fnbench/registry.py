"""One resolver for names: an alias stands for an import path, and third parties add theirs by entry points.

A name may be
    an alias of the tables below             ``crossmodal``
    a class in a file                        ``my_model.py:MyModel``
    a class in an importable package         ``my_package.models:MyModel``
    an entry point of an installed package   group ``fnbench.datasets`` or ``fnbench.models``
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

from fnbench.errors import InvalidSettingError, UnknownNameError

DATASETS: dict[str, str] = {
    "affectnet": "fnbench.adapters.affectnet:AffectNet",
    "bjut3d": "fnbench.adapters.bjut3d:Bjut3d",
    "bosphorus": "fnbench.adapters.bosphorus:Bosphorus",
    "bu3dfe": "fnbench.adapters.bu3dfe:Bu3dfe",
    "celebahq": "fnbench.adapters.celebahq:CelebaHq",
    "diligent": "fnbench.adapters.diligent:Diligent",
    "facescape": "fnbench.adapters.facescape:FaceScape",
    "facewarehouse": "fnbench.adapters.facewarehouse:FaceWarehouse",
    "florence": "fnbench.adapters.florence:Florence",
    "folder": "fnbench.adapters.folder:Folder",
    "headspace": "fnbench.adapters.headspace:Headspace",
    "ict": "fnbench.adapters.ict:Ict",
    "ict3drfe": "fnbench.adapters.ict3drfe:Ict3dRfe",
    "makehuman": "fnbench.adapters.makehuman:MakeHuman",
    "multiface": "fnbench.adapters.multiface:Multiface",
    "nphm": "fnbench.adapters.nphm:Nphm",
    "photoface": "fnbench.adapters.photoface:Photoface",
    "stirling": "fnbench.adapters.stirling:Stirling",
    "synthetic": "fnbench.adapters.synthetic:Synthetic",
    "synthhuman": "fnbench.adapters.synthhuman:SynthHuman",
    "w300": "fnbench.adapters.w300:W300",
}
"""Dataset id -> import path of its adapter."""

MODELS: dict[str, str] = {
    "crossmodal": "fnbench.models.crossmodal:CrossmodalEstimator",
    "frontal": "fnbench.models.frontal:Frontal",
    "mean-face": "fnbench.models.mean_face:MeanFace",
    "prn": "fnbench.models.prn:PrnEstimator",
    "shading": "fnbench.models.shading:Shading",
    "sfsnet": "fnbench.models.sfsnet:SfsnetEstimator",
}
"""Model id -> import path of its estimator."""

_USER = "fnbench_user_"
"""Modules loaded from a user's file bear this before their name."""
_TABLES = {"dataset": DATASETS, "model": MODELS}


def names(kind: str) -> list[str]:
    """All aliases of a kind ("dataset" or "model"), those of installed packages included, sorted."""
    return sorted({*_TABLES[kind], *_entry_points(kind)})


def resolve(name: str, kind: str) -> Any:
    """The class that a name stands for.

    name: an alias, ``file.py:Class`` or ``package.module:Class``.
    kind: "dataset" or "model".
    Raises UnknownNameError with the nearest alias, or with what is missing in the file or module.
    """
    path = {**_entry_points(kind), **_TABLES[kind]}.get(name, name)
    module_name, colon, attribute = path.rpartition(":")
    if not colon or not attribute or not module_name:
        close = get_close_matches(name, names(kind), n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(
            f"There is no {kind} {name!r}.{hint} Known: {', '.join(names(kind))}; "
            f"your own: file.py:Class or package.module:Class."
        )
    module = _file_module(Path(module_name), kind) if module_name.endswith(".py") else _import(module_name, kind)
    try:
        return getattr(module, attribute)
    except AttributeError:
        classes = ", ".join(key for key, value in vars(module).items() if isinstance(value, type)) or "none"
        raise UnknownNameError(f"{module_name} has no {attribute!r}. Classes found there: {classes}.") from None


def options_of(kind: type, given: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments of a class from texts like ``heads=1000``, typed as the defaults of its constructor are.

    >>> class Dataset:
    ...     def __init__(self, root: Path, *, heads: int = 200) -> None: ...
    >>> options_of(Dataset, ["heads=1000"])
    {'heads': 1000}

    Raises UnknownNameError for an option that the class does not have, InvalidSettingError for a value of another type.
    """
    known = {
        name: parameter.default
        for name, parameter in signature(kind).parameters.items()
        if isinstance(parameter.default, bool | int | float | str)
    }
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            listed = ", ".join(f"{key}={default}" for key, default in known.items()) or "none"
            raise UnknownNameError(f"{kind.__name__}: there is no option {text!r}. Options and defaults: {listed}.")
        found[name] = _typed(f"{kind.__name__}: option {text}", value, known[name])
    return found


def _typed(what: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise InvalidSettingError(f"{what}: expected true or false.")
        return value.lower() == "true"
    try:
        return type(default)(value)
    except ValueError:
        raise InvalidSettingError(f"{what}: expected something like {default!r}.") from None


class Portable:
    """A value on its way to another process, also when its class comes from a user's ``file.py:Class``.

    value: picklable; of a user's file, its attributes are.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        kind = type(self.value)
        if not kind.__module__.startswith(_USER):
            return Portable, (self.value,)
        return _rebuilt, (str(sys.modules[kind.__module__].__file__), kind.__qualname__, vars(self.value))


def _rebuilt(path: str, name: str, attributes: dict[str, Any]) -> Portable:
    """The other end of ``Portable``: the class is loaded from its file again."""
    module = sys.modules.get(_USER + Path(path).stem) or _file_module(Path(path), "dataset")
    kind = getattr(module, name)
    value = kind.__new__(kind)
    vars(value).update(attributes)
    return Portable(value)


def _entry_points(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"fnbench.{kind}s")}


def _import(name: str, kind: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # the module exists, but misses something of its own: that is its bug
        raise UnknownNameError(
            f"{kind} {name!r}: no module named {error.name!r}. Install it, or give a file: path/to/file.py:Class."
        ) from None


def _file_module(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise UnknownNameError(f"{kind} file {path} does not exist. Give file.py:Class with a path from this folder.")
    name = _USER + path.stem
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UnknownNameError(f"{kind} file {path} cannot be loaded as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and worker processes look the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
