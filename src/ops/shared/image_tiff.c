/* TIFF by libtiff, whose RGBA interface understands every layout and color space of 8- and 16-bit images. */
#include "ops/shared/image.h"

#ifdef IFD_WITH_TIFF
#include <string.h>
#include <tiffio.h>

/* ---- a file in memory ---- */

typedef struct memory {
  const uint8_t *data;
  size_t len, at;
} memory;

static tmsize_t read_memory(thandle_t handle, void *to, tmsize_t n) {
  memory *m = handle;
  size_t has = m->at < m->len ? m->len - m->at : 0, some = (size_t)n < has ? (size_t)n : has;
  memcpy(to, m->data + (some ? m->at : 0), some);
  m->at += some;
  return (tmsize_t)some;
}
static tmsize_t refuse_write(thandle_t handle, void *from, tmsize_t n) {
  (void)handle, (void)from, (void)n;
  return -1;
}
static toff_t seek_memory(thandle_t handle, toff_t to, int whence) {
  memory *m = handle;
  m->at = (size_t)to + (whence == SEEK_CUR ? m->at : whence == SEEK_END ? m->len : 0);
  return m->at;
}
static int close_memory(thandle_t handle) {
  (void)handle;
  return 0;
}
static toff_t size_memory(thandle_t handle) { return ((memory *)handle)->len; }
static int map_memory(thandle_t handle, void **base, toff_t *size) {
  memory *m = handle;
  *base = (void *)m->data;
  *size = m->len;
  return 1;
}
static void unmap_memory(thandle_t handle, void *base, toff_t size) { (void)handle, (void)base, (void)size; }

static int ignore(TIFF *tiff, void *context, const char *module, const char *format, va_list arguments) {
  (void)tiff, (void)context, (void)module, (void)format, (void)arguments;
  return 1;
}

/* ---- decoding ---- */

static TIFF *open_memory(memory *m) {
  TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
  if (!options) return NULL;
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)1 << 30);
  TIFFOpenOptionsSetErrorHandlerExtR(options, ignore, NULL);
  TIFFOpenOptionsSetWarningHandlerExtR(options, ignore, NULL);
  TIFF *tiff = TIFFClientOpenExt("memory", "r", m, read_memory, refuse_write, seek_memory, close_memory,
                                 size_memory, map_memory, unmap_memory, options);
  TIFFOpenOptionsFree(options);
  return tiff;
}

static ifd_status decode(ifd_error *err, ifd_image *out, ifd_arena *arena, TIFF *tiff) {
  uint32_t width = 0, height = 0, *raster;
  char reason[1024];
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) ||
      !TIFFRGBAImageOK(tiff, reason))
    return IFD_OK;
  TRY(ifd_image_new(err, out, arena, width, height));
  int64_t n = out->width * out->height;
  if (n == 0) return IFD_OK;
  ALLOC(err, raster, ifd_arena_alloc_array(arena, (size_t)n, sizeof *raster));
  if (!TIFFReadRGBAImageOriented(tiff, width, height, raster, ORIENTATION_TOPLEFT, 1)) {
    ifd_image_drop(out);
    return IFD_OK;
  }
  for (int64_t i = 0; i < n; i++) {
    out->rgb[3 * i] = (uint8_t)TIFFGetR(raster[i]);
    out->rgb[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
    out->rgb[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
  }
  return IFD_OK;
}

ifd_status ifd_image_decode_tiff(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  memory m = {.data = data, .len = len};
  TIFF *tiff = open_memory(&m);
  if (!tiff) return IFD_OK;
  ifd_status status = decode(err, out, arena, tiff);
  TIFFClose(tiff);
  return status;
}

#else

ifd_status ifd_image_decode_tiff(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  (void)out, (void)arena, (void)data, (void)len;
  FAIL(err, UNSUPPORTED, "TIFF images need a build with libtiff");
}

#endif
