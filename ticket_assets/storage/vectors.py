"""Vectors between Arrow tables, where they are lists, and matrices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def to_arrow(vectors: Matrix) -> pa.FixedSizeListArray:
    """A column of n vectors from a float32 matrix of shape (n, dimension)."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vector_lengths(column: pa.ChunkedArray | pa.Array) -> set[int]:
    """The lengths of the vectors in a column, which are one where they come from one encoder."""
    if pa.types.is_fixed_size_list(column.type):
        return {column.type.list_size} if len(column) else set()
    return set(pc.list_value_length(column).unique().to_pylist())


def to_matrix(column: pa.ChunkedArray | pa.Array) -> Matrix:
    """The float32 matrix of shape (n, dimension) of a vector column.

    The dimension of an empty column is its type's; 0 where the type allows any length.

    Raises:
        ValueError: the vectors have several lengths.
    """
    if len(lengths := vector_lengths(column)) > 1:
        raise ValueError(f"Vectors of several lengths: {sorted(lengths)}")
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
