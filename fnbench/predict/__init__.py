"""Normals of the faces in anybody's photographs: found, cut out, predicted, and put back at full resolution."""

from fnbench.predict.files import Form
from fnbench.predict.run import Choices, PredictReport, predict_photographs

__all__ = ["Choices", "Form", "PredictReport", "predict_photographs"]
