/* Control groups from the texts of other systems. */
#include "base/cgroup.h"
#include "base/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { FILES = 8 };

typedef struct file {
  const char *path, *text;
} file;

typedef struct machine {
  const char *what;
  double cpus, memory;
  file files[FILES];
} machine;

#define GROUPS "/proc/self/cgroup"
#define AT     "/sys/fs/cgroup"

static const machine machines[] = {
    {"no control groups", INFINITY, INFINITY, {{NULL, NULL}}},
    {"version 2, no limit",
     INFINITY,
     INFINITY,
     {{GROUPS, "0::/\n"}, {AT "/cpu.max", "max 100000\n"}, {AT "/memory.max", "max\n"}}},
    {"version 2 in a container",
     2,
     1 << 30,
     {{GROUPS, "0::/\n"}, {AT "/cpu.max", "200000 100000\n"}, {AT "/memory.max", "1073741824\n"}}},
    {"a fraction", 0.5, INFINITY, {{GROUPS, "0::/\n"}, {AT "/cpu.max", "25000 50000\n"}}},
    {"nested, the outer group has less",
     1.5,
     4096,
     {{GROUPS, "0::/user.slice/job\n"},
      {AT "/user.slice/job/cpu.max", "400000 100000\n"},
      {AT "/user.slice/cpu.max", "150000 100000\n"},
      {AT "/user.slice/job/memory.max", "4096\n"},
      {AT "/user.slice/memory.max", "max\n"}}},
    {"a path that is not mounted: the root is ours",
     3,
     INFINITY,
     {{GROUPS, "0::/docker/0123\n"}, {AT "/cpu.max", "300000 100000\n"}}},
    {"a path that leads out", 3, INFINITY, {{GROUPS, "0::/../job\n"}, {AT "/cpu.max", "300000 100000\n"}}},
    {"version 1, nested",
     1.25,
     1 << 20,
     {{GROUPS, "5:memory:/job/1\n4:cpu,cpuacct:/job/1\n1:name=systemd:/x\n0::/\n"},
      {AT "/cpu/job/1/cpu.cfs_quota_us", "125000\n"},
      {AT "/cpu/job/1/cpu.cfs_period_us", "100000\n"},
      {AT "/cpu/cpu.cfs_quota_us", "-1\n"},
      {AT "/cpu/cpu.cfs_period_us", "100000\n"},
      {AT "/memory/job/1/memory.limit_in_bytes", "1048576\n"},
      {AT "/memory/memory.limit_in_bytes", "9223372036854771712\n"}}},
    {"version 1 in a container, no list of groups",
     4,
     INFINITY,
     {{AT "/cpu/cpu.cfs_quota_us", "400000\n"},
      {AT "/cpu/cpu.cfs_period_us", "100000\n"},
      {AT "/memory/memory.limit_in_bytes", "9223372036854771712\n"}}},
    {"cpuset is not cpu",
     INFINITY,
     INFINITY,
     {{GROUPS, "3:cpuset,cpuacct:/a\n"}, {AT "/cpu/a/cpu.cfs_quota_us", "100000\n"}}},
    {"nonsense",
     INFINITY,
     INFINITY,
     {{GROUPS, "::\n0\n\n0::x"}, {AT "/cpu.max", "-1 0\n"}, {AT "/memory.max", ""}}},
    {"a quota over no time", INFINITY, INFINITY, {{GROUPS, "0::/\n"}, {AT "/cpu.max", "100000 0\n"}}},
};

static bool read_text(void *context, const char *path, char *text, size_t size) {
  const machine *m = context;
  for (int i = 0; i < FILES && m->files[i].path; i++)
    if (strcmp(m->files[i].path, path) == 0) return snprintf(text, size, "%s", m->files[i].text) >= 0;
  return false;
}

static void limits(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
    const machine *m = &machines[i];
    ifd_texts texts = {read_text, (void *)(uintptr_t)m};
    double cpus = ifd_cgroup_cpus(&texts), memory = ifd_cgroup_memory(&texts);
    if (cpus != m->cpus || memory != m->memory) fail_msg("%s: %g cpus, %g bytes", m->what, cpus, memory);
  }
}

static void a_long_path_is_no_limit(void **state) {
  (void)state;
  char groups[8192] = "0::";
  memset(groups + 3, '/', sizeof groups - 4);
  machine m = {.files = {{GROUPS, groups}, {AT "/cpu.max", "200000 100000\n"}}};
  assert_true(ifd_cgroup_cpus(&(ifd_texts){read_text, &m}) == 2);
}

static void quotas_are_rounded(void **state) {
  (void)state;
  assert_int_equal(ifd_cpus_within(8, INFINITY), 8);
  assert_int_equal(ifd_cpus_within(8, 2), 2);
  assert_int_equal(ifd_cpus_within(8, 1.5), 2);
  assert_int_equal(ifd_cpus_within(8, 1.4), 1);
  assert_int_equal(ifd_cpus_within(8, 0.1), 1);
  assert_int_equal(ifd_cpus_within(2, 16), 2);
  assert_int_equal(ifd_cpus_within(0, INFINITY), 1);
}

static void this_machine_has_some(void **state) {
  (void)state;
  assert_true(ifd_cgroup_cpus(&ifd_system_texts) > 0);
  assert_true(ifd_cgroup_memory(&ifd_system_texts) > 0);
  assert_true(ifd_cpu_count() >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(limits), cmocka_unit_test(a_long_path_is_no_limit),
                                     cmocka_unit_test(quotas_are_rounded),
                                     cmocka_unit_test(this_machine_has_some)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
