#include "io/npy.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "tensor/convert.h"

/* ---- element types ---- */

/* The types that NumPy has; the code is kind and bytes, as in '<f4'. */
static const struct {
  ifd_dtype dtype;
  char kind;
  int size;
} codes[] = {{IFD_FLOAT, 'f', 4},     {IFD_UINT8, 'u', 1},      {IFD_INT8, 'i', 1},   {IFD_UINT16, 'u', 2},
             {IFD_INT16, 'i', 2},     {IFD_INT32, 'i', 4},      {IFD_INT64, 'i', 8},  {IFD_BOOL, 'b', 1},
             {IFD_FLOAT16, 'f', 2},   {IFD_DOUBLE, 'f', 8},     {IFD_UINT32, 'u', 4}, {IFD_UINT64, 'u', 8},
             {IFD_COMPLEX64, 'c', 8}, {IFD_COMPLEX128, 'c', 16}};

enum { N_CODES = sizeof codes / sizeof *codes };

static bool is_numpys(ifd_dtype dtype) {
  for (int i = 0; i < N_CODES; i++)
    if (codes[i].dtype == dtype) return true;
  return false;
}

/* What a header says. */
typedef struct array {
  char order, kind; /* '<', '>', '|' or '='; 'f', 'i' … 'U', 'S', 'V' */
  int64_t size;     /* number in the code: bytes of an element, characters for 'U' */
  bool fortran;
  ifd_shape shape;
  bool has_descr, has_order, has_shape;
} array;

/* ml_dtypes stores one of its types (float8_e5m2) as 'f1', the others as void. */
static ifd_status find_dtype(ifd_error *err, ifd_dtype *out, const array *a, ifd_dtype wanted) {
  *out = IFD_UNDEFINED;
  if (a->kind == 'U' || a->kind == 'S') *out = IFD_STRING;
  for (int i = 0; i < N_CODES; i++)
    if (codes[i].kind == a->kind && codes[i].size == a->size) *out = codes[i].dtype;
  bool is_void = (a->kind == 'V' || (a->kind == 'f' && a->size == 1)) && ifd_dtype_valid(wanted) &&
                 !is_numpys(wanted) && wanted != IFD_STRING && (int64_t)ifd_dtype_size(wanted) == a->size;
  if (is_void) *out = wanted;
  EXPECT(err, a->kind != 'O', UNSUPPORTED, "an array of Python objects");
  EXPECT(err, *out, UNSUPPORTED, "elements of type '%c%c%lld'%s", a->order, a->kind, (long long)a->size,
         a->kind == 'V' ? " are not what is wanted here" : "");
  return IFD_OK;
}

/* ---- header: a Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } ---- */

typedef struct cursor {
  ifd_error *err;
  const char *at, *end;
} cursor;

#define MALFORMED(c, what) FAIL((c)->err, BAD_FILE, "malformed .npy header: %s", what)

static void skip_space(cursor *c) {
  while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) c->at++;
}

static bool accept(cursor *c, char what) {
  skip_space(c);
  if (c->at == c->end || *c->at != what) return false;
  c->at++;
  return true;
}

static bool accept_word(cursor *c, const char *word) {
  size_t len = strlen(word);
  skip_space(c);
  if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) return false;
  c->at += len;
  return true;
}

static ifd_status parse_text(cursor *c, const char **text, size_t *len) {
  skip_space(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) MALFORMED(c, "a string is expected");
  char quote = *c->at++;
  const char *end = memchr(c->at, quote, (size_t)(c->end - c->at));
  if (!end) MALFORMED(c, "a string does not end");
  *text = c->at;
  *len = (size_t)(end - c->at);
  c->at = end + 1;
  return IFD_OK;
}

static ifd_status parse_number(cursor *c, int64_t *out) {
  int64_t x = 0;
  skip_space(c);
  const char *start = c->at;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
    if (!ifd_mul_i64(&x, x, 10) || !ifd_add_i64(&x, x, *c->at - '0')) MALFORMED(c, "a number is too large");
  if (c->at == start) MALFORMED(c, "a number >= 0 is expected");
  accept(c, 'L'); /* Python 2 */
  *out = x;
  return IFD_OK;
}

