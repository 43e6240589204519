/* The sums of one block: in float64, element by element, and by each kind of vectors. */
#include <math.h>

/* Adds the sums of a block, padded with zeros up to a multiple of LANES; false, and nothing added, where they are not
 * finite. */
typedef int (*BlockF32)(const float *before, const float *after, int size, double *sums);
typedef int (*BlockF64)(const double *before, const double *after, int size, double *sums);

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

/* Of what float32 holds, the fast roads. */

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
