/* Where the time of the last profiled run went. */
#include "api/api.h"
#include "api/machine.h"

#include "inspect/json.h"
#include "inspect/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_NODES = 30 };

/* Time of one node or operator, over all its evaluations. */
typedef struct share {
  const char *name, *op_type, *algorithm;
  int n;
  double seconds, bytes, macs;
} share;

typedef struct shares {
  ifd_error *err;
  ifd_arena arena;
  IFD_VEC(share) rows;
  ifd_map by_key;      /* 1 + index */
  ifd_machine machine; /* 0 where it was not asked for */
} shares;

static ifd_status add(shares *s, const char *key, const ifd_profile_entry *e) {
  uintptr_t i = (uintptr_t)ifd_map_find(&s->by_key, key);
  if (!i) {
    share row = {e->name, e->op_type, e->algorithm, 0, 0, 0, 0};
    IFD_PUSH(s->err, &s->arena, &s->rows, row);
    i = (uintptr_t)s->rows.n;
    EXPECT(s->err, ifd_map_set(&s->by_key, key, (void *)i), NO_MEMORY, "out of memory");
  }
  share *row = &s->rows.v[i - 1];
  row->n++;
  row->seconds += e->seconds;
  row->bytes += (double)e->bytes;
  row->macs += e->macs;
  return IFD_OK;
}

