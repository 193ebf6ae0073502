/* What the algorithms of a convolution share in a kernel's build. */
#ifndef IFD_KERNELS_CONV_TASK_H
#define IFD_KERNELS_CONV_TASK_H

#include "kernels/conv/phase.h"
#include "kernels/gemm/product.h"
#include "kernels/part.h"
#include "kernels/simd.h"

/* A task: rows [r0, r1) and blocks [b0, b1) of 16 output channels of a part of a sample. What a row is, and
 * what a part, is the algorithm's. */
typedef struct ifd_conv_task {
  const ifd_k_conv_plan *plan;
  const float *packed;
  const ifd_k_prologue *prologue;
  const ifd_k_expansion *expansion;
  float *shared;
  const float *x; /* the sample's */
  float *y;
  int64_t x_sample, y_sample, other_sample;
  int64_t x_plane, y_plane; /* pixels */
  int64_t sample, part, r0, r1, b0, b1;
  ifd_k_epilogue epilogue; /* other: the sample's, bias: as given */
} ifd_conv_task;

void IFD_K(ifd_conv_pack)(const ifd_k_conv_plan *plan, const ifd_float_anywhere *w, bool splat, float *packed,
                          int share, int n_shares);
void IFD_K(ifd_conv_direct)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_winograd)(const ifd_conv_task *t, void *scratch);
/* Part `part` of the n_parts of a task's inputs, to shared memory. */
void IFD_K(ifd_conv_winograd_inputs)(const ifd_conv_task *t, int64_t part, int64_t n_parts);
void IFD_K(ifd_conv_winograd_line)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_depthwise)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_expanded)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_grouped)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_frames)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_first)(const ifd_conv_task *t, void *scratch);
void IFD_K(ifd_conv_planar)(const ifd_conv_task *t, void *scratch);

void IFD_K(ifd_conv_planar_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0,
                                       int64_t b1);
void IFD_K(ifd_conv_blocked_to_planar)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0,
                                       int64_t b1);
void IFD_K(ifd_conv_pixels_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0,
                                       int64_t p1);
void IFD_K(ifd_conv_blocked_to_pixels)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0,
                                       int64_t p1);

void IFD_K(ifd_conv_pick)(float *y, const ifd_k_lanes *lanes, int n, int64_t n_pixels);

/* Columns of output block b that are channels: 16, or fewer in the last. */
IFD_INLINE int64_t ifd_conv_columns(const ifd_conv_task *t, int64_t b) {
  return ifd_min_i64(16, t->plan->shape.m - b * 16);
}

/* Sums of n_rows pixels of output block b, from pixel p on, to y; sums are 16 apart, pixels `apart`. */
IFD_INLINE void ifd_conv_finish(const ifd_conv_task *t, const float *sums, int64_t b, int64_t p,
                                int64_t n_rows, int64_t apart) {
  const ifd_k_epilogue *e = &t->epilogue;
  int64_t at = (b * t->y_plane + p) * 16;
  IFD_K(ifd_k_finish)
  (e, &(ifd_k_tile){.sums = sums,
                    .sums_rs = 16,
                    .y = t->y + at,
                    .y_rs = apart * 16,
                    .other = e->join ? e->other + at : NULL,
                    .other_rs = apart * 16,
                    .bias = e->bias ? e->bias + b * 16 : NULL,
                    .n_rows = n_rows,
                    .n_cols = ifd_conv_columns(t, b),
                    .fill = true});
}

/* The common epilogues in registers: min(max(sum + bias + other, lo), hi), zeros beyond the channels. */
typedef struct ifd_conv_fused {
  bool fits;  /* they are the whole of it; */
  bool waits; /* or what comes after is: stored without, it is done where they lie */
  ifd_k_after after;
  ifd_k_act rounding; /* before `other` is added */
  int n_lanes;
  m16 lanes;
  v16 bias, lo, hi;
} ifd_conv_fused;

IFD_INLINE ifd_conv_fused ifd_conv_fuse(const ifd_conv_task *t, int64_t b) {
  const ifd_k_epilogue *e = &t->epilogue;
  int n = (int)ifd_conv_columns(t, b);
  const ifd_k_after after = ifd_k_after_of(e);
  bool sums = e->join <= IFD_K_JOIN_ADD && e->scale == 1 && !e->rounds_sums;
  return (ifd_conv_fused){.fits = sums && !ifd_k_after_any(&after),
                          .waits = sums && ifd_k_after_any(&after),
                          .after = after,
                          .rounding = e->rounding,
                          .n_lanes = n,
                          .lanes = m16_first(n),
                          .bias = e->bias ? v16_load_n(e->bias + b * 16, n) : v16_zero(),
                          .lo = v16_set1(e->act == IFD_K_ACT_CLIP ? e->p[0] : -INFINITY),
                          .hi = v16_set1(e->act == IFD_K_ACT_CLIP ? e->p[1] : INFINITY)};
}
/* What waits, in n vectors that are stored. */
IFD_INLINE void ifd_conv_fused_end(const ifd_conv_fused *f, float *y, int64_t n) {
  if (f->waits) IFD_K(ifd_k_activate)(&f->after, y, 16, n, 0, f->n_lanes);
}
/* `other` is the element's where there is one. */
IFD_INLINE v16 ifd_conv_fused_join(const ifd_conv_fused *f, v16 sum, bool joins, v16 other) {
  v16 v = v16_add(sum, f->bias);
  if (joins) v = v16_add(v16_rounded(f->rounding, v), other);
  return v16_select(f->lanes, v16_min(f->hi, v16_max(f->lo, v)), v16_zero());
}
/* The same; NULL: there is none. */
IFD_INLINE v16 ifd_conv_fused_of(const ifd_conv_fused *f, v16 sum, const float *other) {
  return ifd_conv_fused_join(f, sum, other, other ? v16_load(other) : v16_zero());
}
/* For parts of vectors. */
IFD_INLINE ifd_conv_fused ifd_conv_fused_part(const ifd_conv_fused *f, int part) {
  ifd_conv_fused of = *f;
  of.bias = part_of(f->bias, part), of.lanes = part_of_lanes(f->lanes, part);
  return of;
}

#endif
