"""Layers with their own gradients agree with what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fnbench.models.layers import Pointwise, doubled, merged


def _tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def test_the_gradient_of_doubling_is_that_of_bilinear_interpolation():
    x, plain, g = _tensor(2, 3, 5, 4), _tensor(2, 3, 5, 4), _tensor(2, 3, 10, 8, seed=1).detach()
    functional.interpolate(plain, scale_factor=2, mode="bilinear", align_corners=True).backward(g)
    doubled(x).backward(g)
    torch.testing.assert_close(x.grad, plain.grad)
    assert torch.autograd.gradcheck(doubled, (_tensor(1, 2, 3, 3),))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_doubling_is_the_same_with_and_without_a_gradient(layout):
    x = _tensor(2, 3, 4, 4, dtype=torch.float32).detach().contiguous(memory_format=layout)
    assert torch.equal(doubled(x.clone().requires_grad_()), doubled(x))


def test_merging_takes_the_larger_and_sends_the_gradient_there():
    x, skip = _tensor(2, 5, 3, 3), _tensor(2, 2, 3, 3, seed=1)
    out = merged(x, skip)
    assert torch.equal(out[:, :3], x[:, :3])
    assert torch.equal(out[:, 3:], torch.maximum(x[:, 3:], skip))
    assert torch.equal(out.detach(), merged(x.detach(), skip.detach()))
    assert torch.autograd.gradcheck(merged, (_tensor(1, 4, 2, 2), _tensor(1, 2, 2, 2, seed=3)))


def test_merging_zeros_changes_nothing_that_is_not_negative():
    x = _tensor(1, 4, 3, 3).detach().relu().requires_grad_()
    out = merged(x, torch.zeros(1, 2, 3, 3, dtype=torch.float64))
    assert torch.equal(out, x)
    out.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # all of it, at ties too


def test_a_strided_pointwise_convolution_is_the_stock_one():
    ours = Pointwise(4, 8, 2).double()
    stock = torch.nn.Conv2d(4, 8, 1, 2, bias=False).double()
    stock.load_state_dict(ours.state_dict())
    for shape in ((2, 4, 6, 8), (1, 4, 5, 7)):
        x, plain = _tensor(*shape), _tensor(*shape)
        torch.testing.assert_close(ours(x), stock(plain))
        ours(x).square().sum().backward()
        stock(plain).square().sum().backward()
        torch.testing.assert_close(x.grad, plain.grad)
        torch.testing.assert_close(ours.weight.grad, stock.weight.grad)
