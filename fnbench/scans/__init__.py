"""Mesh files become Scans: reading, unit and axis checks, normals, landmarks, alignment."""
