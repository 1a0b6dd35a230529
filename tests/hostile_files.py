"""Files as strangers give them: photos of every format, what only calls itself one, and damage."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from PIL import Image

SIZE = (37, 23)  # width, height
UPRIGHT_TAG, TURNED = 0x0112, 6
# What lengths, counts and offsets in a file are overwritten with.
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\0\1\0\0")
EDITS = ("set", "flip", "extreme", "cut", "remove", "repeat")


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photos() -> dict[str, bytes]:
    """A whole photo of each format that is read, in the modes that it knows."""
    colour = Image.effect_noise(SIZE, 60).convert("RGB")
    palette, clear = colour.quantize(16), colour.convert("RGBA")
    deep = Image.fromarray(np.arange(37 * 23, dtype=np.uint16).reshape(23, 37) * 70)
    depth = Image.fromarray(np.linspace(0, 1, 37 * 23, dtype=np.float32).reshape(23, 37))
    exif = Image.Exif()
    exif[UPRIGHT_TAG] = TURNED
    animated = {"save_all": True, "append_images": [colour.rotate(90)] * 2}
    return {
        "png": _encoded(colour, "PNG"),
        "png of 16 bits": _encoded(deep, "PNG"),
        "png with palette": _encoded(palette, "PNG", transparency=3),
        "png with alpha": _encoded(clear, "PNG"),
        "png in grey with alpha": _encoded(colour.convert("LA"), "PNG"),
        "png in black and white": _encoded(colour.convert("1"), "PNG"),
        "png turned": _encoded(colour, "PNG", exif=exif),
        "png animated": _encoded(colour, "PNG", **animated),
        "jpeg": _encoded(colour, "JPEG"),
        "jpeg progressive": _encoded(colour, "JPEG", progressive=True),
        "jpeg in cmyk": _encoded(colour.convert("CMYK"), "JPEG"),
        "jpeg turned": _encoded(colour, "JPEG", exif=exif),
        "jpeg of two pictures": _encoded(colour, "MPO", **animated),
        "bmp": _encoded(colour, "BMP"),
        "bmp with palette": _encoded(palette, "BMP"),
        "tiff": _encoded(colour, "TIFF"),
        "tiff of 16 bits": _encoded(deep, "TIFF"),
        "tiff of floats": _encoded(depth, "TIFF"),
        "tiff in cmyk": _encoded(colour.convert("CMYK"), "TIFF"),
        "tiff in lab": _encoded(Image.new("LAB", SIZE), "TIFF"),
        "tiff turned": _encoded(colour, "TIFF", exif=exif),
        **{
            f"tiff by {method}": _encoded(colour, "TIFF", compression=method)
            for method in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")
        },
        "webp": _encoded(colour, "WEBP"),
        "webp without loss": _encoded(clear, "WEBP", lossless=True),
        "webp turned": _encoded(colour, "WEBP", exif=exif),
        "webp animated": _encoded(colour, "WEBP", **animated),
        "gif": _encoded(colour, "GIF"),
        "gif animated": _encoded(colour, "GIF", **animated),
    }


def no_photos() -> dict[str, bytes]:
    """What is uploaded in the place of a photo, and formats that are not read."""
    colour = Image.effect_noise(SIZE, 60).convert("RGB")
    return {
        "empty": b"",
        "text": b"this is no picture\n" * 9,
        "html": b"<!doctype html><html><script>alert(1)</script></html>",
        "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9'/>",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n",
        **{
            kind: _encoded(colour, kind)
            for kind in ("PPM", "JPEG2000", "TGA", "ICO", "DDS", "PCX", "SGI", "QOI")
        },
    }


Edit = tuple[str, float, int]  # what is done, where in the file (0..1), and with which number


def damage() -> st.SearchStrategy[list[Edit]]:
    """What happens to the bytes of a file: nothing, or a few things one after the other."""
    near_the_start = st.floats(0, 1).map(lambda where: where**3)  # where headers are
    return st.lists(
        st.tuples(st.sampled_from(EDITS), near_the_start, st.integers(0, 255)), max_size=6
    )


def damaged(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The bytes of a file after that."""
    changed = bytearray(content)
    for edit, where, number in edits:
        at = int(where * max(0, len(changed) - 1))
        if edit == "set" and changed:
            changed[at] = number
        elif edit == "flip" and changed:
            changed[at] ^= 1 << number % 8
        elif edit == "extreme":
            changed[at : at + 4] = EXTREMES[number % len(EXTREMES)]
        elif edit == "cut":
            del changed[at:]
        elif edit == "remove":
            del changed[at : at + 1 + number % 8]
        elif edit == "repeat":
            changed[at:at] = changed[at : at + 1 + number % 32]
    return bytes(changed)


NAMES = (
    "part.png",
    "../../etc/passwd",
    "/etc/shadow",
    "..\\..\\boot.ini",
    "C:\\temp\\part.png",
    "folder/",
    "folder/part 10.png",
    "__MACOSX/._part.png",
    ".hidden.png",
    "inner.zip",
    "a\nb\x1b.png",
    "部品.png",
    "<img src=x onerror=alert(1)>.png",
    "=cmd|'/c calc'!A0.png",
    "x" * 300 + ".png",
)


def zips() -> st.SearchStrategy[bytes]:
    """A zip of a few members with names as strangers choose them."""
    member = st.tuples(
        st.sampled_from(NAMES) | st.text(min_size=1, max_size=20),
        st.binary(max_size=40) | st.integers(0, 2000).map(bytes),
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]),
    )
    return st.lists(member, max_size=5).map(_zipped)


def _zipped(members: Sequence[tuple[str, bytes, int]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content, method in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode().replace("\0", "_"))
            info.compress_type = method
            archive.writestr(info, content)
    return file.getvalue()


def json_values(*more: object) -> st.SearchStrategy[object]:
    """Whatever JSON can hold, with a taste for what hurts; `more` are values to mix in."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(10**4), 10**4)
        | st.sampled_from([10**5, 10**6, 10**9, 2**63, 10**400, -1, 0])
        | st.floats()
        | st.text(max_size=20)
        | st.sampled_from(["", "../..", "/etc/passwd", "<script>", "\0", "nan", *"aé"])
    )
    if more:
        plain |= st.sampled_from(more)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    )


def one_sentence(words: str, *forbidden: object) -> bool:
    """Whether this is what a person is told: one line that ends, no path of the server."""
    is_sentence = "\n" not in words and words.strip().endswith((".", "...")) and len(words) < 1000
    return is_sentence and not any(str(part) in words for part in (*forbidden, "Traceback"))
