"""The preflight of each model of the zoo: those that mix are refused, by name; the others pass."""

import json

import pytest
import torch

from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.preflight.report import Preflight
from batchgrad_workers.torch.refusal import Refused
from tests.torch.zoo.case import Case
from tests.torch.zoo.everything import ALL
from tests.torch.zoo.mixing import MIXING, Mixing


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_models_that_keep_examples_apart_pass(case: Case) -> None:
    replica, batch = case.made()
    before = {name: each.clone() for name, each in replica.module.state_dict().items()}
    found = prepare(replica, batch)
    assert bool(found.looks_at_data) is case.looks_at_data, found.looks_at_data
    if case.looks_at_data:
        assert found.path == "one_by_one"
    after = replica.module.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    assert Preflight.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("mixing", MIXING.values(), ids=lambda mixing: mixing.name)
def test_models_that_mix_examples_are_refused_by_name(mixing: Mixing) -> None:
    replica, batch = mixing.made()
    with pytest.raises(Refused, match=mixing.words):
        prepare(replica, batch)
