"""The contract is long: every layer x every use. Some layers are tried by `make test`, all by
`make test-slow`; `REPRESENTATIVE` has one for each way through the library."""

import pytest
from cases import LAYERS

REPRESENTATIVE = {
    "moe top-2 renormalised", "fff hard-trained biases", "node trees bias", "FFF with losses",
}  # fmt: skip
ALL = {"test_registry.py"}  # files whose cases cost next to nothing


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name != "contract":
            continue
        item.add_marker(pytest.mark.filterwarnings("ignore:.*was not added. train on:UserWarning"))
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        name, form = parameters.get("name"), parameters.get("form")
        if name in LAYERS and name not in REPRESENTATIVE and item.path.name not in ALL:
            item.add_marker(pytest.mark.slow)
        if form in ("operator", "plain"):  # of functions; direct and fake ones are quick
            item.add_marker(pytest.mark.slow)
