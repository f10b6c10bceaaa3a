"""Numbers as they are printed: the same digits in the page, in Markdown and in the figures."""

from __future__ import annotations

import math

DEGREES = 2
PERCENT = 1
GRADIENT = 4
NOTHING = "\u2013"
MINUS = "\u2212"


def unit_of(metric: str) -> str:
    """``degrees``, ``%`` or nothing, for a metric with or without its family's suffix.

    >>> unit_of("acc@20_px"), unit_of("mean_sub")
    ('%', 'degrees')
    """
    return "%" if metric.startswith(("acc@", "auc")) else "" if metric.startswith("grad_l1") else "degrees"


def digits_of(metric: str) -> int:
    """Decimals that a metric is printed with."""
    return {"%": PERCENT, "": GRADIENT, "degrees": DEGREES}[unit_of(metric)]


def number(metric: str, value: float | None) -> str:
    """A metric as printed; a dash when there is none.

    >>> number("mean_px", 10.8249), number("acc@20_px", 91.25), number("grad_l1_px", float("nan"))
    ('10.82', '91.2', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits_of(metric)}f}"


def interval(metric: str, bounds: tuple[float, float] | None) -> str:
    """``10.10 to 11.60``, or nothing.

    >>> interval("mean_sub", (10.1, 11.6))
    '10.10 to 11.60'
    """
    return "" if bounds is None else f"{number(metric, bounds[0])} to {number(metric, bounds[1])}"


def signed(metric: str, value: float) -> str:
    """With its sign, and a true minus.

    >>> signed("mean_px", -0.5)
    '−0.50'
    """
    text = number(metric, abs(value))
    zero = text == NOTHING or float(text) == 0
    return text if zero else (MINUS if value < 0 else "+") + text


def count(value: int) -> str:
    """Thousands set apart by thin spaces.

    >>> count(1234567)
    '1\u2009234\u2009567'
    """
    return f"{value:,}".replace(",", "\u2009")


def plural(value: int, word: str) -> str:
    """``1 image``, ``3 images``."""
    return f"{count(value)} {word}{'' if value == 1 else 's'}"


def share(value: float) -> str:
    """A share of 1 as percent; 100 only when it is whole.

    >>> share(1.0), share(0.99999)
    ('100 %', '99.9 %')
    """
    percent = 100 * value
    return "100 %" if value >= 1 else f"{min(percent, 99.9):.1f} %"
