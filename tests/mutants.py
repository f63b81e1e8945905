"""Good files of every format that aevb reads, and ways to damage them."""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
import zlib

ROWS = 40
"""Rows of most good files."""
BOMB = 2**26
"""Bytes that a small compressed file may unpack to."""


# -------------------------------------------------------------------------------------------------
# Good files


def seeds():
    """Good files: the ending of their names -> contents. ``/`` is a folder: name -> content."""
    frame = _frame()
    text = frame.to_csv(index=False).encode()
    numbers = frame[["a", "n"]].to_csv(index=False).encode()
    commas = frame[["a", "n", "word"]].to_csv(index=False, sep=";", decimal=",").encode()
    return {
        ".csv": [text, numbers, commas],
        ".tsv": [frame.to_csv(index=False, sep="\t").encode()],
        ".txt": [numbers.replace(b",", b"  "), commas],
        ".csv.gz": [gzip.compress(text)],
        ".csv.bz2": [bz2.compress(text)],
        ".csv.xz": [lzma.compress(text)],
        ".csv.zip": [zipped({"table.csv": text})],
        **_typed(frame),
        **_arrays(),
        **_containers(),
        "/": _folders(),
    }


def _frame():
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=ROWS).round(4),
            "n": np.where(rng.random(ROWS) < 0.1, np.nan, rng.integers(0, 9, ROWS)),
            "word": rng.choice(["red", "blue", "gr\u00fcn, hell"], ROWS),
            "day": pd.date_range("2020-01-25", periods=ROWS).strftime("%d.%m.%Y"),
            "yes": rng.random(ROWS) < 0.5,
        }
    )


def _typed(frame):
    parquet, feather, excel = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    frame.to_feather(feather)
    frame.to_excel(excel, index=False)
    lines = frame.to_json(orient="records", lines=True).encode()
    return {
        ".parquet": [parquet.getvalue()],
        ".feather": [feather.getvalue()],
        ".xlsx": [excel.getvalue()],
        ".jsonl": [lines],
        ".json": [frame.to_json(orient=form).encode() for form in ("records", "columns", "values")],
    }


def _arrays():
    import numpy as np
    from scipy import sparse

    rng = np.random.default_rng(1)
    x, counts = rng.normal(size=(ROWS, 5)), rng.poisson(0.4, (ROWS, 12))
    pixels = rng.integers(0, 256, (ROWS, 4, 5), dtype=np.uint8)
    table = np.array([(i, i / 3) for i in range(ROWS)], dtype=[("n", "i4"), ("x", "f8")])
    idx = struct.pack(">HBBIII", 0, 8, 3, *pixels.shape) + pixels.tobytes()
    return {
        ".npy": [_saved(np.save, each) for each in (x, counts, pixels, table)],
        ".npz": [
            _saved(np.savez, x=x),
            _saved(np.savez_compressed, x=x, y=counts),
            _saved(sparse.save_npz, sparse.csr_array(counts)),
        ],
        ".idx": [idx],
        ".gz": [gzip.compress(idx)],
    }


def _saved(save, *values, **named):
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()


def _containers():
    import h5py
    import numpy as np
    import torch
    from safetensors.torch import save
    from scipy import sparse
    from scipy.io import savemat

    rng = np.random.default_rng(2)
    x, counts = rng.normal(size=(ROWS, 5)), sparse.csr_array(rng.poisson(0.4, (ROWS, 12)))
    one, packed, cells, old = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    with h5py.File(one, "w") as file:
        file["group/x"] = x
    with h5py.File(packed, "w") as file:
        file.create_dataset("x", data=x, compression="gzip", shuffle=True, chunks=(16, 5))
    with h5py.File(cells, "w") as file:
        for name in ("data", "indices", "indptr"):
            file[f"X/{name}"] = getattr(counts, name)
        file["X"].attrs["encoding-type"], file["X"].attrs["shape"] = "csr_matrix", counts.shape
        file["obs/_index"], file["var/_index"] = list(map(str, range(ROWS))), list("abcdefghijkl")
        file["obs"].attrs["_index"] = file["var"].attrs["_index"] = "_index"
    savemat(old, {"x": x})
    sparsely = io.BytesIO()
    savemat(sparsely, {"x": counts.tocsc().astype(float)}, do_compression=True)
    return {
        ".h5": [one.getvalue(), packed.getvalue()],
        ".h5ad": [cells.getvalue()],
        ".mat": [old.getvalue(), sparsely.getvalue(), one.getvalue()],
        ".safetensors": [save({"x": torch.tensor(x)})],
    }


