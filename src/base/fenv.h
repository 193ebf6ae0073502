/* The default floating-point environment for some time. Most callers have it already: on x86 two control
 * words tell, and the flags go back with one of them (nothing here computes on the x87), where fegetenv and
 * fesetenv take as long as a small layer. */
#ifndef IFD_BASE_FENV_H
#define IFD_BASE_FENV_H

#include <fenv.h>
#include <stdbool.h>

typedef struct ifd_fenv {
  bool is_default; /* but for flags */
  unsigned flags;
  fenv_t whole; /* where it is not */
} ifd_fenv;

#if defined(__x86_64__)
#include <xmmintrin.h>
static inline bool ifd_fenv_is_default(unsigned *flags) {
  enum { X87 = 0x37f, SSE = 0x1f80, FLAGS = 0x3f };
  unsigned short x87;
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  *flags = _mm_getcsr();
  return x87 == X87 && (*flags & ~(unsigned)FLAGS) == SSE;
}
static inline void ifd_fenv_set_flags(unsigned flags) { _mm_setcsr(flags); }
#else
static inline bool ifd_fenv_is_default(unsigned *flags) { return (void)flags, false; }
static inline void ifd_fenv_set_flags(unsigned flags) { (void)flags; }
#endif

/* Enters it; ifd_fenv_leave gives the environment before back, flags included. */
static inline ifd_fenv ifd_fenv_enter(void) {
  ifd_fenv before;
  before.is_default = ifd_fenv_is_default(&before.flags);
  if (before.is_default) return before;
  fegetenv(&before.whole);
  fesetenv(FE_DFL_ENV);
  return before;
}
static inline void ifd_fenv_leave(const ifd_fenv *before) {
  if (before->is_default)
    ifd_fenv_set_flags(before->flags);
  else
    fesetenv(&before->whole);
}

#endif
