#include "kernels/move/rows.h"

/* Sizes that are one move are known where this is inlined. */
IFD_INLINE void gather_runs(const ifd_k_gather *g, const size_t size, const bool wide, char *restrict to,
                            const char *restrict from, const void *index, int64_t n, bool *failed) {
  const int64_t limit = g->limit, stride = g->stride, step = g->step;
  bool outside = false;
  for (int64_t i = 0; i < n; i++, to += size, from += step) {
    int64_t at = wide ? ((const int64_t *)index)[i] : ((const int32_t *)index)[i];
    at += at < 0 ? limit : 0;
    if ((uint64_t)at >= (uint64_t)limit)
      outside = true;
    else
      copy_run(to, from + at * stride, size);
  }
  if (outside) *failed = true;
}

IFD_INLINE void gather_sizes(const ifd_k_gather *g, const bool wide, char *to, const char *from,
                             const void *index, int64_t n, bool *failed) {
  switch (g->size) {
  case 1: gather_runs(g, 1, wide, to, from, index, n, failed); return;
  case 2: gather_runs(g, 2, wide, to, from, index, n, failed); return;
  case 4: gather_runs(g, 4, wide, to, from, index, n, failed); return;
  case 8: gather_runs(g, 8, wide, to, from, index, n, failed); return;
  default: gather_runs(g, g->size, wide, to, from, index, n, failed);
  }
}

void IFD_K(ifd_move_gather)(const ifd_k_gather *g, void *to, const void *from, const void *index, int64_t n,
                            bool *failed) {
  if (g->wide)
    gather_sizes(g, true, to, from, index, n, failed);
  else
    gather_sizes(g, false, to, from, index, n, failed);
}
