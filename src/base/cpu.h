/* What the processor can do, and how many of them this process may use. */
#ifndef IFD_BASE_CPU_H
#define IFD_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>

/* Kernels exist for these; a later one is preferred. */
typedef enum ifd_isa { IFD_ISA_REF, IFD_ISA_AVX2, IFD_ISA_AVX512, IFD_N_ISAS } ifd_isa;

/* The best ISA of this machine, or a lesser one that INFOLD_CPU=ref|avx2|avx512 names. */
ifd_isa ifd_cpu_isa(void);
/* The same, and not above the one named (NULL: no bound). */
ifd_isa ifd_cpu_isa_at_most(const char *name);
/* Whether a name, or NULL, is one that a bound may have. */
bool ifd_isa_is(const char *name);
const char *ifd_isa_name(ifd_isa isa);
/* How bytes are multiplied and summed by fours. All give the same integers: the ISA's ordinary instructions,
 * its dot product (AVX512_VNNI, AVX_VNNI), tiles (AMX_INT8). */
typedef enum ifd_dot { IFD_DOT_PLAIN, IFD_DOT_VNNI, IFD_DOT_AMX, IFD_N_DOTS } ifd_dot;

/* The best one that this machine has beside the ISA, or a lesser one that INFOLD_DOT=plain|vnni names; tiles
 * are asked of the kernel for the whole process. */
ifd_dot ifd_cpu_dot(ifd_isa isa);
/* Bytes that a core finds near at hand (L2), and farther off but before memory: what it may expect of a last
 * level that others use too. INFOLD_CACHE=BYTES takes both to be that large. Where the system does not tell,
 * usual sizes. */
typedef struct ifd_caches {
  size_t near, far;
} ifd_caches;
ifd_caches ifd_cpu_caches(void);

/* Processors that this process may run on: the smaller of its affinity mask, which a cpuset narrows, and its
 * cgroup's quota (cgroup.h), at least 1. */
int ifd_cpu_count(void);
/* The same of n and a quota, which is rounded. */
int ifd_cpus_within(int n, double quota);

#endif
