"""Tables of names."""

import json

import pytest
from helpers import refuses

from aevb.errors import UsageError
from aevb.registry import Registry

PARTS = Registry(
    "part",
    {"encoder": "json:JSONEncoder", "decoder": "json:JSONDecoder", "ghost": "no.such.module:Ghost"},
)


def test_a_table_lists_names_and_imports_only_what_is_asked_for():
    assert list(PARTS) == ["encoder", "decoder", "ghost"]
    assert len(PARTS) == 3
    assert "ghost" in PARTS
    assert "nobody" not in PARTS
    assert PARTS["encoder"] is PARTS.attribute("JSONEncoder") is json.JSONEncoder
    assert PARTS.check("decoder") == "decoder"
    with pytest.raises(ModuleNotFoundError):
        PARTS["ghost"]
    for name in ("Encoder", "JSON", "encoder", ""):
        with pytest.raises(AttributeError):
            PARTS.attribute(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("encodr", "Did you mean 'encoder'?"), ("xyz", "there is encoder, decoder, ghost.")],
)
def test_an_unknown_name_is_answered_with_the_names_there_are(name, hint):
    for ask in (PARTS.check, PARTS.__getitem__):
        message = refuses(
            UsageError, [f"unknown part {name!r}", "encoder, decoder, ghost", hint], ask, name
        )
        assert ("Did you mean" in message) == (name == "encodr")
