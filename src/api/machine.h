/* What this machine can do at most, measured. */
#ifndef IFD_API_MACHINE_H
#define IFD_API_MACHINE_H

#include "base/cpu.h"
#include "base/thread.h"

typedef struct ifd_machine {
  double macs;  /* fused multiply-adds of float32 a second, by all threads */
  double bytes; /* read a second, from 64 MB that were written before: from memory, or the last cache where it
                   is that large; 0: there was no room for them */
} ifd_machine;

/* By the threads of a pool (NULL: the caller) with the vectors of an ISA: the best of short tries, in some
 * tens of milliseconds. It is what the clock allows just then: heat, other work and wide vectors lower it, by
 * a fifth or more on many machines, and short runs may be above it. */
ifd_machine ifd_machine_measure(ifd_pool *pool, ifd_isa isa);

#endif