def _folders():
    """Folders of pictures: one of each format, and one of many formats."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(3)
    forms = [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"}), ("webp", {})]
    forms += [("gif", {}), ("jpg", {}), ("bmp", {}), ("pgm", {}), ("png16", {})]
    folders, mixed = [], {}
    for number, (kind, options) in enumerate(forms):
        folder = {}
        for i in range(4):
            deep = kind == "png16"
            pixels = rng.integers(0, 2**16 if deep else 256, (9, 8), np.uint16 if deep else "u1")
            file = io.BytesIO()
            names = {"jpg": "jpeg", "pgm": "ppm", "tif": "tiff", "png16": "png"}
            Image.fromarray(pixels).save(file, names.get(kind, kind), **options)
            folder[f"{number}-{i}.{'png' if deep else kind}"] = file.getvalue()
        folders.append(folder)
        mixed |= {} if kind == "png16" else folder
    return [*folders, mixed]


def zipped(members):
    """A .zip archive: name -> content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


# -------------------------------------------------------------------------------------------------
# Damage that suits all bytes: (rng, content, all contents) -> content


def cut(rng, content, _):
    return content[: rng.randrange(len(content) + 1)]


def beheaded(rng, content, _):
    return content[rng.randrange(len(content) + 1) :]


def without_a_part(rng, content, _):
    start, end = _span(rng, content)
    return content[:start] + content[end:]


def repeated(rng, content, _):
    start, end = _span(rng, content)
    return content[:end] + content[start:end] * rng.choice([1, 2, 50]) + content[end:]


def flipped(rng, content, _):
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 30])) if found else ():
        found[rng.randrange(len(found))] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
    return bytes(found)


def flipped_head(rng, content, everything):
    at = min(len(content), rng.choice([16, 64, 128, 512]))
    return flipped(rng, content[:at], everything) + content[at:]


def flipped_tail(rng, content, everything):
    at = max(0, len(content) - rng.choice([16, 64, 512]))
    return content[:at] + flipped(rng, content[at:], everything)


def huge_number(rng, content, _):
    """Lengths are often stored as four or eight bytes: make one of them huge."""
    number = rng.choice([2**31 - 1, 2**32 - 1, 2**28, 10**6, 2**40, 2**62, 2**63 - 1, 2**64 - 1])
    width = 8 if number >= 2**32 else rng.choice([4, 8])
    place = rng.randrange(len(content) + 1)
    return (
        content[:place]
        + number.to_bytes(width, rng.choice(["big", "little"]))
        + (content[place + width :])
    )


def spliced(rng, content, everything):
    other = rng.choice(everything)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def zeros(rng, content, _):
    start, end = _span(rng, content)
    return content[:start] + bytes(rng.choice([1, end - start, 5000])) + content[end:]


def noise(rng, content, _):
    start, end = _span(rng, content)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def trailed(rng, content, everything):
    return content + rng.choice([b"\0", b"\n", b"\n\n\n", rng.randbytes(100), content])


def empty(*_):
    return b""


def other_content(rng, content, everything):
    """The whole content of another format under this ending."""
    return rng.choice(everything)


def _span(rng, content):
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice([1, 4, 20, 200, 2000]))


BYTES = [
    *[cut, beheaded, without_a_part, repeated, flipped, flipped, flipped_head, flipped_head],
    *[flipped_tail, huge_number, huge_number, spliced, zeros, noise, trailed, empty, other_content],
]


# -------------------------------------------------------------------------------------------------
# Damage that suits text


def encoded(rng, content, _):
    text = content.decode("utf-8", "replace")
    name = rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-8-sig", "utf-7"])
    found = text.encode(name, "replace")
    return rng.choice([b"", b"\xef\xbb\xbf", b"\xff\xfe"]) + found if rng.random() < 0.3 else found


def mixed_lines(rng, content, _):
    ends = rng.choice([[b"\r"], [b"\r\n", b"\n", b"\r"], [b"\n\n", b"\n"], [b"\x0b", b"\n"]])
    return b"".join(line + rng.choice(ends) for line in content.split(b"\n"))


def without_quotes(rng, content, _):
    return content.replace(b'"', b"")


def odd_quotes(rng, content, _):
    found = bytearray(content)
    for _ in range(rng.choice([1, 2, 5])):
        found.insert(rng.randrange(len(found) + 1), ord(rng.choice("\"'\\")))
    return bytes(found)


def header_alone(rng, content, _):
    return content.split(b"\n")[0] + rng.choice([b"", b"\n"])


def one_row(rng, content, _):
    return b"\n".join(content.split(b"\n")[:2]) + rng.choice([b"", b"\n"])


def without_header(rng, content, _):
    return content.partition(b"\n")[2]


def one_column(rng, content, _):
    mark = rng.choice([b",", b";", b"\t"])
    return b"\n".join(line.split(mark)[0] for line in content.split(b"\n"))


