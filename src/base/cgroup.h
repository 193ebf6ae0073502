/* What Linux control groups, of either version, let this process have. A group's limits hold for all groups
 * within it, so that the least from the process's own group up to the root counts; where the path that the
 * kernel names is not mounted, as in a container, the root is the container's own. The files are read through
 * a function, so that any system's can be given. */
#ifndef IFD_BASE_CGROUP_H
#define IFD_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ifd_texts {
  /* The file's text, or as much of it as fits in `size` with its ending 0; false where there is none. */
  bool (*read)(void *context, const char *path, char *text, size_t size);
  void *context;
} ifd_texts;

/* Of this machine. */
extern const ifd_texts ifd_system_texts;

/* Processors' worth of time, a fraction at times; INFINITY: no limit. */
double ifd_cgroup_cpus(const ifd_texts *texts);
/* Bytes of memory; INFINITY: no limit. */
double ifd_cgroup_memory(const ifd_texts *texts);

#endif