static ifd_status parse_descr(cursor *c, array *a) {
  const char *text;
  size_t len;
  if (accept(c, '[')) FAIL(c->err, UNSUPPORTED, "a structured array");
  TRY(parse_text(c, &text, &len));
  cursor code = {c->err, text, text + len};
  a->order = len && strchr("<>|=", *text) ? *code.at++ : '|';
  if (code.at == code.end) MALFORMED(c, "descr is no type");
  a->kind = *code.at++;
  a->size = 0;
  if (code.at < code.end) TRY(parse_number(&code, &a->size));
  if (code.at != code.end) MALFORMED(c, "descr is no type");
  return IFD_OK;
}

static ifd_status parse_bool(cursor *c, bool *out) {
  *out = accept_word(c, "True");
  if (!*out && !accept_word(c, "False")) MALFORMED(c, "fortran_order is neither True nor False");
  return IFD_OK;
}

static ifd_status parse_shape(cursor *c, ifd_shape *shape) {
  shape->rank = 0;
  if (!accept(c, '(')) MALFORMED(c, "shape is no tuple");
  while (!accept(c, ')')) {
    EXPECT(c->err, shape->rank < IFD_MAX_RANK, UNSUPPORTED, "more than %d dimensions", IFD_MAX_RANK);
    TRY(parse_number(c, &shape->dim[shape->rank++]));
    if (accept(c, ',')) continue;
    if (!accept(c, ')')) MALFORMED(c, "shape does not end");
    break;
  }
  return IFD_OK;
}

static ifd_status parse_entry(cursor *c, array *a) {
  const char *key;
  size_t len;
  TRY(parse_text(c, &key, &len));
  if (!accept(c, ':')) MALFORMED(c, "':' is expected");
  if (len == 5 && memcmp(key, "descr", 5) == 0) {
    a->has_descr = true;
    return parse_descr(c, a);
  }
  if (len == 13 && memcmp(key, "fortran_order", 13) == 0) {
    a->has_order = true;
    return parse_bool(c, &a->fortran);
  }
  if (len != 5 || memcmp(key, "shape", 5) != 0) MALFORMED(c, "an unknown key");
  a->has_shape = true;
  return parse_shape(c, &a->shape);
}

static ifd_status parse_header(cursor *c, array *a) {
  if (!accept(c, '{')) MALFORMED(c, "not a dictionary");
  while (!accept(c, '}')) {
    TRY(parse_entry(c, a));
    if (accept(c, ',')) continue;
    if (!accept(c, '}')) MALFORMED(c, "the dictionary does not end");
    break;
  }
  skip_space(c);
  if (c->at != c->end) MALFORMED(c, "something stands behind the dictionary");
  if (!a->has_descr || !a->has_order || !a->has_shape)
    MALFORMED(c, "descr, fortran_order or shape is missing");
  return IFD_OK;
}

/* Splits magic, version and length off; the header is then [at, end). */
static ifd_status find_header(ifd_error *err, cursor *header, const char *bytes, size_t len) {
  EXPECT(err, len >= 10 && memcmp(bytes, "\x93NUMPY", 6) == 0, BAD_FILE, "not a .npy file");
  int version = bytes[6];
  EXPECT(err, version >= 1 && version <= 3, UNSUPPORTED, ".npy format version %d", version);
  const uint8_t *at = (const uint8_t *)bytes + 8;
  size_t prefix = version == 1 ? 10 : 12, size = at[0] | (size_t)at[1] << 8;
  EXPECT(err, len >= prefix, BAD_FILE, "the .npy header is cut off");
  if (version > 1) size |= (size_t)at[2] << 16 | (size_t)at[3] << 24;
  EXPECT(err, size <= len - prefix, BAD_FILE, "the .npy header is cut off");
  *header = (cursor){err, bytes + prefix, bytes + prefix + size};
  return IFD_OK;
}

