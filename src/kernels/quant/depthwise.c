/* Depthwise convolutions: 16 channels in lanes, four outputs of a line at a time. Pixels of two lines of the
 * image, as far apart as lines of taps, are interleaved as 16-bit words, padding included, so that one
 * instruction multiplies and adds both; this is done once for all lines of outputs that read them. */
#include "kernels/quant/finish.h"
#include "kernels/quant/image.h"
#include "kernels/quant/sizes.h"

enum { LANES = 16, BLOCKS = IFD_QUANT_CHANNELS / LANES, FOUR = IFD_QUANT_FOUR };
#define UNROLL_ _Pragma("GCC unroll 4")

/* What outputs [o, o + n) of a line need, of blocks of 16 channels from c on, of which the last one may
 * overlap the one before. */
typedef struct slice {
  const ifd_k_quant_image *g;
  ifd_quant_depthwise_sizes z;
  int64_t o, n, c, blocks;
  uint8_t fill[LANES];  /* a pixel of padding */
  uint8_t *copies;      /* of two lines whose pixels are less than 16 bytes */
  int64_t *held;        /* the first line of the pair in each place of */
  int32_t *pairs;       /* [place][block][column][16] */
  const int32_t **taps; /* what output 0 meets in block 0: of each pair of lines the columns */
  int32_t *weights;     /* [begins with a second line][block][pair of lines][column][16] */
} slice;

static int64_t channel(const slice *s, int64_t block) {
  return ifd_max_i64(0, ifd_min_i64(s->c + block * LANES, s->g->shape->m - LANES));
}

/* ---- weights ---- */

/* Weights of a tap less their zero points, of 16 channels from c on, which two panels may hold. */
static i16 load_weights(const int8_t *packed, int64_t panel, int64_t c, int64_t tap, i16 zero) {
  const int8_t *from = packed + c / LANES * panel + tap / 4 * (4 * LANES);
  const size_t skipped = (size_t)(c % LANES) * 4;
  const int above = 24 - (int)(tap % 4) * 8;
  int32_t both[LANES];
  if (skipped) {
    memcpy(both, from + skipped, sizeof both - skipped);
    memcpy((char *)both + sizeof both - skipped, from + panel, skipped);
  }
  const i16 quads = i16_load(skipped ? both : (const int32_t *)from);
  return i16_sub(i16_sra(i16_sll(quads, above), 24), zero);
}

/* Where weights are whose first line is the first or the second one of a pair. */
static int32_t *weights_of(const slice *s, int64_t second, int64_t block) {
  const int64_t n = s->g->shape->kernel[IFD_K_D] * s->z.pairs * s->g->shape->kernel[IFD_K_W];
  return s->weights + (second * BLOCKS + block) * n * LANES;
}

/* Each line of taps with the one behind, which either way of pairing has; none is before the first or behind
 * the last one. */
static void spread_weights(const slice *s, int64_t block, const int8_t *packed, i16 zero) {
  const ifd_k_conv_shape *h = s->g->shape;
  const int64_t width = h->kernel[IFD_K_W], height = h->kernel[IFD_K_H];
  const int64_t panel = ifd_quant_quads(s->z.taps) * 64, c = channel(s, block);
  for (int64_t d = 0; d < h->kernel[IFD_K_D]; d++)
    for (int64_t k = 0; k < width; k++) {
      i16 a = i16_set1(0), b = a;
      for (int64_t line = -1; line < height; line++, a = b) {
        const int64_t second = line & 1, pair = d * ifd_quant_line_pairs(h, second) + (line + second) / 2;
        b = line + 1 < height ? load_weights(packed, panel, c, (d * height + line + 1) * width + k, zero)
                              : i16_set1(0);
        i16_store(weights_of(s, second, block) + (pair * width + k) * LANES,
                  i16_or(i16_and(a, i16_set1(0xffff)), i16_sll(b, 16)));
      }
    }
}

/* ---- lines ---- */

/* A pixel of each of two lines; the lines are NULL where they are padding. */
typedef struct two {
  const uint8_t *a, *b;
} two;

/* The slice's columns of a block of channels. */
static void interleave_block(const slice *s, two lines, int64_t pixel, int32_t *to) {
  const ifd_k_conv_shape *h = s->g->shape;
  const int64_t begin = s->o * h->stride[IFD_K_W] - h->pad[IFD_K_W], n = s->z.columns;
  const int64_t first = ifd_min_i64(ifd_max_i64(0, -begin), n),
                end = ifd_max_i64(first, ifd_min_i64(h->in[IFD_K_W] - begin, n));
  const int64_t next_a = lines.a ? pixel : 0, next_b = lines.b ? pixel : 0;
  const uint8_t *a = lines.a ? lines.a + (begin + first) * pixel : s->fill,
                *b = lines.b ? lines.b + (begin + first) * pixel : s->fill;
  const i16 flip = i16_set1(s->g->flip << 16 | s->g->flip);
  const i16 outside = i16_xor(flip, i16_zip_bytes(s->fill, s->fill));
  int64_t i = 0;
  for (; i < first; i++) i16_store(to + i * LANES, outside);
  for (; i < end; i++, a += next_a, b += next_b)
    i16_store(to + i * LANES, i16_xor(flip, i16_zip_bytes(a, b)));
  for (; i < n; i++) i16_store(to + i * LANES, outside);
}

