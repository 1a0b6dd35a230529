from __future__ import annotations

import socket
import struct
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from modeling import (
    AutoencoderConfig,
    InspectionImageProcessor,
    PhotoError,
    image_processing,
    open_photo,
)


@pytest.fixture
def picture() -> Image.Image:
    rows = np.linspace(0, 255, 30, dtype=np.uint8)[:, None].repeat(20, axis=1)
    return Image.fromarray(np.stack([rows, rows // 2, 255 - rows], axis=-1))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "jpg"])
def test_every_format_opens_as_rgb(picture, suffix, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    picture.save(path)
    opened = open_photo(path)
    assert (opened.mode, opened.size) == ("RGB", (20, 30))
    assert np.abs(np.asarray(opened, int) - np.asarray(picture, int)).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr"])
def test_every_mode_becomes_rgb(picture, mode):
    assert open_photo(picture.convert(mode)).mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 100, dtype=np.uint16).reshape(10, 10)
    Image.fromarray(values).save(tmp_path / "deep.png")
    grey = np.asarray(open_photo(tmp_path / "deep.png"))[..., 0]
    assert np.abs(grey.astype(float) - values / 257).max() <= 1


def test_a_turned_photo_is_put_upright(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned by 90 degrees
    picture.save(tmp_path / "turned.png", exif=exif)
    assert open_photo(tmp_path / "turned.png").size == (30, 20)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert open_photo(clear).getpixel((0, 0)) == (255, 255, 255)


def test_of_an_animation_the_first_picture_is_taken(picture, tmp_path):
    others = [Image.new("RGB", picture.size, colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"animated.{suffix}"
        picture.save(path, save_all=True, append_images=others, duration=100)
        opened = np.asarray(open_photo(path), int)
        assert np.abs(opened - np.asarray(picture, int)).mean() < 15, suffix  # GIF has 256 colours


def test_what_is_no_number_is_black(tmp_path):
    values = np.full((10, 10), 0.5, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "depth.tif")
    grey = np.asarray(open_photo(tmp_path / "depth.tif"))[..., 0]
    assert grey[0].tolist() == [0, 0, 0, *[128] * 7]
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "depth.tif")
    assert not np.asarray(open_photo(tmp_path / "depth.tif")).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_a_photo_may_be_of_any_shape(size, tmp_path):
    Image.new("RGB", size, "red").save(tmp_path / "thin.png")
    assert open_photo(tmp_path / "thin.png").size == size


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.png", None, "was not found"),
        ("empty.png", b"", "not a picture that can be read"),
        ("notes.png", b"hello", "not a picture that can be read"),
        ("page.jpg", b"<!doctype html><script>1</script>", "not a picture that can be read"),
        ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture that can be"),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(100), "not a picture that can be read"),
        ("packed.png", b"PK\x03\x04" + bytes(100), "not a picture that can be read"),
        # Pillow would start Ghostscript for it.
        ("drawn.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF", "not a picture"),
    ],
)
def test_what_is_no_photo_gets_one_sentence(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PhotoError, match=message) as caught:
        open_photo(path)
    assert name in str(caught.value)


def test_the_wrong_ending_does_not_matter(picture, tmp_path):
    picture.save(tmp_path / "photo.png", "BMP")
    assert open_photo(tmp_path / "photo.png").tobytes() == picture.tobytes()


def encoded(picture: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def endless(picture: Image.Image) -> dict[str, bytes]:
    """Whole photos that hold a megabyte or more beside their pixels, in small pieces."""
    png, jpeg = encoded(picture, "PNG"), encoded(picture, "JPEG")
    gif = encoded(picture.convert("P"), "GIF")
    body, empty, comment = gif.index(b"\x2c\0\0\0\0"), png_chunk(b"teXt", b""), b"\xff" + b"a" * 255
    return {
        "many chunks before": png[:33] + empty * 100_000 + png[33:],
        "many chunks after": png[:-12] + empty * 160_000 + png[-12:],
        "long fill": jpeg[:2] + b"\xff" * 3_000_000 + jpeg[2:],
        "many segments": jpeg[:2] + b"\xff\xe9\0\2" * 500_000 + jpeg[2:],
        "endless comment": gif[:body] + b"\x21\xfe" + comment * 20_000 + b"\0" + gif[body:],
        "many comments": gif[:body] + b"\x21\xfe\1a\0" * 100_000 + gif[body:],
        "large profile": png[:33] + png_chunk(b"exIf", bytes(10**7)) + png[33:],
    }


@pytest.mark.parametrize("kind", endless(Image.new("RGB", (2, 2))))
def test_a_file_that_is_endless_beside_its_pixels_is_refused(kind, picture, tmp_path):
    path = tmp_path / "endless.png"
    path.write_bytes(endless(picture)[kind])
    with pytest.raises(PhotoError, match=r"endless\.png holds more beside its pixels"):
        open_photo(path)


def test_a_photo_in_many_small_chunks_is_read(tmp_path):
    side = 900
    grey = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    rows = np.pad(grey, ((0, 0), (1, 0))).tobytes()  # before each row, which filter it has: none
    pixels = zlib.compress(rows)
    parts = [
        png_chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)),
        *(png_chunk(b"IDAT", pixels[at : at + 64]) for at in range(0, len(pixels), 64)),
        png_chunk(b"IEND", b""),
    ]
    (tmp_path / "small.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert len(parts) > 10_000
    assert np.array_equal(np.asarray(open_photo(tmp_path / "small.png"))[..., 0], grey)


def test_what_is_no_photo_at_all_is_refused_by_its_kind():
    for given in (np.full((4, 4), np.nan), [[0.0]], 7, None, b"bytes"):
        with pytest.raises(PhotoError, match=f"found {type(given).__name__}"):
            open_photo(given)


def test_a_photo_that_the_server_may_not_open_is_no_damaged_one(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PhotoError, match=r"photo\.png can't be opened \(Not a directory\)"):
        open_photo(tmp_path / "file" / "photo.png")


def test_a_truncated_photo_is_called_damaged(picture, tmp_path):
    path = tmp_path / "cut.jpg"
    picture.resize((400, 400)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PhotoError, match=r"cut\.jpg is damaged"):
        open_photo(path)


def test_a_photo_beyond_the_limit_is_refused_before_it_is_decoded(monkeypatch, picture):
    monkeypatch.setattr(image_processing, "MAX_PHOTO_PIXELS", 500)
    with pytest.raises(PhotoError, match="too large"):
        open_photo(picture)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (12_000, 10_000), (1, 2**31 - 1)])
def test_a_bomb_is_refused_by_what_its_header_says(width, height, tmp_path):
    header = png_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(10**6)))
    bomb = b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(PhotoError, match=r"bomb\.png is too large: at most 100 megapixels"):
        open_photo(tmp_path / "bomb.png")


