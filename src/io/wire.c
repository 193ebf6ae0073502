#include "io/wire.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

/* Bytes of a length prefix in the rewritten message: always five, filled in when the message is complete. */
enum { PREFIX = 5, MARKER = 4 };

/* The most that a tag and a prefix or a marker take, and a number. */
enum { HEADER = 16, NUMBER = 10 };

/* Memory that grows by doubling. */
typedef struct buffer {
  void *v;
  size_t size, room;
} buffer;

typedef struct skim {
  ifd_error *err;
  ifd_budget *budget;
  const uint8_t *source;
  buffer out, payloads; /* the rewritten message so far; of ProtobufCBinaryData */
} skim;

typedef struct field {
  uint32_t number;
  int wire_type;
  const ProtobufCFieldDescriptor *known; /* NULL for a field this schema does not have */
  const uint8_t *start, *value, *end;    /* tag, payload (behind a length prefix), behind the field */
} field;

/* An unsigned varint of at most 10 bytes before `end`: the place behind it, or NULL. */
static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *out) {
  uint64_t x = 0;
  for (int shift = 0; at < end && shift < 70; shift += 7) {
    uint8_t byte = *at++;
    x |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = x;
      return at;
    }
  }
  return NULL;
}

static size_t position(const skim *s, const uint8_t *at) { return (size_t)(at - s->source); }

#define MALFORMED(s, at, ...)                                                                                \
  do {                                                                                                       \
    ifd_error_add((s)->err, "byte %zu", position(s, at));                                                    \
    FAIL((s)->err, BAD_FILE, __VA_ARGS__);                                                                   \
  } while (0)

/* ---- one field ---- */

static int expected_wire_type(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FLOAT: return PROTOBUF_C_WIRE_TYPE_32BIT;
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_DOUBLE: return PROTOBUF_C_WIRE_TYPE_64BIT;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
  default: return PROTOBUF_C_WIRE_TYPE_VARINT;
  }
}

