"""BibTeX for what a result rests on: the dataset, the model, and fnbench.

A dataset's entry stands in its card, a model's in ``baselines/<name>/CITATION.bib``. What has no publication of its
own (the built-in dataset, ``frontal``) is part of fnbench and is cited as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from fnbench import __version__, catalog, registry
from fnbench.cards import card_names, load_card
from fnbench.errors import UnknownNameError
from fnbench.record import EvalResult

YEAR = 2026


def own_entry() -> str:
    """The entry of this version of fnbench."""
    return "\n".join(
        (
            "@software{fnbench,",
            "  title   = {fnbench: exact ground truth and honest scores for face surface normals},",
            "  author  = {{The fnbench authors}},",
            f"  version = {{{__version__}}},",
            f"  year    = {{{YEAR}}},",
            "  license = {MIT}",
            "}",
        )
    )


def citations(names: Iterable[str]) -> str:
    """BibTeX entries for datasets, models and ``fnbench``, each once, in the order asked for.

    Raises UnknownNameError with the nearest name.
    """
    entries = dict.fromkeys(entry(name) for name in names)
    return "\n\n".join(entries)


def entry(name: str) -> str:
    """The entry of one dataset, of one model, or of fnbench."""
    if name == "fnbench":
        return own_entry()
    if name in card_names():
        citation = load_card(name).citation
        return citation if citation.startswith("@") else own_entry()
    if name in registry.names("model"):
        path = catalog.folder("baselines") / name / "CITATION.bib"
        return path.read_text(encoding="utf-8").strip() if path.is_file() else own_entry()
    known = ["fnbench", *registry.names("model"), *card_names()]
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UnknownNameError(f"There is no dataset or model {name!r}.{hint} Known: {', '.join(known)}.")


def names_of(records: Iterable[EvalResult]) -> list[str]:
    """What records rest on, as far as it has an entry: datasets, models that are built in, fnbench; sorted."""
    records = list(records)
    datasets = {record.dataset for record in records} & set(card_names())
    models = {record.model for record in records} & set(registry.names("model"))
    return ["fnbench", *sorted(datasets), *sorted(models)]
