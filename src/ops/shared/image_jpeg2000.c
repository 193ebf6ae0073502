/* JPEG 2000 by OpenJPEG. */
#include "ops/shared/image.h"

#ifdef IFD_WITH_OPENJPEG
#include <openjpeg.h>
#include <string.h>

/* ---- a file in memory ---- */

typedef struct memory {
  const uint8_t *data;
  size_t len, at;
} memory;

static OPJ_SIZE_T read_memory(void *to, OPJ_SIZE_T n, void *handle) {
  memory *m = handle;
  size_t has = m->len - m->at, some = n < has ? n : has;
  if (some == 0) return (OPJ_SIZE_T)-1;
  memcpy(to, m->data + m->at, some);
  m->at += some;
  return some;
}
static OPJ_OFF_T skip_memory(OPJ_OFF_T n, void *handle) {
  memory *m = handle;
  if (n < 0) return -1;
  size_t has = m->len - m->at;
  m->at += (size_t)n < has ? (size_t)n : has;
  return n;
}
static OPJ_BOOL seek_memory(OPJ_OFF_T to, void *handle) {
  memory *m = handle;
  if (to < 0 || (size_t)to > m->len) return OPJ_FALSE;
  m->at = (size_t)to;
  return OPJ_TRUE;
}

static opj_stream_t *open_memory(memory *m) {
  opj_stream_t *stream = opj_stream_create(1 << 16, OPJ_TRUE);
  if (!stream) return NULL;
  opj_stream_set_user_data(stream, m, NULL);
  opj_stream_set_user_data_length(stream, m->len);
  opj_stream_set_read_function(stream, read_memory);
  opj_stream_set_skip_function(stream, skip_memory);
  opj_stream_set_seek_function(stream, seek_memory);
  return stream;
}

/* ---- colors ---- */

/* The sample of a component at a place of the picture, as 0 to 255. Components may be coarser than the
 * picture. */
static uint8_t sample_at(const opj_image_t *p, int c, int64_t x, int64_t y) {
  const opj_image_comp_t *k = &p->comps[c];
  int64_t column = (x + p->x0) / k->dx - k->x0, row = (y + p->y0) / k->dy - k->y0;
  column = column < 0 ? 0 : column < k->w ? column : (int64_t)k->w - 1;
  row = row < 0 ? 0 : row < k->h ? row : (int64_t)k->h - 1;
  int64_t v = k->data[row * k->w + column] + (k->sgnd ? (int64_t)1 << (k->prec - 1) : 0);
  return ifd_image_scale(v < 0 ? 0 : (uint32_t)v, (uint32_t)(((uint64_t)1 << k->prec) - 1));
}

static uint8_t clamp(double v) { return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)(v + 0.5); }

/* ITU-R BT.601's luma and color differences to light. */
static void light_of(uint8_t *to, const uint8_t *ycc) {
  double y = ycc[0], b = ycc[1] - 128.0, r = ycc[2] - 128.0;
  to[0] = clamp(y + 1.402 * r);
  to[1] = clamp(y - 0.344136 * b - 0.714136 * r);
  to[2] = clamp(y + 1.772 * b);
}

static bool has_samples(const opj_image_t *p) {
  int n = p->numcomps >= 3 ? 3 : 1;
  bool has = p->numcomps > 0;
  for (int c = 0; has && c < n; c++) {
    const opj_image_comp_t *k = &p->comps[c];
    has = k->data && k->w > 0 && k->h > 0 && k->dx > 0 && k->dy > 0 && k->prec > 0 && k->prec <= 31;
  }
  return has;
}

static void put_pixels(ifd_image *out, const opj_image_t *p) {
  bool gray = p->numcomps < 3, ycc = !gray && p->color_space == OPJ_CLRSPC_SYCC;
  for (int64_t y = 0; y < out->height; y++)
    for (int64_t x = 0; x < out->width; x++) {
      uint8_t v[3], *to = out->rgb + (y * out->width + x) * 3;
      for (int c = 0; c < 3; c++) v[c] = gray && c ? v[0] : sample_at(p, c, x, y);
      if (ycc)
        light_of(to, v);
      else
        memcpy(to, v, 3);
    }
}

/* ---- decoding ---- */

static ifd_status decode(ifd_error *err, ifd_image *out, ifd_arena *arena, opj_codec_t *codec,
                         opj_stream_t *stream, opj_image_t **picture) {
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (!opj_setup_decoder(codec, &parameters) || !opj_read_header(stream, codec, picture)) return IFD_OK;
  opj_image_t *p = *picture;
  TRY(ifd_image_new(err, out, arena, (int64_t)p->x1 - p->x0, (int64_t)p->y1 - p->y0));
  bool whole =
      out->rgb && opj_decode(codec, stream, p) && opj_end_decompress(codec, stream) && has_samples(p);
  if (whole)
    put_pixels(out, p);
  else
    ifd_image_drop(out);
  return IFD_OK;
}

ifd_status ifd_image_decode_jpeg2000(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                     size_t len) {
  memory m = {.data = data, .len = len};
  opj_image_t *picture = NULL;
  opj_codec_t *codec = opj_create_decompress(len && data[0] == 0xff ? OPJ_CODEC_J2K : OPJ_CODEC_JP2);
  opj_stream_t *stream = open_memory(&m);
  ifd_status status = IFD_OK;
  if (codec && stream)
    status = decode(err, out, arena, codec, stream, &picture);
  else
    status = ifd_error_set(err, IFD_NO_MEMORY, "out of memory");
  if (picture) opj_image_destroy(picture);
  if (stream) opj_stream_destroy(stream);
  if (codec) opj_destroy_codec(codec);
  return status;
}

#else

ifd_status ifd_image_decode_jpeg2000(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                     size_t len) {
  (void)out, (void)arena, (void)data, (void)len;
  FAIL(err, UNSUPPORTED, "JPEG 2000 images need a build with OpenJPEG");
}

#endif
