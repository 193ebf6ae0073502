#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/cgroup.h"

double ifd_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of the pages that lie wholly in these bytes. */
static void advise_pages(const void *p, size_t size, int advice) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)p + page - 1) / page * page,
            to = ((uintptr_t)p + size) / page * page;
  int reason = errno;
  if (from < to) madvise((void *)from, to - from, advice);
  errno = reason;
}

void ifd_memory_prefer_large_pages(void *p, size_t size) {
#ifdef MADV_HUGEPAGE
  int reason = errno;
  madvise(p, size / IFD_LARGE_PAGE * IFD_LARGE_PAGE, MADV_HUGEPAGE);
  errno = reason;
#else
  (void)p, (void)size;
#endif
}

void ifd_memory_populate(void *p, size_t size) {
#ifdef MADV_POPULATE_WRITE
  enum { WORTH_IT = 1 << 16 };
  if (size >= WORTH_IT) advise_pages(p, size, MADV_POPULATE_WRITE);
#else
  (void)p, (void)size;
#endif
}

size_t ifd_memory_size(void) {
  size_t limit = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
  double group = ifd_cgroup_memory(&ifd_system_texts);
  struct rlimit address;
  if (group < (double)limit) limit = (size_t)group;
  if (getrlimit(RLIMIT_AS, &address) == 0 && address.rlim_cur < limit) limit = address.rlim_cur;
  return limit;
}

/* ---- reading ---- */

ifd_file ifd_file_from_memory(const void *p, size_t size) {
  return (ifd_file){.data = size ? p : (const void *)"", .size = size};
}

void ifd_file_unmap(ifd_file *file) {
  if (file->mapped) munmap((void *)(uintptr_t)file->data, file->size);
  *file = ifd_file_from_memory(NULL, 0);
}

void ifd_memory_let_go(const void *p, size_t len) { advise_pages(p, len, MADV_DONTNEED); }

static ifd_status check_regular(ifd_error *err, int fd, struct stat *st) {
  if (fstat(fd, st)) FAIL(err, IO, "%m");
  EXPECT(err, S_ISREG(st->st_mode), BAD_FILE, "not a regular file");
  return IFD_OK;
}

static ifd_status map_open(ifd_error *err, ifd_file *out, int fd, size_t size) {
  *out = ifd_file_from_memory(NULL, 0);
  if (!size) return IFD_OK;
  void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) FAIL(err, IO, "its %zu bytes cannot be mapped: %m", size);
  madvise(p, size, MADV_WILLNEED);
  *out = (ifd_file){.data = p, .size = size, .mapped = true};
  return IFD_OK;
}

/* O_NONBLOCK: a pipe is refused, not waited for. */
enum { READ_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

ifd_status ifd_file_map(ifd_error *err, ifd_file *out, const char *path) {
  struct stat st;
  int fd = open(path, READ_FLAGS);
  if (fd < 0) FAIL(err, IO, "%m");
  ifd_status status = check_regular(err, fd, &st);
  if (status == IFD_OK) status = map_open(err, out, fd, (size_t)st.st_size);
  close(fd);
  return status;
}

/* ---- reading below a folder ---- */

/* "a/b" is folder "a" and name "b"; "b" is in "."; "/b" in "/". */
static const char *split_path(const char *path, char *folder, size_t size) {
  const char *slash = strrchr(path, '/');
  size_t len = slash ? (size_t)(slash - path) : 0;
  if (len >= size) return NULL;
  memcpy(folder, path, len);
  folder[len] = 0;
  if (!len) strcpy(folder, slash ? "/" : ".");
  return slash ? slash + 1 : path;
}

ifd_status ifd_folder_open(ifd_error *err, int *folder, const char *path) {
  char name[PATH_MAX];
  EXPECT(err, split_path(path, name, sizeof name), IO, "the path '%s' is too long", path);
  *folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*folder < 0) FAIL(err, IO, "cannot open the folder of '%s': %m", path);
  return IFD_OK;
}

void ifd_folder_close(int folder) {
  if (folder >= 0) close(folder);
}

static ifd_status copy_location(ifd_error *err, char copy[PATH_MAX], const char *location, size_t len) {
  EXPECT(err, len > 0, BAD_FILE, "the location is empty");
  EXPECT(err, len < PATH_MAX, BAD_FILE, "the location is %zu bytes long, more than a path can be", len);
  EXPECT(err, !memchr(location, 0, len), BAD_FILE, "the location contains a NUL byte");
  EXPECT(err, location[0] != '/', BAD_FILE,
         "the location '%.*s' is absolute; it must be relative to the model", (int)len, location);
  memcpy(copy, location, len);
  copy[len] = 0;
  return IFD_OK;
}

