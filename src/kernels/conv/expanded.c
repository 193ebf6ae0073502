/* A depthwise convolution of what a pointwise one makes of x. That may be six times as large as x: it is made
 * for two blocks of channels and some rows of outputs at a time, and read while it is near. Lines that the
 * next rows read again stay. Rows are lines of outputs. */
#include "kernels/conv/line.h"

#include <string.h>

/* Lines [begin, end) of the image, of blocks [block, block + n_blocks): what is in hand. */
typedef struct band {
  const ifd_conv_task *t;
  ifd_conv_expanded_sizes z;
  int64_t block, n_blocks, begin, end;
  float *lines; /* [block][line - begin][column][16], z.plane apart */
  char *scratch;
} band;

static int64_t line_floats(const band *b) { return b->t->plan->shape.in[IFD_K_W] * 16; }

/* Makes the lines from the end of what is in hand to `end`. */
static void make_lines(band *b, int64_t end) {
  const ifd_k_conv_shape *s = &b->t->plan->shape;
  const ifd_k_expansion *e = b->t->expansion;
  int64_t channel = b->block * 16, c = s->before;
  ifd_k_epilogue epilogue = *e->epilogue;
  if (end <= b->end) return;
  if (epilogue.bias) epilogue.bias += channel;
  ifd_product product = {.m = (end - b->end) * s->in[IFD_K_W],
                         .n = ifd_min_i64(b->n_blocks * 16, s->c - channel),
                         .n_full = c / 16,
                         .n_part = c % 16 != 0,
                         .k_part = c % 16,
                         .a = b->t->x + b->end * line_floats(b),
                         .a_segment = b->t->x_plane * 16,
                         .b = e->packed + channel * c,
                         .c = b->lines + (b->end - b->begin) * line_floats(b),
                         .c_rs = 16,
                         .c_vs = b->z.plane,
                         .fill = true,
                         .epilogue = &epilogue};
  IFD_K(ifd_product_run)(&product, b->scratch + b->z.product);
  b->end = end;
}

/* Lets go of lines before `begin`. */
static void drop_lines(band *b, int64_t begin) {
  int64_t kept = ifd_max_i64(0, b->end - begin), at = (begin - b->begin) * line_floats(b);
  for (int64_t i = 0; i < b->n_blocks && kept; i++) {
    float *lines = b->lines + i * b->z.plane;
    memmove(lines, lines + at, sizeof *lines * (size_t)(kept * line_floats(b)));
  }
  b->begin = begin, b->end = begin + kept;
}

static void run_rows(band *b, int64_t r0, int64_t r1) {
  const ifd_k_conv_shape *s = &b->t->plan->shape;
  int64_t stride = s->stride[IFD_K_H], last = (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H];
  int64_t begin = r0 * stride - s->pad[IFD_K_H], end = (r1 - 1) * stride - s->pad[IFD_K_H] + last + 1;
  drop_lines(b, ifd_min_i64(ifd_max_i64(begin, 0), s->in[IFD_K_H]));
  make_lines(b, ifd_min_i64(end, s->in[IFD_K_H]));
  for (int64_t i = 0; i < b->n_blocks; i++) IFD_K(ifd_conv_depthwise_rows)
  (b->t, b->lines + i * b->z.plane, b->begin, b->block + i, r0, r1, b->scratch);
}

void IFD_K(ifd_conv_expanded)(const ifd_conv_task *t, void *scratch) {
  band b = {.t = t, .z = ifd_conv_expanded_sizes_of(&t->plan->shape), .scratch = scratch};
  b.lines = (float *)(b.scratch + b.z.made);
  for (b.block = t->b0; b.block < t->b1; b.block += IFD_CONV_EXPANDED_BLOCKS) {
    b.n_blocks = ifd_min_i64(IFD_CONV_EXPANDED_BLOCKS, t->b1 - b.block);
    b.begin = b.end = 0;
    for (int64_t r = t->r0; r < t->r1; r += b.z.rows) run_rows(&b, r, ifd_min_i64(r + b.z.rows, t->r1));
  }
}
