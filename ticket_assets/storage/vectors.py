"""Vectors between Arrow tables, where they are fixed-size lists, and matrices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def to_arrow(vectors: Matrix) -> pa.FixedSizeListArray:
    """A column of n vectors from a float32 matrix of shape (n, dimension)."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def to_matrix(column: pa.ChunkedArray | pa.Array) -> Matrix:
    """The float32 matrix of shape (n, dimension) of a vector column.

    The dimension of an empty column is its type's; 0 where the type allows any length.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    matrices = [
        chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
        for chunk in chunks
        if len(chunk)
    ]
    if not matrices:
        is_fixed = pa.types.is_fixed_size_list(column.type)
        return np.zeros((0, column.type.list_size if is_fixed else 0), dtype=np.float32)
    return np.concatenate(matrices).astype(np.float32, copy=False)
