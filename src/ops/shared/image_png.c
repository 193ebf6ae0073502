/* PNG by libpng. */
#include "ops/shared/image.h"

#ifdef IFD_WITH_PNG
#include <png.h>
#include <string.h>

/* libpng leaves by longjmp; what must survive that is here, not in a function's variables. */
typedef struct decoder {
  ifd_error *err;
  ifd_image *out;
  ifd_arena *arena;
  const uint8_t *data;
  size_t len, at;
  png_structp png;
  png_infop info;
  png_bytep *rows;
  ifd_status status;
} decoder;

static void fail(png_structp png, png_const_charp text) {
  (void)text;
  png_longjmp(png, 1);
}
static void ignore(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void read_data(png_structp png, png_bytep to, size_t n) {
  decoder *d = png_get_io_ptr(png);
  if (n > d->len - d->at) png_error(png, "end of file");
  memcpy(to, d->data + d->at, n);
  d->at += n;
}

static ifd_status make_rows(decoder *d) {
  TRY(ifd_image_new(d->err, d->out, d->arena, png_get_image_width(d->png, d->info),
                    png_get_image_height(d->png, d->info)));
  ALLOC(d->err, d->rows, ifd_new_array(d->arena, png_bytep, d->out->height));
  for (int64_t y = 0; y < d->out->height; y++) d->rows[y] = d->out->rgb + y * d->out->width * 3;
  return IFD_OK;
}

static void decode(decoder *d) {
  if (setjmp(png_jmpbuf(d->png))) {
    ifd_image_drop(d->out);
    return;
  }
  png_set_read_fn(d->png, d, read_data);
  png_read_info(d->png, d->info);
  png_set_expand(d->png);
  png_set_scale_16(d->png);
  png_set_gray_to_rgb(d->png);
  png_set_strip_alpha(d->png);
  (void)png_set_interlace_handling(d->png);
  png_read_update_info(d->png, d->info);
  if (png_get_rowbytes(d->png, d->info) != 3 * (size_t)png_get_image_width(d->png, d->info)) return;
  d->status = make_rows(d);
  if (d->status != IFD_OK || !d->out->rgb) return;
  png_read_image(d->png, d->rows);
  png_read_end(d->png, NULL);
}

ifd_status ifd_image_decode_png(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                size_t len) {
  decoder d = {.err = err, .out = out, .arena = arena, .data = data, .len = len};
  ALLOC(err, d.png, png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, fail, ignore));
  d.info = png_create_info_struct(d.png);
  if (d.info)
    decode(&d);
  else
    d.status = ifd_error_set(err, IFD_NO_MEMORY, "out of memory");
  png_destroy_read_struct(&d.png, &d.info, NULL);
  return d.status;
}

#else

ifd_status ifd_image_decode_png(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                size_t len) {
  (void)out, (void)arena, (void)data, (void)len;
  FAIL(err, UNSUPPORTED, "PNG images need a build with libpng");
}

#endif
