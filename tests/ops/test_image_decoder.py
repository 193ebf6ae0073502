"""Images written here by hand, byte by byte, and damaged ones. (JPEG, JPEG 2000, TIFF and WebP are among ONNX's own
cases.)"""
import struct
import zlib

import numpy as np
import pytest

from nodes import Failed, Nodes, refuses

RNG = np.random.default_rng(2)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GRAY = RNG.integers(0, 256, (5, 7), np.uint8)
BITS = RNG.integers(0, 2, (5, 11), np.uint8)
LUMA = ((RGB.astype(int) @ [19595, 38470, 7471] + 32768) >> 16).astype(np.uint8)


def triple(gray):
    return np.repeat(gray[..., None], 3, -1)


def stream(data):
    return np.frombuffer(data, np.uint8)


def pnm(kind, pixels, most=None, sep=b"\n"):
    h, w = pixels.shape[:2]
    head = b"P%d # comment\n%d %d" % (kind, w, h) + (b"" if most is None else b"\n%d" % most) + sep
    if kind > 3:
        body = np.packbits(pixels, axis=1).tobytes() if kind == 4 else pixels.astype(">u2" if most > 255 else "u1").tobytes()
    else:
        body = b" ".join(b"%d" % v for v in pixels.ravel())
    return head + body


def test_pnm():
    deep = RNG.integers(0, 1001, (5, 7, 3))
    nodes = Nodes(20)
    for data, want in ((pnm(6, RGB, 255), RGB), (pnm(3, RGB, 255), RGB), (pnm(5, GRAY, 255), triple(GRAY)),
                       (pnm(2, GRAY, 255), triple(GRAY)), (pnm(1, BITS), triple((1 - BITS) * 255)),
                       (pnm(4, BITS), triple((1 - BITS) * 255)), (pnm(6, deep, 1000), np.floor(deep * 255 / 1000 + .5).astype(np.uint8)),
                       (pnm(3, deep, 1000), np.floor(deep * 255 / 1000 + .5).astype(np.uint8))):
        nodes.add("ImageDecoder", [stream(data)], [want.astype(np.uint8)])
    nodes.add("ImageDecoder", [stream(pnm(6, RGB, 255))], [RGB[..., ::-1]], pixel_format="BGR")
    nodes.add("ImageDecoder", [stream(pnm(6, RGB, 255))], [LUMA[..., None]], pixel_format="Grayscale")
    nodes.check()


def rows_of(pixels):
    return b"".join(r.tobytes() + b"\0" * (-len(r.tobytes()) % 4) for r in pixels)


def bmp(w, h, bits, body, compression=0, palette=b"", masks=b"", header=40):
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, h, 1, bits, compression, len(body), 0, 0, len(palette) // 4, 0)
        info += masks if header == 40 else masks.ljust(header - 40, b"\0")
    at = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + info + palette + body


def test_bmp():
    h, w = RGB.shape[:2]
    colors = RNG.integers(0, 256, (256, 3), np.uint8)
    palette = np.hstack([colors[:, ::-1], np.zeros((256, 1), np.uint8)])
    bgr = RGB[:, :, ::-1]
    wide = np.dstack([bgr, RNG.integers(0, 256, (h, w), np.uint8)])
    nodes = Nodes(20)
    index8 = RNG.integers(0, 256, (h, w), np.uint8)
    index4 = RNG.integers(0, 16, (h, 7), np.uint8)
    packed4 = np.stack([(r := np.append(row, 0))[::2] << 4 | r[1::2] for row in index4]).astype(np.uint8)
    five = RNG.integers(0, 32, (h, w, 3))
    v555 = (five @ [1 << 10, 1 << 5, 1]).astype("<u2")
    six = np.dstack([five[..., 0], RNG.integers(0, 64, (h, w)), five[..., 2]])
    v565 = (six @ [1 << 11, 1 << 5, 1]).astype("<u2")
    scale = lambda v, most: np.floor(v * 255 / most + .5).astype(np.uint8)
    for data, want in (
            (bmp(w, h, 24, rows_of(bgr[::-1])), RGB), (bmp(w, -h, 24, rows_of(bgr)), RGB),
            (bmp(w, h, 24, rows_of(bgr[::-1]), header=12), RGB), (bmp(w, h, 24, rows_of(bgr[::-1]), header=124), RGB),
            (bmp(w, h, 32, rows_of(wide[::-1])), RGB), (bmp(w, h, 8, rows_of(index8[::-1]), palette=palette.tobytes()), colors[index8]),
            (bmp(7, h, 4, rows_of(packed4[::-1]), palette=palette[:16].tobytes()), colors[index4]),
            (bmp(11, h, 1, rows_of(np.packbits(BITS[::-1], axis=1)), palette=palette[:2].tobytes()), colors[BITS]),
            (bmp(w, h, 16, rows_of(v555[::-1])), scale(five, 31)),
            (bmp(w, h, 16, rows_of(v565[::-1]), 3, masks=struct.pack("<III", 0xf800, 0x7e0, 0x1f)), scale(six, np.array([31, 63, 31]))),
            (bmp(w, h, 32, rows_of(wide[::-1]), 3, masks=struct.pack("<III", 0xff, 0xff00, 0xff0000), header=108), bgr)):
        nodes.add("ImageDecoder", [stream(data)], [np.ascontiguousarray(want)])
    runs = bytes([4, 9, 0, 3, 1, 2, 3, 0, 0, 0, 2, 7, 0, 2, 1, 1, 3, 8, 0, 1])  # 4 of 9, "1 2 3", line, 2 of 7, move, 3 of 8
    want = np.zeros((4, 7), int)
    want[0] = [9, 9, 9, 9, 1, 2, 3]
    want[1, :2], want[2, 3:6] = 7, 8
    nodes.add("ImageDecoder", [stream(bmp(7, 4, 8, runs, 1, palette.tobytes()))], [colors[want[::-1]]])
    half = bytes([5, 0x12, 0, 0, 0, 3, 0x45, 0x60, 0, 1])
    want = np.zeros((2, 5), int)
    want[0], want[1, :3] = [1, 2, 1, 2, 1], [4, 5, 6]
    nodes.add("ImageDecoder", [stream(bmp(5, 2, 4, half, 2, palette[:16].tobytes()))], [colors[want[::-1]]])
    nodes.check()