/* Numbers one after the other behind a single length. */
static bool is_packed(const field *f) {
  return f->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
         f->known->label == PROTOBUF_C_LABEL_REPEATED &&
         expected_wire_type(f->known->type) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

static bool packed_fits(const field *f) {
  size_t len = (size_t)(f->end - f->value);
  int each = expected_wire_type(f->known->type);
  if (each == PROTOBUF_C_WIRE_TYPE_32BIT) return len % 4 == 0;
  if (each == PROTOBUF_C_WIRE_TYPE_64BIT) return len % 8 == 0;
  uint64_t x;
  for (const uint8_t *at = f->value; at < f->end;)
    if (!(at = read_varint(at, f->end, &x))) return false;
  return true;
}

/* Behind a number on the wire, or NULL. */
static const uint8_t *behind_number(int wire_type, const uint8_t *at, const uint8_t *end) {
  uint64_t value;
  size_t len = wire_type == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;
  if (wire_type == PROTOBUF_C_WIRE_TYPE_VARINT) return read_varint(at, end, &value);
  return (size_t)(end - at) >= len ? at + len : NULL;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, uint32_t number) {
  return number <= INT_MAX ? protobuf_c_message_descriptor_get_field(type, number) : NULL;
}

/* Splits off the field at `at` in a message that ends at `end`. */
static ifd_status scan_field(skim *s, field *f, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                             const uint8_t *end) {
  uint64_t tag, value;
  const uint8_t *behind = read_varint(at, end, &tag);
  if (!behind || behind - at > 5 || tag >> 32 || tag >> 3 == 0)
    MALFORMED(s, at, "not a field of %s: the file is damaged, cut off or no ONNX file", type->short_name);
  *f = (field){.number = (uint32_t)(tag >> 3), .wire_type = (int)(tag & 7), .start = at, .value = behind};
  f->known = find_field(type, f->number);
  const char *name = f->known ? f->known->name : "(unknown)";
  switch (f->wire_type) {
  case PROTOBUF_C_WIRE_TYPE_VARINT:
  case PROTOBUF_C_WIRE_TYPE_64BIT:
  case PROTOBUF_C_WIRE_TYPE_32BIT: f->end = behind_number(f->wire_type, behind, end); break;
  case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
    f->value = read_varint(behind, end, &value);
    if (f->value && value > (size_t)(end - f->value))
      MALFORMED(s, at, "%s.%s: %llu bytes are announced, %zu are left: the file is damaged or cut off",
                type->short_name, name, (unsigned long long)value, (size_t)(end - f->value));
    f->end = f->value ? f->value + value : NULL;
    break;
  default:
    MALFORMED(s, at, "%s.%s: wire type %d does not exist in ONNX files", type->short_name, name,
              f->wire_type);
  }
  if (!f->end) MALFORMED(s, at, "%s.%s: the value is cut off or overlong", type->short_name, name);
  return IFD_OK;
}

static ifd_status check_field(skim *s, const field *f, const ProtobufCMessageDescriptor *type) {
  const char *name = f->known->name;
  if (is_packed(f)) {
    if (!packed_fits(f)) MALFORMED(s, f->start, "%s.%s: malformed packed numbers", type->short_name, name);
    return IFD_OK;
  }
  if (f->wire_type != expected_wire_type(f->known->type))
    MALFORMED(s, f->start, "%s.%s: wire type %d where %d is due", type->short_name, name, f->wire_type,
              expected_wire_type(f->known->type));
  if (f->known->type == PROTOBUF_C_TYPE_STRING && memchr(f->value, 0, (size_t)(f->end - f->value)))
    MALFORMED(s, f->start, "%s.%s: a NUL byte in a string", type->short_name, name);
  return IFD_OK;
}

/* ---- the rewritten message ---- */

static ifd_status make_room(skim *s, buffer *b, size_t more) {
  if (b->room - b->size >= more) return IFD_OK;
  const size_t room = 2 * b->room > b->size + more ? 2 * b->room : b->size + more;
  void *grown;
  ALLOC(s->err, grown, ifd_budget_alloc(s->budget, room));
  if (b->size) memcpy(grown, b->v, b->size);
  ifd_budget_free(s->budget, b->v, b->room);
  b->v = grown, b->room = room;
  return IFD_OK;
}

/* The rest of the section puts where there is room. */
static void put(buffer *b, const void *bytes, size_t len) {
  if (len) memcpy((char *)b->v + b->size, bytes, len);
  b->size += len;
}

static void put_tag(skim *s, const field *f, int wire_type) {
  uint8_t bytes[5];
  int n = 0;
  uint32_t tag = f->number << 3 | (uint32_t)wire_type;
  for (; tag >= 0x80; tag >>= 7) bytes[n++] = (uint8_t)(tag | 0x80);
  bytes[n++] = (uint8_t)tag;
  put(&s->out, bytes, (size_t)n);
}

static ifd_status put_marker(skim *s, const field *f) {
  const ProtobufCBinaryData payload = {(size_t)(f->end - f->value), (uint8_t *)f->value};
  EXPECT(s->err, s->payloads.size / sizeof payload < UINT32_MAX, LIMIT, "too many byte fields");
  const uint32_t number = (uint32_t)(s->payloads.size / sizeof payload);
  TRY(make_room(s, &s->payloads, sizeof payload));
  put(&s->payloads, &payload, sizeof payload);
  put_tag(s, f, f->wire_type);
  put(&s->out, (const uint8_t[]){MARKER}, 1);
  put(&s->out, &number, MARKER);
  return IFD_OK;
}

/* The length of what was written since `start` into the room before it, as a varint of five bytes. */
static ifd_status fill_prefix(skim *s, size_t start) {
  size_t len = s->out.size - start;
  EXPECT(s->err, len <= INT_MAX, LIMIT, "a message without its payloads is larger than 2 GiB");
  uint8_t *prefix = (uint8_t *)s->out.v + start - PREFIX;
  for (int i = 0; i < PREFIX; i++)
    prefix[i] = (uint8_t)((len >> (7 * i) & 0x7f) | (i < PREFIX - 1 ? 0x80 : 0));
  return IFD_OK;
}

static ifd_status skim_message(skim *s, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                               const uint8_t *end, int depth);

static ifd_status put_message(skim *s, const field *f, int depth) {
  put_tag(s, f, f->wire_type);
  put(&s->out, (const uint8_t[PREFIX]){0}, PREFIX);
  size_t start = s->out.size;
  TRY(skim_message(s, f->known->descriptor, f->value, f->end, depth + 1));
  return fill_prefix(s, start);
}

static bool is_number_of_many(const field *f) {
  return f->known->label == PROTOBUF_C_LABEL_REPEATED && f->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

/* Lists are of thousands, and calls for a few bytes each would take most of the time. */
static void put_number(buffer *b, const uint8_t *at, size_t len) {
  uint8_t *to = (uint8_t *)b->v + b->size;
  if (len == 1)
    *to = *at;
  else if (len == 4)
    memcpy(to, at, 4);
  else
    memcpy(to, at, len);
  b->size += len;
}

static bool is_same_tag(const uint8_t *a, const uint8_t *b, size_t len) {
  while (len && a[len - 1] == b[len - 1]) len--;
  return !len;
}

/* Numbers that follow each other, each with a tag of its own, behind a single one: the unpacker takes ten
 * times as long for fields as for numbers. f becomes all of them. */
static ifd_status put_numbers(skim *s, field *f, const uint8_t *end) {
  const uint8_t *tag = f->start, *value = f->value;
  const size_t tag_len = (size_t)(value - tag);
  put_tag(s, f, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
  put(&s->out, (const uint8_t[PREFIX]){0}, PREFIX);
  const size_t start = s->out.size;
  for (const uint8_t *next = f->end; next; next = behind_number(f->wire_type, value, end)) {
    TRY(make_room(s, &s->out, NUMBER));
    put_number(&s->out, value, (size_t)(next - value));
    f->end = next;
    if ((size_t)(end - next) < tag_len || !is_same_tag(next, tag, tag_len)) break;
    value = next + tag_len;
  }
  return fill_prefix(s, start);
}

static ifd_status put_field(skim *s, field *f, const uint8_t *end, int depth) {
  const size_t len = (size_t)(f->end - f->start);
  TRY(make_room(s, &s->out, HEADER));
  if (f->known && f->known->type == PROTOBUF_C_TYPE_MESSAGE) return put_message(s, f, depth);
  if (f->known && f->known->type == PROTOBUF_C_TYPE_BYTES) return put_marker(s, f);
  if (f->known && is_number_of_many(f)) return put_numbers(s, f, end);
  TRY(make_room(s, &s->out, len));
  put(&s->out, f->start, len);
  return IFD_OK;
}

/* Each singular sub-message once; `seen` has a bit for each field of the message. */
static ifd_status check_single(skim *s, uint64_t *seen, const field *f,
                               const ProtobufCMessageDescriptor *type) {
  if (f->known->type != PROTOBUF_C_TYPE_MESSAGE || f->known->label == PROTOBUF_C_LABEL_REPEATED)
    return IFD_OK;
  assert(type->n_fields <= 64);
  uint64_t bit = (uint64_t)1 << (f->known - type->fields);
  if (*seen & bit) MALFORMED(s, f->start, "%s.%s is given twice", type->short_name, f->known->name);
  *seen |= bit;
  return IFD_OK;
}

static ifd_status skim_message(skim *s, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                               const uint8_t *end, int depth) {
  EXPECT(s->err, depth <= IFD_WIRE_MAX_DEPTH, LIMIT, "subgraphs or types are nested too deep (%d messages)",
         IFD_WIRE_MAX_DEPTH);
  uint64_t seen = 0;
  for (field f; at < end; at = f.end) {
    TRY(scan_field(s, &f, type, at, end));
    if (f.known) {
      TRY(check_field(s, &f, type));
      TRY(check_single(s, &seen, &f, type));
    }
    TRY(put_field(s, &f, end, depth));
  }
  return IFD_OK;
}

/* ---- unpacking ---- */

typedef struct unpack_memory {
  ifd_arena *arena;
  bool refused;
} unpack_memory;

static void *allocate(void *context, size_t size) {
  unpack_memory *memory = context;
  void *p = ifd_arena_alloc(memory->arena, size);
  if (!p) memory->refused = true;
  return p;
}

static void leave_to_arena(void *context, void *p) {
  (void)context;
  (void)p;
}

static void restore_bytes(ProtobufCBinaryData *bytes, const ProtobufCBinaryData *payloads) {
  uint32_t number;
  assert(bytes->len == MARKER);
  memcpy(&number, bytes->data, MARKER);
  *bytes = payloads[number];
}

static void restore_message(ProtobufCMessage *message, const ProtobufCBinaryData *payloads);

static void restore_value(ProtobufCType type, void *value, const ProtobufCBinaryData *payloads) {
  if (type == PROTOBUF_C_TYPE_BYTES)
    restore_bytes(value, payloads);
  else
    restore_message(*(ProtobufCMessage **)value, payloads);
}

/* Whether a singular field of a message is there. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f) {
  const char *base = (const char *)message;
  if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
    return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
  if (f->type == PROTOBUF_C_TYPE_MESSAGE) return *(void *const *)(base + f->offset);
  return *(const protobuf_c_boolean *)(base + f->quantifier_offset);
}

static void restore_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f,
                          const ProtobufCBinaryData *payloads) {
  char *member = (char *)message + f->offset;
  if (f->label != PROTOBUF_C_LABEL_REPEATED) {
    if (is_set(message, f)) restore_value(f->type, member, payloads);
    return;
  }
  size_t n = *(size_t *)((char *)message + f->quantifier_offset);
  size_t each = f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : sizeof(void *);
  for (size_t i = 0; i < n; i++) restore_value(f->type, *(char **)member + i * each, payloads);
}

/* Puts the payloads in the place of their numbers. */
static void restore_message(ProtobufCMessage *message, const ProtobufCBinaryData *payloads) {
  const ProtobufCMessageDescriptor *type = message->descriptor;
  for (unsigned i = 0; i < type->n_fields; i++) {
    const ProtobufCFieldDescriptor *f = &type->fields[i];
    if (f->type == PROTOBUF_C_TYPE_BYTES || f->type == PROTOBUF_C_TYPE_MESSAGE)
      restore_field(message, f, payloads);
  }
}

static ifd_status unpack_rewritten(ifd_error *err, ProtobufCMessage **out,
                                   const ProtobufCMessageDescriptor *type, const skim *s, ifd_arena *arena) {
  unpack_memory memory = {.arena = arena};
  ProtobufCAllocator allocator = {.alloc = allocate, .free = leave_to_arena, .allocator_data = &memory};
  ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, s->out.size, s->out.v);
  EXPECT(err, !memory.refused, NO_MEMORY, "out of memory");
  EXPECT(err, message, BAD_FILE, "not a valid %s", type->short_name);
  restore_message(message, s->payloads.v);
  *out = message;
  return IFD_OK;
}

ifd_status ifd_wire_unpack(ifd_error *err, ProtobufCMessage **out, const ProtobufCMessageDescriptor *type,
                           const void *bytes, size_t len, ifd_arena *arena) {
  enum { FIRST = 1 << 12 }; /* what most messages take without their payloads */
  const uint8_t *at = bytes;
  skim s = {.err = err, .budget = arena->budget, .source = at};
  TRY(make_room(&s, &s.out, len < FIRST ? len + HEADER : FIRST));
  ifd_status status = skim_message(&s, type, at, at + len, 0);
  if (status == IFD_OK) status = unpack_rewritten(err, out, type, &s, arena);
  ifd_budget_free(s.budget, s.out.v, s.out.room); /* only needed until it is unpacked */
  ifd_budget_free(s.budget, s.payloads.v, s.payloads.room);
  return status;
}
