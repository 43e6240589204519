/* Elements of any type, block by block, as float32 or float64. */
#include <stdint.h>
#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define HAS_TARGETS 1
#include <immintrin.h>
#else
#define HAS_TARGETS 0
#endif
#if defined(__GNUC__) || defined(__clang__)
#define HAS_VECTORS 1
#define INLINE static inline __attribute__((always_inline))
#else
#define HAS_VECTORS 0
#define INLINE static __forceinline
#endif

#define BLOCK 1024
#define LANES 16
#define GROUP 4
#define NUM_SUMS 16

/* The order of SUM_NAMES in sums.py. */
enum { N, N_VALID, BAD_BEFORE, BAD_AFTER, L1_DELTA, L1_BEFORE, L1_AFTER, SQ_DELTA, SQ_BEFORE, SQ_AFTER, DOT,
       MAX_DELTA, CHANGED, SIGN_FLIPS, REL_SUM, REL_N };

/* Types of elements, as compiled.py counts them. TABLE and on are types of one byte, their values in a table. */
enum { FLOAT32, FLOAT64, FLOAT16, BFLOAT16, COMPLEX64, COMPLEX128, TABLE };
static const int ITEM_SIZES[] = {4, 8, 2, 2, 8, 16, 1};

typedef struct {
    const char *data;
    int type;
    int swapped;
    const float *table;
} Elements;

static int item_size(int type) { return ITEM_SIZES[type < TABLE ? type : TABLE]; }

INLINE uint32_t widen_half(uint32_t h) {
    uint32_t magnitude = (h & 0x7fff) << 13, bits;
    float scaled;
    memcpy(&scaled, &magnitude, 4);
    scaled *= 0x1p112f; /* exact, subnormal ones too */
    memcpy(&bits, &scaled, 4);
    bits |= (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
    return bits | (h & 0x8000) << 16;
}

INLINE uint16_t read_u16(const char *data, int i, int swapped) {
    uint16_t x;
    memcpy(&x, data + 2 * (size_t)i, 2);
    return swapped ? (uint16_t)(x << 8 | x >> 8) : x;
}

INLINE uint32_t read_u32(const char *data, int i, int swapped) {
    uint32_t x;
    memcpy(&x, data + 4 * (size_t)i, 4);
    return swapped ? x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24 : x;
}

INLINE double read_f64(const char *data, int i, int swapped) {
    uint64_t x;
    double value;
    memcpy(&x, data + 8 * (size_t)i, 8);
    if (swapped) {
        x = (x & 0x00ff00ff00ff00ffULL) << 8 | (x >> 8 & 0x00ff00ff00ff00ffULL);
        x = (x & 0x0000ffff0000ffffULL) << 16 | (x >> 16 & 0x0000ffff0000ffffULL);
        x = x << 32 | x >> 32;
    }
    memcpy(&value, &x, 8);
    return value;
}

/* Up to BLOCK elements of a type that float32 holds; float32 itself, where it lies as it is needed, is not copied. */
INLINE const float *load_f32(const Elements *from, size_t start, int size, float *room) {
    const char *data = from->data + start * item_size(from->type);
    uint32_t *bits = (uint32_t *)room;
    int whole = (size + LANES - 1) / LANES * LANES;
    switch (from->type) {
    case FLOAT32:
        if (!from->swapped && size == whole && (uintptr_t)data % 4 == 0)
            return (const float *)data;
        if (from->swapped)
            for (int i = 0; i < size; i++)
                bits[i] = read_u32(data, i, 1);
        else
            memcpy(room, data, 4 * (size_t)size);
        break;
    case FLOAT16:
        if (from->swapped)
            for (int i = 0; i < size; i++)
                bits[i] = widen_half(read_u16(data, i, 1));
        else
            for (int i = 0; i < size; i++)
                bits[i] = widen_half(read_u16(data, i, 0));
        break;
    case BFLOAT16:
        if (from->swapped)
            for (int i = 0; i < size; i++)
                bits[i] = (uint32_t)read_u16(data, i, 1) << 16;
        else
            for (int i = 0; i < size; i++)
                bits[i] = (uint32_t)read_u16(data, i, 0) << 16;
        break;
    default:
        for (int i = 0; i < size; i++)
            room[i] = from->table[(unsigned char)data[i]];
    }
    for (int i = size; i < whole; i++)
        room[i] = 0.0f;
    return room;
}

/* Up to BLOCK elements of any real type, padded with zeros as well. */
INLINE void load_f64(const Elements *from, size_t start, int size, double *room) {
    const char *data = from->data + start * item_size(from->type);
    float single[BLOCK];
    int whole = (size + LANES - 1) / LANES * LANES;
    if (from->type == FLOAT64) {
        for (int i = 0; i < size; i++)
            room[i] = read_f64(data, i, from->swapped);
    } else {
        const float *values = load_f32(from, start, size, single);
        for (int i = 0; i < size; i++)
            room[i] = values[i];
    }
    for (int i = size; i < whole; i++)
        room[i] = 0.0;
}

static void load_complex(const Elements *from, size_t start, int size, double *real, double *imaginary) {
    const char *data = from->data + start * item_size(from->type);
    if (from->type == COMPLEX64 || from->type == COMPLEX128)
        for (int i = 0; i < size; i++) {
            if (from->type == COMPLEX128) {
                real[i] = read_f64(data, 2 * i, from->swapped);
                imaginary[i] = read_f64(data, 2 * i + 1, from->swapped);
            } else {
                uint32_t both[2] = {read_u32(data, 2 * i, from->swapped), read_u32(data, 2 * i + 1, from->swapped)};
                float values[2];
                memcpy(values, both, 8);
                real[i] = values[0];
                imaginary[i] = values[1];
            }
        }
    else {
        load_f64(from, start, size, real);
        memset(imaginary, 0, sizeof(double) * (size_t)size);
    }
}
