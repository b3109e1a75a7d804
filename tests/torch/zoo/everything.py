"""All cases of the zoo, by name, and all models that mix examples."""

from tests.torch.zoo import bare, dense, images, losses, recurrent, tokens
from tests.torch.zoo.case import CASES, Case

FILES = (bare, dense, images, losses, recurrent, tokens)
ALL: tuple[Case, ...] = tuple(CASES.values())
