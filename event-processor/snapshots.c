#include "event-processor/snapshots.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/snapshot_folder.h"
#include "event-processor/status_frozen.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum { LOOK_MS = 250 }; /* at most, between two looks at what is to be done */

struct snapshots {
    struct snapshots_options use;
    struct snapshot_streams streams;
    struct snapshot_folder *folder; /* NULL: it cannot be used */
    struct follower *follower;
    struct wait wait; /* guards the following; woken when it changes */
    bool finishing, finished;
    struct timespec finish_by;
    _Atomic bool stopping;
    bool started;
    pthread_t thread;

    /* The thread's, and before it starts the loader's. */
    struct snapshot_file file;
    struct timespec next_at;
    uint64_t epoch; /* of the table that the place's snapshot is of; 0: there is none */
    struct follower_point point; /* of that */
    struct metric *written, *failed, *bytes, *written_at, *took;
};

/* ---- life ---- */

static void register_metrics(struct snapshots *s, struct metrics *metrics)
{
    static const char total[] = "tidings_snapshots_total";
    static const char help[] = "Snapshots of the status table that were taken, by outcome";
    s->written = metrics_counter(metrics, total, "outcome=\"written\"", help);
    s->failed = metrics_counter(metrics, total, "outcome=\"failed\"", help);
    s->bytes = metrics_gauge(metrics, "tidings_snapshot_size_bytes", NULL,
                             "Size of the last snapshot written or loaded");
    s->written_at = metrics_gauge(metrics, "tidings_snapshot_timestamp_seconds", NULL,
                                  "When the last snapshot written or loaded was taken; 0: none");
    s->took = metrics_latency(metrics, "tidings_snapshot_duration_seconds", NULL,
                              "How long it took to write a snapshot, syncing included");
}

