/* onnxruntime operators; part of kernels.c.
 *
 * Tally(x: float, tally: int64) adds a tensor to row `row` of a tally, which is an input of the model: it lies in the
 * caller's memory, and nothing but the count is written.  TallyOnGrid(x: float, grids: int64) does so on a grid, that of
 * row `grid`, and TallyBoth(x: float, tally: int64, grids: int64) both.  `threads` of the session's take part.  The output
 * is one zero that nobody reads.
 *
 * Add(x: float, channels: float) and Mul have a number for each channel of x, dimension 1 (channels.c); `block` channels
 * lie together.
 *
 * Chain(x: float, facts: int64, numbers: float, tally: int64, channels: float, optional) makes and counts what chain.c
 * says, `facts` and `numbers` being its program.
 *
 * onnxruntime's interface for operators is a table of functions, whose order its releases keep.  Of its header only
 * what is used is said here: where a function stands, and what it takes.
 */

enum {
    API_VERSION = 18,
    OP_VERSION = 18,
    CREATE_STATUS = 0,
    CREATE_DOMAIN = 26,
    DOMAIN_ADD = 27,
    ADD_DOMAIN = 28,
    TENSOR_DATA = 51,
    DIMENSION_COUNT = 61,
    DIMENSIONS = 62,
    ELEMENT_COUNT = 64,
    TENSOR_INFO = 65,
    INT_ATTRIBUTE = 86,
    KERNEL_INPUT = 90,
    KERNEL_OUTPUT = 91,
    RELEASE_INFO = 99,
    PARALLEL_FOR = 274,
    FLOAT = 1,
    INT64 = 7,
    INVALID_ARGUMENT = 2,
};

typedef void Status;
typedef void (*Function)(void);
typedef struct {
    const Function *(*get_api)(uint32_t version);
} ApiBase;

typedef struct Op {
    uint32_t version;
    void *(*create)(const struct Op *, const Function *, const void *);
    const char *(*name)(const struct Op *);
    const char *(*provider)(const struct Op *);
    int (*input_type)(const struct Op *, size_t);
    size_t (*input_count)(const struct Op *);
    int (*output_type)(const struct Op *, size_t);
    size_t (*output_count)(const struct Op *);
    void (*compute)(void *, void *);
    void (*destroy)(void *);
    int (*input_kind)(const struct Op *, size_t);
    int (*output_kind)(const struct Op *, size_t);
    int (*input_memory)(const struct Op *, size_t);
    int (*variadic_inputs)(const struct Op *);
    int (*uniform_inputs)(const struct Op *);
    int (*variadic_outputs)(const struct Op *);
    int (*uniform_outputs)(const struct Op *);
    Status *(*create_v2)(const struct Op *, const Function *, const void *, void **);
    Status *(*compute_v2)(void *, void *);
    Status *(*infer_shape)(const struct Op *, void *);
    int (*start_version)(const struct Op *);
    int (*end_version)(const struct Op *);
    size_t (*in_place)(int **, int **);
    void (*release_in_place)(int *, int *);
    size_t (*aliases)(int **, int **);
    void (*release_aliases)(int *, int *);
    const char *own_name;
    const char *const *attributes;
    size_t inputs, optional; /* how many; which may be missing, and cannot be the first */
    int by_bits, on_grid, product;
} Op;

/* Attributes of an operator, in their order. */
enum { THREADS, ROW, GRID };
enum { BLOCK_SIZE };
enum { CHAIN_BLOCK = THREADS + 1 };
enum { STRIDE_Y = THREADS + 1, STRIDE_X, DILATION_Y, DILATION_X, TOP, LEFT, BOTTOM, RIGHT, ATTRIBUTES };
static const char *const of_count[] = {"threads", "row", "grid", NULL};
static const char *const of_combination[] = {"block", NULL};
static const char *const of_chain[] = {"threads", "block", NULL};
static const char *const of_depthwise[] = {"threads",    "stride_y", "stride_x", "dilation_y", "dilation_x",
                                           "pad_top", "pad_left", "pad_bottom", "pad_right",  NULL};

typedef struct {
    const Op *op;
    int64_t attributes[ATTRIBUTES];
} Kernel;

static const Function *api;

#define CALL(place, parameters, ...) (((Status * (*)parameters) api[place])(__VA_ARGS__))
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        Status *status = call;                                                                                         \
        if (status)                                                                                                    \
            return status;                                                                                             \
    } while (0)

