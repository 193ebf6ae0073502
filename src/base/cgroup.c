#include "base/cgroup.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"
enum { PATH = 4096, TEXT = 128 };

static bool read_file(void *context, const char *path, char *text, size_t size) {
  (void)context;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t len = 0;
  for (ssize_t n; (n = read(fd, text + len, size - 1 - len)) > 0;) len += (size_t)n;
  text[len] = 0;
  close(fd);
  return true;
}

const ifd_texts ifd_system_texts = {.read = read_file};

/* ---- one group ---- */

static bool read_in(const ifd_texts *t, const char *folder, const char *name, char text[TEXT]) {
  char path[PATH + TEXT];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return t->read(t->context, path, text, TEXT);
}

/* The number that a file begins with; -1 for "max", other words and no file. */
static double number_in(const ifd_texts *t, const char *folder, const char *name) {
  char text[TEXT];
  unsigned long long n;
  return read_in(t, folder, name, text) && *text != '-' && sscanf(text, "%llu", &n) == 1 ? (double)n : -1;
}

static double share(double quota, double period) {
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

/* "QUOTA PERIOD" or "max PERIOD" */
static double cpus_2(const ifd_texts *t, const char *folder) {
  char text[TEXT];
  unsigned long long quota, period;
  if (!read_in(t, folder, "cpu.max", text) || sscanf(text, "%llu %llu", &quota, &period) != 2)
    return INFINITY;
  return share((double)quota, (double)period);
}
static double cpus_1(const ifd_texts *t, const char *folder) {
  return share(number_in(t, folder, "cpu.cfs_quota_us"), number_in(t, folder, "cpu.cfs_period_us"));
}

static double memory_2(const ifd_texts *t, const char *folder) {
  double n = number_in(t, folder, "memory.max");
  return n < 0 ? INFINITY : n;
}
static double memory_1(const ifd_texts *t, const char *folder) {
  double n = number_in(t, folder, "memory.limit_in_bytes");
  return n < 0 || n >= 0x1p62 ? INFINITY : n; /* none is the largest whole number of pages */
}

/* ---- all groups ---- */

/* A hierarchy of groups: of version 2, which has no name, or of a controller of version 1. */
typedef struct hierarchy {
  const char *controller, *mount;
  double (*limit)(const ifd_texts *t, const char *folder);
} hierarchy;

static bool lists(const char *controllers, size_t len, const char *name) {
  size_t n = strlen(name);
  for (const char *p = controllers, *end = p + len; p <= end;) {
    const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
    if ((size_t)(stop - p) == n && memcmp(p, name, n) == 0) return true;
    p = stop + 1;
  }
  return false;
}

/* The path of "ID:CONTROLLERS:PATH" for a controller, from /proc/self/cgroup; "" where there is none. */
static void find_path(const char *groups, const char *controller, char path[PATH]) {
  *path = 0;
  for (const char *line = groups, *next; *line; line = next) {
    const char *end = strchr(line, '\n');
    if (!end) end = line + strlen(line);
    next = *end ? end + 1 : end;
    const char *names = memchr(line, ':', (size_t)(end - line));
    const char *at = names ? memchr(names + 1, ':', (size_t)(end - names - 1)) : NULL;
    if (!at || !lists(names + 1, (size_t)(at - names - 1), controller)) continue;
    if ((size_t)(end - at) <= PATH) snprintf(path, PATH, "%.*s", (int)(end - at - 1), at + 1);
    return;
  }
}

/* The least limit of the group and of those around it. A path that leads out of what is mounted ("/..") says
 * nothing but that. */
static double least(const ifd_texts *t, const hierarchy *h, const char *groups) {
  char path[PATH], folder[PATH + TEXT];
  double limit = INFINITY;
  find_path(groups, h->controller, path);
  if (*path != '/' || strstr(path, "/..")) *path = 0;
  for (;;) {
    snprintf(folder, sizeof folder, "%s%s", h->mount, path);
    limit = fmin(limit, h->limit(t, folder));
    char *slash = strrchr(path, '/');
    if (!slash) return limit;
    *slash = 0;
  }
}

static double least_of(const ifd_texts *t, const hierarchy *two) {
  char groups[2 * PATH] = "";
  if (!t->read(t->context, "/proc/self/cgroup", groups, sizeof groups)) *groups = 0;
  return fmin(least(t, &two[0], groups), least(t, &two[1], groups));
}

double ifd_cgroup_cpus(const ifd_texts *texts) {
  static const hierarchy both[] = {{"", ROOT, cpus_2}, {"cpu", ROOT "/cpu", cpus_1}};
  return least_of(texts, both);
}

double ifd_cgroup_memory(const ifd_texts *texts) {
  static const hierarchy both[] = {{"", ROOT, memory_2}, {"memory", ROOT "/memory", memory_1}};
  return least_of(texts, both);
}
