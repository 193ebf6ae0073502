#include "io/npz.h"

#include <limits.h>
#include <string.h>
#include <zip.h>

#include "base/map.h"
#include "base/os.h"
#include "base/vec.h"
#include "io/file.h"
#include "io/npy.h"

typedef struct member {
  const char *name; /* without ".npy" */
  zip_uint64_t index, size;
} member;

struct ifd_npz {
  ifd_arena arena; /* this lies in it */
  ifd_file file;
  zip_t *zip;
  IFD_VEC(member) members;
  ifd_map by_name; /* number + 1 */
};

/* ---- reading ---- */

static ifd_status open_zip(ifd_error *err, ifd_npz *npz) {
  zip_error_t reason;
  zip_error_init(&reason);
  zip_source_t *source = zip_source_buffer_create(npz->file.data, npz->file.size, 0, &reason);
  npz->zip = source ? zip_open_from_source(source, ZIP_RDONLY, &reason) : NULL;
  if (npz->zip) return IFD_OK;
  ifd_error_set(err, IFD_BAD_FILE, "not a .npz archive: %s", zip_error_strerror(&reason));
  zip_error_fini(&reason);
  zip_source_free(source);
  return IFD_BAD_FILE;
}

static ifd_status add_member(ifd_error *err, ifd_npz *npz, zip_uint64_t index) {
  static const char suffix[] = ".npy";
  zip_stat_t st;
  if (zip_stat_index(npz->zip, index, ZIP_FL_ENC_RAW, &st) || !(st.valid & ZIP_STAT_SIZE))
    FAIL(err, BAD_FILE, "member %llu of the archive is damaged", (unsigned long long)index);
  size_t len = strlen(st.name);
  if (len < strlen(suffix) || strcmp(st.name + len - strlen(suffix), suffix) != 0) return IFD_OK;
  member m = {.index = index, .size = st.size};
  ALLOC(err, m.name, ifd_arena_strndup(&npz->arena, st.name, len - strlen(suffix)));
  EXPECT(err, !ifd_map_find(&npz->by_name, m.name), BAD_FILE, "array '%s' is there twice", m.name);
  IFD_PUSH(err, &npz->arena, &npz->members, m);
  EXPECT(err, ifd_map_set(&npz->by_name, m.name, (void *)(intptr_t)npz->members.n), NO_MEMORY,
         "out of memory");
  return IFD_OK;
}

static ifd_status open_archive(ifd_error *err, ifd_npz *npz, const char *path) {
  TRY(ifd_file_map(err, &npz->file, path));
  EXPECT(err, npz->file.size, BAD_FILE, "not a .npz archive: the file is empty");
  TRY(open_zip(err, npz));
  zip_int64_t n = zip_get_num_entries(npz->zip, 0);
  for (zip_int64_t i = 0; i < n; i++) TRY(add_member(err, npz, (zip_uint64_t)i));
  return IFD_OK;
}

ifd_status ifd_npz_open(ifd_error *err, ifd_npz **out, const char *path, ifd_budget *budget) {
  ifd_arena arena;
  ifd_npz *npz;
  ifd_arena_init(&arena, budget);
  ALLOC(err, npz, ifd_new(&arena, ifd_npz));
  npz->arena = arena;
  npz->file = ifd_file_from_memory(NULL, 0);
  ifd_map_init(&npz->by_name, &npz->arena);
  ifd_status status = open_archive(err, npz, path);
  if (status == IFD_OK)
    *out = npz;
  else
    ifd_npz_close(npz);
  return status;
}

void ifd_npz_close(ifd_npz *npz) {
  if (!npz) return;
  if (npz->zip) zip_discard(npz->zip);
  ifd_file_unmap(&npz->file);
  ifd_arena_free(&npz->arena);
}

int ifd_npz_count(const ifd_npz *npz) { return npz->members.n; }
const char *ifd_npz_name(const ifd_npz *npz, int i) { return npz->members.v[i].name; }
int ifd_npz_find(const ifd_npz *npz, const char *name) {
  return (int)(intptr_t)ifd_map_find(&npz->by_name, name) - 1;
}

