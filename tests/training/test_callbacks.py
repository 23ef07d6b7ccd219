"""The averaged weights are those that torch's own average gives."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.callbacks import PairedAverage


def moved(network: nn.Module) -> None:
    """Change every weight and every statistic in place, as a training step does."""
    network(torch.randn(4, 3))
    with torch.no_grad():
        for each in network.parameters():
            each.add_(torch.randn_like(each))


def test_average_equals_that_of_torch() -> None:
    """Over many steps, with the state reloaded in between, weights, statistics and counters agree with the parent's."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ours, peer = (
        kind(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)  # type: ignore[no-untyped-call]
        for kind in (PairedAverage, AveragedModel)
    )
    for _ in range(5):
        moved(network)
        ours.update_parameters(network)
        peer.update_parameters(network)
        ours.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert ours.n_averaged == 5
    for name, value in peer.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)