/* ---- elements ---- */

/* Reverses the bytes of n words. */
static void swap_words(uint8_t *p, size_t n, size_t size) {
  for (size_t i = 0; i < n; i++, p += size)
    for (size_t k = 0; k < size / 2; k++) {
      uint8_t byte = p[k];
      p[k] = p[size - 1 - k];
      p[size - 1 - k] = byte;
    }
}

/* Copies elements in column-major order to row-major order. */
static void transpose(char *to, const char *from, const ifd_shape *shape, size_t size) {
  int64_t n = ifd_shape_count(shape), stride[IFD_MAX_RANK], index[IFD_MAX_RANK] = {0}, at = 0, step = 1;
  for (int i = 0; i < shape->rank; i++) {
    stride[i] = step;
    step *= shape->dim[i];
  }
  for (int64_t k = 0; k < n; k++) {
    memcpy(to + (size_t)k * size, from + (size_t)at * size, size);
    for (int i = shape->rank - 1; i >= 0; i--) { /* the next index, last axis first */
      at += stride[i];
      if (++index[i] < shape->dim[i]) break;
      at -= index[i] * stride[i];
      index[i] = 0;
    }
  }
}

/* Copied elements to what memory holds: bools are 0 or 1, INT4 and INT2 are sign-extended. */
static void settle(ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t);
  int bits = ifd_dtypes[t->dtype].bits;
  uint8_t *p = t->data;
  for (int64_t i = 0; t->dtype == IFD_BOOL && i < n; i++) p[i] = p[i] != 0;
  for (int64_t i = 0; bits < 8 && i < n; i++) {
    uint8_t packed = (uint8_t)(p[i] & ((1 << bits) - 1));
    ifd_unpack(t->dtype, &packed, &p[i], 1);
  }
}

static bool lies_as_in_memory(const array *a, const ifd_tensor *t, const void *data) {
  size_t align = ifd_dtype_size(t->dtype) < 8 ? ifd_dtype_size(t->dtype) : 8;
  return a->order != '>' && !a->fortran && t->dtype != IFD_BOOL && ifd_dtypes[t->dtype].bits >= 8 &&
         (uintptr_t)data % align == 0;
}

static ifd_status read_numbers(ifd_error *err, ifd_tensor *out, const array *a, ifd_dtype dtype,
                               const char *data, ifd_buf *owner, ifd_budget *budget) {
  ifd_tensor t = {.dtype = dtype, .shape = a->shape, .data = (void *)data};
  if (owner && lies_as_in_memory(a, &t, data)) {
    t.buf = ifd_buf_ref(owner);
    *out = t;
    return IFD_OK;
  }
  TRY(ifd_tensor_create(err, &t, budget, dtype, &a->shape));
  size_t n = (size_t)ifd_tensor_count(&t), size = ifd_dtype_size(dtype);
  if (a->fortran)
    transpose(t.data, data, &a->shape, size);
  else if (n)
    memcpy(t.data, data, n * size);
  bool complex = ifd_dtypes[dtype].class == IFD_CLASS_COMPLEX;
  if (a->order == '>') swap_words(t.data, complex ? 2 * n : n, complex ? size / 2 : size);
  settle(&t);
  *out = t;
  return IFD_OK;
}

/* ---- strings ---- */