/* All bytes of a member, no more and no fewer; libzip checks their CRC at the end. */
static ifd_status unpack(ifd_error *err, char *to, zip_file_t *file, size_t size) {
  size_t done = 0;
  zip_int64_t n = 1;
  while (done < size && (n = zip_fread(file, to + done, size - done)) > 0) done += (size_t)n;
  char more;
  if (done == size) n = zip_fread(file, &more, 1);
  EXPECT(err, n >= 0, BAD_FILE, "damaged: %s", zip_file_strerror(file));
  EXPECT(err, done == size && n == 0, BAD_FILE, "the member is not as long as the archive says");
  return IFD_OK;
}

static ifd_status read_member(ifd_error *err, ifd_tensor *out, ifd_npz *npz, zip_file_t *file, size_t size,
                              ifd_dtype wanted) {
  ifd_buf *buf;
  ALLOC(err, buf, ifd_buf_create(npz->arena.budget, size));
  ifd_status status = unpack(err, buf->data, file, size);
  if (status == IFD_OK) status = ifd_npy_read(err, out, buf->data, size, buf, wanted, npz->arena.budget);
  ifd_buf_unref(buf);
  return status;
}

static ifd_status open_and_read(ifd_error *err, ifd_tensor *out, ifd_npz *npz, const member *m,
                                ifd_dtype wanted) {
  EXPECT(err, m->size <= PTRDIFF_MAX, LIMIT, "the member is larger than memory");
  zip_file_t *file = zip_fopen_index(npz->zip, m->index, 0);
  EXPECT(err, file, BAD_FILE, "damaged: %s", zip_strerror(npz->zip));
  ifd_status status = read_member(err, out, npz, file, (size_t)m->size, wanted);
  zip_fclose(file);
  return status;
}

ifd_status ifd_npz_read(ifd_error *err, ifd_tensor *out, ifd_npz *npz, int i, ifd_dtype wanted) {
  const member *m = &npz->members.v[i];
  ifd_status status = open_and_read(err, out, npz, m, wanted);
  if (status != IFD_OK) ifd_error_add(err, "array '%s'", m->name);
  return status;
}

/* ---- writing: ZIP without compression, in its 64-bit form throughout (PKWARE APPNOTE 4.3 and 4.5.3) ---- */

enum {
  VERSION = 45,          /* of the format: 64-bit sizes */
  UTF8 = 1 << 11,        /* flag: names are UTF-8 */
  DATE = 1 << 5 | 1,     /* the first day that ZIP knows: nothing depends on the clock */
  MODE = 0100644u << 16, /* external attributes: a regular file */
  UNIX = 3 << 8,
};

/* Numbers of a record, little-endian. */
typedef struct record {
  uint8_t bytes[128];
  size_t len;
} record;

static void put(record *r, int size, uint64_t x) {
  for (int i = 0; i < size; i++) r->bytes[r->len++] = (uint8_t)(x >> (8 * i));
}

typedef struct archive {
  ifd_error *err;
  ifd_writer *file;
  ifd_arena *arena;
  uint32_t crc_table[256];
} archive;

/* A member that was written. */
typedef struct placed {
  const char *name;
  uint32_t crc;
  uint64_t size, offset;
} placed;

