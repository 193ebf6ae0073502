/* What infold asks of the operating system: files mapped to read, files opened without leaving a folder,
 * files replaced whole or not at all, memory, time. Paths are named in errors, which are IO when the system
 * refuses, BAD_FILE when infold does. */
#ifndef IFD_BASE_OS_H
#define IFD_BASE_OS_H

#include "base/status.h"

/* Bytes to read. `mapped` ones live until ifd_file_unmap; should another process shorten the file meanwhile,
 * reading past its new end ends the process (SIGBUS), as with any mapping. */
typedef struct ifd_file {
  const uint8_t *data; /* never NULL, not even for an empty file */
  size_t size;
  bool mapped;
} ifd_file;

/* Maps a regular file. Errors do not name it: callers do. */
ifd_status ifd_file_map(ifd_error *err, ifd_file *out, const char *path);
/* The same view over memory that the caller keeps. */
ifd_file ifd_file_from_memory(const void *p, size_t size);
/* Releases a mapping; twice is fine. */
void ifd_file_unmap(ifd_file *file);

/* Lets go of the whole pages within [p, p + len): those of a mapped file come back from it when they are read
 * again, those of other memory come back as zeros. */
void ifd_memory_let_go(const void *p, size_t len);

/* Opens the folder that `path`, a file, lies in; close it with ifd_folder_close. */
ifd_status ifd_folder_open(ifd_error *err, int *folder, const char *path);
/* -1 is fine. */
void ifd_folder_close(int folder);
/* Maps a regular file that `location` (len bytes, from a file, not trusted) names below an open folder.
 * Refused: absolute paths, components that are empty or "..", NUL, and, unless allow_links, symbolic links
 * anywhere on the way and files with several hard links. (ONNX ExternalData: location is a path relative to
 * the model's folder; CVE-2022-25882 and CVE-2024-27318 are what comes of trusting it.) */
ifd_status ifd_file_map_in(ifd_error *err, ifd_file *out, int folder, const char *location, size_t len,
                           bool allow_links);

/* Writes a file that appears under its name only when complete: bytes go to a temporary in the same folder,
 * commit syncs it, renames it over `path` and syncs the folder. An existing file's permissions are kept; a
 * symbolic link is written through; what exists and is not a regular file is refused. */
typedef struct ifd_writer ifd_writer;
ifd_status ifd_writer_begin(ifd_error *err, ifd_writer **out, const char *path);
/* Buffered. After a failure only abort makes sense. */
ifd_status ifd_writer_append(ifd_error *err, ifd_writer *writer, const void *p, size_t len);
/* Bytes appended so far. */
size_t ifd_writer_size(const ifd_writer *writer);
/* Destroys the writer; when it fails the old file is untouched and the temporary gone. */
ifd_status ifd_writer_commit(ifd_error *err, ifd_writer *writer);
/* Destroys the writer and its temporary; NULL is fine. */
void ifd_writer_abort(ifd_writer *writer);
/* All of it at once. */
ifd_status ifd_file_replace(ifd_error *err, const char *path, const void *p, size_t len);

/* Asks for large pages of memory that will be used for long: the whole pages of IFD_LARGE_PAGE bytes of
 * [p, p + size), where p is aligned to one. Only time depends on whether the system gives them. */
enum { IFD_LARGE_PAGE = 1 << 21 };
void ifd_memory_prefer_large_pages(void *p, size_t size);
/* Asks for pages that are about to be written, all at once instead of one by one. */
void ifd_memory_populate(void *p, size_t size);

/* Bytes that this process can hold: the machine's memory, or less where its control group or its limits say
 * so. */
size_t ifd_memory_size(void);

/* Zeroed memory that the system may put on disk when it needs room: mapped from a file without a name in
 * $TMPDIR or /var/tmp, whose space is taken at once; where there is none, plain memory. NULL when there is
 * none of that either. */
void *ifd_scratch_map(size_t size);
void ifd_scratch_unmap(void *p, size_t size);

/* Seconds of a clock that only goes forward. */
double ifd_now(void);

#endif
