"""The benchmark's baseline computes what the network does; test_parity.py compares it with the reference."""

from __future__ import annotations

import pytest
import torch
from helpers.models import assert_same_logits, pair, stirred, tiny_model

from tools.plain_forward import make

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("size", [(33, 47), (64, 96), (129, 32)])
@torch.inference_mode()
def test_the_plain_forward_equals_the_network_in_batches_of_any_size(size):
    model = stirred(tiny_model("swin"))
    inputs = pair(2, *size)
    assert_same_logits(make(model)(*inputs), model(*inputs))


def test_the_plain_forward_refuses_what_the_reference_does_not_describe():
    with pytest.raises(ValueError, match="whole networks on Swin only"):
        make(tiny_model("lite"))
