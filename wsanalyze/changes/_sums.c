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
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_sums_elements.h"

#include "_sums_blocks.h"

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

/* ---- Files ----------------------------------------------------------------------------------------------------- */

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
