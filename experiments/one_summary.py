"""A block whose positions share one 16x16 matrix of the image, which each reads with its own query.

    python run_bench.py train --plugin experiments/one_summary.py --blocks one_summary --seeds 2 --out results/one

It shows what a summary of fixed size for the whole image can carry (docs/accuracy.md, the pairwise kind).
"""

from torch import Tensor, nn

from modules.registry import register


@register("one_summary", family="context", paper="ours", equation="y = W (S^T q), S = sum_p softmax(k)_p v_p^T")
class OneSummary(nn.Module):
    """Keys and values of all positions make one matrix, to which each position's query is applied."""

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, width, 1) for _ in range(3))
        self.expand = nn.Conv2d(width, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        q_BKN, v_BKN = self.query(x_BCHW).flatten(2), self.value(x_BCHW).flatten(2)
        k_BKN = self.key(x_BCHW).flatten(2).softmax(-1)
        summary_BKK = v_BKN @ k_BKN.mT
        y_BKHW = (summary_BKK @ q_BKN).unflatten(2, x_BCHW.shape[-2:])
        return x_BCHW + self.expand(y_BKHW)
