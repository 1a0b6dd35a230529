"""How much the app takes from a visitor: every size and rate of the page, in one place.

How many pixels a photo may have is the pipeline's affair, wherever it runs:
`modeling.image_processing.MAX_PHOTO_PIXELS`.
"""

from __future__ import annotations

MAX_UPLOAD_BYTES = 256 * 2**20  # of one file that is uploaded, a zip or a photo
MAX_CALL_BYTES = 96 * 2**20  # of a request that is no upload: a photo as a data URI, which is 4/3
MAX_PHOTO_BYTES = 64 * 2**20  # of a photo in a zip, at an address or in a data URI

MAX_PHOTOS = 1_000  # in a batch
MAX_UNPACKED_BYTES = 2 * 2**30  # of all zips of a batch
MAX_ENTRIES = 10_000  # in a zip, with folders and what is skipped
MAX_DIRECTORY_BYTES = 4 * 2**20  # of a zip's table of contents; an entry takes 50 to 400

# Of one address in a minute, unless the environment says otherwise. An inspector who works without
# a pause makes about 60 calls; a batch is one, and brings a thousand uploads at most.
CALLS_PER_MINUTE = 600
UPLOAD_MB_PER_MINUTE = 2048
WRONG_PASSWORDS_PER_MINUTE = 10
MAX_ADDRESSES = 10_000  # that are remembered; a record takes about 300 bytes
