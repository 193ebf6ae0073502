#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE = 8000 };

int cli_width(void) {
  struct winsize size;
  const char *columns = getenv("COLUMNS");
  if (isatty(1) && ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  int n = columns ? atoi(columns) : 0;
  return n >= 20 && n < 10000 ? n : 0;
}

/* ---- text ---- */

/* A control character at s (C0, DEL, or C1 in UTF-8): its bytes, else 0. */
static int control_at(const char *s) {
  unsigned char a = (unsigned char)s[0], b = (unsigned char)s[1];
  if (a < 0x20 || a == 0x7f) return 1;
  return a == 0xc2 && b >= 0x80 && b <= 0x9f ? 2 : 0;
}

/* A table's title row stands above a line of ─. */
static bool is_title(const char *line) {
  const char *next = strchr(line, '\n');
  return next && strncmp(next + 1, "─", strlen("─")) == 0 && *line != '\n';
}

void cli_print(const char *text) {
  bool bold = isatty(1) && !getenv("NO_COLOR");
  for (bool start = true; *text;) {
    bool title = start && bold && is_title(text);
    if (title) fputs("\033[1m", stdout);
    size_t n = strcspn(text, "\n");
    for (const char *end = text + n; text < end;) {
      int control = *text == '\t' ? 0 : control_at(text);
      fputc(control ? '?' : *text, stdout);
      text += control ? control : 1;
    }
    if (title) fputs("\033[0m", stdout);
    start = *text == '\n';
    if (start) fputc(*text++, stdout);
  }
}

static void say(const char *format, va_list list) {
  char line[MAX_LINE];
  int n = snprintf(line, sizeof line, "infold: ");
  vsnprintf(line + n, sizeof line - (size_t)n, format, list);
  cli_end();
  for (const char *s = line; *s;) {
    int control = control_at(s);
    fputc(control ? '?' : *s, stderr);
    s += control ? control : 1;
  }
  fputc('\n', stderr);
}

void cli_say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  say(format, list);
  va_end(list);
}

int cli_usage(const char *format, ...) {
  va_list list;
  va_start(list, format);
  say(format, list);
  va_end(list);
  return EXIT_USAGE;
}

int cli_fail(const infold_error *err, const char *file) {
  size_t n = file ? strlen(file) : 0;
  bool named = !file || (strncmp(err->message, file, n) == 0 && err->message[n] == ':');
  cli_say("%s%s%s", named ? "" : file, named ? "" : ": ", err->message);
  return infold_exit_code(err->status);
}

int cli_give(infold_status status, const infold_error *err, char **text, const char *file) {
  if (*text) cli_print(*text);
  infold_free(*text);
  return status ? cli_fail(err, file) : 0;
}

/* ---- files ---- */

int cli_close_output(int exit_code) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
  cli_say("standard output: %s", errno ? strerror(errno) : "cannot be written");
  return exit_code ? exit_code : EXIT_FILE;
}

static bool is_regular(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static bool write_text(const char *path, const char *mode, const char *text) {
  FILE *f = fopen(path, mode);
  bool whole = f && fputs(text, f) >= 0;
  return f && fclose(f) == 0 && whole;
}

int cli_write_file(const char *path, const char *text) {
  char temporary[PATH_MAX];
  bool as_it_is = access(path, F_OK) == 0 && !is_regular(path);
  int n = snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
  errno = n < (int)sizeof temporary ? 0 : ENAMETOOLONG;
  bool written = !errno && (as_it_is ? write_text(path, "w", text) : write_text(temporary, "wx", text));
  if (written && (as_it_is || rename(temporary, path) == 0)) return 0;
  cli_say("%s: %s", path, strerror(errno));
  if (!as_it_is) cli_remove_file(temporary);
  return EXIT_FILE;
}

void cli_remove_file(const char *path) {
  if (is_regular(path)) unlink(path);
}

/* ---- progress ---- */

/* The one thing the command is doing now; a thread of its own shows it. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t thread;
  bool running, ending, shown;
  struct timespec since;
  char text[200], detail[100];
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void show_progress(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  fprintf(stderr, "\r\033[K%s%s%s … %ld s", progress.text, *progress.detail ? ": " : "", progress.detail,
          (long)(now.tv_sec - progress.since.tv_sec));
  progress.shown = true;
}

static void *watch(void *context) {
  (void)context;
  struct timespec until = progress.since;
  pthread_mutex_lock(&progress.lock);
  while (!progress.ending) {
    until.tv_sec++;
    while (!progress.ending && pthread_cond_timedwait(&progress.wake, &progress.lock, &until) != ETIMEDOUT) {
    }
    if (!progress.ending) show_progress();
  }
  if (progress.shown) fputs("\r\033[K", stderr);
  pthread_mutex_unlock(&progress.lock);
  return NULL;
}

void cli_begin(const char *what, const char *file) {
  cli_end();
  if (!isatty(2)) return;
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&progress.wake, &clock);
  pthread_condattr_destroy(&clock);
  snprintf(progress.text, sizeof progress.text, "%s %s", what, file);
  for (char *s = progress.text; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
  *progress.detail = 0;
  progress.ending = progress.shown = false;
  clock_gettime(CLOCK_MONOTONIC, &progress.since);
  progress.running = pthread_create(&progress.thread, NULL, watch, NULL) == 0;
}

void cli_show(const char *text) {
  if (!progress.running) return;
  pthread_mutex_lock(&progress.lock);
  snprintf(progress.detail, sizeof progress.detail, "%s", text);
  pthread_mutex_unlock(&progress.lock);
}

void cli_end(void) {
  if (!progress.running) return;
  pthread_mutex_lock(&progress.lock);
  progress.ending = true;
  pthread_cond_signal(&progress.wake);
  pthread_mutex_unlock(&progress.lock);
  pthread_join(progress.thread, NULL);
  pthread_cond_destroy(&progress.wake);
  progress.running = false;
}
