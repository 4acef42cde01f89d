"""A block of one's own: strip pooling, which averages rows and columns and gates the map by both."""

from torch import Tensor, nn

from modules.registry import register


@register("strip", family="context", paper="Strip Pooling (Hou et al., CVPR 2020)", equation="Sec. 3.1")
class StripPooling(nn.Module):
    """Gate each position by its row's and its column's average."""

    def __init__(self, channels: int, ratio: int = 4, rows: bool = True, columns: bool = True) -> None:
        super().__init__()
        if ratio < 1 or channels % ratio:
            raise ValueError(f"channels {channels} are not divisible by ratio {ratio}")
        self.rows, self.columns = rows, columns
        self.reduce = nn.Conv2d(channels, channels // ratio, 1)
        self.expand = nn.Conv2d(channels // ratio, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = self.reduce(x_BCHW)
        strips = y.new_zeros(y.shape)
        if self.rows:
            strips = strips + y.mean(dim=3, keepdim=True)
        if self.columns:
            strips = strips + y.mean(dim=2, keepdim=True)
        return x_BCHW * self.expand(strips.relu()).sigmoid()
