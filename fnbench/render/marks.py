"""Landmarks and facial regions of a capture's scan, and how each was found.

Rule
----
1. What the dataset brings is used as it is: landmarks, and region labels.
2. A template that the dataset fitted to everybody (``Capture.topology``) is searched once, on the reference that the
   adapter names; in all captures landmarks and regions are at the vertices found there, whoever comes first.
3. Else the face is located on the scan (``render.locate``), and regions are carried over by its landmarks.

A topology is not used where its triangles are not those of the reference, where no face is found on the reference, or
where its mesh does not lie on the scan; the sample then says so, and step 3 follows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import FnbenchError, InvalidDataError
from fnbench.scans.align import closest_points
from fnbench.scans.regions import label_regions
from fnbench.scans.topology import Anatomy, anatomy, distance_to, regions_beside, same_topology
from fnbench.types import Capture, Scan

LAID = 5.0
"""Largest median distance in mm between the face of a template and the scan that it was fitted to."""
_KEPT = 4
"""References whose anatomy a process remembers; a run has one."""

_SEARCHED: dict[bytes, tuple[Anatomy | None, dict[str, Any]]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The topology of a capture as far as it can be used.

    name: of the reference, empty without one.  mesh: the capture's.  anatomy: None when it is not used.
    found: how the landmarks of the reference were found.  attributes: what samples say of the topology itself.
    """

    name: str = ""
    mesh: Scan | None = None
    anatomy: Anatomy | None = None
    found: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def template_of(capture: Capture, scan: Scan) -> Template:
    """The template that lies on a capture's scan, with the anatomy of its topology."""
    if capture.topology is None:
        return Template()
    mesh = capture.topology.mesh
    try:
        reference = capture.topology.reference()
    except FnbenchError:  # the capture that owns the file names it
        return _unused("its reference cannot be read")
    if reference.scan is None or not same_topology(reference.scan, mesh):
        return _unused(f"other triangles than those of {reference.id}")
    known, found = _searched(reference, reference.scan)
    if known is None:
        return _unused(f"no face found on {reference.id}")
    if mesh is scan or known.regions is None:
        return Template(reference.id, mesh, known, found)
    gap = distance_to(scan, mesh, known.regions)
    if gap > LAID:
        return _unused(f"{gap:.0f} mm from the scan")
    return Template(reference.id, mesh, known, found, {"topology_distance_mm": round(gap, 3)})


def landmarks_of(capture: Capture, scan: Scan, template: Template) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """(68, 3) landmarks of a scan, NaN where unknown, and how they were found.

    Raises InvalidDataError when they must be searched for and no face is found.
    """
    if capture.landmarks is not None:
        return capture.landmarks, {"landmark_source": "dataset"}
    if template.anatomy is not None and template.mesh is not None:
        points = template.anatomy.landmarks(template.mesh)
        if template.mesh is not scan:
            known = np.isfinite(points).all(axis=1)
            points[known] = closest_points(points[known], scan)
        source = f"topology of {template.name}: {template.found['landmark_source']}"
        return points, {**template.found, "landmark_source": source}
    from fnbench.render.locate import locate  # scans with landmarks need no search

    found = locate(scan)
    return found.landmarks, found.attributes


def regions_of(
    scan: Scan, landmarks: NDArray[np.float64], template: Template
) -> tuple[NDArray[np.uint8] | None, dict[str, Any]]:
    """Facial regions (V,) of a scan, and how they were found; labels that it brings along stay and say nothing."""
    if scan.labels is not None:
        return scan.labels, {}
    if template.anatomy is not None and template.mesh is not None and template.anatomy.regions is not None:
        regions = template.anatomy.regions
        labels = regions.labels if template.mesh is scan else regions_beside(scan, template.mesh, regions)
        source = f"topology of {template.name}: {regions.attributes['region_source']}"
        return labels, {**regions.attributes, "region_source": source}
    try:
        found = label_regions(scan, landmarks)
    except InvalidDataError:  # too few landmarks
        return None, {"region_source": "none"}
    return found.labels, found.attributes


def _unused(reason: str) -> Template:
    return Template(attributes={"topology": f"not used: {reason}"})


def _searched(reference: Capture, scan: Scan) -> tuple[Anatomy | None, dict[str, Any]]:
    """The anatomy of a reference, and how its landmarks were found; None when there is no face on it."""
    digest = hashlib.sha256(scan.vertices.tobytes() + scan.faces.tobytes())
    digest.update(b"" if reference.landmarks is None else reference.landmarks.tobytes())
    key = digest.digest()
    if key not in _SEARCHED:
        while len(_SEARCHED) >= _KEPT:
            del _SEARCHED[next(iter(_SEARCHED))]
        try:
            landmarks, about = landmarks_of(reference, scan, Template())
            _SEARCHED[key] = anatomy(scan, landmarks), about
        except InvalidDataError:
            _SEARCHED[key] = None, {}
    return _SEARCHED[key]