def png(w, h, depth, kind, rows, extra=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows))) + chunk(b"IEND", b""))


def test_png():
    h, w = GRAY.shape
    colors = RNG.integers(0, 256, (256, 3), np.uint8)
    plte = struct.pack(">I", 768) + b"PLTE" + colors.tobytes() + struct.pack(">I", zlib.crc32(b"PLTE" + colors.tobytes()))
    alpha = RNG.integers(0, 256, (h, w, 1), np.uint8)
    deep = RNG.integers(0, 1 << 16, (h, w, 3))
    nodes = Nodes(20)
    for data, want in ((png(w, h, 8, 2, RGB), RGB), (png(w, h, 8, 0, GRAY), triple(GRAY)), (png(w, h, 8, 3, GRAY, plte), colors[GRAY]),
                       (png(w, h, 8, 6, np.dstack([RGB, alpha])), RGB), (png(w, h, 8, 4, np.dstack([GRAY, alpha])), triple(GRAY)),
                       (png(11, h, 1, 0, np.packbits(BITS, axis=1)), triple(BITS * 255)),
                       (png(w, h, 16, 2, deep.astype(">u2")), np.floor(deep * 255 / 65535 + .5).astype(np.uint8))):
        nodes.add("ImageDecoder", [stream(data)], [want.astype(np.uint8)])
    nodes.check()


EMPTY = np.zeros((0, 0, 3), np.uint8)


def test_what_cannot_be_decoded_is_empty():
    nodes = Nodes(20)
    whole = [png(7, 5, 8, 2, RGB), pnm(6, RGB, 255), pnm(3, RGB, 255), bmp(7, 5, 24, rows_of(RGB))]
    broken = [d[:n] for d in whole for n in (1, 2, 9, len(d) // 2, len(d) - 3)]
    broken += [b"", b"hello", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0" * 9, b"II*\0\x08\0\0\0", b"RIFF\0\0\0\0WEBP", b"\xff\x4f\xff\x51" * 5,
               b"\0\0\0\x0cjP  \r\n\x87\n" * 3, b"P6 0 3 255 ", b"P6 2 2 0 " + b"x" * 12, b"P7 1 1 255 xxx", bmp(7, 5, 24, b""),
               bmp(3, 3, 7, b"x" * 99), bmp(0, 3, 24, b"x"), bmp(5, 5, 8, b"\x01\x01", 1)]
    for data in broken:
        nodes.add("ImageDecoder", [stream(data)], [EMPTY])
    nodes.add("ImageDecoder", [stream(b"?")], [EMPTY[..., :1]], pixel_format="Grayscale")
    nodes.check()


@pytest.mark.parametrize("data", [png(1 << 16, 1 << 16, 8, 2, RGB[:1]), b"P6 99999 99999 255 ", bmp(1 << 20, 1 << 20, 24, b"x" * 99),
                                  b"P6 99999999999999999999 9 255 "])
def test_bombs(data):
    """A few bytes that ask for gigabytes."""
    nodes = Nodes(20).add("ImageDecoder", [stream(data)], [EMPTY])
    with pytest.raises(Failed, match="pixels"):
        nodes.run()


def test_refused():
    refuses(Nodes(20).add("ImageDecoder", [stream(b"P")], [EMPTY], pixel_format="HSV"), "pixel_format")
    refuses(Nodes(20).add("ImageDecoder", [stream(b"PP").reshape(1, 2)], [EMPTY]), "dimension")
