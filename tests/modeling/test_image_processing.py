from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from modeling import InspectionImageProcessor, PhotoError, image_processing, open_photo


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.png", None, "was not found"),
        ("empty.png", b"", "not a picture that can be read"),
        ("notes.png", b"hello", "not a picture that can be read"),
    ],
)
def test_what_is_no_photo_gets_one_sentence(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PhotoError, match=message) as caught:
        open_photo(path)
    assert name in str(caught.value)


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
