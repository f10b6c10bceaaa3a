"""What every failure mode is checked for: the same finding from both interfaces, and no result after a refusal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fnbench.cli import main
from fnbench.errors import FnbenchError
from fnbench.record import EvalResult, read_record
from fnbench.store import Store
from fnbench.submission import Declaration, evaluate_submission


def flags(declared: dict[str, Any]) -> list[str]:
    """A declaration as command line options."""
    found = []
    for name, value in declared.items():
        option = f"--{name.replace('_', '-')}"
        found += [option] if value is True else [option, str(value)]
    return found


def assert_stops(folder: Path, store: Store, code: str, words: Sequence[str], **declared: Any) -> str:
    """Both interfaces refuse with this code and these words (regular expressions), exit code 2, and write nothing."""
    with pytest.raises(FnbenchError) as caught:
        evaluate_submission(folder, store, Declaration(folder.name, **declared))
    message = str(caught.value)
    assert code in message or caught.value.code == code, message
    for word in words:
        assert re.search(word, message), f"{word!r} is not in: {message}"
    out = folder.parent / f"{folder.name}-run"
    arguments = ["eval", "--predictions", str(folder), "--data", str(store.path), "--out", str(out), *flags(declared)]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 2, run.output
    assert message in run.output
    assert not out.exists()
    return message


def scored(folder: Path, store: Store, **declared: Any) -> EvalResult:
    """The result from Python, which must equal the record that the command line writes."""
    result = evaluate_submission(folder, store, Declaration(folder.name, **declared))
    out = folder.parent / f"{folder.name}-run"
    arguments = ["eval", "--predictions", str(folder), "--data", str(store.path), "--out", str(out), *flags(declared)]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    (path,) = out.glob("*.json")
    record = read_record(path)
    assert record.metrics == result.metrics
    assert [finding.text for finding in record.findings] == [finding.text for finding in result.findings]
    return result


def texts(result: EvalResult, code: str) -> list[str]:
    """The findings of a result with this code."""
    return [f"{finding.verdict} {finding.text}" for finding in result.findings if finding.code == code]
