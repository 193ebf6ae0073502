/* JPEG by libjpeg: the accurate inverse transform and smooth chroma upsampling, its defaults, are what ONNX
 * asks for. */
#include "ops/shared/image.h"

#ifdef IFD_WITH_JPEG
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

/* libjpeg leaves by longjmp; what must survive that is here, not in a function's variables. */
typedef struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf leave;
  ifd_error *err;
  ifd_image *out;
  ifd_arena *arena;
  uint8_t *line;
  ifd_status status;
} decoder;

static void fail(j_common_ptr jpeg) {
  decoder *d = jpeg->client_data;
  longjmp(d->leave, 1);
}

/* Warnings that say that data is missing or wrong count as failures; libjpeg would fill in gray. */
static void note(j_common_ptr jpeg, int level) {
  static const int corrupt[] = {JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_JPEG_EOF, JWRN_MUST_RESYNC};
  for (size_t i = 0; level < 0 && i < sizeof corrupt / sizeof *corrupt; i++)
    if (jpeg->err->msg_code == corrupt[i]) fail(jpeg);
}

/* A progressive file may hold any number of scans, each of which costs a pass over the picture. */
static void count_scans(j_common_ptr jpeg) {
  enum { MOST_SCANS = 500 };
  if (jpeg->is_decompressor && ((j_decompress_ptr)jpeg)->input_scan_number > MOST_SCANS) fail(jpeg);
}

/* Four inks to light; Adobe's files hold them inverted. */
static void put_inks(uint8_t *to, const uint8_t *cmyk, int64_t n, bool inverted) {
  for (int64_t i = 0; i < n; i++, to += 3, cmyk += 4)
    for (int c = 0; c < 3; c++) {
      uint32_t light = inverted ? cmyk[c] : 255 - cmyk[c], key = inverted ? cmyk[3] : 255 - cmyk[3];
      to[c] = (uint8_t)((light * key + 127) / 255);
    }
}

static ifd_status make_rows(decoder *d) {
  TRY(ifd_image_new(d->err, d->out, d->arena, d->jpeg.image_width, d->jpeg.image_height));
  ALLOC(d->err, d->line, ifd_arena_alloc_array(d->arena, d->jpeg.image_width, 4));
  return IFD_OK;
}

static void read_rows(decoder *d) {
  bool inks = d->jpeg.out_color_space == JCS_CMYK;
  while (d->jpeg.output_scanline < d->jpeg.output_height) {
    uint8_t *to = d->out->rgb + (int64_t)d->jpeg.output_scanline * d->out->width * 3;
    JSAMPROW row = inks ? d->line : to;
    (void)jpeg_read_scanlines(&d->jpeg, &row, 1);
    if (inks) put_inks(to, d->line, d->out->width, d->jpeg.saw_Adobe_marker);
  }
}

static void decode(decoder *d, const uint8_t *data, size_t len) {
  if (setjmp(d->leave)) {
    if (d->errors.msg_code == JERR_OUT_OF_MEMORY)
      d->status = ifd_error_set(d->err, IFD_NO_MEMORY, "out of memory");
    ifd_image_drop(d->out);
    return;
  }
  jpeg_create_decompress(&d->jpeg);
  d->jpeg.progress = &d->progress;
  jpeg_mem_src(&d->jpeg, data, (unsigned long)len);
  (void)jpeg_read_header(&d->jpeg, TRUE);
  d->status = make_rows(d);
  if (d->status != IFD_OK || !d->out->rgb) return;
  bool inks = d->jpeg.jpeg_color_space == JCS_CMYK || d->jpeg.jpeg_color_space == JCS_YCCK;
  d->jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  (void)jpeg_start_decompress(&d->jpeg);
  read_rows(d);
  (void)jpeg_finish_decompress(&d->jpeg);
}

ifd_status ifd_image_decode_jpeg(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  decoder d = {.err = err, .out = out, .arena = arena};
  d.jpeg.err = jpeg_std_error(&d.errors);
  d.jpeg.client_data = &d;
  d.errors.error_exit = fail;
  d.errors.emit_message = note;
  d.progress.progress_monitor = count_scans;
  decode(&d, data, len);
  jpeg_destroy_decompress(&d.jpeg);
  return d.status;
}

#else

ifd_status ifd_image_decode_jpeg(ifd_error *err, ifd_image *out, ifd_arena *arena, const uint8_t *data,
                                 size_t len) {
  (void)out, (void)arena, (void)data, (void)len;
  FAIL(err, UNSUPPORTED, "JPEG images need a build with libjpeg");
}

#endif
