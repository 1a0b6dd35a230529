"""The masked autoencoder: every patch restored from its surroundings, never from itself.

He et al.: Masked Autoencoders Are Scalable Vision Learners, 2022. Only the body stands here.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .configuration import MaskedAutoencoderConfig
from .reconstruction import ReconstructionModel
from .restoration import Restoration

MLP_RATIO = 4


class Block(nn.Module):
    """Transformer block, normalised first: (B, n, d) -> (B, n, d), d the width.

    With a `side` the n = side * side tokens are a whole grid, and each looks at its eight
    neighbours first: a small convolution that says where a token lies better than a position
    embedding can in a short training (Chu et al.: Conditional Positional Encodings for Vision
    Transformers, 2021).
    """

    def __init__(self, width: int, heads: int, side: int | None = None) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.neighbours = nn.Conv2d(width, width, 3, padding=1, groups=width) if side else None
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token look at every other one."""
        if self.neighbours is not None:
            grid = tokens.transpose(1, 2).unflatten(2, (self.side, self.side))
            tokens = tokens + self.neighbours(grid).flatten(2).transpose(1, 2)
        split = self.query_key_value(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, n, d / heads) each
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.output(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))


class MaskedAutoencoder(ReconstructionModel):
    """Masked autoencoder (see `modeling.configuration.MaskedAutoencoderConfig`)."""

    config_class = MaskedAutoencoderConfig

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__(config)
        side = config.body_size // (config.body_stride * config.patch_size)
        width, decoder_width = config.hidden_size, config.decoder_hidden_size
        heads = config.num_attention_heads
        patch_values = self.target.channels * config.patch_size**2
        self.side = side
        self.embed = nn.Linear(patch_values, width)
        self.encoder = nn.Sequential(
            *(Block(width, heads) for _ in range(config.num_hidden_layers)),
            nn.LayerNorm(width),
        )
        self.to_decoder = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        self.decoder = nn.Sequential(
            *(Block(decoder_width, heads, side) for _ in range(config.decoder_num_hidden_layers)),
            nn.LayerNorm(decoder_width),
        )
        self.to_patches = nn.Linear(decoder_width, patch_values)
        self.register_buffer("positions", sine_cosine_positions(side, width))
        self.register_buffer("decoder_positions", sine_cosine_positions(side, decoder_width))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MaskedAutoencoder):
            init.normal_(module.mask_token, std=0.02)
            for positions in (module.positions, module.decoder_positions):
                init.copy_(positions, sine_cosine_positions(self.side, positions.shape[1]))

    def restore(self, values: Tensor) -> Restoration:
        """Target values, (B, C, h, w), as they should be.

        Training hides a random share of the tokens; otherwise every token is hidden once, by fixed
        complementary masks, and taken from the pass that hid it.
        """
        # (B, C, h, w) -> (B, n, C p^2)
        patches = F.pixel_unshuffle(values, self.config.patch_size).flatten(2).transpose(1, 2)
        if self.training:
            hidden = self._random_masks(patches)
            visible = (~hidden).nonzero()[:, 1].view(len(patches), -1)
            restored = self._restore_hidden(patches, visible)
            grid = hidden.float().unflatten(1, (1, self.side, self.side))
            places = F.interpolate(grid, scale_factor=self.config.patch_size)  # (B, 1, h, w)
            return Restoration(self._to_values(restored), hidden=places)
        restored = torch.zeros_like(patches)
        for hidden, seen in fixed_masks(self.side, self.config.num_masks):
            visible = seen.to(patches.device).expand(patches.shape[0], -1)
            taken = hidden.to(patches.device)[:, None]
            restored = torch.where(taken, self._restore_hidden(patches, visible), restored)
        return Restoration(self._to_values(restored))

    def _restore_hidden(self, patches: Tensor, visible: Tensor) -> Tensor:
        """Patches, (B, n, C p^2), restored from those at the visible positions, (B, m), ascending.

        Only those of the hidden tokens are of use.
        """
        batch, count = patches.shape[:2]
        seen = patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[-1]))
        tokens = self.encoder(self.embed(seen) + self.positions[visible])
        tokens = self.to_decoder(tokens)
        full = self.mask_token.to(tokens.dtype).repeat(batch, count, 1)
        full = full.scatter(1, visible[..., None].expand_as(tokens), tokens)
        return self.to_patches(self.decoder(full + self.decoder_positions))

    def _random_masks(self, patches: Tensor) -> Tensor:
        """(B, n), bool, `mask_ratio` of every row True."""
        batch, count = patches.shape[:2]
        n_hidden = min(count - 1, max(1, round(self.config.mask_ratio * count)))
        order = torch.rand(batch, count, device=patches.device).argsort(dim=1)
        return order < n_hidden

    def _to_values(self, tokens: Tensor) -> Tensor:
        """(B, n, C p^2) -> (B, C, h, w)."""
        grid = tokens.transpose(1, 2).unflatten(2, (self.side, self.side))
        return F.pixel_shuffle(grid, self.config.patch_size)


@lru_cache(maxsize=4)
def fixed_masks(side: int, count: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Each of `complementary_masks`, (n,) bool, with the positions that it leaves, (m,).

    Cached: an exported graph holds the positions as numbers, for their count decides shapes.
    """
    with torch.inference_mode(False):  # training can't use tensors made in it
        return tuple((mask, (~mask).nonzero()[:, 0]) for mask in complementary_masks(side, count))


def complementary_masks(side: int, count: int) -> Tensor:
    """Masks that hide every token of a square grid exactly once.

    The tokens are dealt out along diagonals, so that a hidden token's neighbours are mostly seen.
    (count, side * side), bool; True hides. Rows hide the same number of tokens where the count
    divides the side, else nearly.
    """
    row = torch.arange(side)
    # A step of about the square root of the count spreads a mask's tokens evenly over the grid.
    step = max(1, round(count**0.5))
    number = (row[:, None] * step + row[None, :]) % count  # (side, side)
    return torch.arange(count)[:, None] == number.flatten()


def sine_cosine_positions(side: int, width: int) -> Tensor:
    """Fixed position embeddings of a square grid, half of the width for each axis.

    (side * side, width), in -1..1, no two rows alike; the width is a multiple of 4.
    """
    frequencies = 1.0 / 10_000 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies  # (side, width / 4)
    axis = torch.cat((angles.sin(), angles.cos()), dim=1)  # (side, width / 2)
    rows = axis[:, None].expand(side, side, -1)
    columns = axis[None].expand(side, side, -1)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)