static Status *refuse(const char *why)
{
    return CALL(CREATE_STATUS, (int, const char *), INVALID_ARGUMENT, why);
}

static Status *input(void *context, size_t index, void **data, size_t *count)
{
    void *value, *info;
    TRY(CALL(KERNEL_INPUT, (void *, size_t, void **), context, index, &value));
    TRY(CALL(TENSOR_DATA, (void *, void **), value, data));
    TRY(CALL(TENSOR_INFO, (void *, void **), value, &info));
    Status *status = CALL(ELEMENT_COUNT, (void *, size_t *), info, count);
    ((void (*)(void *))api[RELEASE_INFO])(info);
    return status;
}

/* Dimensions of a tensor at most. */
enum { RANK = 16 };

/* The shape of an input; of one of more than RANK dimensions only how many there are. */
static Status *shape_of(void *context, size_t index, int64_t *shape, size_t *rank)
{
    void *value, *info;
    TRY(CALL(KERNEL_INPUT, (void *, size_t, void **), context, index, &value));
    TRY(CALL(TENSOR_INFO, (void *, void **), value, &info));
    Status *status = CALL(DIMENSION_COUNT, (void *, size_t *), info, rank);
    if (!status && *rank <= RANK)
        status = CALL(DIMENSIONS, (void *, int64_t *, size_t), info, shape, *rank);
    ((void (*)(void *))api[RELEASE_INFO])(info);
    return status;
}

static Status *in_parts(void *context, void (*part)(void *, size_t), size_t parts, void *job)
{
    return CALL(PARALLEL_FOR, (void *, void (*)(void *, size_t), size_t, size_t, void *), context, part, parts, 0,
                job);
}

static size_t threads_of(const Kernel *kernel)
{
    return kernel->attributes[THREADS] > 0 ? (size_t)kernel->attributes[THREADS] : 1;
}

static Status *output(void *context, const int64_t *shape, size_t rank, void **data)
{
    void *value;
    TRY(CALL(KERNEL_OUTPUT, (void *, size_t, const int64_t *, size_t, void **), context, 0, shape, rank, &value));
    return CALL(TENSOR_DATA, (void *, void **), value, data);
}

/* The row of a tally, an input. */
static Status *row_of(void *context, size_t index, int64_t row, size_t row_size, int64_t **found)
{
    void *tally;
    size_t size;
    TRY(input(context, index, &tally, &size));
    if (row < 0 || (size_t)row >= size / row_size)
        return refuse("the tally has no such row");
    *found = (int64_t *)tally + (size_t)row * row_size;
    return NULL;
}

static Status *count(void *kernel_, void *context)
{
    const Kernel *kernel = kernel_;
    const Op *op = kernel->op;
    void *x, *zero;
    Range ranges[PARTS];
    Job job = {.ranges = ranges, .settling = PTHREAD_MUTEX_INITIALIZER};
    TRY(input(context, 0, &x, &job.n));
    if (op->by_bits)
        TRY(row_of(context, 1, kernel->attributes[ROW], BITS_ROW, &job.bits));
    if (op->on_grid)
        TRY(row_of(context, op->by_bits ? 2 : 1, kernel->attributes[GRID], GRID_ROW, &job.on_grid));
    job.x = x;
    job.parts = parts_of(job.n, threads_of(kernel));
    if (job.parts == 1)
        tally_part(&job, 0);
    else
        TRY(in_parts(context, tally_part, job.parts, &job));
    finish(&job);
    TRY(output(context, (int64_t[]){1}, 1, &zero));
    *(float *)zero = 0;
    return NULL;
}

/* ---- A number for each channel ---- */

static Status *combine(void *kernel_, void *context)
{
    const Kernel *kernel = kernel_;
    void *x, *channels, *made;
    size_t n, count, rank, block = (size_t)kernel->attributes[BLOCK_SIZE];
    int64_t shape[RANK] = {0};
    TRY(input(context, 0, &x, &n));
    TRY(input(context, 1, &channels, &count));
    TRY(shape_of(context, 0, shape, &rank));
    if (kernel->attributes[BLOCK_SIZE] < 1 || rank < 2 || rank > RANK || (size_t)shape[1] != count || count % block)
        return refuse("there is not a number for each channel");
    TRY(output(context, shape, rank, &made));
    if (n == 0)
        return NULL;
    size_t blocks = count / block, parts = (size_t)shape[0] * blocks;
    Combination how = {x, channels, made, block, blocks, n / parts, kernel->op->product};
    return in_parts(context, combine_part, parts, &how);
}

