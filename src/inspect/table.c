#include "inspect/table.h"

#include <math.h>

enum { NARROWEST = 8, GAP = 2, MOST_COLUMNS = 32 };

void ifd_table_init(ifd_table *table, ifd_error *err, ifd_arena *arena, const ifd_column *columns) {
  *table = (ifd_table){.err = err, .arena = arena, .columns = columns};
  while (columns[table->n_columns].title) table->n_columns++;
}

ifd_status ifd_table_add(ifd_table *table, const char *const *cells) {
  const char **row;
  for (int c = 0; c < table->n_columns; c++) EXPECT(table->err, cells[c], NO_MEMORY, "out of memory");
  ALLOC(table->err, row, ifd_arena_memdup(table->arena, cells, (size_t)table->n_columns * sizeof *row));
  IFD_PUSH(table->err, table->arena, &table->rows, row);
  return IFD_OK;
}

ifd_status ifd_table_add_rule(ifd_table *table) {
  IFD_PUSH(table->err, table->arena, &table->rows, NULL);
  return IFD_OK;
}

/* ---- cells ---- */

static bool is_control(const char *s) {
  unsigned char a = (unsigned char)s[0], b = (unsigned char)s[1];
  return a < 0x20 || a == 0x7f || (a == 0xc2 && b >= 0x80 && b <= 0x9f);
}

/* The start of the next code point. */
static const char *next_point(const char *s) {
  for (s++; ((unsigned char)*s & 0xc0) == 0x80; s++) {
  }
  return s;
}

static int width_of(const char *s) {
  int n = 0;
  for (; *s; s = next_point(s)) n++;
  return n;
}

static void put_points(FILE *to, const char *s, int n) {
  for (; n > 0 && *s; n--) {
    const char *next = next_point(s);
    if (is_control(s))
      fputc('?', to);
    else
      fwrite(s, 1, (size_t)(next - s), to);
    s = next;
  }
}

void ifd_put_clean(FILE *to, const char *text) { put_points(to, text, width_of(text)); }

static void put_spaces(FILE *to, int n) { fprintf(to, "%*s", n > 0 ? n : 0, ""); }

/* The whole text, or its two ends around an ellipsis. */
static void put_cut(FILE *to, const char *s, int width) {
  int n = width_of(s);
  if (n <= width) {
    put_points(to, s, n);
    return;
  }
  int tail = (width - 1) / 2, head = width - 1 - tail;
  put_points(to, s, head);
  fputs("…", to);
  for (int i = 0; i < n - tail; i++) s = next_point(s);
  put_points(to, s, tail);
}

static void put_cell(FILE *to, const ifd_column *column, const char *s, int width, bool last) {
  int pad = width - width_of(s);
  if (column->right) put_spaces(to, pad);
  put_cut(to, s, width);
  if (!column->right && !last) put_spaces(to, pad);
  if (!last) put_spaces(to, GAP);
}

/* How many bytes of s go into one line: as many words as fit, at least one code point. */
static size_t line_length(const char *s, int width) {
  size_t fits = 0;
  const char *at = s;
  for (int n = 0; *at && n < width; n++, at = next_point(at))
    if (*at == ' ') fits = (size_t)(at - s);
  return !*at || *at == ' ' || !fits ? (size_t)(at - s) : fits;
}

static void put_wrapped(FILE *to, const char *s, int indent, int width) {
  while (*s) {
    size_t n = line_length(s, width);
    const char *end = s + n;
    for (; s < end; s = next_point(s)) put_points(to, s, 1);
    while (*s == ' ') s++;
    if (*s) fputc('\n', to);
    if (*s) put_spaces(to, indent);
  }
}

/* ---- widths ---- */

static int total(const int *widths, int n) {
  int sum = GAP * (n - 1);
  for (int c = 0; c < n; c++) sum += widths[c];
  return sum;
}

/* The widest flexible column gives way first. */
static void fit(const ifd_table *t, int *widths, int width) {
  for (int over = total(widths, t->n_columns) - width; over > 0; over--) {
    int widest = -1;
    for (int c = 0; c < t->n_columns; c++)
      if (t->columns[c].flexible && widths[c] > NARROWEST && (widest < 0 || widths[c] > widths[widest]))
        widest = c;
    if (widest < 0) return;
    widths[widest]--;
  }
}