enum err snapshots_new(const struct snapshots_options *options, struct snapshots **ret)
{
    struct snapshots *s = mem_zero(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    if (wait_init(&s->wait)) {
        mem_free(s);
        return ERR_MEMORY;
    }
    s->use = *options;
    s->streams = (struct snapshot_streams){.events = view_of(options->event_stream),
                                           .statuses = view_of(options->status_stream)};
    register_metrics(s, options->metrics);
    struct err_detail detail;
    if (snapshot_folder_open(options->folder, options->status_stream, &s->folder, &detail))
        log_warn(
            "no snapshots: the folder of --data cannot be used; each start reads both logs from "
            "their beginning",
            LOG_TEXT("detail", detail.text));
    *ret = s;
    return ERR_NONE;
}

void snapshots_stop(struct snapshots *s)
{
    if (!s)
        return;
    wait_lock(&s->wait);
    atomic_store(&s->stopping, true);
    wait_wake_all(&s->wait);
    wait_unlock(&s->wait);
    if (s->started)
        pthread_join(s->thread, NULL);
    s->started = false;
}

void snapshots_free(struct snapshots *s)
{
    if (!s)
        return;
    snapshot_folder_close(s->folder);
    wait_destroy(&s->wait);
    mem_free(s);
}

/* For who reads or writes a file. */
static bool goes_on(void *ctx)
{
    struct snapshots *s = ctx;
    wait_lock(&s->wait);
    bool late = s->finishing && wait_left_ms(s->finish_by) == 0;
    wait_unlock(&s->wait);
    return !late && !atomic_load(&s->stopping);
}

static int64_t ms_since(struct timespec then)
{
    struct timespec now = wait_until(0);
    return (now.tv_sec - then.tv_sec) * 1000 + (now.tv_nsec - then.tv_nsec) / 1000000;
}

/* ---- loading ---- */

static struct snapshot_source source_of(struct snapshots *s)
{
    s->file.go_on = goes_on;
    s->file.ctx = s;
    return (struct snapshot_source){.read = snapshot_file_read, .ctx = &s->file};
}

static void refuse(struct snapshots *s, int slot, enum err e, const struct err_detail *detail)
{
    if (e == ERR_CANCELLED) /* the program ends */
        return;
    log_warn("ignoring a snapshot", LOG_TEXT("folder", s->use.folder), LOG_I64("place", slot),
             LOG_TEXT("detail", detail->text));
}

/* The place of the youngest snapshot that was not tried; -1: none. */
static int youngest(struct snapshots *s, bool *tried)
{
    int found = -1;
    int64_t taken_ms = INT64_MIN;
    for (int slot = 0; slot < SNAPSHOT_SLOTS; slot++) {
        struct snapshot_head head;
        struct err_detail detail;
        struct snapshot_source source = source_of(s);
        enum err e =
            tried[slot] ? ERR_NOT_FOUND : snapshot_folder_read(s->folder, slot, &s->file, &detail);
        if (e == ERR_NOT_FOUND)
            continue;
        if (!e)
            e = snapshot_read_head(&source, &s->streams, &head, &detail);
        snapshot_file_close(&s->file);
        if (e) {
            tried[slot] = true;
            refuse(s, slot, e, &detail);
        } else if (head.taken_ms > taken_ms) {
            taken_ms = head.taken_ms;
            found = slot;
        }
    }
    return found;
}

static bool load(struct snapshots *s, int slot, struct snapshot_head *ret)
{
    struct err_detail detail;
    struct timespec began = wait_until(0);
    struct snapshot_source source = source_of(s);
    enum err e = snapshot_folder_read(s->folder, slot, &s->file, &detail);
    source.size = s->file.size;
    if (!e)
        e = snapshot_read(&source, &s->streams, s->use.table, s->use.replays, ret, &detail);
    snapshot_file_close(&s->file);
    if (e) {
        refuse(s, slot, e, &detail);
        return false;
    }
    metric_set(s->bytes, (int64_t)s->file.bytes);
    metric_set(s->written_at, ret->taken_ms / 1000);
    log_info("snapshot loaded", LOG_I64("place", slot), LOG_U64("bytes", s->file.bytes),
             LOG_I64("took_ms", ms_since(began)),
             LOG_I64("age_ms", clock_wall_ms(s->use.clock) - ret->taken_ms),
             LOG_U64("event_position", ret->point.events.position),
             LOG_U64("status_position", ret->point.statuses.position));
    return true;
}

bool snapshots_load(void *ctx, struct follower_point *ret)
{
    struct snapshots *s = ctx;
    bool tried[SNAPSHOT_SLOTS] = {false};
    struct snapshot_head head;
    int slot;
    while (s->folder && !atomic_load(&s->stopping) && (slot = youngest(s, tried)) >= 0) {
        tried[slot] = true;
        if (!load(s, slot, &head))
            continue;
        if (slot == snapshot_folder_slot(s->folder)) {
            struct status_reflects reflects;
            status_table_reflects(s->use.table, &reflects);
            s->epoch = reflects.epoch;
            s->point = head.point;
        }
        *ret = head.point;
        return true;
    }
    return false;
}

/* ---- taking ---- */

/* The snapshot is of what turned out not to be what the logs hold: a rebuild has begun since. */
static void drop_void(struct snapshots *s)
{
    struct status_reflects reflects;
    status_table_reflects(s->use.table, &reflects);
    if (s->epoch == 0 || s->epoch == reflects.epoch)
        return;
    snapshot_folder_remove(s->folder);
    s->epoch = 0;
}

static enum err write_file(struct snapshots *s, const struct snapshot_head *head,
                           const struct replays_saved *replays, struct err_detail *detail)
{
    struct snapshot_sink sink = {.write = snapshot_file_write, .ctx = &s->file};
    s->file.go_on = goes_on;
    s->file.ctx = s;
    enum err e = snapshot_folder_write(s->folder, &s->file, detail);
    if (e)
        return e;
    e = snapshot_write(&sink, &s->streams, head, s->use.table, replays);
    if (!e)
        return snapshot_folder_commit(s->folder, &s->file, detail);
    snapshot_folder_abort(s->folder, &s->file);
    bool failed = e == ERR_FULL || e == ERR_UNAVAILABLE;
    return err_set(detail, e, "%s: %s", s->use.folder,
                   failed ? strerrordesc_np(s->file.error) : err_title(e));
}

static void note_written(struct snapshots *s, const struct snapshot_head *head, int64_t took_ms)
{
    metric_add(s->written, 1);
    metric_set(s->bytes, (int64_t)s->file.bytes);
    metric_set(s->written_at, head->taken_ms / 1000);
    metric_observe_us(s->took, took_ms * 1000);
    log_info("snapshot written", LOG_U64("bytes", s->file.bytes), LOG_I64("took_ms", took_ms),
             LOG_U64("event_position", head->point.events.position),
             LOG_U64("status_position", head->point.statuses.position));
}

static void note_failed(struct snapshots *s, enum err e, const struct err_detail *detail)
{
    metric_add(s->failed, 1);
    if (e == ERR_CANCELLED)
        log_info("a snapshot was given up: too much changed, or there was no time for it");
    else
        log_warn("cannot write a snapshot; the last one stays, and it is tried again",
                 LOG_TEXT("detail", detail->text));
}

static bool is_known(const struct snapshots *s, uint64_t epoch, const struct follower_point *point)
{
    return s->epoch == epoch && s->point.events.position == point->events.position &&
           s->point.statuses.position == point->statuses.position;
}

/* False: not now. */
static bool take(struct snapshots *s)
{
    struct snapshot_head head = {.taken_ms = clock_wall_ms(s->use.clock)};
    struct replays_saved replays;
    struct err_detail detail = {""};
    struct timespec began = wait_until(0);
    uint64_t epoch;
    enum err e = follower_freeze(s->follower, &head.point, &replays, &epoch, &head.first);
    if (e)
        return false;
    bool known = is_known(s, epoch, &head.point);
    if (!known)
        e = write_file(s, &head, &replays, &detail);
    status_table_thaw(s->use.table);
    replays_saved_free(&replays);
    if (known)
        return true;
    if (e) {
        note_failed(s, e, &detail);
        return true;
    }
    s->epoch = epoch;
    s->point = head.point;
    note_written(s, &head, ms_since(began));
    return true;
}

/* ---- the thread ---- */

static bool is_finishing(struct snapshots *s)
{
    wait_lock(&s->wait);
    bool finishing = s->finishing;
    wait_unlock(&s->wait);
    return finishing;
}

static void wait_for_work(struct snapshots *s)
{
    int64_t left_ms = wait_left_ms(s->next_at);
    struct timespec until = wait_until(left_ms > 0 && left_ms < LOOK_MS ? left_ms : LOOK_MS);
    wait_lock(&s->wait);
    while (!atomic_load(&s->stopping) && !s->finishing && wait_on_until(&s->wait, until))
        ;
    wait_unlock(&s->wait);
}

static void end_finish(struct snapshots *s)
{
    wait_lock(&s->wait);
    s->finished = true;
    wait_wake_all(&s->wait);
    wait_unlock(&s->wait);
}

static void *run(void *arg)
{
    struct snapshots *s = arg;
    s->next_at = wait_until(s->use.interval_ms);
    for (bool finishing = false; !finishing;) {
        wait_for_work(s);
        if (atomic_load(&s->stopping))
            break;
        finishing = is_finishing(s);
        if (follower_ready(s->follower) == 0) /* perhaps it is loading still */
            continue;
        drop_void(s);
        if ((finishing || wait_left_ms(s->next_at) == 0) && take(s))
            s->next_at = wait_until(s->use.interval_ms);
    }
    end_finish(s);
    return NULL;
}

enum err snapshots_start(struct snapshots *s, struct follower *follower)
{
    if (!s || !s->folder)
        return ERR_NONE;
    s->follower = follower;
    s->started = pthread_create(&s->thread, NULL, run, s) == 0;
    return s->started ? ERR_NONE : ERR_MEMORY;
}

void snapshots_finish(struct snapshots *s, int64_t timeout_ms)
{
    if (!s || !s->started)
        return;
    wait_lock(&s->wait);
    s->finishing = true;
    s->finish_by = wait_until(timeout_ms);
    wait_wake_all(&s->wait);
    while (!s->finished && !atomic_load(&s->stopping))
        wait_on(&s->wait);
    wait_unlock(&s->wait);
}
