"""The HDF5 file of images and exact normals: schema ``fnbench/1``, reading, writing, merging, proving.

schema   the datasets and attributes of a file, and what makes one valid
codec    a Sample as compressed chunks and small fields, and its hash
read     ``Store``: lazy, picklable, one handle per process
write    ``write_samples``; every file under a temporary name, then renamed
merge    parts and shards joined by copying compressed chunks
verify   proof that a file is whole
"""

from fnbench.store.codec import Encoded, encode_sample
from fnbench.store.merge import merge_captures, merge_stores
from fnbench.store.opening import is_finished
from fnbench.store.read import Store
from fnbench.store.schema import SCHEMA
from fnbench.store.verify import Finding, Verification, verify_store
from fnbench.store.write import write_encoded, write_samples

__all__ = [
    "SCHEMA",
    "Encoded",
    "Finding",
    "Store",
    "Verification",
    "encode_sample",
    "is_finished",
    "merge_captures",
    "merge_stores",
    "verify_store",
    "write_encoded",
    "write_samples",
]