static void make_crc_table(uint32_t *table) {
  for (uint32_t i = 0; i < 256; i++) {
    table[i] = i;
    for (int k = 0; k < 8; k++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
  }
}

static uint32_t add_to_crc(const uint32_t *table, uint32_t crc, const void *p, size_t len) {
  const uint8_t *bytes = p;
  crc = ~crc;
  for (size_t i = 0; i < len; i++) crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

static ifd_status append(archive *z, const void *p, size_t len) {
  return ifd_writer_append(z->err, z->file, p, len);
}

/* What local and central headers have in common. */
static void put_common(record *r, const placed *m, int extra) {
  put(r, 2, VERSION);
  put(r, 2, UTF8);
  put(r, 2, 0); /* stored */
  put(r, 2, 0); /* midnight */
  put(r, 2, DATE);
  put(r, 4, m->crc);
  put(r, 4, UINT32_MAX); /* both sizes are in the extra field */
  put(r, 4, UINT32_MAX);
  put(r, 2, strlen(m->name));
  put(r, 2, (uint64_t)extra);
}

static void put_extra(record *r, const placed *m, int extra) {
  put(r, 2, 1); /* 64-bit sizes */
  put(r, 2, (uint64_t)extra - 4);
  put(r, 8, m->size);
  put(r, 8, m->size);
}

static ifd_status append_member(archive *z, placed *m, const ifd_npz_entry *entry) {
  ifd_npy_parts parts;
  record head = {0}, extra = {0};
  TRY(ifd_npy_write(z->err, &parts, entry->tensor, z->arena));
  ALLOC(z->err, m->name, ifd_arena_printf(z->arena, "%s.npy", entry->name));
  EXPECT(z->err, strlen(m->name) <= UINT16_MAX, LIMIT, "the name of an array is longer than ZIP allows");
  m->crc = add_to_crc(z->crc_table, 0, parts.header, parts.header_len);
  m->crc = add_to_crc(z->crc_table, m->crc, parts.data, parts.data_len);
  m->size = parts.header_len + parts.data_len;
  m->offset = ifd_writer_size(z->file);
  put(&head, 4, 0x04034b50);
  put_common(&head, m, 20);
  put_extra(&extra, m, 20);
  TRY(append(z, head.bytes, head.len));
  TRY(append(z, m->name, strlen(m->name)));
  TRY(append(z, extra.bytes, extra.len));
  TRY(append(z, parts.header, parts.header_len));
  return append(z, parts.data, parts.data_len);
}

static ifd_status append_central(archive *z, const placed *m) {
  record head = {0}, extra = {0};
  put(&head, 4, 0x02014b50);
  put(&head, 2, UNIX | VERSION);
  put_common(&head, m, 28);
  put(&head, 2, 0); /* no comment, first disk, binary */
  put(&head, 2, 0);
  put(&head, 2, 0);
  put(&head, 4, MODE);
  put(&head, 4, UINT32_MAX);
  put_extra(&extra, m, 28);
  put(&extra, 8, m->offset);
  TRY(append(z, head.bytes, head.len));
  TRY(append(z, m->name, strlen(m->name)));
  return append(z, extra.bytes, extra.len);
}

/* Where the central directory of n members lies, three times: in 64 bits, where that is, and in 16 and 32
 * bits. */
static ifd_status append_end(archive *z, uint64_t n, uint64_t start) {
  record wide = {0}, r = {0};
  uint64_t end = ifd_writer_size(z->file);
  put(&wide, 4, 0x06064b50);
  put(&wide, 8, 44);
  put(&wide, 2, UNIX | VERSION);
  put(&wide, 2, VERSION);
  put(&wide, 8, 0);
  put(&wide, 8, n);
  put(&wide, 8, n);
  put(&wide, 8, end - start);
  put(&wide, 8, start);
  put(&wide, 4, 0x07064b50);
  put(&wide, 4, 0);
  put(&wide, 8, end);
  put(&wide, 4, 1);
  put(&r, 4, 0x06054b50);
  put(&r, 4, 0);
  put(&r, 2, n ? UINT16_MAX : 0);
  put(&r, 2, n ? UINT16_MAX : 0);
  put(&r, 4, n ? UINT32_MAX : 0);
  put(&r, 4, n ? UINT32_MAX : 0);
  put(&r, 2, 0);
  if (n) TRY(append(z, wide.bytes, wide.len));
  return append(z, r.bytes, r.len);
}

static ifd_status append_all(archive *z, const ifd_npz_entry *entries, int n) {
  placed *members;
  ALLOC(z->err, members, ifd_new_array(z->arena, placed, n));
  for (int i = 0; i < n; i++)
    TRY_IN(z->err, append_member(z, &members[i], &entries[i]), "array '%s'", entries[i].name);
  uint64_t start = ifd_writer_size(z->file);
  for (int i = 0; i < n; i++) TRY(append_central(z, &members[i]));
  return append_end(z, (uint64_t)n, start);
}

ifd_status ifd_npz_write(ifd_error *err, const char *path, const ifd_npz_entry *entries, int n) {
  ifd_arena arena;
  archive z = {.err = err, .arena = &arena};
  TRY(ifd_writer_begin(err, &z.file, path));
  ifd_arena_init(&arena, NULL);
  make_crc_table(z.crc_table);
  ifd_status status = ifd_finish_file(err, z.file, append_all(&z, entries, n));
  ifd_arena_free(&arena);
  return status;
}