static int compare(const void *a, const void *b) {
  const share *x = a, *y = b;
  return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static ifd_status gather(shares *s, const infold_session *session, bool by_operator) {
  s->rows.n = 0;
  ifd_map_init(&s->by_key, &s->arena);
  for (int i = 0; i < session->profile.entries.n; i++) {
    const ifd_profile_entry *e = &session->profile.entries.v[i];
    const char *key = e->op_type;
    if (!by_operator) ALLOC(s->err, key, ifd_arena_printf(&s->arena, "%s\n%s", e->name, e->op_type));
    TRY(add(s, key, e));
  }
  if (s->rows.n) qsort(s->rows.v, (size_t)s->rows.n, sizeof *s->rows.v, compare);
  return IFD_OK;
}

/* 1e9 of something a second, or nothing. */
static const char *rate(shares *s, double of, double seconds) {
  return of > 0 && seconds > 0 ? ifd_arena_printf(&s->arena, "%.1f", of / seconds / 1e9) : "";
}

/* What a row comes closer to: the machine's multiply-adds, or its reads. */
static const char *bound(shares *s, const share *r) {
  if (r->seconds <= 0 || s->machine.macs <= 0) return "";
  double fma = r->macs / r->seconds / s->machine.macs,
         memory = s->machine.bytes > 0 ? r->bytes / r->seconds / s->machine.bytes : 0;
  return ifd_arena_printf(&s->arena, "%.0f%% %s", 100 * fmax(fma, memory), fma > memory ? "FMA" : "mem");
}

static ifd_isa isa_of(const infold_session *session) { return session->program->options.isa; }

static ifd_status add_row(shares *s, ifd_table *table, const share *r, double total, bool by_operator) {
  const char *cells[8] = {by_operator ? r->op_type : r->name,
                          by_operator ? ifd_arena_printf(&s->arena, "%d", r->n) : r->op_type,
                          by_operator    ? ""
                          : r->algorithm ? r->algorithm
                                         : "reference",
                          ifd_arena_printf(&s->arena, "%.3f", r->seconds * 1e3),
                          ifd_arena_printf(&s->arena, "%.1f", total > 0 ? 100 * r->seconds / total : 0),
                          rate(s, r->bytes, r->seconds),
                          rate(s, r->macs, r->seconds),
                          bound(s, r)};
  return ifd_table_add(table, cells);
}

static void print_peak(const shares *s, FILE *to, const infold_session *session) {
  int n = ifd_pool_size(session->pool->threads);
  fprintf(to,
          "peak, measured just now with %s on %d thread%s: %.1f GMAC/s of float32, %.1f GB/s read. Caches "
          "are faster; so are integers, and Winograd's algorithm, whose products count as direct ones.\n",
          ifd_isa_name(isa_of(session)), n, n > 1 ? "s" : "", s->machine.macs / 1e9, s->machine.bytes / 1e9);
}

static ifd_status print_table(shares *s, FILE *to, const infold_session *session, int width) {
  static const ifd_column operators[] = {
      {"Operator", .flexible = true}, {"Runs", .right = true},    {""},
      {"ms", .right = true},          {"%", .right = true},       {"GB/s", .right = true},
      {"GMAC/s", .right = true},      {"Of peak", .right = true}, {0}};
  static const ifd_column nodes[] = {{"Node", .flexible = true},
                                     {"Operator"},
                                     {"Kernel", .flexible = true},
                                     {"ms", .right = true},
                                     {"%", .right = true},
                                     {"GB/s", .right = true},
                                     {"GMAC/s", .right = true},
                                     {"Of peak", .right = true},
                                     {0}};
  for (int by_operator = 1; by_operator >= 0; by_operator--) {
    ifd_table table;
    TRY(gather(s, session, by_operator));
    ifd_table_init(&table, s->err, &s->arena, by_operator ? operators : nodes);
    for (int i = 0; i < s->rows.n && (by_operator || i < SHOWN_NODES); i++)
      TRY(add_row(s, &table, &s->rows.v[i], session->profile_seconds, by_operator));
    fputc('\n', to);
    ifd_table_print(&table, to, width);
  }
  if (s->rows.n > SHOWN_NODES) fprintf(to, "and %d nodes that took less\n", s->rows.n - SHOWN_NODES);
  fprintf(to, "\n%.3f ms in all\n", session->profile_seconds * 1e3);
  if (s->machine.macs > 0) print_peak(s, to, session);
  return IFD_OK;
}

/* Trace Event Format: complete events, microseconds. */
static ifd_status print_trace(shares *s, FILE *to, const infold_session *session) {
  json_t *events = json_array();
  double start = session->profile.entries.n ? session->profile.entries.v[0].start : 0;
  for (int i = 0; i < session->profile.entries.n; i++) {
    const ifd_profile_entry *e = &session->profile.entries.v[i];
    if (e->start < start) start = e->start;
  }
  for (int i = 0; i < session->profile.entries.n; i++) {
    const ifd_profile_entry *e = &session->profile.entries.v[i];
    json_array_append_new(
        events, json_pack("{s:o, s:o, s:s, s:f, s:f, s:i, s:i, s:{s:o, s:I, s:f}}", "name",
                          ifd_json_text(*e->name ? e->name : e->op_type), "cat", ifd_json_text(e->op_type),
                          "ph", "X", "ts", (e->start - start) * 1e6, "dur", e->seconds * 1e6, "pid", 1, "tid",
                          1, "args", "kernel", ifd_json_text(e->algorithm ? e->algorithm : "reference"),
                          "bytes", (json_int_t)e->bytes, "macs", e->macs));
  }
  return ifd_json_print(s->err, json_pack("{s:o}", "traceEvents", events), to);
}

static ifd_status print(ifd_error *err, FILE *to, const infold_session *session, const char *format,
                        int width) {
  shares s = {.err = err};
  EXPECT(err, session->options.profile, USAGE, "the session was made without profiling");
  ifd_arena_init(&s.arena, NULL);
  ifd_status status = IFD_OK;
  if (strcmp(format, "roofline") == 0)
    s.machine = ifd_machine_measure(session->pool->threads, isa_of(session));
  if (strcmp(format, "table") == 0 || s.machine.macs > 0)
    status = print_table(&s, to, session, width);
  else if (strcmp(format, "trace") == 0)
    status = print_trace(&s, to, session);
  else
    status =
        ifd_error_set(err, IFD_USAGE, "a profile is a 'table', a 'roofline' or a 'trace', not '%s'", format);
  ifd_arena_free(&s.arena);
  return status;
}

static ifd_status print_locked(ifd_error *err, FILE *to, const void *of, const char *format, int width) {
  infold_session *session = (infold_session *)of;
  pthread_mutex_lock(&session->lock);
  infold_session *ran = session->runs_loose ? session->loose : session;
  pthread_mutex_unlock(&session->lock);
  pthread_mutex_lock(&ran->lock);
  ifd_status status = print(err, to, ran, format, width);
  pthread_mutex_unlock(&ran->lock);
  return status;
}

infold_status infold_format_profile(infold_error *to, char **out, const infold_session *session,
                                    const char *format, int width) {
  return ifd_api_write(to, out, print_locked, session, format, width);
}
