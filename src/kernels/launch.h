/* What an operator's `lower` hands to the executor: kernels, their frozen parameters and how the work splits
 * into tasks. A launch calls run(params, args, task) once for each task in [0, n_tasks), in any order, on any
 * thread: tasks of a launch write disjoint memory and no result depends on the split. Launches of a work run
 * one after another. */
#ifndef IFD_KERNELS_LAUNCH_H
#define IFD_KERNELS_LAUNCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Channels that lie side by side in blocked images: the lanes of a vector, on every ISA. */
enum { IFD_BLOCK = 16 };

typedef struct ifd_args {
  const void *const *in; /* data of each input of the node; NULL where absent */
  void *const *out;      /* data of each output; NULL where not asked for */
  void *scratch;         /* launch.scratch bytes for this worker alone, 64-aligned, not zeroed */
  void *shared;          /* work.shared bytes that the launches of one work hand on to each other */
  atomic_int *failed;    /* set to 1 by a kernel that meets data it must refuse; the reference evaluation then
                            says why */
} ifd_args;

typedef void (*ifd_kernel)(const void *params, const ifd_args *args, int task);

typedef struct ifd_launch {
  ifd_kernel run;
  const void *params; /* lives as long as the plan */
  int n_tasks;
  size_t scratch; /* bytes for each worker */
} ifd_launch;

/* How many tasks some work is worth, of which one should be about `task`: enough for many threads, no more, a
 * power of two, which two, four or eight share alike. */
static inline int64_t ifd_tasks_worth(double work, double task) {
  enum { MOST = 16 };
  int64_t n = 1;
  while (n < MOST && work >= task * 2 * (double)n) n *= 2;
  return n;
}

/* How a constant becomes what kernels read: pack makes share `share` of n_shares of it, which are disjoint
 * and together all of it, in any order, on any thread. Elements of `from` lie at any address. */
typedef struct ifd_packing {
  void (*pack)(void *to, const void *from, const void *params, int share, int n_shares);
  const void *params; /* a key, with no byte left undefined */
  size_t params_size;
  size_t bytes;     /* of the result */
  bool takes_splat; /* the params know that `from` is one element, for all */
  bool any_shape;   /* the form follows from the constant alone, not from the shapes that it meets */
} ifd_packing;

/* What share `share` of n_shares takes of n items: [*begin, *end). */
static inline void ifd_packing_share(int64_t n, int share, int n_shares, int64_t *begin, int64_t *end) {
  *begin = n / n_shares * share + n % n_shares * share / n_shares;
  *end = n / n_shares * (share + 1) + n % n_shares * (share + 1) / n_shares;
}

enum { IFD_MAX_LAUNCHES = 4 };

/* Bytes side by side that a work copies from an input to an output. */
typedef struct ifd_span {
  int in, out; /* operands */
  size_t in_at, out_at, bytes;
} ifd_span;

typedef struct ifd_work {
  int n_launches; /* 0: nothing lowered, the node is evaluated */
  ifd_launch launches[IFD_MAX_LAUNCHES];
  size_t shared;
  int in_place; /* 1 + index of an input whose memory output 0 may take over, or 0 */
  int n_spans; /* what it copies so, in any order; the kernels leave out those that the plan has put in place,
                  whose two sides are the same memory */
  const ifd_span *spans;
  bool only_spans;       /* it does nothing else */
  unsigned unread;       /* bit i: the kernels do not read input i (its packed form is in the parameters), nor
                            does anyone: they must not fail */
  unsigned anywhere;     /* bit i: the kernels read input i at any address, aligned or not */
  bool flushes;          /* the kernels run with denormal numbers as zeros (base/denormal.h) */
  const char *algorithm; /* for the profile: "gemm", "winograd 4x4" … */
} ifd_work;

#endif