def wide(rng, content, _):
    """Up to a million columns."""
    count, mark = rng.choice([2000, 9_999, 10**6]), rng.choice([b",", b";", b"\t", b" "])
    rows = [mark.join(b"%d" % (i % 7) for i in range(count))] * rng.choice([1, 2])
    head = mark.join(b"c%d" % i for i in range(count))
    return b"\n".join(rows if rng.random() < 0.3 else [head, *rows])


def long_cell(rng, content, _):
    """A cell of ten megabytes, in the header or among the rows."""
    cell = rng.choice([b"x", b"7", b"ab ", b"\xc3\xbc", b"1.", b"9e"]) * rng.choice([9_000, 10**7])
    place = rng.choice([0, content.find(b"\n") + 1, rng.randrange(len(content) + 1)])
    return content[:place] + cell + rng.choice([b"", b",", b"\n"]) + content[place:]


def ragged(rng, content, _):
    lines = content.split(b"\n")
    for _ in range(rng.choice([1, 3])):
        i = rng.randrange(len(lines))
        lines[i] = rng.choice([lines[i] + b",1", lines[i].rpartition(b",")[0], b"", b"# note"])
    return b"\n".join(lines)


def odd_cells(rng, content, _):
    """Cells that are numbers in one reading, or none."""
    odd = [b"", b"nan", b"inf", b"-inf", b"1e999", b"-1e400", b"1e308", b"0x10", b"9" * 400, b"1_0"]
    odd += [b"-", b"+", b".", b",", b"NULL", b"#N/A", b"1.234.567", b"12:61", b"99.99.9999", b"\0"]
    odd += [b"31.02.2020", b"\x1b[31m", b"\xe2\x80\xae", b"\xff", b"1e-320", b"True", b"=1+1"]
    lines = content.split(b"\n")
    for _ in range(rng.choice([1, 3, 40])):
        i = rng.randrange(len(lines))
        cells = lines[i].split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(odd)
        lines[i] = b",".join(cells)
    return b"\n".join(lines)


def odd_column(rng, content, _):
    """One cell written into all rows of a column."""
    cell = rng.choice([b"", b"nan", b"7", b"x", b"1e308", b"31.12.9999", b"0001-01-01", b"9" * 19])
    lines = [line.split(b",") for line in content.split(b"\n")]
    i = rng.randrange(len(lines[0]))
    for line in lines[1:]:
        line[i : i + 1] = [cell]
    return b"\n".join(b",".join(line) for line in lines)


TEXT = [
    *[encoded, mixed_lines, without_quotes, odd_quotes, header_alone, one_row, without_header],
    *[one_column, ragged, odd_cells, odd_cells, odd_column],
]
RARE = [wide, long_cell]
"""These take seconds each."""


# -------------------------------------------------------------------------------------------------
# Damage inside of what is packed, so that the packing is whole


def mutated(rng, ending, content, everything):
    """A damaged copy of a file's content, and the names of what was done to it."""
    if rng.random() < 0.01:
        found = bomb(rng, ending)
        if found is not None:
            return found, ["bomb"]
    if ending in PACKED and rng.random() < 0.5:
        unpack, pack = PACKED[ending]
        found, done = mutated(rng, _inner(ending), unpack(content), everything)
        return pack(found), ["inside", *done]
    if content[:2] == b"PK" and rng.random() < 0.6:
        return in_archive(rng, content, everything)
    if content[:8] == b"\x89PNG\r\n\x1a\n" and rng.random() < 0.6:
        return in_png(rng, content), ["chunk"]
    if content[:6] == b"\x93NUMPY" and rng.random() < 0.4:
        return in_npy(rng, content), ["header"]
    if ending == ".safetensors" and rng.random() < 0.5:
        return in_safetensors(rng, content), ["header"]
    textual = ending in (".csv", ".tsv", ".txt", ".json", ".jsonl")
    ways = (
        RARE
        if rng.random() < (0.06 if textual else 0.01)
        else (TEXT * 2 + BYTES if textual else BYTES)
    )
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        way = rng.choice(ways if not done else BYTES)
        content = way(rng, content, everything)
        done.append(way.__name__)
    return content, done


def _inner(ending):
    return ".idx" if ending == ".gz" else "." + ending.split(".")[1]


def _unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


PACKED = {
    ".gz": (gzip.decompress, gzip.compress),
    ".csv.gz": (gzip.decompress, gzip.compress),
    ".csv.bz2": (bz2.decompress, bz2.compress),
    ".csv.xz": (lzma.decompress, lzma.compress),
    ".csv.zip": (_unzipped, lambda content: zipped({"table.csv": content})),
}


