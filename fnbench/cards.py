"""Dataset cards: what a dataset is, as data, so that adapters hold behaviour only.

``datasets/<name>/card.toml``::

    name = "florence"
    title = "MICC Florence 2D/3D"
    summary = "one sentence"
    gt_kind = "scan"                       # see fnbench.types.GT_KINDS; "none" for image-only sets
    unit = "mm"                            # of the files; adapters hand out millimetres
    axes = "right, up, out"                # native axes in words
    licence = "research only, by agreement"
    access = "how to get it, in one or two sentences"
    publish = "what must never be published, and what may be"
    citation = '''@inproceedings{...}'''
    overlaps = ["mica"]                    # datasets (or collections) that share people with this one
    verified_on_real_data = false          # true once a licence holder has reported

    [splits]                               # either rule = "test" (or train, val): everybody is in it
    rule = "hash"                          # or "hash": by subject, seeded, disjoint by construction
    seed = 0
    train = 0.8
    val = 0.1                              # the rest is test

    [facts.unit]                           # any number of facts, each with its confidence
    value = "millimetre"
    confidence = "high"                    # high, medium, low
    check = "outer eye corners 70-115 mm"  # what is checked at run time
    setting = "unit"                       # the setting below that changes it, for a copy that differs

    [settings]                             # defaults of medium or low confidence that users may override
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fnbench import catalog
from fnbench.errors import InvalidSettingError, UnknownNameError
from fnbench.types import GT_KINDS

SPLITS = ("train", "val", "test")
_TEXTS = ("name", "title", "summary", "gt_kind", "unit", "axes", "licence", "access", "publish", "citation")
_OPTIONAL = ("overlaps", "verified_on_real_data", "splits", "facts", "settings")
_CONFIDENCES = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about a dataset: its value, how sure it is, what is checked at run time, and what changes it."""

    value: str
    confidence: str
    check: str = ""
    source: str = ""
    setting: str = ""


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Which split a subject belongs to; subject-disjoint because the subject alone decides.

    rule: "hash", or the name of the one split that everybody is in.
    """

    rule: str = "test"
    seed: int = 0
    train: float = 0.8
    val: float = 0.1

    def of(self, dataset: str, subject: str) -> str:
        """train, val or test for this subject."""
        if self.rule != "hash":
            return self.rule
        digest = hashlib.sha256(f"{dataset}/{subject}/{self.seed}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        return "train" if position < self.train else "val" if position < self.train + self.val else "test"


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """The facts of one dataset; see the module docstring for the file."""

    name: str
    title: str
    summary: str
    gt_kind: str
    unit: str
    axes: str
    licence: str
    access: str
    publish: str
    citation: str
    hash: str
    overlaps: tuple[str, ...] = ()
    verified_on_real_data: bool = False
    splits: SplitRule = field(default_factory=SplitRule)
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def split_of(self, subject: str) -> str:
        """train, val or test for a subject of this dataset."""
        return self.splits.of(self.name, subject)


def contamination(training_data: str | Sequence[str] | None, card: DatasetCard) -> str:
    """What a model's declared training data means for its score on a dataset.

    "unknown" when nothing is declared; "trained on this dataset"; "shares people: ..." when a source overlaps by
    either card; else "none declared".
    """
    if training_data is None:
        return "unknown"
    sources = [training_data] if isinstance(training_data, str) else list(training_data)
    names = {source.split()[0].split("/")[0].strip(",;:").lower() for source in sources if source.strip()}
    if card.name in names:
        return "trained on this dataset"
    cards = {name: load_card(name) for name in names & set(card_names())}
    shared = names & set(card.overlaps) | {name for name, other in cards.items() if card.name in other.overlaps}
    return f"shares people: {', '.join(sorted(shared))}" if shared else "none declared"


def card_names() -> list[str]:
    """Names of all datasets that have a card, sorted."""
    return sorted(path.parent.name for path in catalog.folder("datasets").glob("*/card.toml"))


def load_card(name: str) -> DatasetCard:
    """The card of a dataset by name; UnknownNameError when there is none."""
    path = catalog.folder("datasets") / name / "card.toml"
    if not path.is_file():
        raise UnknownNameError(f"There is no dataset card for {name!r}. Cards exist for: {', '.join(card_names())}.")
    return read_card(path)


def read_card(path: Path) -> DatasetCard:
    """Read and check one card file; InvalidSettingError names the key that is wrong."""
    content = path.read_bytes()
    try:
        data = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"{path}: not a TOML file ({error}). Compare it with another card.") from error
    _keys(path, "", data, _TEXTS, _OPTIONAL)
    if data["name"] != path.parent.name:
        raise InvalidSettingError(f"{path}: name is {data['name']!r}, expected {path.parent.name!r} as its folder.")
    _one_of(path, "gt_kind", data["gt_kind"], GT_KINDS)
    facts = {key: _fact(path, key, fact) for key, fact in data.get("facts", {}).items()}
    for key, fact in facts.items():
        if fact.setting and fact.setting not in data.get("settings", {}):
            raise InvalidSettingError(
                f"{path}: facts.{key}.setting names {fact.setting!r}, which is not in [settings]."
            )
    return DatasetCard(
        **{key: str(data[key]).strip() for key in _TEXTS},
        hash=hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest(),
        overlaps=tuple(data.get("overlaps", ())),
        verified_on_real_data=bool(data.get("verified_on_real_data", False)),
        splits=_split_rule(path, data.get("splits", {})),
        facts=MappingProxyType(facts),
        settings=MappingProxyType(dict(data.get("settings", {}))),
    )


def table(cards: Sequence[DatasetCard]) -> str:
    """One line per dataset: name, kind of truth, whether a licence holder has checked it, title."""
    width = max((len(card.name) for card in cards), default=4)
    kinds = max((len(card.gt_kind) for card in cards), default=4)
    rows = [f"{'name':<{width}}  {'truth':<{kinds}}  real data  title"]
    rows += [
        f"{card.name:<{width}}  {card.gt_kind:<{kinds}}  {'verified ' if card.verified_on_real_data else 'not yet  '}  "
        f"{card.title}"
        for card in cards
    ]
    return "\n".join(row.rstrip() for row in rows)


def describe(card: DatasetCard) -> str:
    """A card in plain text, facts with their confidence and the check that stands in for certainty."""
    rule = card.splits
    split = (
        f"ours, by subject, hashed with seed {rule.seed}: train {rule.train:g}, val {rule.val:g}, the rest test"
        if rule.rule == "hash"
        else f"everybody is in {rule.rule}"
    )
    lines = [
        f"{card.title} ({card.name})",
        card.summary,
        "",
        f"truth      {card.gt_kind}",
        f"unit       {card.unit}",
        f"axes       {card.axes}",
        f"splits     {split}",
        f"overlaps   {', '.join(card.overlaps) or 'none known'}",
        f"real data  {'verified by a licence holder' if card.verified_on_real_data else 'not verified by anybody yet'}",
        f"licence    {card.licence}",
        f"access     {card.access} See datasets/{card.name}/ACCESS.md.",
        f"publish    {card.publish}",
    ]
    lines += ["", "facts"] * bool(card.facts)
    for name, fact in card.facts.items():
        lines.append(f"  {name} ({fact.confidence}): {fact.value}")
        lines += [f"    checked: {fact.check}"] * bool(fact.check)
        if fact.setting:
            lines.append(f"    setting: {fact.setting} = {card.settings[fact.setting]!r}")
        lines += [f"    source: {fact.source}"] * bool(fact.source)
    lines += ["", "settings"] * bool(card.settings)
    lines += [f"  {name} = {value!r}" for name, value in card.settings.items()]
    return "\n".join([*lines, "", card.citation])


def _split_rule(path: Path, data: Mapping[str, Any]) -> SplitRule:
    _keys(path, "splits.", data, (), ("rule", "seed", "train", "val"))
    rule = SplitRule(**data)
    _one_of(path, "splits.rule", rule.rule, ("hash", *SPLITS))
    if not (rule.train >= 0 and rule.val >= 0 and rule.train + rule.val <= 1):
        raise InvalidSettingError(f"{path}: splits.train {rule.train} and splits.val {rule.val} must be shares of 1.")
    return rule


def _fact(path: Path, key: str, data: Mapping[str, Any]) -> Fact:
    _keys(path, f"facts.{key}.", data, ("value", "confidence"), ("check", "source", "setting"))
    _one_of(path, f"facts.{key}.confidence", data["confidence"], _CONFIDENCES)
    return Fact(**{name: str(value) for name, value in data.items()})


def _keys(path: Path, prefix: str, data: Mapping[str, Any], needed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    missing = [prefix + key for key in needed if key not in data]
    unknown = [prefix + key for key in data if key not in (*needed, *allowed)]
    if missing or unknown:
        found = "; ".join(
            f"{what} {', '.join(keys)}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
        )
        raise InvalidSettingError(f"{path}: {found}. Expected {', '.join((*needed, *allowed))}.")


def _one_of(path: Path, key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidSettingError(f"{path}: {key} is {value!r}, expected one of {', '.join(allowed)}.")
