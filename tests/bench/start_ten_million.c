/* A processor's start with ten million events: from both logs, and from a snapshot.
 *
 *     build/bench/start_ten_million [EVENTS [FOLDER]]      10,000,000, in build
 *
 * The product's own follower and snapshots over a bus that makes up the logs' records as they are
 * read, so what reading them costs is left out: a real bus is slower, a snapshot's start is not.
 * Each event has one change, in batches of 256. Prints Markdown for docs/performance.md.
 */
#include "common/bus_driver.h"
#include "event-processor/snapshots.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 256, NAMES = 20, AT_ONCE = 512, PATIENCE_MS = 600000 };

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "start_ten_million: %s\n", what);
    abort();
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t mix(uint64_t z) /* splitmix64 */
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct event_id id_of(uint64_t position)
{
    struct event_id id;
    uint64_t halves[2] = {mix(2 * position), mix(2 * position + 1)};
    memcpy(id.bytes, halves, sizeof id.bytes);
    return id;
}

/* ---- the logs ---- */

static uint64_t events;
static struct buf *batches; /* the status log's, from position 1 on */
static uint64_t batch_count;
static struct bus_driver made_up;
static struct bus bus = {.driver = &made_up};
static struct bus_log event_log = {.bus = &bus}, status_log = {.bus = &bus};

static uint64_t last_of(const struct bus_log *log)
{
    return log == &event_log ? events : batch_count;
}

static int64_t time_of(uint64_t position)
{
    return 1700000000000 + (int64_t)position;
}

static void write_batches(void)
{
    static struct status_change changes[BATCH];
    batch_count = (events + BATCH - 1) / BATCH;
    batches = calloc(batch_count, sizeof *batches);
    need(batches, "memory");
    for (uint64_t batch = 0, position = 1; batch < batch_count; batch++) {
        size_t count = 0;
        for (; count < BATCH && position <= events; position++)
            changes[count++] = (struct status_change){
                .id = id_of(position),
                .event_position = position,
                .state = {.status = position % 1000 ? STATUS_PROCESSED : STATUS_DEAD, .attempt = 1},
                .time_ms = time_of(position)};
        buf_init(&batches[batch], 1 << 20);
        need(!status_batch_write(changes, count, VIEW("bench-1"), &batches[batch]), "a batch");
    }
}

static enum err end_of(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret)
{
    (void)timeout_ms;
    *ret = (struct bus_log_end){.first = 1,
                                .last = last_of(log),
                                .created_ns = 1,
                                .last_time_ms = time_of(last_of(log)),
                                .count = last_of(log)};
    return ERR_NONE;
}

struct made_up_record {
    struct bus_record_box box;
    char subject[48];
    char id[ID_TEXT_SIZE];
};

struct made_up_reader {
    struct bus_reader base;
    uint64_t next;
    struct made_up_record records[AT_ONCE];
};

static struct view header_of(const struct bus_record *record, const char *name)
{
    const struct made_up_record *made = (const void *)bus_record_box_of(record);
    bool is_id = view_equal_nocase(view_of(name), VIEW("Tidings-Event-Id"));
    return is_id ? (struct view){made->id, ID_TEXT_SIZE - 1} : (struct view){0};
}

static enum err open_reader(struct bus_log *log, uint64_t from, bool headers_only,
                            struct bus_reader **ret)
{
    struct made_up_reader *reader = calloc(1, sizeof *reader);
    (void)headers_only;
    need(reader, "memory");
    reader->base.log = log;
    reader->next = from ? from : 1;
    *ret = &reader->base;
    return ERR_NONE;
}

static void close_reader(struct bus_reader *reader)
{
    free(reader);
}

static void make_up(struct made_up_record *made, const struct bus_log *log, uint64_t position)
{
    struct bus_record *record = &made->box.record;
    made->box.driver = &made_up;
    *record = (struct bus_record){
        .position = position, .time_ms = time_of(position), .subject = made->subject};
    if (log == &status_log) {
        record->payload = buf_view(&batches[position - 1]);
        return;
    }
    struct event_id id = id_of(position);
    id_format(&id, made->id);
    snprintf(made->subject, sizeof made->subject, "bench.events.name.%u",
             (unsigned)(position % NAMES));
}

static enum err next_records(struct bus_reader *base, int64_t timeout_ms, struct bus_record **ret,
                             size_t max, size_t *ret_count)
{
    struct made_up_reader *reader = (struct made_up_reader *)base;
    uint64_t last = last_of(base->log);
    size_t count = 0;
    for (; count < max && count < AT_ONCE && reader->next <= last; count++) {
        make_up(&reader->records[count], base->log, reader->next++);
        ret[count] = &reader->records[count].box.record;
    }
    *ret_count = count;
    if (count > 0)
        return ERR_NONE;
    nanosleep(&(struct timespec){.tv_nsec = timeout_ms * 1000000}, NULL);
    return ERR_DEADLINE;
}

