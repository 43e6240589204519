/* Blocks by vectors of WIDTH bytes, in whatever the target has for them; included once for each WIDTH.
 *
 * Defines add_block_f32_WIDTH and add_block_f64_WIDTH: see BlockF32 and BlockF64 in _sums.c.
 */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define OF(name) JOIN(name, WIDTH)
#define NUM_F32 (WIDTH / 4)
#define NUM_F64 (WIDTH / 8)

/* Aligned as their elements are, so that they may lie anywhere. */
typedef float OF(Float) __attribute__((vector_size(WIDTH), aligned(4)));
typedef float OF(HalfFloat) __attribute__((vector_size(WIDTH / 2), aligned(4)));
typedef double OF(Double) __attribute__((vector_size(WIDTH), aligned(8)));
typedef int32_t OF(Int) __attribute__((vector_size(WIDTH), aligned(4)));
typedef int64_t OF(Long) __attribute__((vector_size(WIDTH), aligned(8)));
#define Float OF(Float)
#define HalfFloat OF(HalfFloat)
#define Double OF(Double)
#define Int OF(Int)
#define Long OF(Long)

#define ABS_F32(x) ((Float)((Int)(x) & 0x7fffffff))
#define ABS_F64(x) ((Double)((Long)(x) & 0x7fffffffffffffffLL))
#define MAX_F32(x, y) ((Float)(((Int)((x) > (y)) & (Int)(x)) | (~(Int)((x) > (y)) & (Int)(y))))
#define MAX_F64(x, y) ((Double)(((Long)((x) > (y)) & (Long)(x)) | (~(Long)((x) > (y)) & (Long)(y))))

INLINE double OF(total_f64_)(Double x) {
    double total = 0.0;
    for (int j = 0; j < NUM_F64; j++)
        total += x[j];
    return total;
}

INLINE double OF(total_i32_)(Int x) {
    double total = 0.0;
    for (int j = 0; j < NUM_F32; j++)
        total += x[j];
    return total;
}

INLINE double OF(total_i64_)(Long x) {
    double total = 0.0;
    for (int j = 0; j < NUM_F64; j++)
        total += (double)x[j];
    return total;
}
#define SUM_F64 OF(total_f64_)
#define SUM_I32 OF(total_i32_)
#define SUM_I64 OF(total_i64_)

INLINE int OF(add_block_f32_)(const float *before, const float *after, int size, double *sums) {
    Double sq_d = {0}, sq_b = {0}, sq_a = {0}, dot = {0}, l1_d = {0}, l1_b = {0}, l1_a = {0}, rel = {0};
    Float top = {0};
    Int changed = {0}, nonzero = {0}, zero_after = {0}, flips = {0};
    int padded = (size + LANES - 1) / LANES * LANES;
    for (int i = 0; i < padded; i += NUM_F32) {
        Float b = *(const Float *)(before + i), a = *(const Float *)(after + i);
        Float abs_d = ABS_F32(a - b), quotient = abs_d / ABS_F32(b);
        Int has_b = (Int)(b != 0.0f);
        quotient = (Float)((Int)quotient & has_b);
        top = MAX_F32(abs_d, top);
        changed -= (Int)(a != b);
        nonzero -= has_b;
        zero_after -= (Int)(a == 0.0f);
        flips += (((Int)b ^ (Int)a) >> 31) & 1;
        for (int half = 0; half < 2; half++) {
            HalfFloat half_quotient;
            memcpy(&half_quotient, (const char *)&quotient + half * (WIDTH / 2), WIDTH / 2);
            Double wide_b = __builtin_convertvector(*(const HalfFloat *)(before + i + half * NUM_F64), Double);
            Double wide_a = __builtin_convertvector(*(const HalfFloat *)(after + i + half * NUM_F64), Double);
            Double d = wide_a - wide_b;
            sq_d += d * d;
            sq_b += wide_b * wide_b;
            sq_a += wide_a * wide_a;
            dot += wide_b * d;
            l1_d += ABS_F64(d);
            l1_b += ABS_F64(wide_b);
            l1_a += ABS_F64(wide_a);
            rel += __builtin_convertvector(half_quotient, Double);
        }
    }
    double part[NUM_SUMS] = {0};
    part[SQ_DELTA] = SUM_F64(sq_d);
    part[SQ_BEFORE] = SUM_F64(sq_b);
    part[SQ_AFTER] = SUM_F64(sq_a);
    part[DOT] = SUM_F64(dot);
    part[L1_DELTA] = SUM_F64(l1_d);
    part[L1_BEFORE] = SUM_F64(l1_b);
    part[L1_AFTER] = SUM_F64(l1_a);
    part[REL_SUM] = SUM_F64(rel);
    part[CHANGED] = SUM_I32(changed);
    part[REL_N] = SUM_I32(nonzero);
    part[N] = SUM_I32(zero_after);
    part[SIGN_FLIPS] = SUM_I32(flips);
    for (int j = 0; j < NUM_F32; j++)
        part[MAX_DELTA] = top[j] > part[MAX_DELTA] ? top[j] : part[MAX_DELTA];
    return take_block_f32(before, after, size, padded, part, sums);
}

