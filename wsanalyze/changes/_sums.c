/* All sums of two runs of elements in one pass, without the interpreter's lock.
 *
 * The formulas are those of docs/method.md, "Sums, then ratios", and the same as in kernels.py, which is the
 * reference and takes over where this file was not compiled.
 *
 * Elements go through blocks of BLOCK. Of types that float32 holds, the sums of products are taken in float64, the
 * others in float32 over GROUP additions and then in float64: within 3e-7 of exact. Where a block's sums are not
 * finite (an element is not, or float32 overflows), the block is done again in float64, element by element, so that
 * clean weights pay for no check. Blocks are added in order: a result depends on nothing but the elements.
 */
#define _FILE_OFFSET_BITS 64
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
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

/* Adds the sums of a block, padded with zeros up to a multiple of LANES; false, and nothing added, where they are not
 * finite. */
typedef int (*BlockF32)(const float *before, const float *after, int size, double *sums);
typedef int (*BlockF64)(const double *before, const double *after, int size, double *sums);

static int item_size(int type) { return ITEM_SIZES[type < TABLE ? type : TABLE]; }

/* ---- Elements to float32 and float64 ------------------------------------------------------------------------- */

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

/* ---- Blocks in float64, element by element: the slow road ------------------------------------------------------ */

static int sign_of(double x) { return (x > 0.0) - (x < 0.0); }

static void add_block_f64(double *before, double *after, int size, double *sums) {
    double part[NUM_SUMS] = {0};
    int valid = 0;
    for (int i = 0; i < size; i++) {
        double b = before[i], a = after[i];
        int bad_before = !isfinite(b), bad_after = !isfinite(a);
        part[BAD_BEFORE] += bad_before;
        part[BAD_AFTER] += bad_after;
        if (bad_before || bad_after)
            continue;
        double d = a - b, abs_b = fabs(b), abs_d = fabs(d);
        valid++;
        part[L1_DELTA] += abs_d;
        part[L1_BEFORE] += abs_b;
        part[L1_AFTER] += fabs(a);
        part[SQ_DELTA] += d * d;
        part[SQ_BEFORE] += b * b;
        part[SQ_AFTER] += a * a;
        part[DOT] += b * d;
        part[MAX_DELTA] = abs_d > part[MAX_DELTA] ? abs_d : part[MAX_DELTA];
        part[CHANGED] += d != 0.0;
        part[SIGN_FLIPS] += sign_of(b) != sign_of(a);
        part[REL_SUM] += abs_b > 0.0 ? abs_d / abs_b : 0.0;
        part[REL_N] += abs_b > 0.0;
    }
    part[N_VALID] = valid;
    for (int k = N_VALID; k < NUM_SUMS; k++)
        if (k != MAX_DELTA)
            sums[k] += part[k];
    sums[MAX_DELTA] = part[MAX_DELTA] > sums[MAX_DELTA] ? part[MAX_DELTA] : sums[MAX_DELTA];
}

static int is_double(int type) { return type == FLOAT64 || type == COMPLEX128; }

/* Squares of what float32 holds neither overflow nor vanish in float64. */
static double modulus(double real, double imaginary, int wide) {
    return wide ? hypot(real, imaginary) : sqrt(real * real + imaginary * imaginary);
}

