/* Denormal numbers as zeros, on this thread, read and written: where a processor meets one, an instruction
 * takes some 150 cycles instead of 4. */
#ifndef IFD_BASE_DENORMAL_H
#define IFD_BASE_DENORMAL_H

#include <stdint.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

/* What the thread did before, for ifd_denormal_restore. */
typedef uint64_t ifd_denormal_mode;

#if defined __SSE__
enum { IFD_MXCSR_FLUSH = 0x8040 }; /* FTZ and DAZ */
static inline ifd_denormal_mode ifd_denormal_flush(void) {
  unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | IFD_MXCSR_FLUSH);
  return mode;
}
static inline void ifd_denormal_restore(ifd_denormal_mode mode) { _mm_setcsr((unsigned)mode); }
#elif defined __aarch64__
enum { IFD_FPCR_FLUSH = 1 << 24 }; /* FZ */
static inline ifd_denormal_mode ifd_denormal_flush(void) {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  __asm__ volatile("msr fpcr, %0" : : "r"(mode | IFD_FPCR_FLUSH));
  return mode;
}
static inline void ifd_denormal_restore(ifd_denormal_mode mode) {
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#else
static inline ifd_denormal_mode ifd_denormal_flush(void) { return 0; }
static inline void ifd_denormal_restore(ifd_denormal_mode mode) { (void)mode; }
#endif

#endif
