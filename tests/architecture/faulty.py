"""Components of one's own, as text: a sound mixer to put faults into, and faults that more than one file needs."""

from __future__ import annotations

from textwrap import dedent, indent

MIXER = """
    import torch
    from torch import nn
    from lmmodel.architecture.attend import attend
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Attention(nn.Module):
        honours = frozenset({"queries and keys"})

        def __init__(self, options, sizes, *, position, norm):
            super().__init__()
            self.heads = sizes.heads
            self.query, self.key, self.value, self.out = (nn.Linear(sizes.width, sizes.width) for _ in range(4))
            self.position = position(sizes)
            self.prepare(sizes)

        def prepare(self, sizes):
            pass

        def forward(self, x_BTD, span):
            q, k, v = (part(x_BTD).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value))
            return self.out(self.mix(*(self.position.rotate(x, span.positions_BT) for x in (q, k)), v, span).flatten(2))

        def mix(self, q, k, v, span):
            k, v = span.extend(self, k, v)
            return attend(q, k, v, span)
"""
NORM_OVER_THE_BATCH = """
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Norm(nn.Module):
        def __init__(self, options, sizes):
            super().__init__()
            self.weight = nn.Parameter(__import__("torch").ones(sizes.width))

        def forward(self, x):
            return x / x.square().mean(dim=(0, -1), keepdim=True).sqrt() * self.weight
"""
RENAMING_BLOCK = dedent("""
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Block(nn.Module):
        ends_normed = False

        def __init__(self, options, sizes, *, attention, feed_forward, norm):
            super().__init__()
            self.mixer, self.thought = attention, feed_forward
            self.first_norm, self.second_norm = norm(sizes), norm(sizes)

        def forward(self, x_BTD, span):
            x_BTD = x_BTD + self.mixer(self.first_norm(x_BTD), span)
            return x_BTD + self.thought(self.second_norm(x_BTD), span)
""")
NOISE = """
    def mix(self, q, k, v, span):
        return attend(q, *span.extend(self, k, v), span) + 0.01 * torch.randn_like(q)
"""


def mixer(changes: str) -> str:
    """A sound mixer with some of its methods replaced, the class that is used being the last."""
    sound = dedent(MIXER).replace("class Attention(", "class Sound(")
    honours = '    honours = frozenset({"queries and keys"})\n'
    return f"{sound}\nclass Attention(Sound):\n{honours}{indent(dedent(changes), '    ')}"
