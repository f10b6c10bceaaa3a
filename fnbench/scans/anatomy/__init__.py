"""The parts of the parametric head, each a function that adds itself to the field built so far.

Canonical head coordinates, millimetres: the origin lies midway between the centres of the two eyeballs, x to the
image right (the subject's left), y up, z out of the face. ``mirrored`` points have x replaced by a rounded |x|.
"""