/* ---- Depthwise convolution ---- */

static Status *convolve(void *kernel_, void *context)
{
    const Kernel *kernel = kernel_;
    const int64_t *attributes = kernel->attributes;
    int64_t shape[RANK] = {0}, kernel_shape[RANK] = {0};
    size_t n, rank, kernel_rank, weight_count, bias_count = 0;
    void *x, *weights, *bias = NULL, *optional, *made;
    TRY(input(context, 0, &x, &n));
    TRY(input(context, 1, &weights, &weight_count));
    TRY(CALL(KERNEL_INPUT, (void *, size_t, void **), context, 2, &optional));
    if (optional)
        TRY(input(context, 2, &bias, &bias_count));
    TRY(shape_of(context, 0, shape, &rank));
    TRY(shape_of(context, 1, kernel_shape, &kernel_rank));
    if (rank != 4 || kernel_rank != 4 || !weight_count || kernel_shape[1] != 1 || kernel_shape[0] != shape[1] ||
        (bias && (int64_t)bias_count != shape[1]))
        return refuse("the weights are not those of a depthwise convolution of these channels");
    for (size_t k = STRIDE_Y; k < ATTRIBUTES; k++)
        if (attributes[k] < (k < TOP))
            return refuse("strides and dilations are 1 or more, padding is 0 or more");
    Depthwise how = {.x = x, .weights = weights, .bias = bias, .planes = (size_t)(shape[0] * shape[1]),
                     .channels = (size_t)shape[1]};
    for (size_t axis = Y; axis <= X; axis++) {
        how.axes[axis] = (Axis){.size = (size_t)shape[2 + axis], .taps = (size_t)kernel_shape[2 + axis],
                                .stride = (size_t)attributes[STRIDE_Y + axis],
                                .dilation = (size_t)attributes[DILATION_Y + axis],
                                .before = (size_t)attributes[TOP + axis]};
        if (!lay_out(how.axes + axis, (size_t)attributes[BOTTOM + axis]))
            return refuse("the kernel is larger than its input");
        shape[2 + axis] = (int64_t)how.axes[axis].made;
    }
    TRY(output(context, shape, rank, &made));
    if (!how.planes)
        return NULL;
    how.made = made;
    how.parts = threads_of(kernel) < how.planes ? threads_of(kernel) : how.planes;
    if (!prepare(&how))
        return refuse("out of memory");
    Status *status = NULL;
    if (how.parts == 1)
        convolve_part(&how, 0);
    else
        status = in_parts(context, convolve_part, how.parts, &how);
    free(how.places);
    return status;
}

/* ---- Chains ---- */

static Status *make_chain(void *kernel_, void *context)
{
    const Kernel *kernel = kernel_;
    void *x, *facts, *numbers, *tally, *optional, *channels = NULL, *made;
    size_t n, fact_count, number_count, tally_size, channel_count = 0, rank;
    int64_t shape[RANK] = {0}, block = kernel->attributes[CHAIN_BLOCK];
    TRY(input(context, 0, &x, &n));
    TRY(input(context, 1, &facts, &fact_count));
    TRY(input(context, 2, &numbers, &number_count));
    TRY(input(context, 3, &tally, &tally_size));
    TRY(CALL(KERNEL_INPUT, (void *, size_t, void **), context, 4, &optional));
    if (optional)
        TRY(input(context, 4, &channels, &channel_count));
    TRY(shape_of(context, 0, shape, &rank));
    if (rank > RANK)
        return refuse("a tensor of so many dimensions");
    if (channels && (block < 1 || WIDTH % block || rank < 2 || (size_t)shape[1] != channel_count ||
                     channel_count % (size_t)block))
        return refuse("there is not a number for each channel");
    Range ranges[PARTS][MEMBERS];
    Chain chain = {.x = x, .channels = channels, .n = n, .block = 1, .blocks = 1, .length = n, .ranges = ranges,
                   .settling = PTHREAD_MUTEX_INITIALIZER};
    const char *wrong = read_program(&chain, facts, fact_count, numbers, number_count, tally, tally_size / BITS_ROW);
    if (wrong)
        return refuse(wrong);
    TRY(output(context, shape, rank, &made));
    if (n == 0)
        return NULL;
    chain.made = made;
    if (channels) {
        chain.block = (size_t)block;
        chain.blocks = channel_count / chain.block;
        chain.length = n / ((size_t)shape[0] * chain.blocks);
    }
    chain.parts = parts_of(n, threads_of(kernel));
    if (chain.parts == 1)
        chain_part(&chain, 0);
    else
        TRY(in_parts(context, chain_part, chain.parts, &chain));
    if (chain.failed)
        return refuse("out of memory");
    finish_chain(&chain);
    return NULL;
}