static void add_block_complex(const Elements *before, const Elements *after, size_t start, int size, double *sums) {
    double b_re[BLOCK], b_im[BLOCK], a_re[BLOCK], a_im[BLOCK];
    int wide = is_double(before->type) || is_double(after->type);
    load_complex(before, start, size, b_re, b_im);
    load_complex(after, start, size, a_re, a_im);
    for (int i = 0; i < size; i++) {
        int bad_before = !(isfinite(b_re[i]) && isfinite(b_im[i])), bad_after = !(isfinite(a_re[i]) && isfinite(a_im[i]));
        sums[BAD_BEFORE] += bad_before;
        sums[BAD_AFTER] += bad_after;
        if (bad_before || bad_after)
            continue;
        double d_re = a_re[i] - b_re[i], d_im = a_im[i] - b_im[i];
        double abs_b = modulus(b_re[i], b_im[i], wide), abs_a = modulus(a_re[i], a_im[i], wide);
        double abs_d = modulus(d_re, d_im, wide);
        sums[N_VALID] += 1;
        sums[L1_DELTA] += abs_d;
        sums[L1_BEFORE] += abs_b;
        sums[L1_AFTER] += abs_a;
        sums[SQ_DELTA] += abs_d * abs_d;
        sums[SQ_BEFORE] += abs_b * abs_b;
        sums[SQ_AFTER] += abs_a * abs_a;
        sums[DOT] += b_re[i] * d_re + b_im[i] * d_im;
        sums[MAX_DELTA] = abs_d > sums[MAX_DELTA] ? abs_d : sums[MAX_DELTA];
        sums[CHANGED] += d_re != 0.0 || d_im != 0.0;
        sums[REL_SUM] += abs_b > 0.0 ? abs_d / abs_b : 0.0;
        sums[REL_N] += abs_b > 0.0;
    }
}

/* ---- Blocks of float32: the fast roads ------------------------------------------------------------------------- */

static double count_flips(const float *before, const float *after, int size) {
    int count = 0;
    for (int i = 0; i < size; i++)
        count += ((before[i] > 0.0f) != (after[i] > 0.0f)) | ((before[i] < 0.0f) != (after[i] < 0.0f));
    return count;
}

/* Add what a block came to, unless something in it is not finite. */
INLINE int take_block(int size, const double *part, double *sums) {
    double check = part[L1_DELTA] + part[L1_BEFORE] + part[L1_AFTER] + part[SQ_BEFORE] + part[SQ_AFTER] + part[REL_SUM];
    if (!isfinite(check))
        return 0;
    for (int k = L1_DELTA; k < NUM_SUMS; k++)
        if (k != MAX_DELTA)
            sums[k] += part[k];
    sums[N_VALID] += size;
    sums[MAX_DELTA] = part[MAX_DELTA] > sums[MAX_DELTA] ? part[MAX_DELTA] : sums[MAX_DELTA];
    return 1;
}

/* The same for a block whose SIGN_FLIPS are signs that differ, and whose N counts the elements that are zero after:
 * signs tell of every change but those from and to zero. */
INLINE int take_block_f32(const float *before, const float *after, int size, int padded, double *part, double *sums) {
    if (part[N] > padded - size || part[REL_N] < size)
        part[SIGN_FLIPS] = count_flips(before, after, size);
    return take_block(size, part, sums);
}

#if HAS_VECTORS
#define WIDTH 16
#include "_sums_lanes.h"
#undef WIDTH
#define WIDTH 32
#include "_sums_lanes.h"
#undef WIDTH
#else
/* A compiler without vectors of its own: every block takes the slow road. */
static int add_block_f32_16(const float *before, const float *after, int size, double *sums) {
    (void)before, (void)after, (void)size, (void)sums;
    return 0;
}

static int add_block_f64_16(const double *before, const double *after, int size, double *sums) {
    (void)before, (void)after, (void)size, (void)sums;
    return 0;
}
#endif

#if HAS_TARGETS
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma")))

AVX512 INLINE __m512d widen(__m512 x) {
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    return _mm512_add_pd(low, high);
}

