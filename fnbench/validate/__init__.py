"""Is this copy of a dataset whole, and is it what its card says? Text for its owner, an anonymous JSON for us.

``validate`` lists a dataset, loads its captures, and collects everything that is missing or damaged instead of
stopping at the first. What it measures on the way (sizes between eyes, front faces, directions of normals) is compared
with what any face must show, so a wrong unit, a flipped axis or an inward mesh stands out although nobody has a
reference. The JSON holds counts and statistics only: no names, no paths, no ids, no picture, no normal.
"""

from fnbench.validate.check import Problem, Validation, validate
from fnbench.validate.measure import Concern, concerns, measure

__all__ = ["Concern", "Problem", "Validation", "concerns", "measure", "validate"]
