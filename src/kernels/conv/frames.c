/* Long kernels along one line of few channels, read unblocked: a product whose rows are windows of x, as in a
 * short-time Fourier transform or a filter bank. */
#include "kernels/conv/task.h"

typedef struct frames {
  const ifd_conv_task *task;
  int64_t first; /* window of row 0 */
} frames;

/* Floats [i, i + 16) of a line, zeros outside [0, width). */
static v16 load_inside(const float *line, int64_t width, int64_t i) {
  if (i >= 0 && i + 16 <= width) return v16_load(line + i);
  float some[16];
  for (int64_t k = 0; k < 16; k++) some[k] = i + k >= 0 && i + k < width ? line[i + k] : 0;
  return v16_load(some);
}

static void pack_windows(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1) {
  const frames *f = source;
  const ifd_k_conv_shape *s = &f->task->plan->shape;
  int64_t taps = s->kernel[IFD_K_W], width = s->in[IFD_K_W];
  for (int64_t k = s0; k < s1; k++) { /* a segment lies within a channel */
    int64_t c = k * 16 / taps, tap = k * 16 % taps;
    int64_t at = (f->first + i0) * s->stride[IFD_K_W] - s->pad[IFD_K_W] + tap;
    for (int64_t i = i0; i < i1; i++, at += s->stride[IFD_K_W], to += 16)
      v16_store(to, load_inside(f->task->x + c * width, width, at));
  }
}

void IFD_K(ifd_conv_frames)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  frames f = {.task = t, .first = t->r0};
  int64_t k = s->c * s->kernel[IFD_K_W], at = t->b0 * t->y_plane * 16 + t->r0 * 16;
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