AVX512 static int add_block_f32_avx512(const float *before, const float *after, int size, double *sums) {
    const __m512 zero = _mm512_setzero_ps();
    const __m512i one = _mm512_set1_epi32(1);
    __m512d sq_d0 = _mm512_setzero_pd(), sq_d1 = sq_d0, sq_b0 = sq_d0, sq_b1 = sq_d0, sq_a0 = sq_d0, sq_a1 = sq_d0;
    __m512d dot0 = sq_d0, dot1 = sq_d0, l1_d = sq_d0, l1_b = sq_d0, l1_a = sq_d0, rel = sq_d0;
    __m512i changed = _mm512_setzero_si512(), nonzero = changed, zero_after = changed, flips = changed;
    __m512 top = zero;
    int padded = (size + LANES - 1) / LANES * LANES;
    for (int i = 0; i < padded;) {
        __m512 some_d = zero, some_b = zero, some_a = zero, some_rel = zero;
        int end = i + GROUP * LANES < padded ? i + GROUP * LANES : padded;
        for (; i < end; i += LANES) {
            __m512 b = _mm512_loadu_ps(before + i), a = _mm512_loadu_ps(after + i);
            __m512d b0 = _mm512_cvtps_pd(_mm256_loadu_ps(before + i)), b1 = _mm512_cvtps_pd(_mm256_loadu_ps(before + i + 8));
            __m512d a0 = _mm512_cvtps_pd(_mm256_loadu_ps(after + i)), a1 = _mm512_cvtps_pd(_mm256_loadu_ps(after + i + 8));
            __m512d d0 = _mm512_sub_pd(a0, b0), d1 = _mm512_sub_pd(a1, b1);
            sq_d0 = _mm512_fmadd_pd(d0, d0, sq_d0), sq_d1 = _mm512_fmadd_pd(d1, d1, sq_d1);
            sq_b0 = _mm512_fmadd_pd(b0, b0, sq_b0), sq_b1 = _mm512_fmadd_pd(b1, b1, sq_b1);
            sq_a0 = _mm512_fmadd_pd(a0, a0, sq_a0), sq_a1 = _mm512_fmadd_pd(a1, a1, sq_a1);
            dot0 = _mm512_fmadd_pd(b0, d0, dot0), dot1 = _mm512_fmadd_pd(b1, d1, dot1);
            __m512 abs_d = _mm512_abs_ps(_mm512_sub_ps(a, b)), abs_b = _mm512_abs_ps(b);
            __mmask16 has_b = _mm512_cmp_ps_mask(b, zero, _CMP_NEQ_UQ), no_a = _mm512_cmp_ps_mask(a, zero, _CMP_EQ_OQ);
            __mmask16 differs = _mm512_cmp_ps_mask(b, a, _CMP_NEQ_UQ);
            some_d = _mm512_add_ps(some_d, abs_d);
            some_b = _mm512_add_ps(some_b, abs_b);
            some_a = _mm512_add_ps(some_a, _mm512_abs_ps(a));
            some_rel = _mm512_add_ps(some_rel, _mm512_maskz_div_ps(has_b, abs_d, abs_b));
            top = _mm512_max_ps(top, abs_d);
            changed = _mm512_mask_add_epi32(changed, differs, changed, one);
            nonzero = _mm512_mask_add_epi32(nonzero, has_b, nonzero, one);
            zero_after = _mm512_mask_add_epi32(zero_after, no_a, zero_after, one);
            __m512i signs = _mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b));
            flips = _mm512_add_epi32(flips, _mm512_srli_epi32(signs, 31));
        }
        l1_d = _mm512_add_pd(l1_d, widen(some_d));
        l1_b = _mm512_add_pd(l1_b, widen(some_b));
        l1_a = _mm512_add_pd(l1_a, widen(some_a));
        rel = _mm512_add_pd(rel, widen(some_rel));
    }
    double part[NUM_SUMS] = {0};
    part[L1_DELTA] = _mm512_reduce_add_pd(l1_d);
    part[L1_BEFORE] = _mm512_reduce_add_pd(l1_b);
    part[L1_AFTER] = _mm512_reduce_add_pd(l1_a);
    part[SQ_DELTA] = _mm512_reduce_add_pd(_mm512_add_pd(sq_d0, sq_d1));
    part[SQ_BEFORE] = _mm512_reduce_add_pd(_mm512_add_pd(sq_b0, sq_b1));
    part[SQ_AFTER] = _mm512_reduce_add_pd(_mm512_add_pd(sq_a0, sq_a1));
    part[DOT] = _mm512_reduce_add_pd(_mm512_add_pd(dot0, dot1));
    part[REL_SUM] = _mm512_reduce_add_pd(rel);
    part[MAX_DELTA] = _mm512_reduce_max_ps(top);
    part[CHANGED] = _mm512_reduce_add_epi32(changed);
    part[REL_N] = _mm512_reduce_add_epi32(nonzero);
    part[N] = _mm512_reduce_add_epi32(zero_after);
    part[SIGN_FLIPS] = _mm512_reduce_add_epi32(flips);
    return take_block_f32(before, after, size, padded, part, sums);
}
#endif