/* A code point as UTF-8; what is none (a surrogate, too large) becomes U+FFFD. */
static size_t put_utf8(char *to, uint32_t c) {
  if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
  int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (int i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
  to[0] = (char)(lead[n] | c);
  return (size_t)n;
}

static uint32_t load_u32(const char *p, bool big_endian) {
  uint32_t c;
  memcpy(&c, p, 4);
  return big_endian ? __builtin_bswap32(c) : c;
}

/* An element without the NULs that fill it up; `to` has room for as many bytes as the element has. */
static size_t read_string(char *to, const array *a, const char *element) {
  size_t n = (size_t)a->size, len = 0;
  if (a->kind == 'S') {
    while (n && !element[n - 1]) n--;
    if (n) memcpy(to, element, n);
    return n;
  }
  bool big = a->order == '>';
  while (n && !load_u32(element + 4 * (n - 1), big)) n--;
  for (size_t i = 0; i < n; i++) len += put_utf8(to + len, load_u32(element + 4 * i, big));
  return len;
}

/* One buffer: the elements, then their bytes. */
static ifd_status read_strings(ifd_error *err, ifd_tensor *out, const array *a, const char *data,
                               size_t width, ifd_budget *budget) {
  size_t n = (size_t)ifd_shape_count(&a->shape), size;
  ifd_tensor t = {.dtype = IFD_STRING, .shape = a->shape};
  EXPECT(err, ifd_mul_size(&size, n, width + 2 * sizeof(ifd_str)), LIMIT, "strings are larger than memory");
  ALLOC(err, t.buf, ifd_buf_create(budget, size));
  ifd_str *in_file_order = (ifd_str *)t.buf->data, *strings = in_file_order + n;
  char *at = (char *)(strings + n);
  for (size_t i = 0; i < n; i++) {
    in_file_order[i] = (ifd_str){at, read_string(at, a, data + i * width)};
    at += in_file_order[i].len;
  }
  if (a->fortran) transpose((char *)strings, (const char *)in_file_order, &a->shape, sizeof *strings);
  t.data = a->fortran ? strings : in_file_order;
  *out = t;
  return IFD_OK;
}

ifd_status ifd_npy_read(ifd_error *err, ifd_tensor *out, const void *bytes, size_t len, ifd_buf *owner,
                        ifd_dtype wanted, ifd_budget *budget) {
  array a = {0};
  cursor header;
  ifd_dtype dtype;
  TRY(find_header(err, &header, bytes, len));
  const char *data = header.end;
  TRY(parse_header(&header, &a));
  TRY(find_dtype(err, &dtype, &a, wanted));
  EXPECT(err, a.size > 0 && a.size <= INT_MAX, BAD_FILE, "elements of %lld bytes", (long long)a.size);
  size_t width = (size_t)a.size * (a.kind == 'U' ? 4 : 1), left = len - (size_t)(data - (const char *)bytes);
  TRY(ifd_shape_check(err, &a.shape, width));
  size_t due = (size_t)ifd_shape_count(&a.shape) * width;
  EXPECT(err, left == due, BAD_FILE, "%zu bytes of elements, the shape takes %zu", left, due);
  if (dtype == IFD_STRING) return read_strings(err, out, &a, data, width, budget);
  return read_numbers(err, out, &a, dtype, data, owner, budget);
}

ifd_status ifd_npy_read_file(ifd_error *err, ifd_tensor *out, const char *path, ifd_dtype wanted,
                             ifd_budget *budget) {
  ifd_file file;
  TRY(ifd_file_map(err, &file, path));
  ifd_status status = ifd_npy_read(err, out, file.data, file.size, NULL, wanted, budget);
  ifd_file_unmap(&file);
  return status;
}

/* ---- writing ---- */

/* The code point at p of n > 0 bytes and its length, or 0 where there is no valid one. */
static size_t get_utf8(const char *p, size_t n, uint32_t *out) {
  const uint8_t *s = (const uint8_t *)p;
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
  if (!len || len > n) return 0;
  uint32_t c = len == 1 ? s[0] : s[0] & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if (s[i] >> 6 != 2) return 0;
    c = c << 6 | (s[i] & 0x3f);
  }
  *out = c;
  return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

/* Code points of a string, written to `to` unless NULL; -1 when it is not UTF-8. */
static int64_t decode(const ifd_str *s, uint32_t *to) {
  int64_t n = 0;
  for (size_t i = 0, step; i < s->len; i += step, n++) {
    uint32_t c;
    if (!(step = get_utf8(s->s + i, s->len - i, &c))) return -1;
    if (to) to[n] = c;
  }
  return n;
}

/* The width of the widest string: in code points, or in bytes when one is not UTF-8. At least 1, as NumPy has
 * it. */
static size_t find_width(const ifd_str *strings, int64_t n, bool *utf8) {
  size_t points = 1, bytes = 1;
  *utf8 = true;
  for (int64_t i = 0; i < n; i++) {
    int64_t width = decode(&strings[i], NULL);
    if (width < 0) *utf8 = false;
    if (width > (int64_t)points) points = (size_t)width;
    if (strings[i].len > bytes) bytes = strings[i].len;
  }
  return *utf8 ? points : bytes;
}

static ifd_status encode_strings(ifd_error *err, ifd_npy_parts *out, char descr[32], const ifd_tensor *t,
                                 ifd_arena *arena) {
  const ifd_str *strings = t->data;
  int64_t n = ifd_tensor_count(t);
  bool utf8;
  size_t width = find_width(strings, n, &utf8), each = utf8 ? 4 * width : width;
  char *data;
  EXPECT(err, ifd_mul_size(&out->data_len, (size_t)n, each), LIMIT, "strings are larger than memory");
  ALLOC(err, data, ifd_arena_alloc_data(arena, out->data_len));
  for (int64_t i = 0; i < n; i++)
    if (utf8)
      decode(&strings[i], (uint32_t *)(data + (size_t)i * each));
    else if (strings[i].len)
      memcpy(data + (size_t)i * each, strings[i].s, strings[i].len);
  snprintf(descr, 32, utf8 ? "<U%zu" : "|S%zu", width);
  out->data = data;
  return IFD_OK;
}

static ifd_status encode_numbers(ifd_error *err, ifd_npy_parts *out, char descr[32], const ifd_tensor *t,
                                 ifd_arena *arena) {
  int64_t n = ifd_tensor_count(t);
  size_t size = ifd_dtype_size(t->dtype);
  snprintf(descr, 32, "|V%zu", size);
  for (int i = 0; i < N_CODES; i++)
    if (codes[i].dtype == t->dtype) snprintf(descr, 32, "%c%c%zu", size > 1 ? '<' : '|', codes[i].kind, size);
  out->data_len = (size_t)n * size;
  out->data = t->data;
  if (!t->splat && !t->packed) return IFD_OK;
  void *data;
  ALLOC(err, data, ifd_arena_alloc_data(arena, out->data_len));
  ifd_tensor_expand(t, data);
  out->data = data;
  return IFD_OK;
}

/* The header is filled up with spaces so that elements start at a multiple of 64. */
static ifd_status encode_header(ifd_error *err, ifd_npy_parts *out, const char *descr, const ifd_shape *shape,
                                ifd_arena *arena) {
  char text[512];
  int len = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (int i = 0; i < shape->rank; i++)
    len += snprintf(text + len, sizeof text - (size_t)len, "%lld,%s", (long long)shape->dim[i],
                    i + 1 < shape->rank ? " " : "");
  if (shape->rank > 1) len--; /* (3,) but (3, 4) */
  len += snprintf(text + len, sizeof text - (size_t)len, "), }");
  size_t whole = (10 + (size_t)len + 1 + 63) / 64 * 64, padded = whole - 10;
  char *header;
  ALLOC(err, header, ifd_arena_alloc(arena, whole));
  memcpy(header, "\x93NUMPY\x01\x00", 8);
  header[8] = (char)(padded & 0xff);
  header[9] = (char)(padded >> 8);
  memset(header + 10, ' ', padded);
  memcpy(header + 10, text, (size_t)len);
  header[whole - 1] = '\n';
  out->header = header;
  out->header_len = whole;
  return IFD_OK;
}

ifd_status ifd_npy_write(ifd_error *err, ifd_npy_parts *out, const ifd_tensor *t, ifd_arena *arena) {
  char descr[32];
  if (t->dtype == IFD_STRING)
    TRY(encode_strings(err, out, descr, t, arena));
  else
    TRY(encode_numbers(err, out, descr, t, arena));
  return encode_header(err, out, descr, &t->shape, arena);
}