static Status *create(const Op *op, const Function *table, const void *info, void **kernel_)
{
    (void)table;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return refuse("out of memory");
    kernel->op = op;
    for (size_t k = 0; op->attributes[k]; k++) {
        Status *status = CALL(INT_ATTRIBUTE, (const void *, const char *, int64_t *), info, op->attributes[k],
                              kernel->attributes + k);
        if (status) {
            free(kernel);
            return status;
        }
    }
    *kernel_ = kernel;
    return NULL;
}

static const char *name(const Op *op) { return op->own_name; }
static const char *provider(const Op *op) { return (void)op, "CPUExecutionProvider"; }
static size_t input_count(const Op *op) { return op->inputs; }
static int input_type(const Op *op, size_t index)
{
    int is_int64 = op->compute_v2 == count ? index > 0 : op->compute_v2 == make_chain && index % 2;
    return is_int64 ? INT64 : FLOAT;
}

static size_t output_count(const Op *op) { return (void)op, 1; }
static int output_type(const Op *op, size_t index) { return (void)op, (void)index, FLOAT; }
static int input_kind(const Op *op, size_t index) { return index == op->optional; /* 0: required, 1: optional */ }
static int required(const Op *op, size_t index) { return (void)op, (void)index, 0; }

/* What is made may take the place of x. */
static size_t in_place(int **inputs, int **outputs)
{
    static int first;
    *inputs = *outputs = &first;
    return 1;
}

static void release_in_place(int *inputs, int *outputs) { (void)inputs, (void)outputs; }

#define OP(its_name, ...)                                                                                              \
    {                                                                                                                  \
        .version = OP_VERSION, .name = name, .provider = provider, .input_type = input_type,                           \
        .input_count = input_count, .output_type = output_type, .output_count = output_count, .destroy = free,         \
        .input_kind = input_kind, .output_kind = required, .input_memory = required, .create_v2 = create,              \
        .own_name = its_name, __VA_ARGS__                                                                              \
    }

#define COUNTS .compute_v2 = count, .attributes = of_count
#define COMBINES                                                                                                       \
    .compute_v2 = combine, .inputs = 2, .attributes = of_combination, .in_place = in_place,                            \
    .release_in_place = release_in_place

static const Op operators[] = {
    OP("Tally", COUNTS, .inputs = 2, .by_bits = 1),
    OP("TallyOnGrid", COUNTS, .inputs = 2, .on_grid = 1),
    OP("TallyBoth", COUNTS, .inputs = 3, .by_bits = 1, .on_grid = 1),
    OP("Add", COMBINES),
    OP("Mul", COMBINES, .product = 1),
    OP("Chain", .compute_v2 = make_chain, .inputs = 5, .optional = 4, .attributes = of_chain, .in_place = in_place,
       .release_in_place = release_in_place),
    OP("DepthwiseConv", .compute_v2 = convolve, .inputs = 3, .optional = 2, .attributes = of_depthwise),
};

/* What onnxruntime calls of a library of operators. */
EXPORT Status *RegisterCustomOps(void *options, const ApiBase *base)
{
    static void *domain;
    api = base->get_api(API_VERSION);
    if (!api) /* an onnxruntime older than the interface; it then says which operators it misses */
        return NULL;
    if (!domain) {
        TRY(CALL(CREATE_DOMAIN, (const char *, void **), "qsimc.native", &domain));
        for (size_t k = 0; k < sizeof operators / sizeof *operators; k++)
            TRY(CALL(DOMAIN_ADD, (void *, const Op *), domain, operators + k));
    }
    return CALL(ADD_DOMAIN, (void *, void *), options, domain);
}
