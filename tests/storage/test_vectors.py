from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ticket_assets.storage.vectors import to_arrow, to_matrix

MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_vectors_come_back_from_arrow_as_they_went() -> None:
    column = to_arrow(MATRIX)

    assert column.type == pa.list_(pa.float32(), 3)
    np.testing.assert_array_equal(to_matrix(column), MATRIX)


def test_float64_and_column_major_matrices_are_stored_as_float32_rows() -> None:
    column = to_arrow(np.asfortranarray(MATRIX.astype(np.float64)))

    assert column.type == pa.list_(pa.float32(), 3)
    assert column.to_pylist() == MATRIX.tolist()


def test_a_slice_of_a_column_gives_the_rows_of_the_slice() -> None:
    np.testing.assert_array_equal(to_matrix(to_arrow(MATRIX).slice(1, 2)), MATRIX[1:3])


def test_chunks_are_joined_in_order_and_empty_ones_skipped() -> None:
    column = pa.chunked_array([to_arrow(MATRIX[:1]), to_arrow(MATRIX[:0]), to_arrow(MATRIX[1:])])

    np.testing.assert_array_equal(to_matrix(column), MATRIX)


def test_lists_of_variable_length_are_read_too() -> None:
    matrix = to_matrix(pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64())))

    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "column", [to_arrow(MATRIX[:0]), pa.chunked_array([], pa.list_(pa.float32(), 3))]
)
def test_an_empty_column_is_an_empty_matrix(column) -> None:
    matrix = to_matrix(column)

    assert matrix.shape == (0, 3)
    assert matrix.dtype == np.float32
