/* BMP: 1, 4, 8, 16, 24 and 32 bits a pixel; palettes, bit fields, run lengths. Source: Microsoft's
 * documentation of BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER and its successors, "Bitmap
 * Compression". */
#include <string.h>

#include "ops/shared/image.h"

enum { RGB = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3, ALPHA_BITFIELDS = 6 };
enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40 };

typedef struct bmp {
  const uint8_t *data;
  size_t len;
  size_t pixels; /* where they begin */
  int64_t width, height;
  bool top_down;
  uint32_t bits, compression;
  uint32_t mask[3];
  uint8_t palette[256][3];
} bmp;

/* Bytes beyond the end are 0. */
static uint32_t read_le(const bmp *b, size_t at, int n) {
  uint32_t v = 0;
  for (int i = 0; i < n; i++)
    v |= (at + (size_t)i < b->len ? (uint32_t)b->data[at + (size_t)i] : 0) << (8 * i);
  return v;
}

/* ---- headers ---- */

/* The masks stand behind the first 40 bytes, whether that is within the header or after it. */
static void read_masks(bmp *b) {
  static const uint32_t of_16[] = {0x7c00, 0x3e0, 0x1f}, of_32[] = {0xff0000, 0xff00, 0xff};
  bool given = b->compression == BITFIELDS || b->compression == ALPHA_BITFIELDS;
  for (int c = 0; c < 3; c++)
    b->mask[c] = given           ? read_le(b, FILE_HEADER + INFO_HEADER + 4 * (size_t)c, 4)
                 : b->bits == 16 ? of_16[c]
                                 : of_32[c];
}

static void read_palette(bmp *b, size_t at, uint32_t n, int entry) {
  for (uint32_t i = 0; i < n && i < 256; i++)
    for (int c = 0; c < 3; c++)
      b->palette[i][c] = (uint8_t)read_le(b, at + i * (size_t)entry + (size_t)(2 - c), 1);
}

static bool is_supported(const bmp *b) {
  switch (b->compression) {
  case RGB:
    return b->bits == 1 || b->bits == 4 || b->bits == 8 || b->bits == 16 || b->bits == 24 || b->bits == 32;
  case RLE8: return b->bits == 8 && !b->top_down;
  case RLE4: return b->bits == 4 && !b->top_down;
  default:
    return (b->compression == BITFIELDS || b->compression == ALPHA_BITFIELDS) &&
           (b->bits == 16 || b->bits == 32);
  }
}

static bool read_header(bmp *b) {
  uint32_t header = read_le(b, FILE_HEADER, 4);
  bool core = header == CORE_HEADER;
  if (b->len < FILE_HEADER + CORE_HEADER || (!core && header < INFO_HEADER)) return false;
  b->pixels = read_le(b, 10, 4);
  b->width = (int32_t)read_le(b, 18, core ? 2 : 4);
  b->height = (int32_t)read_le(b, core ? 20 : 22, core ? 2 : 4);
  b->top_down = b->height < 0;
  if (b->top_down) b->height = -b->height;
  b->bits = read_le(b, core ? 24 : 28, 2);
  b->compression = core ? RGB : read_le(b, 30, 4);
  if (!is_supported(b) || b->pixels >= b->len) return false;
  uint32_t n_colors = core ? 0 : read_le(b, 46, 4);
  if (b->bits <= 8) read_palette(b, FILE_HEADER + header, n_colors ? n_colors : 1u << b->bits, core ? 3 : 4);
  if (b->bits == 16 || b->bits == 32) read_masks(b);
  return true;
}

/* ---- pixels ---- */

static uint8_t *pixel_at(const bmp *b, const ifd_image *out, int64_t x, int64_t y) {
  return out->rgb + ((b->top_down ? y : b->height - 1 - y) * b->width + x) * 3;
}

static void put_masked(const bmp *b, uint8_t *to, uint32_t v) {
  for (int c = 0; c < 3; c++) {
    uint32_t mask = b->mask[c], shift = mask ? (uint32_t)__builtin_ctz(mask) : 0;
    to[c] = mask ? ifd_image_scale((v & mask) >> shift, mask >> shift) : 0;
  }
}

/* Rows are multiples of 4 bytes. False where the file ends before they do. */
static bool read_plain(const bmp *b, ifd_image *out) {
  size_t row = ((size_t)b->width * b->bits + 31) / 32 * 4;
  if ((b->len - b->pixels) / row < (size_t)b->height) return false;
  for (int64_t y = 0; y < b->height; y++)
    for (int64_t x = 0; x < b->width; x++) {
      uint8_t *to = pixel_at(b, out, x, y);
      size_t bit = (size_t)x * b->bits, at = b->pixels + (size_t)y * row + bit / 8;
      if (b->bits <= 8)
        memcpy(to, b->palette[b->data[at] >> (8 - b->bits - bit % 8) & ((1u << b->bits) - 1)], 3);
      else if (b->bits == 24)
        to[0] = b->data[at + 2], to[1] = b->data[at + 1], to[2] = b->data[at];
      else
        put_masked(b, to, read_le(b, at, (int)b->bits / 8));
    }
  return true;
}

typedef struct runs {
  const bmp *b;
  ifd_image *out;
  size_t at;
  int64_t x, y;
} runs;

/* What lies outside of the picture is not drawn. */
static void put_color(runs *r, uint32_t color) {
  if (r->x < r->b->width && r->y < r->b->height)
    memcpy(pixel_at(r->b, r->out, r->x, r->y), r->b->palette[color], 3);
  r->x++;
}

/* n pixels whose colors alternate between the half bytes of `color`, or are all the byte. */
static void put_run(runs *r, uint32_t n, uint32_t color) {
  bool half = r->b->compression == RLE4;
  for (uint32_t i = 0; i < n; i++) put_color(r, !half ? color : i % 2 ? color & 15 : color >> 4);
}

/* n pixels as they are, padded to an even number of bytes. */
static void put_literal(runs *r, uint32_t n) {
  bool half = r->b->compression == RLE4;
  size_t bytes = half ? (n + 1) / 2 : n;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t v = read_le(r->b, r->at + (half ? i / 2 : i), 1);
    put_color(r, !half ? v : i % 2 ? v & 15 : v >> 4);
  }
  r->at += (bytes + 1) / 2 * 2;
}

/* Pixels that no run names have color 0. False where the end mark is missing. */
static bool read_runs(const bmp *b, ifd_image *out) {
  enum { END_OF_LINE, END, MOVE };
  runs r = {.b = b, .out = out, .at = b->pixels};
  for (int64_t i = 0; i < b->width * b->height; i++) memcpy(out->rgb + 3 * i, b->palette[0], 3);
  while (r.at + 2 <= b->len) {
    uint32_t n = b->data[r.at], v = b->data[r.at + 1];
    r.at += 2;
    if (n)
      put_run(&r, n, v);
    else if (v == END)
      return true;
    else if (v == END_OF_LINE)
      r.x = 0, r.y++;
    else if (v == MOVE) {
      r.x += read_le(b, r.at, 1);
      r.y += read_le(b, r.at + 1, 1);
      r.at += 2;
    } else
      put_literal(&r, v);
  }
  return r.y >= b->height;
}

ifd_status ifd_image_decode_bmp(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                size_t len) {
  bmp b = {.data = data, .len = len};
  if (!read_header(&b)) return IFD_OK;
  TRY(ifd_image_new(err, out, arena, b.width, b.height));
  bool whole = out->rgb && (b.compression == RLE8 || b.compression == RLE4 ? read_runs : read_plain)(&b, out);
  if (!whole) ifd_image_drop(out);
  return IFD_OK;
}