static ifd_status refused_link(ifd_error *err, const char *location, const char *what) {
  FAIL(err, BAD_FILE, "'%s' %s, which could lead out of the model's folder (--allow-links permits it)",
       location, what);
}

/* Opens one component below *fd and puts it in its place. */
static ifd_status step(ifd_error *err, int *fd, const char *name, bool is_last, bool allow_links,
                       const char *location) {
  EXPECT(err, name[0] && strcmp(name, "..") != 0, BAD_FILE, "the location '%s' has a component '%s'",
         location, name);
  int flags = READ_FLAGS | (is_last ? 0 : O_DIRECTORY) | (allow_links ? 0 : O_NOFOLLOW);
  int next = openat(*fd, name, flags);
  if (next < 0) {
    int reason = errno;
    struct stat st;
    if (!allow_links && fstatat(*fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
      return refused_link(err, location, "is reached through a symbolic link");
    errno = reason;
    FAIL(err, IO, "cannot open '%s' in the model's folder: %m", location);
  }
  close(*fd);
  *fd = next;
  return IFD_OK;
}

/* Opens component after component, so that nothing can be swapped between a check and its use. */
static ifd_status walk(ifd_error *err, int *fd, const char *location, bool allow_links) {
  char copy[PATH_MAX];
  strcpy(copy, location);
  for (char *name = copy, *slash; name; name = slash) {
    if ((slash = strchr(name, '/'))) *slash++ = 0;
    TRY(step(err, fd, name, !slash, allow_links, location));
  }
  return IFD_OK;
}

static ifd_status map_below(ifd_error *err, ifd_file *out, int *fd, const char *location, bool allow_links) {
  struct stat st;
  TRY(walk(err, fd, location, allow_links));
  ifd_status status = check_regular(err, *fd, &st);
  if (status == IFD_OK && st.st_nlink > 1 && !allow_links)
    return refused_link(err, location, "has several hard links");
  if (status == IFD_OK) status = map_open(err, out, *fd, (size_t)st.st_size);
  if (status != IFD_OK) ifd_error_add(err, "'%s'", location);
  return status;
}

ifd_status ifd_file_map_in(ifd_error *err, ifd_file *out, int folder, const char *location, size_t len,
                           bool allow_links) {
  char copy[PATH_MAX];
  TRY(copy_location(err, copy, location, len));
  int fd = fcntl(folder, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) FAIL(err, IO, "cannot open '%s' in the model's folder: %m", copy);
  ifd_status status = map_below(err, out, &fd, copy, allow_links);
  close(fd);
  return status;
}

/* ---- writing ---- */

enum { BUFFER = 1 << 16 };

struct ifd_writer {
  int folder, fd;
  size_t size, n_buffered;
  char path[PATH_MAX];
  char temporary[64];
  const char *name; /* in path */
  char buffer[BUFFER];
};

static void destroy(ifd_writer *w) {
  if (w->fd >= 0) close(w->fd);
  if (w->temporary[0]) unlinkat(w->folder, w->temporary, 0);
  if (w->folder >= 0) close(w->folder);
  ifd_budget_free(NULL, w, sizeof *w);
}

void ifd_writer_abort(ifd_writer *w) {
  if (w) destroy(w);
}

/* Follows a link to what it names, which is then replaced in its own folder; *mode is what a file there
 * has. */
static ifd_status resolve(ifd_error *err, ifd_writer *w, const char *path, mode_t *mode) {
  struct stat st;
  EXPECT(err, strlen(path) < sizeof w->path, IO, "the path '%s' is too long", path);
  strcpy(w->path, path);
  *mode = 0;
  if (stat(path, &st)) {
    if (errno != ENOENT) FAIL(err, IO, "cannot write '%s': %m", path);
  } else {
    EXPECT(err, S_ISREG(st.st_mode), IO, "cannot write '%s': it is not a regular file", path);
    if (!realpath(path, w->path)) FAIL(err, IO, "cannot write '%s': %m", path);
    *mode = st.st_mode & 07777;
  }
  return IFD_OK;
}

static ifd_status create_temporary(ifd_error *err, ifd_writer *w) {
  for (int i = 0; i < 1000 && w->fd < 0; i++) {
    long long stamp = (long long)(ifd_now() * 1e9) + i;
    snprintf(w->temporary, sizeof w->temporary, ".infold-%ld-%llx.tmp", (long)getpid(), stamp);
    w->fd = openat(w->folder, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (w->fd < 0 && errno != EEXIST) break;
  }
  if (w->fd < 0) {
    w->temporary[0] = 0;
    FAIL(err, IO, "cannot create a file in the folder of '%s': %m", w->path);
  }
  return IFD_OK;
}

static ifd_status begin(ifd_error *err, ifd_writer *w, const char *path) {
  char folder[PATH_MAX];
  mode_t mode;
  TRY(resolve(err, w, path, &mode));
  w->name = split_path(w->path, folder, sizeof folder);
  EXPECT(err, w->name && w->name[0], IO, "cannot write '%s': it names no file", path);
  TRY(ifd_folder_open(err, &w->folder, w->path));
  TRY(create_temporary(err, w));
  if (mode && fchmod(w->fd, mode)) FAIL(err, IO, "cannot set the permissions of '%s': %m", path);
  return IFD_OK;
}

ifd_status ifd_writer_begin(ifd_error *err, ifd_writer **out, const char *path) {
  ifd_writer *w;
  ALLOC(err, w, ifd_budget_alloc(NULL, sizeof *w));
  w->folder = w->fd = -1;
  w->size = w->n_buffered = 0;
  w->temporary[0] = 0;
  ifd_status status = begin(err, w, path);
  if (status == IFD_OK)
    *out = w;
  else
    destroy(w);
  return status;
}

static ifd_status write_all(ifd_error *err, ifd_writer *w, const char *p, size_t len) {
  while (len) {
    ssize_t n = write(w->fd, p, len < (1u << 30) ? len : 1u << 30);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) FAIL(err, IO, "cannot write '%s': %m", w->path);
    p += n;
    len -= (size_t)n;
  }
  return IFD_OK;
}

static ifd_status flush(ifd_error *err, ifd_writer *w) {
  size_t n = w->n_buffered;
  w->n_buffered = 0;
  return write_all(err, w, w->buffer, n);
}

ifd_status ifd_writer_append(ifd_error *err, ifd_writer *w, const void *p, size_t len) {
  if (len > BUFFER - w->n_buffered) TRY(flush(err, w));
  if (len >= BUFFER) {
    TRY(write_all(err, w, p, len));
  } else if (len) {
    memcpy(w->buffer + w->n_buffered, p, len);
    w->n_buffered += len;
  }
  w->size += len;
  return IFD_OK;
}

size_t ifd_writer_size(const ifd_writer *w) { return w->size; }

static ifd_status publish(ifd_error *err, ifd_writer *w) {
  TRY(flush(err, w));
  if (fsync(w->fd)) FAIL(err, IO, "cannot write '%s': %m", w->path);
  int fd = w->fd;
  w->fd = -1;
  if (close(fd)) FAIL(err, IO, "cannot write '%s': %m", w->path);
  if (renameat(w->folder, w->temporary, w->folder, w->name))
    FAIL(err, IO, "cannot replace '%s': %m", w->path);
  w->temporary[0] = 0;
  /* Some file systems cannot sync a folder and say EINVAL; then the rename is as durable as they make it. */
  if (fsync(w->folder) && errno != EINVAL) FAIL(err, IO, "cannot sync the folder of '%s': %m", w->path);
  return IFD_OK;
}

ifd_status ifd_writer_commit(ifd_error *err, ifd_writer *w) {
  ifd_status status = publish(err, w);
  destroy(w);
  return status;
}

ifd_status ifd_file_replace(ifd_error *err, const char *path, const void *p, size_t len) {
  ifd_writer *w = NULL;
  TRY(ifd_writer_begin(err, &w, path));
  ifd_status status = ifd_writer_append(err, w, p, len);
  if (status == IFD_OK) return ifd_writer_commit(err, w);
  ifd_writer_abort(w);
  return status;
}

/* ---- scratch ---- */

/* Writing into a hole of a file that the disk has no room for would end the process (SIGBUS). */
static int open_scratch(size_t size) {
  const char *folder = getenv("TMPDIR");
  int fd = size > INT64_MAX
               ? -1
               : open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 || posix_fallocate(fd, 0, (off_t)size) == 0) return fd;
  close(fd);
  return -1;
}

void *ifd_scratch_map(size_t size) {
  int fd = open_scratch(size), flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (fd >= 0) close(fd);
  return p == MAP_FAILED ? NULL : p;
}

void ifd_scratch_unmap(void *p, size_t size) { munmap(p, size); }
