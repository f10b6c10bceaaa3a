"""Photometric stereo: lights, robust least squares, ambiguities."""