def test_a_photo_is_read_from_its_address(picture, tmp_path):
    picture.save(tmp_path / "part.png")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert open_photo(f"{address}/part.png").tobytes() == picture.tobytes()
        with pytest.raises(PhotoError, match=r"missing\.png could not be downloaded.*404"):
            open_photo(f"{address}/missing.png")
        server.shutdown()


def test_an_address_that_does_not_answer():
    with pytest.raises(PhotoError, match="could not be downloaded"):
        open_photo("http://127.0.0.1:9/photo.png")


@pytest.mark.parametrize("address", ["http://exa mple.com/a.png", "http://[::1/a.png", "http://"])
def test_what_is_no_address_is_one_sentence(address):
    with pytest.raises(PhotoError, match="could not be downloaded") as caught:
        open_photo(address)
    assert address in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n1000\r\n\x89PNG", r"downloaded \(IncompleteRead"),
        (b"Content-Length: 1000\r\n\r\n\x89PNG", "can be read|damaged"),
    ],
)
def test_an_answer_that_breaks_off_is_one_sentence(answer, message):
    def break_off() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=break_off, daemon=True).start()
        with pytest.raises(PhotoError, match=message):
            open_photo(f"http://127.0.0.1:{server.getsockname()[1]}/a.png")


def test_pixel_values_are_the_photo_in_0_to_1(picture):
    processor = InspectionImageProcessor(size={"height": 30, "width": 20})
    values = processor(picture, return_tensors="pt")["pixel_values"]
    assert values.shape == (1, 3, 30, 20)
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    assert torch.allclose(values[0], expected.float(), atol=1e-6)


def test_maps_come_back_at_the_photos_size():
    maps = torch.rand(2, 16, 16)
    first, second = InspectionImageProcessor().post_process_anomaly_map(maps, [(16, 16), (40, 30)])
    assert np.allclose(first, maps[0].numpy(), atol=1e-6)
    assert second.shape == (40, 30)
    assert second.min() >= 0
    with pytest.raises(ValueError, match="target_sizes"):
        InspectionImageProcessor().post_process_anomaly_map(maps, [(16, 16)])


def test_a_path_is_opened_as_its_photo_is(tmp_path):
    deep = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    processor = InspectionImageProcessor(size={"height": 32, "width": 32})
    expected = processor(open_photo(path), return_tensors="pt")["pixel_values"]
    assert 0.4 < expected.mean() < 0.6
    for given in (path, str(path), [str(path)]):
        assert torch.equal(processor(given, return_tensors="pt")["pixel_values"], expected)


def test_processor_and_configuration_mean_the_same_size_by_default():
    side = AutoencoderConfig().image_size
    processor = InspectionImageProcessor()
    assert (processor.size["height"], processor.size["width"]) == (side, side)
    photo = Image.new("RGB", (31, 17))
    assert processor(photo, return_tensors="pt")["pixel_values"].shape == (1, 3, side, side)
