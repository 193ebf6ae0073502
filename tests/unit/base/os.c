/* Files: mapping, staying inside a folder, replacing whole or not at all. */
#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct place {
  char dir[64];
  char path[PATH_MAX];
} place;

static const char *in(place *p, const char *name) {
  snprintf(p->path, sizeof p->path, "%s/%s", p->dir, name);
  return p->path;
}

static void put(place *p, const char *name, const char *text) {
  FILE *f = fopen(in(p, name), "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void holds(place *p, const char *name, const char *text) {
  ifd_error err = {0};
  ifd_file file;
  assert_int_equal(ifd_file_map(&err, &file, in(p, name)), IFD_OK);
  assert_int_equal(file.size, strlen(text));
  assert_memory_equal(file.data, text, file.size);
  ifd_file_unmap(&file);
}

static int n_entries(place *p) {
  DIR *d = opendir(p->dir);
  int n = 0;
  while (readdir(d)) n++;
  closedir(d);
  return n - 2;
}

static int make_place(void **state) {
  place *p = malloc(sizeof *p);
  strcpy(p->dir, "/tmp/infold-test-XXXXXX");
  *state = p;
  return mkdtemp(p->dir) ? 0 : -1;
}

static int remove_place(void **state) {
  place *p = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
  int failed = system(command);
  free(p);
  return failed;
}

static void files_are_mapped(void **state) {
  place *p = *state;
  ifd_error err = {0};
  ifd_file file;
  put(p, "model", "some bytes");
  holds(p, "model", "some bytes");
  put(p, "empty", "");
  assert_int_equal(ifd_file_map(&err, &file, in(p, "empty")), IFD_OK);
  assert_non_null(file.data);
  assert_int_equal(file.size, 0);
  ifd_file_unmap(&file);
  ifd_file_unmap(&file);
  assert_int_equal(ifd_file_map(&err, &file, in(p, "absent")), IFD_IO);
  assert_non_null(strstr(err.text, "No such file"));
  ifd_error_clear(&err);
  assert_int_equal(ifd_file_map(&err, &file, p->dir), IFD_BAD_FILE);
  ifd_error_clear(&err);
  assert_int_equal(mkfifo(in(p, "pipe"), 0600), 0);
  assert_int_equal(ifd_file_map(&err, &file, p->path), IFD_BAD_FILE);
  file = ifd_file_from_memory("abc", 3);
  assert_memory_equal(file.data, "abc", 3);
  ifd_file_unmap(&file);
}

static void locations_stay_in_the_folder(void **state) {
  place *p = *state;
  assert_int_equal(mkdir(in(p, "models"), 0700), 0);
  assert_int_equal(mkdir(in(p, "models/data"), 0700), 0);
  put(p, "secret", "secret");
  put(p, "models/weights", "weights");
  put(p, "models/data/bias", "bias");
  put(p, "models/twin", "twin");
  char target[PATH_MAX];
  strcpy(target, in(p, "models/twin"));
  assert_int_equal(link(target, in(p, "models/hard")), 0);
  strcpy(target, in(p, "secret"));
  assert_int_equal(symlink(target, in(p, "models/soft")), 0);
  assert_int_equal(symlink("data", in(p, "models/linked")), 0);
  assert_int_equal(mkfifo(in(p, "models/pipe"), 0600), 0);

  ifd_error err = {0};
  int folder;
  assert_int_equal(ifd_folder_open(&err, &folder, in(p, "models/model.onnx")), IFD_OK);
#define AT(text) text, sizeof(text) - 1
  const struct {
    const char *location;
    size_t len;
    ifd_status status, with_links;
    const char *holds, *message;
  } rows[] = {
      {AT("weights"), IFD_OK, IFD_OK, "weights", ""},
      {AT("data/bias"), IFD_OK, IFD_OK, "bias", ""},
      {AT("./data/./bias"), IFD_OK, IFD_OK, "bias", ""},
      {AT("weightsXYZ") - 3, IFD_OK, IFD_OK, "weights", ""},
      {AT(""), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "empty"},
      {AT("../secret"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "'..'"},
      {AT("data/../weights"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "'..'"},
      {AT("/etc/passwd"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "absolute"},
      {AT("data//bias"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "component ''"},
      {AT("data/bias/"), IFD_IO, IFD_IO, NULL, "Not a directory"},
      {AT("data/"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "component ''"},
      {AT("weights\0.bin"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "NUL"},
      {AT("data"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "regular"},
      {AT("."), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "regular"},
      {AT("pipe"), IFD_BAD_FILE, IFD_BAD_FILE, NULL, "regular"},
      {AT("absent"), IFD_IO, IFD_IO, NULL, "No such file"},
      {AT("soft"), IFD_BAD_FILE, IFD_OK, "secret", "--allow-links"},
      {AT("linked/bias"), IFD_BAD_FILE, IFD_OK, "bias", "--allow-links"},
      {AT("hard"), IFD_BAD_FILE, IFD_OK, "twin", "--allow-links"},
      {AT("twin"), IFD_BAD_FILE, IFD_OK, "twin", "--allow-links"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int links = 0; links < 2; links++) {
      ifd_file file;
      ifd_error_clear(&err);
      ifd_status status = ifd_file_map_in(&err, &file, folder, rows[i].location, rows[i].len, links);
      assert_int_equal(status, links ? rows[i].with_links : rows[i].status);
      if (status == IFD_OK) {
        assert_int_equal(file.size, strlen(rows[i].holds));
        assert_memory_equal(file.data, rows[i].holds, file.size);
        ifd_file_unmap(&file);
      } else {
        assert_non_null(strstr(err.text, rows[i].message));
      }
    }
  char *wide = malloc(PATH_MAX + 1);
  memset(wide, 'a', PATH_MAX + 1);
  ifd_file file;
  ifd_error_clear(&err);
  assert_int_equal(ifd_file_map_in(&err, &file, folder, wide, PATH_MAX + 1, true), IFD_BAD_FILE);
  free(wide);
  ifd_folder_close(folder);
  ifd_folder_close(-1);
}

static void no_descriptor_is_left_open(void **state) {
  place *p = *state;
  put(p, "weights", "weights");
  int before = open("/dev/null", O_RDONLY);
  close(before);
  for (int i = 0; i < 20; i++) {
    ifd_error err = {0};
    ifd_file file;
    int folder;
    assert_int_equal(ifd_folder_open(&err, &folder, in(p, "model")), IFD_OK);
    const char *const tried[] = {"weights", "../weights", "weights/x", "absent/weights"};
    for (int k = 0; k < 4; k++) {
      ifd_error_clear(&err);
      if (ifd_file_map_in(&err, &file, folder, tried[k], strlen(tried[k]), false) == IFD_OK)
        ifd_file_unmap(&file);
    }
    ifd_folder_close(folder);
    ifd_error_clear(&err);
    assert_int_equal(ifd_file_replace(&err, in(p, "out"), "x", 1), IFD_OK);
    assert_int_equal(ifd_file_replace(&err, "/tmp", "x", 1), IFD_IO);
  }
  int after = open("/dev/null", O_RDONLY);
  close(after);
  assert_int_equal(after, before);
}

/* Pieces around the buffer's size arrive in order, whatever their lengths. */
static void writer_keeps_every_byte(void **state) {
  place *p = *state;
  static const size_t lengths[] = {1, 0, 65535, 65536, 65537, 7, 200000, 65529, 3, 131072};
  enum { MOST = 200000 };
  uint8_t *piece = malloc(MOST);
  ifd_error err = {0};
  ifd_writer *w;
  assert_int_equal(ifd_writer_begin(&err, &w, in(p, "out")), IFD_OK);
  size_t total = 0;
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    for (size_t k = 0; k < lengths[i]; k++) piece[k] = (uint8_t)((total + k) * 2654435761u >> 13);
    assert_int_equal(ifd_writer_append(&err, w, piece, lengths[i]), IFD_OK);
    total += lengths[i];
    assert_int_equal(ifd_writer_size(w), total);
  }
  assert_int_equal(access(in(p, "out"), F_OK), -1);
  assert_int_equal(ifd_writer_commit(&err, w), IFD_OK);
  free(piece);
  ifd_file file;
  assert_int_equal(ifd_file_map(&err, &file, in(p, "out")), IFD_OK);
  assert_int_equal(file.size, total);
  for (size_t k = 0; k < total; k++)
    if (file.data[k] != (uint8_t)(k * 2654435761u >> 13)) fail_msg("byte %zu differs", k);
  ifd_file_unmap(&file);
  assert_int_equal(n_entries(p), 1);
}

static void replacing_keeps_permissions_and_links(void **state) {
  place *p = *state;
  ifd_error err = {0};
  struct stat st;
  put(p, "model", "old");
  assert_int_equal(chmod(in(p, "model"), 0640), 0);
  assert_int_equal(symlink("model", in(p, "alias")), 0);
  assert_int_equal(ifd_file_replace(&err, in(p, "alias"), "new", 3), IFD_OK);
  holds(p, "model", "new");
  assert_int_equal(stat(in(p, "model"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0640);
  assert_int_equal(lstat(in(p, "alias"), &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(n_entries(p), 2);
  assert_int_equal(mkfifo(in(p, "pipe"), 0600), 0);
  assert_int_equal(ifd_file_replace(&err, p->path, "new", 3), IFD_IO);
  const char *const refused[] = {"", "absent/model", "absent/"};
  for (int i = 0; i < 3; i++) {
    ifd_error_clear(&err);
    assert_int_equal(ifd_file_replace(&err, in(p, refused[i]), "new", 3), IFD_IO);
  }
  assert_int_equal(n_entries(p), 3);
}

static void abort_leaves_the_old_file(void **state) {
  place *p = *state;
  ifd_error err = {0};
  ifd_writer *w;
  put(p, "model", "old");
  assert_int_equal(ifd_writer_begin(&err, &w, in(p, "model")), IFD_OK);
  assert_int_equal(ifd_writer_append(&err, w, "half", 4), IFD_OK);
  assert_int_equal(n_entries(p), 2);
  ifd_writer_abort(w);
  ifd_writer_abort(NULL);
  assert_int_equal(n_entries(p), 1);
  holds(p, "model", "old");
}

/* A disk that fills up is a limit on the size of files here. */
static void a_full_disk_leaves_the_old_file(void **state) {
  place *p = *state;
  struct rlimit old, small;
  put(p, "model", "old");
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = (struct rlimit){1000, old.rlim_max};
  char *bytes = calloc(1, 200000);
  const size_t lengths[] = {50000, 200000}; /* fails on commit, on append */
  for (int i = 0; i < 2; i++) {
    ifd_error err = {0};
    setrlimit(RLIMIT_FSIZE, &small);
    ifd_status status = ifd_file_replace(&err, in(p, "model"), bytes, lengths[i]);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, IFD_IO);
    assert_non_null(strstr(err.text, "File too large"));
    assert_int_equal(n_entries(p), 1);
    holds(p, "model", "old");
  }
  free(bytes);
}

static void time_goes_forward(void **state) {
  (void)state;
  double a = ifd_now();
  usleep(2000);
  double b = ifd_now();
  assert_true(b - a >= 0.002 && b - a < 60);
}

#define PLACED(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void) {
  const struct CMUnitTest tests[] = {
      PLACED(files_are_mapped),
      PLACED(locations_stay_in_the_folder),
      PLACED(no_descriptor_is_left_open),
      PLACED(writer_keeps_every_byte),
      PLACED(replacing_keeps_permissions_and_links),
      PLACED(abort_leaves_the_old_file),
      PLACED(a_full_disk_leaves_the_old_file),
      cmocka_unit_test(time_goes_forward),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