/* ---- Runs ------------------------------------------------------------------------------------------------------ */

INLINE void add_run_f32(const Elements *before, const Elements *after, size_t size, double *sums, BlockF32 add_block) {
    float b[BLOCK], a[BLOCK];
    double wide_b[BLOCK], wide_a[BLOCK];
    for (size_t start = 0; start < size; start += BLOCK) {
        int count = size - start < BLOCK ? (int)(size - start) : BLOCK;
        const float *from = load_f32(before, start, count, b), *to = load_f32(after, start, count, a);
        if (add_block(from, to, count, sums))
            continue;
        load_f64(before, start, count, wide_b);
        load_f64(after, start, count, wide_a);
        add_block_f64(wide_b, wide_a, count, sums);
    }
}


INLINE void add_run_f64(const Elements *before, const Elements *after, size_t size, double *sums, BlockF64 add_block) {
    double b[BLOCK], a[BLOCK];
    for (size_t start = 0; start < size; start += BLOCK) {
        int count = size - start < BLOCK ? (int)(size - start) : BLOCK;
        load_f64(before, start, count, b);
        load_f64(after, start, count, a);
        if (!add_block(b, a, count, sums))
            add_block_f64(b, a, count, sums);
    }
}

static void add_run_complex(const Elements *before, const Elements *after, size_t size, double *sums) {
    for (size_t start = 0; start < size; start += BLOCK)
        add_block_complex(before, after, start, size - start < BLOCK ? (int)(size - start) : BLOCK, sums);
}

typedef void (*Run)(const Elements *, const Elements *, size_t, double *);

/* Runs whose types float32 holds, and those of float64, for one kind of vectors. */
#define DEFINE_RUNS(target, name, block_f32, block_f64)                                                                \
    target static void add_run_f32_##name(const Elements *before, const Elements *after, size_t size, double *sums) {  \
        add_run_f32(before, after, size, sums, block_f32);                                                             \
    }                                                                                                                  \
    target static void add_run_f64_##name(const Elements *before, const Elements *after, size_t size, double *sums) {  \
        add_run_f64(before, after, size, sums, block_f64);                                                             \
    }

DEFINE_RUNS(, plain, add_block_f32_16, add_block_f64_16)
#if HAS_TARGETS
DEFINE_RUNS(AVX2, avx2, add_block_f32_32, add_block_f64_32)
DEFINE_RUNS(AVX512, avx512, add_block_f32_avx512, add_block_f64_32)
#endif

static const struct {
    const char *name;
    Run f32, f64;
} VECTORS[] = {
    {"plain", add_run_f32_plain, add_run_f64_plain},
#if HAS_TARGETS
    {"avx2", add_run_f32_avx2, add_run_f64_avx2},
    {"avx512", add_run_f32_avx512, add_run_f64_avx512},
#endif
};

/* How many of VECTORS this processor has. */
static int count_vectors(void) {
#if HAS_TARGETS
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw"))
        return 2;
    return 3;
#else
    return 1;
#endif
}

static int is_complex(int type) { return type == COMPLEX64 || type == COMPLEX128; }

/* ---- Python ---------------------------------------------------------------------------------------------------- */

