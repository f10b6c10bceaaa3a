"""What the doctor says about how maps are stored: codes of another encoding, vectors that a filter has shortened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fnbench.doctor import Case, Diagnosis, mean_error
from fnbench.encodings import MIXED_FLOOR, SURE_FIT, fitting_encoding
from fnbench.maps import Header, read_map
from fnbench.submission.numbers import Remark
from fnbench.submission.pairing import Submission

UNCLEAR_FIT = 0.99
"""Above this ratio no encoding of all images together fits better than the next."""


def miscoded(
    cases: Sequence[Case],
    submission: Submission,
    headers: Mapping[str, Header],
    recoded: Callable[[str], Sequence[Case]],
) -> tuple[list[Diagnosis], Sequence[Case]]:
    """8-bit codes that fit another encoding than the one they are decoded by, or that nobody declared.

    cases: as declared.  recoded: the same cases decoded by the encoding of this name.
    Returns also the cases after the repair.
    """
    codes = {
        case.id: read_map(submission.paired[case.id])[case.mask]
        for case in cases
        if headers[case.id].dtype == np.uint8 and headers[case.id].shape[:2] == case.mask.shape
    }
    if not codes:
        return [], cases
    name, ratio = fitting_encoding(np.concatenate(list(codes.values())))
    each = [fitting_encoding(one)[0] for one in codes.values()]
    agreeing = Counter(each)[name] / len(each)
    convention = submission.declaration.convention(headers[next(iter(codes))])
    stated = None if convention is None else convention.encoding
    if name == stated or ratio > UNCLEAR_FIT:
        return [], cases
    confidence = "low" if ratio >= SURE_FIT else "high" if agreeing >= 0.9 else "medium"
    repaired = recoded(name)
    if stated is None:
        code, text = "FM-11", f"the codes are not declared; vectors are nearest to unit length when decoded by {name}"
    else:
        code, text = "FM-13", f"the codes were decoded by {stated}, but fit {name}; a mixed coding costs up to "
        text += f"{MIXED_FLOOR[0]} degrees on average and {MIXED_FLOOR[1]} at worst"
    numbers = mean_error(cases), mean_error(repaired), agreeing
    return [Diagnosis(code, text, confidence, *numbers, f"Add --encoding {name}.")], repaired


def shortened(cases: Sequence[Case], remarks: Sequence[Remark]) -> list[Diagnosis]:
    """Vectors shorter than 1 and none longer: resized with a filter and not renormalised."""
    short = sum(remark.short for remark in remarks)
    if not short:
        return []
    text = f"{short} of {len(remarks)} maps hold vectors shorter than 1 and none longer: resized and not renormalised"
    option = "Resize in float and renormalise before saving; lengths are normalised here, so no option changes a score."
    error = mean_error(cases)
    return [Diagnosis("FM-18", text, "high", error, error, short / len(remarks), option)]
