"""Detail of a predicted normal map, transferred to a coarse mesh."""

from fnbench.refine.files import RefineReport, refine_files
from fnbench.refine.surface import Refined, refined
from fnbench.refine.target import Target, read_target

__all__ = ["RefineReport", "Refined", "Target", "read_target", "refine_files", "refined"]
