/* Learns eight pictures and writes one: learn GENERATOR PERCEPTUAL ENCODER OUT.ppm [STEPS]
 *
 *   cmake -S . -B build/c -DEVERFACE_PYTHON=OFF -DEVERFACE_ORT=OFF && cmake --build build/c --target everface_static
 *   cc -Icpp_ext/capi examples/c/learn.c build/c/cpp_ext/capi/libeverface.a build/c/cpp_ext/libeverface_core.a \
 *      -lstdc++ -lm -lpthread -ldl -o learn
 *
 * The pictures are drawn by the generator itself, with a darker lower half, so that the example needs no photos. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "everface.h"

enum { COUNT = 8, KEEP = 4 };

static void* read_file(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  void* data = NULL;
  if (file && fseek(file, 0, SEEK_END) == 0) {
    *bytes = (size_t)ftell(file);
    rewind(file);
    data = malloc(*bytes);
    if (data && fread(data, 1, *bytes, file) != *bytes) {
      free(data);
      data = NULL;
    }
  }
  if (file) fclose(file);
  if (!data) fprintf(stderr, "%s: cannot be read\n", path);
  return data;
}

static int failed(everface_status status, const everface_error* error) {
  if (status != EVERFACE_OK) fprintf(stderr, "everface: %s\n", error->text);
  return status != EVERFACE_OK;
}

/* Numbers in -1 .. 1 that look random, the same everywhere. */
static float noise(unsigned* state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

static int learn(everface_model* model, const char* out, long steps, everface_error* error) {
  everface_sizes sizes;
  if (failed(everface_get_sizes(model, &sizes, error), error)) return 1;
  const size_t picture = (size_t)(sizes.resolution * sizes.resolution * 3), code = (size_t)sizes.w_dim;
  uint8_t* photos = malloc(COUNT * picture);
  float *codes = malloc(COUNT * code * sizeof *codes), before[COUNT], after[COUNT];
  int64_t kept[KEEP];
  unsigned state = 1;
  int bad = photos == NULL || codes == NULL;
  for (size_t i = 0; !bad && i < COUNT * code; ++i) codes[i] = 0.5f * noise(&state);
  bad = bad || failed(everface_render(model, codes, COUNT, photos, error), error);
  for (size_t i = 0; !bad && i < COUNT * picture; ++i)
    if (i % picture > picture / 2) photos[i] = (uint8_t)(photos[i] / 2);
  bad = bad || failed(everface_set_photos(model, photos, COUNT, NULL, error), error) ||
        failed(everface_get_photos(model, NULL, before, error), error) ||
        failed(everface_invert(model, steps, 0.01f, error), error) ||
        failed(everface_learn(model, 2 * steps, 4, 1e-3f, NULL, error), error) ||
        failed(everface_get_photos(model, codes, after, error), error) ||
        failed(everface_choose(codes, COUNT, sizes.w_dim, KEEP, 100, 0, kept, error), error) ||
        failed(everface_render(model, codes, 1, photos, error), error);
  if (!bad) {
    FILE* file = fopen(out, "wb");
    bad = !file || fprintf(file, "P6 %d %d 255\n", (int)sizes.resolution, (int)sizes.resolution) < 0 ||
          fwrite(photos, 1, picture, file) != picture;
    if (file && fclose(file) != 0) bad = 1;
    if (bad) fprintf(stderr, "%s: cannot be written\n", out);
  }
  if (!bad) {
    float sums[2] = {0, 0};
    for (int i = 0; i < COUNT; ++i) sums[0] += before[i] / COUNT, sums[1] += after[i] / COUNT;
    printf("loss %.4f before, %.4f after; remember %d %d %d %d; wrote %s\n", sums[0], sums[1], (int)kept[0],
           (int)kept[1], (int)kept[2], (int)kept[3], out);
    bad = !(sums[1] < sums[0]);
  }
  free(photos), free(codes);
  return bad;
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: %s GENERATOR PERCEPTUAL ENCODER OUT.ppm [STEPS]\n", argv[0]);
    return 2;
  }
  size_t generator_bytes = 0, perceptual_bytes = 0, encoder_bytes = 0;
  void *generator = read_file(argv[1], &generator_bytes), *perceptual = read_file(argv[2], &perceptual_bytes),
       *encoder = read_file(argv[3], &encoder_bytes);
  everface_model* model = NULL;
  everface_error error;
  int bad = !generator || !perceptual || !encoder ||
            failed(everface_open(generator, generator_bytes, perceptual, perceptual_bytes, &model, &error), &error) ||
            failed(everface_set_encoder(model, encoder, encoder_bytes, &error), &error) ||
            learn(model, argv[4], argc > 5 ? atol(argv[5]) : 20, &error) ||
            failed(everface_write(model, generator, generator_bytes, &error), &error);
  everface_close(model);
  free(generator), free(perceptual), free(encoder);
  return bad;
}