/* One line of `runs`: int64 each. */
enum { BEFORE_OFFSET, BEFORE_TYPE, AFTER_OFFSET, AFTER_TYPE, NUMEL, NUM_FIELDS };
#define SWAPPED 256

static int fill_elements(Elements *side, const Py_buffer *data, int64_t offset, int64_t code, int64_t numel,
                         const Py_buffer *tables) {
    int64_t type = code & ~(int64_t)SWAPPED;
    side->type = (int)type;
    side->swapped = (code & SWAPPED) != 0;
    side->table = NULL;
    if (type < 0 || type >= TABLE + tables->len / (Py_ssize_t)(256 * sizeof(float)))
        return 0;
    if (type >= TABLE)
        side->table = (const float *)tables->buf + 256 * (type - TABLE);
    if (numel < 0 || offset < 0 || offset > data->len || numel > (data->len - offset) / item_size((int)type))
        return 0;
    side->data = (const char *)data->buf + offset;
    return 1;
}

static int measure_runs(const Py_buffer *before, const Py_buffer *after, const Py_buffer *runs, const Py_buffer *tables,
                        double *sums, int vectors) {
    const int64_t *fields = runs->buf;
    Py_ssize_t count = runs->len / (Py_ssize_t)(NUM_FIELDS * sizeof(int64_t));
    for (Py_ssize_t i = 0; i < count; i++, fields += NUM_FIELDS, sums += NUM_SUMS) {
        Elements b, a;
        memset(sums, 0, NUM_SUMS * sizeof(double));
        if (!fill_elements(&b, before, fields[BEFORE_OFFSET], fields[BEFORE_TYPE], fields[NUMEL], tables) ||
            !fill_elements(&a, after, fields[AFTER_OFFSET], fields[AFTER_TYPE], fields[NUMEL], tables))
            return 0;
        Run run = VECTORS[vectors].f32;
        if (is_complex(b.type) || is_complex(a.type))
            run = add_run_complex;
        else if (b.type == FLOAT64 || a.type == FLOAT64)
            run = VECTORS[vectors].f64;
        run(&b, &a, (size_t)fields[NUMEL], sums);
        sums[N] = (double)fields[NUMEL];
    }
    return 1;
}

