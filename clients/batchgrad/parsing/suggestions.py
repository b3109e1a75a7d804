"""Suggest our name for a name from PyTorch, Keras or scikit-learn, or for a misspelled one."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

_ELSEWHERE = {  # letters and digits of the name there: the name here
    "dense": "linear",
    "fullyconnected": "linear",
    "fc": "linear",
    "conv": "conv2d",
    "convolution": "conv2d",
    "convolution1d": "conv1d",
    "convolution2d": "conv2d",
    "maxpooling2d": "max_pool2d",
    "maxpool": "max_pool2d",
    "averagepooling2d": "avg_pool2d",
    "averagepool2d": "avg_pool2d",
    "avgpool": "avg_pool2d",
    "globalaveragepooling1d": "global_avg_pool",
    "globalaveragepooling2d": "global_avg_pool",
    "globalaveragepool": "global_avg_pool",
    "adaptiveavgpool1d": "global_avg_pool",
    "adaptiveavgpool2d": "global_avg_pool",
    "meanpool": "sequence_mean",
    "meanpooling": "sequence_mean",
    "layernormalization": "layer_norm",
    "groupnormalization": "group_norm",
    "swish": "silu",
    "rate": "p",
    "logistic": "sigmoid",
    "mse": "squared_error",
    "mseloss": "squared_error",
    "meansquarederror": "squared_error",
    "l2": "squared_error",
    "l2loss": "squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "l1loss": "absolute_error",
    "meanabsoluteerror": "absolute_error",
    "smoothl1": "huber",
    "smoothl1loss": "huber",
    "huberloss": "huber",
    "ce": "softmax_cross_entropy",
    "softmax": "softmax_cross_entropy",
    "crossentropy": "softmax_cross_entropy",
    "crossentropyloss": "softmax_cross_entropy",
    "categoricalcrossentropy": "softmax_cross_entropy",
    "sparsecategoricalcrossentropy": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy",
    "nllloss": "softmax_cross_entropy",
    "logloss": "softmax_cross_entropy",
    "bce": "sigmoid_cross_entropy",
    "bceloss": "sigmoid_cross_entropy",
    "bcewithlogits": "sigmoid_cross_entropy",
    "bcewithlogitsloss": "sigmoid_cross_entropy",
    "binarycrossentropy": "sigmoid_cross_entropy",
    "momentum": "sgd",
    "stepsize": "every",
    "gamma": "factor",
    "cosineannealing": "cosine",
    "cosineannealinglr": "cosine",
    "steplr": "step",
    "constantlr": "constant",
    "float": "float32",
    "single": "float32",
    "fp32": "float32",
    "double": "float64",
    "fp64": "float64",
    "units": "out_features",
    "filters": "out_channels",
    "lr": "learning_rate",
    "type": "kind",
    "gradclip": "clip_norm",
    "maxnorm": "clip_norm",
    "maxgradnorm": "clip_norm",
    "l2normclip": "clip_norm",
    "dp": "privacy",
    "differentialprivacy": "privacy",
    "eps": "epsilon",
    "targetepsilon": "epsilon",
    "targetdelta": "delta",
    "sigma": "noise_multiplier",
    "noise": "noise_multiplier",
    "nepochs": "epochs",
    "numepochs": "epochs",
}
_SOFTMAX = "softmax_cross_entropy includes it: end with a linear layer of one output per class"
_LAYERS_THAT_ARE_NONE = {
    "softmax": _SOFTMAX,
    "logsoftmax": _SOFTMAX,
}


def about_layer(name: object) -> str | None:
    """Why there is no layer of this kind, and what to use instead."""
    return _LAYERS_THAT_ARE_NONE.get(_plain(name)) if isinstance(name, str) else None


def suggest(name: object, known: Sequence[str]) -> str | None:
    """The one of the `known` names that was probably meant; None without a likely one."""
    if not isinstance(name, str) or not 0 < len(name) <= 80:
        return None
    plain = _plain(name)
    same = (one for one in known if _plain(one) in {plain, _plain(_ELSEWHERE.get(plain, ""))})
    if found := next(same, None):
        return found
    close = get_close_matches(name.lower(), known, 1, cutoff=0.7)
    return close[0] if close else None


def _plain(name: str) -> str:
    """`nn.LeakyReLU` and `leaky_relu` are leakyrelu."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())
