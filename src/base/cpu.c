#include "base/cpu.h"

#include "base/cgroup.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef IFD_X86
#include <sys/syscall.h>
#endif

static const char *const names[IFD_N_ISAS] = {"ref", "avx2", "avx512"};

const char *ifd_isa_name(ifd_isa isa) { return names[isa]; }

bool ifd_isa_is(const char *name) {
  for (int i = 0; name && i < IFD_N_ISAS; i++)
    if (strcmp(name, names[i]) == 0) return true;
  return !name;
}

static ifd_isa best_isa(void) {
#ifdef IFD_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return IFD_ISA_REF;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return IFD_ISA_AVX512;
  return IFD_ISA_AVX2;
#else
  return IFD_ISA_REF;
#endif
}

/* The place of a name among the first ones, else `best`. */
static int at_most(int best, const char *const *among, const char *name) {
  for (int i = 0; name && i < best; i++)
    if (strcmp(name, among[i]) == 0) return i;
  return best;
}

ifd_isa ifd_cpu_isa(void) { return (ifd_isa)at_most(best_isa(), names, getenv("INFOLD_CPU")); }
ifd_isa ifd_cpu_isa_at_most(const char *name) { return (ifd_isa)at_most(ifd_cpu_isa(), names, name); }

/* Linux gives a process tiles when it asks for them. */
static bool has_tiles(void) {
#ifdef IFD_X86
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-int8")) return false;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}

static ifd_dot best_dot(ifd_isa isa) {
#ifdef IFD_X86
  __builtin_cpu_init();
  if (isa == IFD_ISA_AVX512 && __builtin_cpu_supports("avx512vnni"))
    return has_tiles() ? IFD_DOT_AMX : IFD_DOT_VNNI;
  if (isa == IFD_ISA_AVX2 && __builtin_cpu_supports("avxvnni")) return IFD_DOT_VNNI;
#endif
  (void)isa;
  return IFD_DOT_PLAIN;
}

ifd_dot ifd_cpu_dot(ifd_isa isa) {
  static const char *const dots[IFD_N_DOTS] = {"plain", "vnni", "amx"};
  return (ifd_dot)at_most(best_dot(isa), dots, getenv("INFOLD_DOT"));
}

ifd_caches ifd_cpu_caches(void) {
  enum { USUAL_NEAR = 1 << 20, USUAL_FAR = 8 << 20, MOST_FAR = 32 << 20 };
  const char *given = getenv("INFOLD_CACHE");
  size_t asked = given ? (size_t)strtoull(given, NULL, 10) : 0;
  if (asked) return (ifd_caches){asked, asked};
  long near = sysconf(_SC_LEVEL2_CACHE_SIZE), far = sysconf(_SC_LEVEL3_CACHE_SIZE);
  ifd_caches c = {near > 0 ? (size_t)near : USUAL_NEAR, far > 0 ? (size_t)far : USUAL_FAR};
  if (c.far > MOST_FAR) c.far = MOST_FAR;
  if (c.far < c.near) c.far = c.near;
  return c;
}

int ifd_cpus_within(int n, double quota) {
  if (quota < n) n = (int)(quota + 0.5);
  return n < 1 ? 1 : n;
}

int ifd_cpu_count(void) {
  cpu_set_t *set = CPU_ALLOC(4096);
  if (!set) return 1;
  int n = sched_getaffinity(0, CPU_ALLOC_SIZE(4096), set) == 0 ? CPU_COUNT_S(CPU_ALLOC_SIZE(4096), set) : 1;
  CPU_FREE(set);
  return ifd_cpus_within(n, ifd_cgroup_cpus(&ifd_system_texts));
}