INLINE int OF(add_block_f64_)(const double *before, const double *after, int size, double *sums) {
    Double sq_d = {0}, sq_b = {0}, sq_a = {0}, dot = {0}, l1_d = {0}, l1_b = {0}, l1_a = {0}, rel = {0}, top = {0};
    Long changed = {0}, nonzero = {0}, flips = {0};
    int padded = (size + LANES - 1) / LANES * LANES;
    for (int i = 0; i < padded; i += NUM_F64) {
        Double b = *(const Double *)(before + i), a = *(const Double *)(after + i);
        Double d = a - b, abs_d = ABS_F64(d), abs_b = ABS_F64(b), quotient = abs_d / abs_b;
        Long has_b = (Long)(b != 0.0);
        sq_d += d * d;
        sq_b += b * b;
        sq_a += a * a;
        dot += b * d;
        l1_d += abs_d;
        l1_b += abs_b;
        l1_a += ABS_F64(a);
        rel += (Double)((Long)quotient & has_b);
        top = MAX_F64(abs_d, top);
        changed -= (Long)(d != 0.0);
        nonzero -= has_b;
        flips -= ((Long)(b > 0.0) ^ (Long)(a > 0.0)) | ((Long)(b < 0.0) ^ (Long)(a < 0.0));
    }
    double part[NUM_SUMS] = {0};
    part[SQ_DELTA] = SUM_F64(sq_d);
    part[SQ_BEFORE] = SUM_F64(sq_b);
    part[SQ_AFTER] = SUM_F64(sq_a);
    part[DOT] = SUM_F64(dot);
    part[L1_DELTA] = SUM_F64(l1_d);
    part[L1_BEFORE] = SUM_F64(l1_b);
    part[L1_AFTER] = SUM_F64(l1_a);
    part[REL_SUM] = SUM_F64(rel);
    part[CHANGED] = SUM_I64(changed);
    part[REL_N] = SUM_I64(nonzero);
    part[SIGN_FLIPS] = SUM_I64(flips);
    for (int j = 0; j < NUM_F64; j++)
        part[MAX_DELTA] = top[j] > part[MAX_DELTA] ? top[j] : part[MAX_DELTA];
    return take_block(size, part, sums);
}

#undef JOIN_
#undef JOIN
#undef OF
#undef NUM_F32
#undef NUM_F64
#undef Float
#undef HalfFloat
#undef Double
#undef Int
#undef Long
#undef ABS_F32
#undef ABS_F64
#undef MAX_F32
#undef MAX_F64
#undef SUM_F64
#undef SUM_I32
#undef SUM_I64
