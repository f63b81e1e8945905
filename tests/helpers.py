"""What several tests of files and data need."""

import io
import re
import struct

import numpy as np
import pytest

from aevb.errors import AevbError

NEXT_STEP = (
    r"; there is|\b(save|remove|fill|correct|copy|give|check|name|bring|put|install|use|try|did you"
    r" mean|right file|needs)\b"
)


def refuses(kind, parts, call, *args, **options):
    """Whether ``call`` raises exactly this kind of error, with a message that holds ``parts`` and
    says what to do next."""
    with pytest.raises(AevbError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert type(caught.value) is kind, message
    assert [part for part in parts if part not in message] == [], message
    assert re.search(NEXT_STEP, message, re.IGNORECASE), message
    return message


def into(write, *args, **named):
    """The bytes that ``write`` writes into a file."""
    write(file := io.BytesIO(), *args, **named)
    return file.getvalue()


def idx(code, shape, content):
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + content


def numbers(dtype, shape):
    return (np.arange(np.prod(shape)) % 7).astype(dtype).reshape(shape)