def in_archive(rng, content, everything):
    """Damage one member of a .zip archive, or leave it out, and pack it anew."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    if rng.random() < 0.1:
        del members[name]
        return zipped(members), [f"without {name}"]
    if name.endswith(".npy"):
        members[name] = in_npy(rng, members[name])
        return zipped(members), [name, "header"]
    if name.endswith(".xml") and rng.random() < 0.5:
        members[name] = in_xml(rng, members[name])
        return zipped(members), [name, "xml"]
    way = rng.choice(BYTES)
    members[name] = way(rng, members[name], everything)
    return zipped(members), [name, way.__name__]


def in_xml(rng, content):
    """Places, types and words of a sheet."""
    changes = [
        (b'r="A1"', b'r="XFD1048576"'),
        (b'r="B7"', b'r="XFD7"'),
        (b'r="A9"', b'r="A1048576"'),
        (b'ref="A1', b'ref="A1:XFD1048576" old="'),
        (b't="n"', b't="d"'),
        (b't="n"', b't="e"'),
        (b't="s"', b't="n"'),
        (b"<v>3</v>", b"<v>99999999999</v>"),
        (b"<v>1</v>", b"<v>nan</v>"),
        (b"<row ", b'<row r="1048576" '),
        (b"sheetId", b"sheet"),
        (b"?>", b'?><!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]>'),
    ]
    old, new = rng.choice([pair for pair in changes if pair[0] in content] or [(b"<", b"&")])
    return content.replace(old, new, rng.choice([1, -1]))


def in_png(rng, content):
    """Change one chunk of a PNG, with a checksum that fits."""
    chunks, place = [], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    i = rng.randrange(len(chunks))
    kind, body = chunks[i]
    ways = [flipped, cut, huge_number, repeated]
    chunks[i] = (kind, rng.choice(ways)(rng, body, [body]))
    if rng.random() < 0.2:
        chunks.insert(1, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))))
    made = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return content[:8] + b"".join(made)


def in_npy(rng, content):
    """Change the words of a .npy header: its type, its order, or its shape."""
    (length,) = struct.unpack_from("<H", content, 8)
    header = content[10 : 10 + length].rstrip()
    start, end = header.index(b"'shape': ") + 9, header.rindex(b")") + 1
    shapes = [b"()", b"(0,)", b"(40,)", b"(-1, 5)", b"(10**9,)", b"(1000000000, 1000000000)"]
    shapes += [b"(2**62, 4)", b"(40, 0)", b"(" + b"1," * 70 + b")", b"(1, 200)", b"(4611686018, 1)"]
    types = [b"'<f8'", b"'|O'", b"'<U9'", b"'<c16'", b"'<M8[s]'", b"'|V8'", b"'<f2'", b"'>f4'"]
    types += [b"'<f16'", b"'|S0'", b"'<U0'", b"'|b1'", b"'<m8'", b"[('a', '<f8', (2,))]", b"'<q9'"]
    way = rng.choice(["shape", "type", "order", "bytes"])
    if way == "shape":
        header = header[:start] + rng.choice(shapes) + header[end:]
    elif way == "type":
        old = header[header.index(b"'descr': ") + 9 : header.index(b", 'fortran")]
        header = header.replace(old, rng.choice(types), 1)
    elif way == "order":
        header = header.replace(b"False", rng.choice([b"True", b"None", b"2"]), 1)
    else:
        header = flipped(rng, header, [header])
    return (
        content[:8] + struct.pack("<H", len(header) + 1) + header + b"\n" + content[10 + length :]
    )


def in_safetensors(rng, content):
    """Change the JSON at the beginning."""
    (length,) = struct.unpack_from("<Q", content)
    entry = json.loads(content[8 : 8 + length])
    tensor = entry["x"]
    tensor |= rng.choice(
        [
            {"shape": [2**40, 2**40]},
            {"shape": []},
            {"shape": [0, 5]},
            {"dtype": rng.choice(["F8_E4M3", "I64", "BOOL", "F16", "X"])},
            {"data_offsets": [0, 2**50]},
            {"data_offsets": [8, 0]},
            {"shape": [1, 200]},
        ]
    )
    head = json.dumps(
        entry | rng.choice([{}, {"__metadata__": {"a": "b"}}, {"y": tensor}])
    ).encode()
    return struct.pack("<Q", len(head)) + head + content[8 + length :]


def bomb(rng, ending):
    """A small file that unpacks to ``BOMB`` bytes, or None."""
    unit = rng.choice([b"1,2\n3,4\n", b"\0", b"7", b"a,", b"\n"])
    content = unit * (BOMB // len(unit) // rng.choice([1, 4]))
    if ending in PACKED:
        return PACKED[ending][1](content)
    if ending == ".npz":
        return zipped({"x.npy": content})
    if ending == ".xlsx":
        return zipped({"[Content_Types].xml": content, "xl/workbook.xml": content})
    return None