static PyObject *measure(PyObject *module, PyObject *args) {
    Py_buffer before, after, runs, tables, sums;
    int vectors, known = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*i", &before, &after, &runs, &tables, &sums, &vectors))
        return NULL;
    Py_ssize_t count = runs.len / (Py_ssize_t)(NUM_FIELDS * sizeof(int64_t));
    if (vectors >= 0 && vectors < count_vectors() && sums.len >= count * (Py_ssize_t)(NUM_SUMS * sizeof(double))) {
        Py_BEGIN_ALLOW_THREADS
        known = measure_runs(&before, &after, &runs, &tables, sums.buf, vectors);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&before);
    PyBuffer_Release(&after);
    PyBuffer_Release(&runs);
    PyBuffer_Release(&tables);
    PyBuffer_Release(&sums);
    if (!known) {
        PyErr_SetString(PyExc_ValueError, "a run does not lie in its buffer, is of no known type, or has no room");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

#if defined(_WIN32)
#define HAS_PREAD 0
#else
#define HAS_PREAD 1
#include <unistd.h>
#endif

/* Elements of one piece that are read and added up at a time: its bytes stay in the processor's cache. */
#define PIECE_BYTES (1 << 19)

/* One line of `segments`: int64 each. Where in the buffer of a side the elements lie says which run they are of. */
enum { SEGMENT_RUN, SEGMENT_OFFSET, SEGMENT_TYPE, SEGMENT_NUMEL, NUM_SEGMENT_FIELDS };

typedef struct {
    const int64_t *descriptors, *offsets; /* of each side and run */
    const int64_t *rooms;                 /* of each side: which room it is read into */
    const int64_t *pairs;                 /* before and after, in the order of after */
    const int64_t *segments;
    const float *tables;
    Py_ssize_t num_sides, num_runs, num_pairs, num_segments, num_tables;
    char *memory; /* the rooms, PIECE_BYTES each */
    double *sums; /* of each pair and segment */
} Walk;

#if HAS_PREAD
static int read_all(int descriptor, char *to, size_t size, int64_t offset) {
    while (size > 0) {
        ssize_t count = pread(descriptor, to, size, (off_t)offset);
        if (count <= 0)
            return 0;
        to += count;
        offset += count;
        size -= (size_t)count;
    }
    return 1;
}
#endif

/* Read segment after segment, piece after piece, each piece at one side after the other; false where it cannot be. */
static int walk_segments(const Walk *walk, int vectors) {
#if HAS_PREAD
    for (Py_ssize_t s = 0; s < walk->num_segments; s++) {
        const int64_t *segment = walk->segments + s * NUM_SEGMENT_FIELDS;
        int64_t type = segment[SEGMENT_TYPE] & ~(int64_t)SWAPPED, numel = segment[SEGMENT_NUMEL];
        if (type < 0 || type >= TABLE + walk->num_tables || numel < 0 || segment[SEGMENT_OFFSET] < 0 ||
            segment[SEGMENT_RUN] < 0 || segment[SEGMENT_RUN] >= walk->num_runs)
            return 0;
        size_t itemsize = (size_t)item_size((int)type), most = PIECE_BYTES / itemsize;
        const float *table = type >= TABLE ? walk->tables + 256 * (type - TABLE) : NULL;
        Elements before = {NULL, (int)type, (segment[SEGMENT_TYPE] & SWAPPED) != 0, table}, after = before;
        Run run = VECTORS[vectors].f32;
        if (is_complex((int)type))
            run = add_run_complex;
        else if (type == FLOAT64)
            run = VECTORS[vectors].f64;
        for (size_t start = 0; start < (size_t)numel; start += most) {
            size_t count = (size_t)numel - start < most ? (size_t)numel - start : most;
            const int64_t *pair = walk->pairs, *last = walk->pairs + 2 * walk->num_pairs;
            for (Py_ssize_t side = 0; side < walk->num_sides; side++) {
                Py_ssize_t place = side * walk->num_runs + segment[SEGMENT_RUN];
                int64_t offset = walk->offsets[place] + segment[SEGMENT_OFFSET] + (int64_t)(start * itemsize);
                char *room = walk->memory + walk->rooms[side] * PIECE_BYTES;
                if (!read_all((int)walk->descriptors[place], room, count * itemsize, offset))
                    return 0;
                for (; pair < last && pair[1] == side; pair += 2) {
                    double *sums = walk->sums + ((pair - walk->pairs) / 2 * walk->num_segments + s) * NUM_SUMS;
                    before.data = walk->memory + walk->rooms[pair[0]] * PIECE_BYTES;
                    after.data = room;
                    run(&before, &after, count, sums);
                    sums[N] += (double)count;
                }
            }
        }
    }
    return 1;
#else
    (void)walk, (void)vectors;
    return 0;
#endif
}

/* Whether every pair names two sides, the later one last, and every side a room that there is. */
static int check_walk(const Walk *walk, Py_ssize_t num_rooms) {
    for (Py_ssize_t side = 0; side < walk->num_sides; side++)
        if (walk->rooms[side] < 0 || walk->rooms[side] >= num_rooms)
            return 0;
    for (Py_ssize_t pair = 0; pair < walk->num_pairs; pair++) {
        int64_t before = walk->pairs[2 * pair], after = walk->pairs[2 * pair + 1];
        if (before < 0 || before >= after || after >= walk->num_sides)
            return 0;
    }
    return num_rooms > 0 && num_rooms <= walk->num_sides;
}

static PyObject *walk(PyObject *module, PyObject *args) {
    enum { DESCRIPTORS, OFFSETS, ROOMS, PAIRS, SEGMENTS, TABLES, SUMS, NUM_BUFFERS };
    Py_buffer b[NUM_BUFFERS];
    Py_ssize_t num_rooms;
    int vectors, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*ny*y*y*w*i", &b[DESCRIPTORS], &b[OFFSETS], &b[ROOMS], &num_rooms, &b[PAIRS],
                          &b[SEGMENTS], &b[TABLES], &b[SUMS], &vectors))
        return NULL;
    Py_ssize_t itemsize = (Py_ssize_t)sizeof(int64_t);
    Walk plan;
    plan.descriptors = b[DESCRIPTORS].buf, plan.offsets = b[OFFSETS].buf, plan.rooms = b[ROOMS].buf;
    plan.pairs = b[PAIRS].buf, plan.segments = b[SEGMENTS].buf, plan.tables = b[TABLES].buf, plan.sums = b[SUMS].buf;
    plan.num_sides = b[ROOMS].len / itemsize;
    plan.num_runs = plan.num_sides > 0 ? b[DESCRIPTORS].len / itemsize / plan.num_sides : 0;
    plan.num_pairs = b[PAIRS].len / (2 * itemsize);
    plan.num_segments = b[SEGMENTS].len / (itemsize * NUM_SEGMENT_FIELDS);
    plan.num_tables = b[TABLES].len / (Py_ssize_t)(256 * sizeof(float));
    Py_ssize_t nbytes = plan.num_pairs * plan.num_segments * (Py_ssize_t)(NUM_SUMS * sizeof(double));
    if (vectors >= 0 && vectors < count_vectors() && b[SUMS].len >= nbytes && b[OFFSETS].len == b[DESCRIPTORS].len &&
        b[DESCRIPTORS].len == plan.num_sides * plan.num_runs * itemsize && check_walk(&plan, num_rooms)) {
        Py_BEGIN_ALLOW_THREADS
        char *memory = malloc((size_t)num_rooms * PIECE_BYTES + 64);
        plan.memory = (char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
        memset(plan.sums, 0, (size_t)nbytes);
        done = memory != NULL && walk_segments(&plan, vectors);
        free(memory);
        Py_END_ALLOW_THREADS
    }
    for (int k = 0; k < NUM_BUFFERS; k++)
        PyBuffer_Release(&b[k]);
    return PyBool_FromLong(done);
}

static PyObject *vectors(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    int count = count_vectors();
    PyObject *names = PyTuple_New(count);
    for (int i = 0; names != NULL && i < count; i++) {
        PyObject *name = PyUnicode_FromString(VECTORS[i].name);
        if (name == NULL || PyTuple_SetItem(names, i, name) < 0) {
            Py_DECREF(names);
            return NULL;
        }
    }
    return names;
}

static PyMethodDef METHODS[] = {
    {"measure", measure, METH_VARARGS,
     "measure(before, after, runs, tables, sums, vectors)\n\nFill float64 sums of shape (R, 16) for int64 runs of shape "
     "(R, 5): offset and type before, offset and type after, number of elements."},
    {"walk", walk, METH_VARARGS,
     "walk(descriptors, offsets, rooms, num_rooms, pairs, segments, tables, sums, vectors)\n\nRead segments from open "
     "files and fill float64 sums of shape (Q, S, 16) for Q pairs of sides.\n\nDescriptors and offsets are int64 of "
     "shape (T, M): where each of M runs of bytes begins at each of T sides; rooms of shape (T,): which of the rooms in "
     "memory each side is read into; pairs of shape (Q, 2): before and after, in the order of after; segments of shape "
     "(S, 4): run, offset in it, type, number of elements. False where something cannot be read."},
    {"vectors", vectors, METH_NOARGS, "vectors()\n\nNames of the kinds of vectors this processor has, slowest first."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_sums", "All sums of two runs of elements in one pass.", 0, METHODS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sums(void) { return PyModuleDef_Init(&MODULE); }
