/* Metrics: a registry of counters, gauges and histograms, rendered in the Prometheus text format
 * 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * Names follow https://prometheus.io/docs/practices/naming/: tidings_<what>_<unit>[_total]. Metrics
 * are registered at start, before other threads run, and live until metrics_free; updating and
 * rendering them is lock-free and thread-safe.
 */
#ifndef TIDINGS_METRICS_H
#define TIDINGS_METRICS_H

#include "common/buf.h"

struct metrics; /* the registry */
struct metric;  /* one time series: a name with its labels */

must_check enum err metrics_new(struct metrics **ret);
void metrics_free(struct metrics *m);

/* Registers a series. `name` and `help` (one line, no backslash) must live as long as the registry;
 * `labels` is copied and rendered as it stands between braces: `route="/x",code="202"`; NULL: none.
 * Series of one name must be registered with the same help and kind, and are rendered together; a
 * series registered again is the one that is there. Never returns NULL: when memory is short it
 * returns a series that is counted but not rendered (and metrics_render fails with ERR_MEMORY). */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help);
/* A histogram with buckets from 50 us to 10 s, rendered in seconds. */
struct metric *metrics_latency(struct metrics *m, const char *name, const char *labels,
                               const char *help);
/* A gauge or a counter whose value is asked for at each rendering; `read` runs on the rendering
 * thread. */
void metrics_gauge_read(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *ctx), void *ctx);
void metrics_counter_read(struct metrics *m, const char *name, const char *labels, const char *help,
                          double (*read)(void *ctx), void *ctx);
/* process_* (CPU seconds, memory, open descriptors and their limit, start time) and
 * tidings_build_info{version=…}. What /proc doesn't tell is NaN (the start time: 0). */
void metrics_process(struct metrics *m, const char *version);

void metric_add(struct metric *metric, uint64_t n);
void metric_set(struct metric *metric, int64_t value);
void metric_observe_us(struct metric *metric, int64_t microseconds); /* negative counts as 0 */
uint64_t metric_value(const struct metric *metric);                  /* of a counter; for tests */

/* Appends; on failure (ERR_MEMORY) `out` holds what it held before. */
must_check enum err metrics_render(const struct metrics *m, struct buf *out);

#endif
