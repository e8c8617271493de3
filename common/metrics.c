#include "common/metrics.h"

#include "common/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const char *const kind_words[] = {"counter", "gauge", "histogram"};

struct bucket {
    uint64_t upper_us;
    const char *upper; /* the same in seconds */
};
static const struct bucket buckets[] = {
    {50, "5e-05"},    {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},
    {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},
    {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"},
    {5000000, "5"},   {10000000, "10"},
};
#define BUCKETS (sizeof buckets / sizeof buckets[0])

struct metric {
    struct metric *next; /* of the same family */
    char *labels;        /* "" if none */
    double (*read)(void *ctx);
    void *ctx;
    _Atomic uint64_t value; /* a gauge's in two's complement; a histogram's sum in us */
    _Atomic uint64_t counts[BUCKETS + 1]; /* histograms: each bucket's own; the last is +Inf */
};

struct family {
    struct family *next;
    const char *name;
    const char *help;
    enum kind kind;
    struct metric *series;
};

struct metrics {
    struct family *families;
    bool incomplete; /* memory was short when something was registered */
};

/* Counted in when memory is short; nobody reads it. */
static struct metric spare;

enum err metrics_new(struct metrics **ret)
{
    struct metrics *m = mem_zero(1, sizeof *m);

    if (!m)
        return ERR_MEMORY;
    *ret = m;
    return ERR_NONE;
}

static void family_free(struct family *family)
{
    while (family->series) {
        struct metric *metric = family->series;
        family->series = metric->next;
        mem_free(metric->labels);
        mem_free(metric);
    }
    mem_free(family);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    while (m->families) {
        struct family *family = m->families;
        m->families = family->next;
        family_free(family);
    }
    mem_free(m);
}

/* ---- registering ---- */

static struct family *family_of(struct metrics *m, const char *name, const char *help,
                                enum kind kind)
{
    struct family **at = &m->families;

    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (!*at && (*at = mem_zero(1, sizeof **at)))
        **at = (struct family){.name = name, .help = help, .kind = kind};
    assert(!*at || ((*at)->kind == kind && strcmp((*at)->help, help) == 0));
    return *at;
}

static struct metric *metric_new(const char *labels)
{
    struct metric *metric = mem_zero(1, sizeof *metric);

    if (!metric)
        return NULL;
    metric->labels = mem_copy_text(labels, strlen(labels));
    if (!metric->labels) {
        mem_free(metric);
        return NULL;
    }
    return metric;
}

static struct metric *add_series(struct metrics *m, const char *name, const char *labels,
                                 const char *help, enum kind kind)
{
    struct family *family = family_of(m, name, help, kind);
    struct metric **at;

    if (!labels)
        labels = "";
    if (!family) {
        m->incomplete = true;
        return &spare;
    }
    at = &family->series;
    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    if (!*at && !(*at = metric_new(labels))) {
        m->incomplete = true;
        return &spare;
    }
    return *at;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help)
{
    return add_series(m, name, labels, help, COUNTER);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help)
{
    return add_series(m, name, labels, help, GAUGE);
}

struct metric *metrics_latency(struct metrics *m, const char *name, const char *labels,
                               const char *help)
{
    return add_series(m, name, labels, help, HISTOGRAM);
}

static void read_by(struct metric *metric, double (*read)(void *ctx), void *ctx)
{
    if (metric == &spare)
        return;
    metric->read = read;
    metric->ctx = ctx;
}

void metrics_gauge_read(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *ctx), void *ctx)
{
    read_by(add_series(m, name, labels, help, GAUGE), read, ctx);
}

void metrics_counter_read(struct metrics *m, const char *name, const char *labels, const char *help,
                          double (*read)(void *ctx), void *ctx)
{
    read_by(add_series(m, name, labels, help, COUNTER), read, ctx);
}

/* ---- updating ---- */

void metric_add(struct metric *metric, uint64_t n)
{
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, (uint64_t)value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t microseconds)
{
    uint64_t us = microseconds > 0 ? (uint64_t)microseconds : 0;
    size_t i = 0;

    while (i < BUCKETS && us > buckets[i].upper_us)
        i++;
    atomic_fetch_add_explicit(&metric->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, us, memory_order_relaxed);
}

uint64_t metric_value(const struct metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

/* ---- rendering ---- */

/* The shortest of the two forms that reads back as the same number. */
static void add_double(struct buf *out, double value)
{
    char text[40];

    if (isnan(value) || isinf(value)) {
        buf_add_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value)
        snprintf(text, sizeof text, "%.17g", value);
    buf_add_text(out, text);
}

/* name, suffix, and the labels in braces where there are any */
static void add_series_name(struct buf *out, const char *name, const char *suffix,
                            const char *labels)
{
    buf_add_text(out, name);
    buf_add_text(out, suffix);
    if (labels[0])
        buf_add_format(out, "{%s}", labels);
}

static void add_histogram(struct buf *out, const char *name, const struct metric *metric)
{
    const char *comma = metric->labels[0] ? "," : "";
    uint64_t sum_us = metric_value(metric), count = 0;

    for (size_t i = 0; i <= BUCKETS; i++) {
        count += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
        buf_add_format(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, metric->labels, comma,
                       i < BUCKETS ? buckets[i].upper : "+Inf", count);
    }
    add_series_name(out, name, "_sum", metric->labels);
    buf_add_format(out, " %" PRIu64 ".%06" PRIu64 "\n", sum_us / 1000000, sum_us % 1000000);
    add_series_name(out, name, "_count", metric->labels);
    buf_add_format(out, " %" PRIu64 "\n", count);
}

static void add_single(struct buf *out, const struct family *family, const struct metric *metric)
{
    add_series_name(out, family->name, "", metric->labels);
    buf_add_text(out, " ");
    if (metric->read)
        add_double(out, metric->read(metric->ctx));
    else if (family->kind == GAUGE)
        buf_add_format(out, "%" PRId64, (int64_t)metric_value(metric));
    else
        buf_add_format(out, "%" PRIu64, metric_value(metric));
    buf_add_text(out, "\n");
}

static void add_family(struct buf *out, const struct family *family)
{
    buf_add_format(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   kind_words[family->kind]);
    for (const struct metric *metric = family->series; metric; metric = metric->next) {
        if (family->kind == HISTOGRAM)
            add_histogram(out, family->name, metric);
        else
            add_single(out, family, metric);
    }
}

enum err metrics_render(const struct metrics *m, struct buf *out)
{
    size_t start = out->len;

    if (m->incomplete)
        return ERR_MEMORY;
    for (const struct family *family = m->families; family; family = family->next)
        add_family(out, family);
    if (!buf_failed(out))
        return ERR_NONE;
    buf_cut(out, start);
    return ERR_MEMORY;
}