/* A line whose pixels are less than a block, with others beyond. */
static const uint8_t *copy_line(const slice *s, const uint8_t *line, int64_t which) {
  const int64_t width = s->g->shape->in[IFD_K_W], pixel = s->g->shape->c;
  uint8_t *copy = s->copies + which * width * LANES;
  for (int64_t i = 0; line && i < width; i++) memcpy(copy + i * LANES, line + i * pixel, (size_t)pixel);
  return line ? copy : NULL;
}

/* Lines of the image, from its first channel on. */
static void interleave(const slice *s, const uint8_t *a, const uint8_t *b, int32_t *to) {
  const int64_t pixel = ifd_max_i64(s->g->shape->c, LANES);
  if (s->g->shape->c < LANES) a = copy_line(s, a, 0), b = copy_line(s, b, 1);
  for (int64_t i = 0; i < s->blocks; i++, to += s->z.columns * LANES) {
    const int64_t c = channel(s, i);
    interleave_block(s, (two){a ? a + c : NULL, b ? b + c : NULL}, pixel, to);
  }
}

/* What line r of a plane of outputs meets; whether its first tap is in the second line of a pair. */
static int64_t find_taps(const slice *s, int64_t sample, int64_t depth, int64_t r) {
  const ifd_k_conv_shape *h = s->g->shape;
  const int64_t apart = h->dilation[IFD_K_H], begin = r * h->stride[IFD_K_H], first = begin / apart;
  const int64_t phase = begin - first * apart, at[IFD_K_DIMS] = {depth};
  const int64_t n = ifd_quant_line_pairs(h, first % 2), size = s->blocks * s->z.columns * LANES;
  const int32_t **taps = s->taps;
  for (int64_t d = 0; d < h->kernel[IFD_K_D]; d++) {
    const int64_t places = (d * s->z.phases + (s->z.phases > 1 ? phase : 0)) * s->z.pairs;
    int64_t place = first / 2 % s->z.pairs, line = first / 2 * 2 * apart + phase;
    for (int64_t i = 0; i < n; i++, line += 2 * apart, place = place + 1 < s->z.pairs ? place + 1 : 0) {
      int32_t *pairs = s->pairs + (places + place) * size;
      if (s->held[places + place] != line)
        interleave(s, ifd_quant_line_at(s->g, sample, at, d, line),
                   ifd_quant_line_at(s->g, sample, at, d, line + apart), pairs);
      s->held[places + place] = line;
      for (int64_t k = 0; k < h->kernel[IFD_K_W]; k++) *taps++ = pairs + k * h->dilation[IFD_K_W] * LANES;
    }
  }
  return first % 2;
}

/* ---- outputs ---- */

/* Four sums, from `begin` on, of n taps; x and w: of output 0, `at` numbers on; `next` from one to the next.
 */
IFD_INLINE void sum_four(const int64_t n, i16 begin, const int32_t *const *x, int64_t at, int64_t next,
                         const int32_t *w, i16 *to) {
  i16 sum[FOUR];
  UNROLL_ for (int i = 0; i < FOUR; i++) sum[i] = begin;
  _Pragma("GCC unroll 6") for (int64_t t = 0; t < n; t++) {
    const int32_t *pairs = x[t] + at;
    const i16 wv = i16_load(w + t * LANES);
    UNROLL_ for (int i = 0; i < FOUR; i++) sum[i] =
        i16_keep(add_words(sum[i], i16_load(pairs + i * next), wv));
  }
  UNROLL_ for (int i = 0; i < FOUR; i++) to[i] = sum[i];
}

/* A block of the slice's outputs, of a line that begins at y; the last four may overlap those before. `out`
 * is a constant where this is inlined. */
IFD_INLINE void run_block(const ifd_k_quant_out out, const slice *s, int64_t b, const int32_t *w,
                          int64_t taps, const ifd_quant_store store, const ifd_quant_clip clip, char *y) {
  const int64_t y_step = s->g->shape->m * store.size, next = s->g->shape->stride[IFD_K_W] * LANES;
  const bool fours = out == IFD_K_QUANT_INT8 && s->n >= FOUR;
  const ifd_quant_column c = ifd_quant_column_at(&store, 0);
  const i16 begin = fours ? c.add : i16_set1(0);
  y += s->o * y_step + channel(s, b) * store.size;
  for (int64_t o = 0; o < s->n; o += FOUR) {
    i16 sum[FOUR];
    o = ifd_max_i64(0, ifd_min_i64(o, s->n - FOUR));
    const int64_t at = b * s->z.columns * LANES + o * next;
    if (taps == 6) /* of 3 lines and columns */
      sum_four(6, begin, s->taps, at, next, w, sum);
    else
      sum_four(taps, begin, s->taps, at, next, w, sum);
    char *const line = y + o * y_step;
    char *const to[FOUR] = {line, line + y_step, line + 2 * y_step, line + 3 * y_step};
    if (fours && store.lanes == LANES)
      ifd_quant_put_four(out, &store, &c, &clip, sum, to, NULL, LANES);
    else if (fours)
      ifd_quant_put_four(out, &store, &c, &clip, sum, to, NULL, (int)store.lanes);
    else
      UNROLL_ for (int i = 0; i < FOUR; i++) if (i < s->n)
          ifd_quant_put(out, &store, &c, sum[i], 0, to[i], (int)store.lanes);
  }
}