static void measure(const ifd_table *t, int *widths) {
  for (int c = 0; c < t->n_columns; c++) {
    widths[c] = width_of(t->columns[c].title);
    for (int r = 0; r < t->rows.n; r++) {
      int n = t->rows.v[r] ? width_of(t->rows.v[r][c]) : 0;
      if (n > widths[c]) widths[c] = n;
    }
  }
}

static void put_rule(FILE *to, int n) {
  for (int i = 0; i < n; i++) fputs("─", to);
  fputc('\n', to);
}

/* No spaces at the end: the last cell is the last that holds something. */
static void put_row(const ifd_table *t, FILE *to, const char *const *cells, const int *widths) {
  int last = t->n_columns - 1;
  while (last > 0 && !*cells[last]) last--;
  for (int c = 0; c < last; c++) put_cell(to, &t->columns[c], cells[c], widths[c], false);
  if (t->columns[last].wraps)
    put_wrapped(to, cells[last], total(widths, last) + GAP, widths[last]);
  else
    put_cell(to, &t->columns[last], cells[last], widths[last], true);
  fputc('\n', to);
}

void ifd_table_print(const ifd_table *t, FILE *to, int width) {
  int widths[MOST_COLUMNS];
  const char *titles[MOST_COLUMNS];
  measure(t, widths);
  if (width) fit(t, widths, width);
  for (int c = 0; c < t->n_columns; c++) titles[c] = t->columns[c].title;
  put_row(t, to, titles, widths);
  put_rule(to, total(widths, t->n_columns));
  for (int r = 0; r < t->rows.n; r++) {
    if (t->rows.v[r])
      put_row(t, to, t->rows.v[r], widths);
    else
      put_rule(to, total(widths, t->n_columns));
  }
}

static void put_markdown(FILE *to, const char *s) {
  for (; *s; s++) {
    if (*s == '|') fputc('\\', to);
    fputc(is_control(s) ? '?' : *s, to);
  }
}

void ifd_table_print_markdown(const ifd_table *t, FILE *to) {
  for (int c = 0; c < t->n_columns; c++) fprintf(to, "| %s ", t->columns[c].title);
  fputs("|\n", to);
  for (int c = 0; c < t->n_columns; c++) fputs(t->columns[c].right ? "|---:" : "|---", to);
  fputs("|\n", to);
  for (int r = 0; r < t->rows.n; r++) {
    if (!t->rows.v[r]) continue;
    for (int c = 0; c < t->n_columns; c++) {
      fputs("| ", to);
      put_markdown(to, t->rows.v[r][c]);
      fputc(' ', to);
    }
    fputs("|\n", to);
  }
}

/* ---- numbers ---- */

const char *ifd_text_count(ifd_arena *arena, double n) {
  char digits[64], text[96], *to = text;
  if (fabs(n) >= 1e15) return ifd_arena_printf(arena, "%.3g", n);
  int len = snprintf(digits, sizeof digits, "%.0f", fabs(n));
  if (n < 0) *to++ = '-';
  for (int i = 0; i < len; i++) {
    if (i && (len - i) % 3 == 0) *to++ = ',';
    *to++ = digits[i];
  }
  *to = 0;
  return ifd_arena_strdup(arena, text);
}

static const char *scaled(ifd_arena *arena, double n, const char *unit) {
  static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  int k = 0;
  while (fabs(n) >= 999.5 && k < 6) {
    n /= 1000;
    k++;
  }
  if (!k) return ifd_arena_printf(arena, "%.0f%s%s", n, *unit ? " " : "", unit);
  int decimals = fabs(n) < 9.995 ? 2 : fabs(n) < 99.95 ? 1 : 0;
  return ifd_arena_printf(arena, "%.*f %s%s", decimals, n, prefixes[k], unit);
}

const char *ifd_text_short(ifd_arena *arena, double n) { return scaled(arena, n, ""); }
const char *ifd_text_bytes(ifd_arena *arena, double n) { return scaled(arena, n, "B"); }
