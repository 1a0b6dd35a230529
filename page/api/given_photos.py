"""What a program gives as a photo: an upload, an address or the bytes themselves, kept as a file.

A path comes from a stranger: only what lies in Gradio's folder of uploads is opened. An address is
fetched anew each time, because a camera shows something else at it each time, and only where it
is public: nobody shall look into the network that the app runs in.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin

import httpx
import safehttpx
from gradio.processing_utils import PUBLIC_HOSTNAME_WHITELIST
from gradio.utils import get_upload_folder
from gradio_client.utils import synchronize_async

from page.inspection.temporary_folder import TemporaryFolder, writing
from page.server.limits import MAX_PHOTO_BYTES

MAX_NAME = 200  # characters of a name that an answer repeats
MAX_SOURCE = 4_000  # characters of a path or address in which a name is looked for
FETCH_SECONDS = 30.0  # from the first request to the last byte
MAX_REDIRECTIONS = 5
# What counts as public and leads into a network: addresses that a provider gives its own machines
# (192.0.0.0), those of old site networks, and IPv6 ones that stand for any IPv4 one.
NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10")
]
WEB = ("http://", "https://")
FILE_ROUTE = "/gradio_api/file="  # before the path of an upload, in its address
EXPECTED = (
    "expected a file that was uploaded, its path, a public http(s) address, or a data URI "
    "(data:image/jpeg;base64,...)"
)


class GivenPhotoError(ValueError):
    """What was given is no photo that may be opened; the message is one sentence."""


def keep_given_photo(given: Any, folder: TemporaryFolder) -> Path:
    """Keep what a program gave as a file of the folder; whether it is a picture is not asked.

    It is given as Gradio describes a file (a dictionary with "path"), or as text: its path after an
    upload, an http(s) address, or a data URI.

    Raises:
        GivenPhotoError: when it is none of these, was not uploaded, or can't be fetched.
        NoRoomError: when the disk is full.
    """
    source = given.get("path") if isinstance(given, dict) else given
    if not isinstance(source, str) or not source:
        raise GivenPhotoError(f"There is no photo: {EXPECTED}, found {type(source).__name__}.")
    if source.startswith("data:"):
        content = _decode(source)
    elif upload := _find_upload(source):
        return folder.keep(upload)
    elif source.startswith(WEB):
        content = _fetch(source)
    else:
        raise GivenPhotoError(
            f"The photo {name_of(given)!r} was not uploaded to this app, or longer than an hour "
            "ago; upload it and give the path that comes back."
        )
    kept = folder.new_file("")  # what it is, its content says
    with writing(kept) as file:
        file.write_bytes(content)
    return kept


def name_of(given: Any) -> str:
    """What to call the photo: its name when it was uploaded, else the last part of its address."""
    name = given.get("orig_name") if isinstance(given, dict) else None
    source = given.get("path") if isinstance(given, dict) else given
    if not name and isinstance(source, str) and not source.startswith("data:"):
        name = unquote(source.partition("?")[0]) if "://" in source else source
    if not isinstance(name, str):
        return "photo"
    name = PurePosixPath(name[-MAX_SOURCE:].replace("\\", "/")).name[:MAX_NAME]
    return "".join(letter if letter.isprintable() else "_" for letter in name) or "photo"


def _find_upload(source: str) -> Path | None:
    """The file of an upload, by its path or by its address in this app; None if it is none."""
    if source.startswith(WEB):
        _, route, source = source.partition(FILE_ROUTE)
        if not route:
            return None
        source = unquote(source.partition("?")[0])
    folder = Path(get_upload_folder()).resolve()
    try:
        path = Path(source).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _decode(uri: str) -> bytes:
    header, _, text = uri.partition(",")
    if len(text) > MAX_PHOTO_BYTES * 4 / 3 + 4:
        raise GivenPhotoError(f"The photo is larger than {MAX_PHOTO_BYTES // 2**20} MB.")
    try:
        if not header.endswith(";base64"):
            raise ValueError(f"{header[:MAX_NAME]} does not end with ;base64")
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise GivenPhotoError(
            "The photo's data URI can't be decoded; expected data:image/jpeg;base64,..."
        ) from error


def _fetch(address: str) -> bytes:
    """What a public address shows now."""
    photo = f"The photo at {address[:MAX_NAME]}"
    try:
        status, content = synchronize_async(_get, address)
    except Exception as error:  # many libraries take part, each raises its own kinds
        raise GivenPhotoError(
            f"{photo} could not be fetched: nothing answers there in time, or the address is not "
            "public; check it, or upload the photo."
        ) from error
    if status != 200:
        raise GivenPhotoError(
            f"{photo} could not be fetched (HTTP status {status}); check the address."
        )
    if len(content) > MAX_PHOTO_BYTES:
        raise GivenPhotoError(f"{photo} is larger than {MAX_PHOTO_BYTES // 2**20} MB.")
    return content


async def _get(address: str) -> tuple[int, bytes]:
    """Status and content, of which no more is read than shows that it is too large.

    Gradio's own fetching reads all that comes, for as long as it comes. Where a redirection leads
    is looked at as the first address is.
    """
    async with asyncio.timeout(FETCH_SECONDS):
        for _ in range(MAX_REDIRECTIONS + 1):
            client = httpx.AsyncClient(transport=await _transport_to(httpx.URL(address).host))
            async with client, client.stream("GET", address) as response:
                if not response.has_redirect_location:
                    content = bytearray()
                    async for piece in response.aiter_bytes():
                        content += piece
                        if len(content) > MAX_PHOTO_BYTES:
                            break
                    return response.status_code, bytes(content)
                address = urljoin(address, response.headers["Location"])
    raise ValueError("redirected without end")


async def _transport_to(host: str) -> httpx.AsyncBaseTransport | None:
    """A connection to the public address that a host has now, whatever it has a moment later."""
    if safehttpx.matches_domain_whitelist(host, PUBLIC_HOSTNAME_WHITELIST):
        return None
    address = await safehttpx.async_validate_url(host)
    if not is_public(address):
        raise ValueError(f"{address} is not public")
    return safehttpx.AsyncSecureTransport(address)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, which anybody may ask from anywhere.

    safehttpx looks for private addresses, to which those that providers share (100.64.0.0/10) and
    those that hide another one do not belong.
    """
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    is_of_a_machine = found.is_global and not (found.is_multicast or found.is_reserved)
    return is_of_a_machine and not any(found in network for network in NOT_PUBLIC)
