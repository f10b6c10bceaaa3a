"""fnbench: exact ground truth and honest scores for face surface normals."""

__version__ = "0.1.0"
