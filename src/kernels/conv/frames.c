/* Few channels, read unblocked: a product whose rows are windows of x, as in a short-time Fourier transform,
 * a filter bank or the patches of a vision transformer. */
#include "kernels/conv/task.h"

typedef struct frames {
  const ifd_conv_task *task;
  int64_t first; /* window of row 0 */
} frames;

/* n <= 16 floats of a line from i on, zeros outside [0, width). */
IFD_INLINE v16 load_inside(const float *line, int64_t width, int64_t i, int n) {
  if (i >= 0 && i + n <= width) return v16_load_n(line + i, n);
  const m16 before = m16_first((int)ifd_max_i64(0, ifd_min_i64(n, -i)));
  const m16 inside = m16_first((int)ifd_max_i64(0, ifd_min_i64(n, width - i)));
  return v16_load_lanes(line + i, m16_andnot(inside, before));
}

/* What a tap of a channel meets: elements of x at a place's own distance. */
typedef struct tap {
  const float *plane; /* the channel's */
  int64_t at[IFD_K_DIMS];
} tap;

static tap tap_of(const ifd_conv_task *t, int64_t k) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  tap r = {.plane = t->x};
  for (int d = IFD_K_W; d >= 0; d--) {
    r.at[d] = k % s->kernel[d] * s->dilation[d] - s->pad[d];
    k /= s->kernel[d];
  }
  r.plane += k * ifd_conv_volume(s->in);
  return r;
}

/* The line of x that a tap meets at a line of places; NULL where that is padding. */
static const float *line_at(const ifd_k_conv_shape *s, const tap *k, int64_t line) {
  int64_t h = line % s->out[IFD_K_H] * s->stride[IFD_K_H] + k->at[IFD_K_H];
  int64_t d = line / s->out[IFD_K_H] * s->stride[IFD_K_D] + k->at[IFD_K_D];
  bool inside = h >= 0 && h < s->in[IFD_K_H] && d >= 0 && d < s->in[IFD_K_D];
  return inside ? k->plane + (d * s->in[IFD_K_H] + h) * s->in[IFD_K_W] : NULL;
}

/* n taps side by side, from k on, of places [i0, i1). */
static void pack_taps(const frames *f, float *to, int64_t k, int n, int64_t i0, int64_t i1) {
  const ifd_k_conv_shape *s = &f->task->plan->shape;
  const tap first = tap_of(f->task, k);
  int64_t width = s->out[IFD_K_W], stride = s->stride[IFD_K_W];
  for (int64_t i = i0, end; i < i1; i = end) {
    const float *line = line_at(s, &first, i / width);
    int64_t at = i % width * stride + first.at[IFD_K_W];
    end = ifd_min_i64(i1, (i / width + 1) * width);
    for (int64_t p = i; p < end; p++, at += stride, to += 16)
      v16_store_n(to, line ? load_inside(line, s->in[IFD_K_W], at, n) : v16_zero(), n);
  }
}

static void pack_windows(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1) {
  const frames *f = source;
  const ifd_k_conv_shape *s = &f->task->plan->shape;
  int64_t line = s->kernel[IFD_K_W], end = ifd_min_i64(s1 * 16, s->c * ifd_conv_volume(s->kernel));
  for (int64_t k = s0 * 16, n; k < end; k += n) {
    n = ifd_min_i64(ifd_min_i64(16 - k % 16, line - k % line), end - k);
    pack_taps(f, to + (k / 16 - s0) * (i1 - i0) * 16 + k % 16, k, (int)n, f->first + i0, f->first + i1);
  }
}

void IFD_K(ifd_conv_frames)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  frames f = {.task = t, .first = t->r0};
  int64_t k = s->c * ifd_conv_volume(s->kernel), at = t->b0 * t->y_plane * 16 + t->r0 * 16;
  ifd_k_epilogue e = t->epilogue;
  if (e.join) e.other += at;
  if (e.bias) e.bias += t->b0 * 16;
  IFD_K(ifd_product_run)
  (&(ifd_product){.m = t->r1 - t->r0,
                  .n = ifd_min_i64(t->b1 * 16, s->m) - t->b0 * 16,
                  .n_full = k / 16,
                  .n_part = k % 16 != 0,
                  .k_part = k % 16,
                  .pack = pack_windows,
                  .source = &f,
                  .b = t->packed + t->b0 * k * 16,
                  .c = t->y + at,
                  .c_rs = 16,
                  .c_vs = t->y_plane * 16,
                  .other_rs = 16,
                  .other_vs = t->y_plane * 16,
                  .fill = true,
                  .epilogue = &e},
   scratch);
}
