"""Predictions that somebody saved: paired by id, declared by name, checked in full before they count.

A submission is a folder with one file per sample (or one NPZ or HDF5 file with one array per sample), and what its
owner declares about it, in ``submission.toml`` or by options. A file belongs to a sample because it is called like it:
the id itself, folders included, or ``stem(id)`` as the template lists it. Nothing is ever paired by order.

``submission.toml``::

    [submission]
    name = "my-method"
    source = "dsine"          # or frame, encoding, order, one by one; see fnbench.encodings and fnbench.frames
    training_data = "what it was trained on"
    licence = "of the weights"

Checks come in two rounds. The first looks at names and headers of all files and lists every problem at once. The second
looks at the numbers while they are scored, and again lists every problem before anything is written.
"""

from fnbench.submission.declaration import Declaration, read_declaration
from fnbench.submission.examine import examined, refuse, write_findings
from fnbench.submission.pairing import Submission, open_submission, stem
from fnbench.submission.score import evaluate_submission, validate_submission
from fnbench.submission.template import write_template

__all__ = [
    "Declaration",
    "Submission",
    "evaluate_submission",
    "examined",
    "open_submission",
    "read_declaration",
    "refuse",
    "stem",
    "validate_submission",
    "write_findings",
    "write_template",
]