/* ---- a processor ---- */

struct replica {
    struct metrics *metrics;
    struct status_table *table;
    struct replays *replays;
    struct snapshots *snapshots;
    struct follower *follower;
    double ready_s;
};

/* Returns when it is ready. */
static void start(struct replica *r, const char *folder)
{
    double begin = now_s();
    need(!metrics_new(&r->metrics) && !status_table_new(&r->table) && !replays_new(&r->replays),
         "memory");
    need(!snapshots_new(&(struct snapshots_options){.folder = folder,
                                                    .event_stream = "BENCH_EVENTS",
                                                    .status_stream = "BENCH_STATUS",
                                                    .table = r->table,
                                                    .replays = r->replays,
                                                    .clock = &clock_system,
                                                    .metrics = r->metrics,
                                                    .interval_ms = PATIENCE_MS},
                        &r->snapshots) &&
             !follower_start(&(struct follower_options){.event_log = &event_log,
                                                        .event_stream = "BENCH_EVENTS",
                                                        .ns = "bench",
                                                        .status_log = &status_log,
                                                        .table = r->table,
                                                        .replays = r->replays,
                                                        .metrics = r->metrics,
                                                        .load = snapshots_load,
                                                        .load_ctx = r->snapshots},
                             &r->follower) &&
             !snapshots_start(r->snapshots, r->follower),
         "no start");
    struct follower_target target = {.event_position = events, .status_position = batch_count};
    need(!follower_wait(r->follower, &target, PATIENCE_MS, NULL), "not ready");
    r->ready_s = now_s() - begin;
}

static uint64_t stop(struct replica *r)
{
    struct status_table_stats stats;
    snapshots_stop(r->snapshots);
    follower_stop(r->follower);
    follower_free(r->follower);
    snapshots_free(r->snapshots);
    status_table_stats(r->table, 0, &stats);
    need(stats.events == events, "events are missing");
    replays_free(r->replays);
    status_table_free(r->table);
    metrics_free(r->metrics);
    return stats.digest;
}

/* ---- look-ups beside it ---- */

static atomic_bool writing;

struct looker {
    pthread_t thread;
    struct status_table *table;
    uint64_t looks;
    double longest_s;
};

static void *look_up(void *arg)
{
    struct looker *looker = arg;
    for (uint64_t seed = 1; atomic_load(&writing); seed++) {
        struct event_id id = id_of(1 + mix(seed) % events);
        struct status_entry entry;
        double begin = now_s();
        need(status_table_find(looker->table, &id, &entry, NULL), "an event is unknown");
        double took = now_s() - begin;
        looker->longest_s = took > looker->longest_s ? took : looker->longest_s;
        looker->looks++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct replica from_logs, from_snapshot;
    struct looker looker = {0};
    events = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    const char *folder = argc > 2 ? argv[2] : "build/bench/snapshots";
    made_up = bus_mem_driver;
    made_up.log_end = end_of;
    made_up.record_header = header_of;
    made_up.reader_open = open_reader;
    made_up.reader_close = close_reader;
    made_up.reader_next = next_records;
    write_batches();
    char file[4096];
    snprintf(file, sizeof file, "%s/BENCH_STATUS.0.snapshot", folder);
    (void)remove(file);

    start(&from_logs, folder);
    looker.table = from_logs.table;
    atomic_store(&writing, true);
    need(!pthread_create(&looker.thread, NULL, look_up, &looker), "no thread");
    double begin = now_s();
    snapshots_finish(from_logs.snapshots, PATIENCE_MS);
    double wrote_s = now_s() - begin;
    atomic_store(&writing, false);
    pthread_join(looker.thread, NULL);
    uint64_t digest = stop(&from_logs);

    start(&from_snapshot, folder);
    need(stop(&from_snapshot) == digest, "the digests differ");
    FILE *written = fopen(file, "r");
    need(written && !fseek(written, 0, SEEK_END), "no snapshot");
    double bytes = (double)ftell(written);
    fclose(written);
    (void)remove(file);
    printf("| %llu events | |\n|---|---|\n| ready from the logs | %.2f s |\n"
           "| ready from a snapshot | %.2f s, %.1f times as fast |\n"
           "| written, with %llu look-ups beside it | %.2f s, the longest look-up %.2f ms |\n"
           "| its size | %.1f MB, %.1f bytes an event |\n",
           (unsigned long long)events, from_logs.ready_s, from_snapshot.ready_s,
           from_logs.ready_s / from_snapshot.ready_s, (unsigned long long)looker.looks, wrote_s,
           looker.longest_s * 1000, bytes / 1e6, bytes / (double)events);
    return 0;
}
