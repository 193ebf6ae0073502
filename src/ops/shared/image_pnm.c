/* PBM, PGM and PPM, plain (P1 to P3) and raw (P4 to P6): https://netpbm.sourceforge.net/doc/ */
#include "ops/shared/image.h"

typedef struct pnm {
  const uint8_t *at, *end;
  int kind;      /* 1 to 6 */
  uint32_t most; /* the greatest sample */
  bool broken;   /* no number where one must be, or the end too early */
} pnm;

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* White space and comments, which go to the end of the line. */
static void skip_space(pnm *p) {
  while (p->at < p->end && (is_space(*p->at) || *p->at == '#'))
    if (*p->at++ == '#')
      while (p->at < p->end && *p->at != '\n') p->at++;
}

static uint32_t read_number(pnm *p) {
  enum { MOST = 1 << 27 };
  uint32_t v = 0;
  skip_space(p);
  if (p->at == p->end || *p->at < '0' || *p->at > '9') p->broken = true;
  for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
    v = v > MOST ? v : v * 10 + (uint32_t)(*p->at - '0');
  return v;
}

static uint32_t read_byte(pnm *p) {
  if (p->at < p->end) return *p->at++;
  p->broken = true;
  return 0;
}

/* A digit by itself: digits of plain bitmaps need no space between them. */
static uint32_t read_digit(pnm *p) {
  skip_space(p);
  return read_byte(p) - '0';
}

/* Sample number i of a row, as 0 to 255. A bit that is set is black. */
static uint8_t read_sample(pnm *p, int64_t i) {
  uint32_t v;
  switch (p->kind) {
  case 1: v = read_digit(p); return v == 0 ? 255 : 0;
  case 4:
    if (i % 8 == 0) p->most = read_byte(p);
    return p->most >> (7 - i % 8) & 1 ? 0 : 255;
  case 2:
  case 3: v = read_number(p); break;
  default:
    v = read_byte(p);
    if (p->most > 255) v = v << 8 | read_byte(p);
  }
  return ifd_image_scale(v, p->most);
}

static void read_row(pnm *p, uint8_t *to, int64_t width) {
  bool color = p->kind % 3 == 0;
  for (int64_t i = 0; i < 3 * width; i++)
    to[i] = color || i % 3 == 0 ? read_sample(p, color ? i : i / 3) : to[i - 1];
}

ifd_status ifd_image_decode_pnm(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                size_t len) {
  pnm p = {.at = data + 2, .end = data + len, .most = 1};
  if (len < 3 || data[1] < '1' || data[1] > '6') return IFD_OK;
  p.kind = data[1] - '0';
  uint32_t width = read_number(&p), height = read_number(&p);
  if (p.kind % 3 != 1) p.most = read_number(&p);
  if (p.kind > 3) (void)read_byte(&p); /* the one space before raw samples */
  if (p.broken || p.most == 0 || p.most > UINT16_MAX) return IFD_OK;
  TRY(ifd_image_new(err, out, arena, width, height));
  for (int64_t y = 0; y < out->height && !p.broken; y++)
    read_row(&p, out->rgb + y * out->width * 3, out->width);
  if (p.broken) ifd_image_drop(out);
  return IFD_OK;
}
