/* everface for C: a StyleGAN2 generator that learns faces on the CPU.
 *
 * Functions return EVERFACE_OK or what went wrong, with a sentence in `error` where that is not null. A model may be
 * used from any thread; calls for one model run one after the other. There is no global state but the threads. */
#ifndef EVERFACE_H
#define EVERFACE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define EVERFACE_API __declspec(dllexport)
#else
#define EVERFACE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  EVERFACE_OK = 0,
  EVERFACE_BAD_ARGUMENT = 1, /* null, a wrong number, or a call before the one that it needs */
  EVERFACE_BAD_FILE = 2,     /* not the file that was expected */
  EVERFACE_NO_MEMORY = 3,
  EVERFACE_FAILED = 4 /* the loss left the finite numbers (open the model anew), or something unforeseen */
} everface_status;

typedef struct {
  char text[256];
} everface_error;

typedef struct everface_model everface_model;

typedef struct {
  int64_t resolution; /* side of a picture, in pixels */
  int64_t w_dim;      /* numbers of a code */
} everface_sizes;

/* A generator in safetensors with the weights of the perceptual network, also in safetensors. Neither is kept. */
EVERFACE_API everface_status everface_open(const void* generator, size_t generator_bytes, const void* perceptual,
                                           size_t perceptual_bytes, everface_model** model, everface_error* error);
/* Adds the encoder beside the generator, BASE-encoder.safetensors; it is not kept. */
EVERFACE_API everface_status everface_set_encoder(everface_model* model, const void* encoder, size_t encoder_bytes,
                                                  everface_error* error);
EVERFACE_API void everface_close(everface_model* model);
EVERFACE_API everface_status everface_get_sizes(everface_model* model, everface_sizes* sizes, everface_error* error);

/* codes[count, w_dim] of aligned photos[count, resolution, resolution, 3], by the encoder in one pass. */
EVERFACE_API everface_status everface_encode(everface_model* model, const uint8_t* photos, int64_t count, float* codes,
                                             everface_error* error);
/* Aligned photos [count, resolution, resolution, 3] to learn, with their codes [count, w_dim]; null: the encoder's
 * where one was set, the mean face otherwise. */
EVERFACE_API everface_status everface_set_photos(everface_model* model, const uint8_t* photos, int64_t count,
                                                 const float* codes, everface_error* error);
/* Moves the codes to where the pictures are nearest to the photos, by so many steps of Adam. */
EVERFACE_API everface_status everface_invert(everface_model* model, int64_t steps, float learning_rate,
                                             everface_error* error);
/* So many updates on `batch` photos each, taken in turn. losses[steps], or null, receives the mean loss of each. */
EVERFACE_API everface_status everface_learn(everface_model* model, int64_t steps, int64_t batch, float learning_rate,
                                            float* losses, everface_error* error);
/* codes[count, w_dim] and losses[count] of the photos; either may be null. */
EVERFACE_API everface_status everface_get_photos(everface_model* model, float* codes, float* losses,
                                                 everface_error* error);
/* pictures[count, resolution, resolution, 3] of codes[count, w_dim]. */
EVERFACE_API everface_status everface_render(everface_model* model, const float* codes, int64_t count,
                                             uint8_t* pictures, everface_error* error);

/* Which `keep` of the codes[count, w_dim] to remember: of `candidates` random choices the one whose convex hull is
 * nearest to the others. indices[keep], ascending. The same seed gives the same indices. */
EVERFACE_API everface_status everface_choose(const float* codes, int64_t count, int64_t w_dim, int64_t keep,
                                             int64_t candidates, uint64_t seed, int64_t* indices,
                                             everface_error* error);

/* The generator as it is now, in the form and the precision of the file that it was opened from, of as many bytes. */
EVERFACE_API everface_status everface_write(everface_model* model, void* generator, size_t generator_bytes,
                                            everface_error* error);

#ifdef __cplusplus
}
#endif

#endif
