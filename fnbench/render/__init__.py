"""From scans and cameras to exact ground truth."""