static void run_line(const slice *s, int64_t second, const ifd_quant_store *store, const ifd_quant_clip *clip,
                     char *y) {
  const ifd_k_conv_shape *h = s->g->shape;
  const int64_t taps = h->kernel[IFD_K_D] * ifd_quant_line_pairs(h, second) * h->kernel[IFD_K_W];
  for (int64_t b = 0; b < s->blocks; b++) {
    const int32_t *w = weights_of(s, second, b);
    switch (store[b].f.out) {
    case IFD_K_QUANT_INT8: run_block(IFD_K_QUANT_INT8, s, b, w, taps, store[b], *clip, y); break;
    case IFD_K_QUANT_FLOAT: run_block(IFD_K_QUANT_FLOAT, s, b, w, taps, store[b], *clip, y); break;
    case IFD_K_QUANT_INT32: run_block(IFD_K_QUANT_INT32, s, b, w, taps, store[b], *clip, y); break;
    case IFD_K_QUANT_SUM: break; /* of products alone */
    }
  }
}

/* Lines [r, r1) of outputs that are in the plane of line r; y: of all. */
static void run_plane(const slice *s, const ifd_quant_store *store, char *y, int64_t r, int64_t r1) {
  const ifd_k_conv_shape *h = s->g->shape;
  const int64_t plane = r / h->out[IFD_K_H], first = plane * h->out[IFD_K_H];
  const int64_t depth = plane % h->out[IFD_K_D], sample = plane / h->out[IFD_K_D];
  const int64_t end = ifd_min_i64(r1, first + h->out[IFD_K_H]), line = h->out[IFD_K_W] * h->m * store->size;
  const ifd_quant_clip clip =
      store->f.out == IFD_K_QUANT_INT8 ? ifd_quant_clip_of(&store->f) : (ifd_quant_clip){0};
  memset(s->held, 0xff, s->z.at - s->z.held);
  for (; r < end; r++) run_line(s, find_taps(s, sample, depth, r - first), store, &clip, y + r * line);
}

/* Weights and stores of the slice's channels. */
static void begin_channels(const slice *s, const int8_t *packed, const ifd_k_quant_finish *finish,
                           ifd_quant_store *store) {
  for (int64_t b = 0; b < s->blocks; b++) {
    const int64_t c = channel(s, b);
    const i16 zero = finish->b_zero ? i16_load(finish->b_zero + c) : i16_set1(0);
    spread_weights(s, b, packed, zero);
    store[b] = (ifd_quant_store){
        .f = *finish, .size = ifd_k_quant_size(finish->out), .lanes = ifd_min_i64(LANES, s->g->shape->m)};
    ifd_k_quant_finish *f = &store[b].f;
    f->b_zero = NULL; /* it is in the weights */
    f->add += c, f->scale += c, f->shift += c;
  }
}

void IFD_K(ifd_quant_depthwise)(const ifd_k_quant_image *g, const int8_t *packed,
                                const ifd_k_quant_finish *finish, void *y, int64_t r0, int64_t r1,
                                void *scratch) {
  const ifd_k_conv_shape *h = g->shape;
  const ifd_quant_depthwise_sizes z = ifd_quant_depthwise_sizes_of(h);
  const int64_t width = h->out[IFD_K_W], height = h->out[IFD_K_H];
  char *at = scratch;
  slice s = {.g = g,
             .z = z,
             .pairs = scratch,
             .weights = (int32_t *)(at + z.weights),
             .copies = (uint8_t *)at + z.copies,
             .held = (int64_t *)(at + z.held),
             .taps = (const int32_t **)(at + z.at)};
  memset(s.fill, g->fill ^ g->flip, sizeof s.fill);
  for (s.c = 0; s.c < h->m; s.c += IFD_QUANT_CHANNELS) {
    ifd_quant_store store[BLOCKS];
    s.blocks = ifd_min_i64(BLOCKS, ifd_ceil_div(h->m - s.c, LANES));
    begin_channels(&s, packed, finish, store);
    for (s.o = 0; s.o < width; s.o += z.once) {
      s.n = ifd_min_i64(z.once, width - s.o);
      for (int64_t r = r0; r < r1; r += height - r % height) run_plane(&s, store, y, r, r1);
    }
  }
}
