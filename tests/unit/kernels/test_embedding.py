"""Rows of a table whose gradient is sparse against torch's dense one."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from st.kernels.embedding import look_up


def test_rows_and_gradients_are_those_of_torch_and_padding_has_none():
    torch.manual_seed(0)
    table = torch.randn(9, 4, requires_grad=True)
    ids = torch.tensor([[3, 5, 1], [5, 1, 1]])
    found, expected = look_up(ids, table, 1), F.embedding(ids, table, 1)
    assert torch.equal(found, expected)
    outer = torch.randn(found.shape)
    (sparse,) = torch.autograd.grad(found, table, outer)
    (dense,) = torch.autograd.grad(expected, table, outer)
    assert sparse.layout == torch.sparse_coo
    torch.testing.assert_close(sparse.to_dense(), dense)
    assert not sparse.to_dense()[1].any()


def test_a_table_that_is_the_projection_too_gets_a_dense_gradient():
    table = torch.randn(9, 4, requires_grad=True)
    F.linear(look_up(torch.tensor([3, 5]), table, None), table).square().sum().backward()
    assert table.grad.layout == torch.strided
