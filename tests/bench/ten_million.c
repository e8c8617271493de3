/* Ten million events in a processor's table: what they take, how fast they are asked for beside a
 * table of ten thousand, and how long a look-up waits while as many more come.
 *
 *     build/bench/ten_million [EVENTS [ROUNDS]]      10,000,000, and 5
 *
 * With ROUNDS the table does not grow any further: `make bench` takes the other figures.
 * The product's own table, queries and gRPC server over tables that are filled directly, as if they
 * were loaded: the logs behind them are empty and only claim to have a record where the tables end.
 * The client is a process of its own (the same program: `ten_million ask ...`), so that the
 * server's CPU time is known. Prints Markdown for docs/performance.md.
 */
#include "common/bus_driver.h"
#include "event-processor/follower_side.h"
#include "event-processor/rpc_events.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SMALL = 10000,
    APART = 1000, /* every so many-th event is dead, the others are processed */
    NAMES = 20,
    PAGE = 100,
    PAGES = 300,
    ROUNDS = 5,
    ROUNDS_MAX = 100,
    ROUND_MS = 2000,
    ASKERS = 32, /* calls at once */
    STILL_S = 10,
};

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "ten_million: %s\n", what);
    abort();
}

static int64_t now_ns(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_share(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, by_size);
    return values[(size_t)((double)(count - 1) * share)];
}

/* ---- filling ---- */

static struct event_id id_of(uint64_t position)
{
    struct event_id id;
    uint64_t state = position;
    for (int half = 0; half < 2; half++) {
        uint64_t bits = next_random(&state);
        memcpy(id.bytes + half * 8, &bits, 8);
    }
    return id;
}

static void add(struct status_table *table, uint64_t position)
{
    char name[32];
    struct event_id id = id_of(position);
    int len = snprintf(name, sizeof name, "name.%u", (unsigned)(position % NAMES));
    need(!status_table_add(table, position, &id, (struct view){name, (size_t)len}, 0), "memory");
    status_table_passed_event(table, position);
}

static void end_event(struct status_table *table, uint64_t position)
{
    struct status_change change = {
        .id = id_of(position),
        .event_position = position,
        .state = {.status = position % APART ? STATUS_PROCESSED : STATUS_DEAD, .attempt = 1}};
    (void)status_table_apply(table, &change, position, 0);
    status_table_passed_status(table, position);
}

/* As the follower does it, so many records at a time; returns the longest time that the lock was
 * held (CPU). */
static int64_t grow(struct status_table *table, uint64_t from, uint64_t to, double *ret_worst)
{
    int64_t longest = 0;
    *ret_worst = 0;
    for (uint64_t at = from; at <= to; at += FOLLOWER_READ_MAX) {
        uint64_t end = at + FOLLOWER_READ_MAX <= to ? at + FOLLOWER_READ_MAX : to + 1;
        for (int side = 0; side < 2; side++) {
            status_table_write_begin(table);
            int64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
            for (uint64_t position = at; position < end; position++)
                (side == 0 ? add : end_event)(table, position);
            int64_t took = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
            status_table_write_end(table);
            longest = took > longest ? took : longest;
        }
        if (at / FOLLOWER_READ_MAX % 100 == 0 && at > SMALL) {
            struct status_table_stats stats;
            status_table_stats(table, to + 1, &stats);
            double bytes = (double)stats.bytes / (double)stats.events;
            *ret_worst = bytes > *ret_worst ? bytes : *ret_worst;
        }
    }
    return longest;
}

/* ---- a processor's reading half over such a table ---- */

struct replica {
    uint64_t events;
    struct status_table *table;
    struct bus *bus;
    struct bus_log *event_log, *status_log;
    struct bus_record last;     /* of both, */
    bool shown[FOLLOWER_SIDES]; /* read already */
    struct follower *follower;
    struct metrics *metrics;
    struct query *query;
    struct rpc_events rpc;
    struct rpc_server *server;
    double rates[ROUNDS_MAX], cpu_us[ROUNDS_MAX];
};
static struct replica small = {.events = SMALL}, large;
static struct bus_driver claiming; /* the driver in memory, but for where the logs end */

static enum err claim_end(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret)
{
    enum err e = bus_mem_driver.log_end(log, timeout_ms, ret);
    bool is_small = log == small.event_log || log == small.status_log;
    ret->last = is_small ? small.events : large.events;
    return e;
}

static enum err open_reader(struct bus_log *log, uint64_t from, bool headers_only,
                            struct bus_reader **ret)
{
    (void)from; /* which is beyond the log's end in truth */
    return bus_mem_driver.reader_open(log, 0, headers_only, ret);
}

static enum err claim_record(struct bus_reader *reader, int64_t timeout_ms, struct bus_record **ret,
                             size_t max, size_t *ret_count)
{
    struct replica *replica =
        reader->log == small.event_log || reader->log == small.status_log ? &small : &large;
    bool *shown = &replica->shown[reader->log == replica->status_log];
    if (*shown)
        return bus_mem_driver.reader_next(reader, timeout_ms, ret, max, ret_count);
    *shown = true;
    *ret = &replica->last;
    *ret_count = 1;
    return ERR_NONE;
}

static bool load(void *ctx, struct follower_point *ret)
{
    const struct replica *replica = ctx;
    struct bus_log_end events, statuses;
    need(!bus_log_end(replica->event_log, 1000, &events) &&
             !bus_log_end(replica->status_log, 1000, &statuses),
         "no ends");
    ret->events = (struct follower_mark){events.created_ns, replica->events, 0};
    ret->statuses = (struct follower_mark){statuses.created_ns, replica->events, 0};
    return true;
}

static void open_bus(struct replica *replica)
{
    struct bus_log_spec events = {.name = "EVENTS", .subject = "bench.events.>", .replicas = 1};
    struct bus_log_spec statuses = {.name = "STATUS", .subject = "bench.status.>", .replicas = 1};
    events.duplicate_window_ms = statuses.duplicate_window_ms = 1000;
    need(!bus_open(&(struct bus_options){.url = "mem://"}, &replica->bus, NULL) && replica->bus,
         "no bus");
    claiming = bus_mem_driver;
    claiming.log_end = claim_end;
    claiming.reader_open = open_reader;
    claiming.reader_next = claim_record;
    replica->bus->driver = &claiming;
    need(!bus_log_open(replica->bus, &events, &replica->event_log) &&
             !bus_log_open(replica->bus, &statuses, &replica->status_log) &&
             !bus_wait_ready(replica->bus, 5000, NULL),
         "no logs");
}

static void start(struct replica *replica)
{
    open_bus(replica);
    replica->last.position = replica->events;
    need(!metrics_new(&replica->metrics) &&
             !follower_start(&(struct follower_options){.event_log = replica->event_log,
                                                        .event_stream = "EVENTS",
                                                        .ns = "bench",
                                                        .status_log = replica->status_log,
                                                        .table = replica->table,
                                                        .metrics = replica->metrics,
                                                        .load = load,
                                                        .load_ctx = replica},
                             &replica->follower) &&
             !query_start(&(struct query_options){.event_log = replica->event_log,
                                                  .event_stream = "EVENTS",
                                                  .ns = "bench",
                                                  .source = "/bench",
                                                  .status_log = replica->status_log,
                                                  .follower = replica->follower,
                                                  .table = replica->table,
                                                  .metrics = replica->metrics},
                          &replica->query),
         "no follower");
    need(!follower_wait(replica->follower, &(struct follower_target){0}, 10000, NULL), "not ready");
    replica->rpc = (struct rpc_events){.query = replica->query, .table = replica->table};
    need(!rpc_start(&(struct rpc_options){.listen = "127.0.0.1:0",
                                          .threads = 2,
                                          .methods = rpc_events_methods,
                                          .ctx = &replica->rpc,
                                          .gather_writes = true},
                    &replica->server, NULL),
         "no server");
}

static void stop(struct replica *replica)
{
    follower_stop(replica->follower);
    query_stop(replica->query);
    rpc_stop(replica->server, 0);
    follower_free(replica->follower);
    metrics_free(replica->metrics);
    bus_close(replica->bus);
}

/* ---- the client, in a process of its own ---- */

struct asker {
    pthread_t thread;
    struct rpc_channel *channel;
    uint64_t events, seed, answers;
    int64_t end_ns;
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    struct buf request, reply;
    buf_init(&request, 1 << 10);
    buf_init(&reply, 1 << 20);
    while (now_ns(CLOCK_MONOTONIC) < asker->end_ns) {
        char text[ID_TEXT_SIZE];
        struct event_id id = id_of(1 + next_random(&asker->seed) % asker->events);
        id_format(&id, text);
        struct event_status_request wish = {.event_id = {text, ID_TEXT_SIZE - 1}};
        buf_clear(&request);
        need(!event_status_request_write(&wish, &request) &&
                 !rpc_call_unary(asker->channel, EVENT_STATUS_METHOD, buf_view(&request), 10000,
                                 &reply, NULL),
             "no answer");
        asker->answers++;
    }
    buf_free(&request);
    buf_free(&reply);
    return NULL;
}

static void ask_events(struct rpc_channel *channel, uint64_t events)
{
    static struct asker askers[ASKERS];
    uint64_t answers = 0;
    int64_t end_ns = now_ns(CLOCK_MONOTONIC) + ROUND_MS * INT64_C(1000000);
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){
            .channel = channel, .events = events, .seed = (i + 1) << 32, .end_ns = end_ns};
        need(!pthread_create(&askers[i].thread, NULL, ask, &askers[i]), "no thread");
    }
    for (size_t i = 0; i < ASKERS; i++) {
        pthread_join(askers[i].thread, NULL);
        answers += askers[i].answers;
    }
    printf("%llu\n", (unsigned long long)answers);
}

static void ask_pages(struct rpc_channel *channel)
{
    static double took_ms[PAGES];
    struct event_list_request wish = {.statuses = 1u << STATUS_DEAD, .page_size = PAGE};
    struct buf request, reply;
    buf_init(&request, 1 << 10);
    buf_init(&reply, 1 << 20);
    need(!event_list_request_write(&wish, &request), "memory");
    for (size_t i = 0; i < PAGES; i++) {
        int64_t begin = now_ns(CLOCK_MONOTONIC);
        need(!rpc_call_unary(channel, EVENT_LIST_METHOD, buf_view(&request), 10000, &reply, NULL),
             "no page");
        took_ms[i] = (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1e6;
    }
    double median = at_share(took_ms, PAGES, 0.5);
    printf("%.2f ms, %.2f ms\n", median, at_share(took_ms, PAGES, 0.99));
    buf_free(&request);
    buf_free(&reply);
}

static int be_client(char **argv)
{
    char target[64];
    struct rpc_channel *channel;
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%s", argv[3]);
    need(!rpc_channel_open(target, &channel, NULL), "no channel");
    if (strcmp(argv[2], "pages") == 0)
        ask_pages(channel);
    else
        ask_events(channel, strtoull(argv[4], NULL, 10));
    rpc_channel_close(channel);
    return 0;
}

/* Runs the client and reads the line that it prints. */
static void run_client(char *program, char *what, const struct replica *replica, char *line,
                       size_t size)
{
    char port[16], events[32];
    char *argv[] = {program, "ask", what, port, events, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status;
    pid_t pid;
    snprintf(port, sizeof port, "%u", (unsigned)rpc_port(replica->server));
    snprintf(events, sizeof events, "%llu", (unsigned long long)replica->events);
    need(!pipe(ends) && !posix_spawn_file_actions_init(&actions) &&
             !posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) &&
             !posix_spawn_file_actions_addclose(&actions, ends[0]) &&
             !posix_spawn(&pid, program, &actions, NULL, argv, environ),
         "the client cannot be started");
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *told = fdopen(ends[0], "r");
    need(told && fgets(line, (int)size, told) && waitpid(pid, &status, 0) == pid && status == 0,
         "the client has failed");
    fclose(told);
    line[strcspn(line, "\n")] = '\0';
}

/* ---- what is measured ---- */

static double own_cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void measure_asking(char *program, struct replica *replica, int round)
{
    char line[64];
    double before = own_cpu_us();
    run_client(program, "events", replica, line, sizeof line);
    double answers = strtod(line, NULL);
    replica->cpu_us[round] = (own_cpu_us() - before) / answers;
    replica->rates[round] = answers * 1000 / ROUND_MS;
}

static void measure_rpcs(char *program, int rounds)
{
    start(&small);
    start(&large);
    for (int round = 0; round < rounds; round++) {
        measure_asking(program, &small, round);
        measure_asking(program, &large, round);
    }
    printf("\n| events in the table | GetEventStatus | server CPU a call | a page of %d dead, one "
           "of %d: median, 99 %% |\n|---|---|---|---|\n",
           PAGE, APART);
    for (int i = 0; i < 2; i++) {
        struct replica *replica = i == 0 ? &small : &large;
        char pages[64];
        run_client(program, "pages", replica, pages, sizeof pages);
        printf("| %llu | %.0f/s | %.1f us | %s |\n", (unsigned long long)replica->events,
               at_share(replica->rates, (size_t)rounds, 0.5),
               at_share(replica->cpu_us, (size_t)rounds, 0.5), pages);
    }
    stop(&small);
    stop(&large);
}

static atomic_bool growing;

struct looker {
    pthread_t thread;
    uint64_t looks;
    int64_t longest_ns;
};

static void *look_up(void *arg)
{
    struct looker *looker = arg;
    uint64_t seed = 1;
    while (atomic_load(&growing)) {
        struct event_id id = id_of(1 + next_random(&seed) % large.events);
        struct status_entry entry;
        int64_t begin = now_ns(CLOCK_MONOTONIC);
        need(status_table_find(large.table, &id, &entry, NULL), "an event is unknown");
        int64_t took = now_ns(CLOCK_MONOTONIC) - begin;
        looker->longest_ns = took > looker->longest_ns ? took : looker->longest_ns;
        looker->looks++;
    }
    return NULL;
}

/* The longest look-up beside a table that grows by as many events as it has, or stands still. */
static void measure_pauses(bool grows)
{
    struct looker looker = {0};
    int64_t locked = 0;
    double worst;
    atomic_store(&growing, true);
    need(!pthread_create(&looker.thread, NULL, look_up, &looker), "no thread");
    if (grows)
        locked = grow(large.table, large.events + 1, large.events * 2, &worst);
    else
        nanosleep(&(struct timespec){.tv_sec = STILL_S}, NULL);
    atomic_store(&growing, false);
    pthread_join(looker.thread, NULL);
    printf("| %s | %llu | %.2f ms | %.2f ms |\n", grows ? "grows to twice as many" : "stands still",
           (unsigned long long)looker.looks, (double)looker.longest_ns / 1e6, (double)locked / 1e6);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    need(statm && fscanf(statm, "%lu %lu", &size, &resident) == 2, "no /proc/self/statm");
    fclose(statm);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void measure_filling(void)
{
    struct status_table_stats stats;
    double worst, before = resident_bytes();
    int64_t begin = now_ns(CLOCK_MONOTONIC);
    (void)grow(large.table, 1, large.events, &worst);
    double took_s = (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1e9;
    status_table_stats(large.table, large.events + 1, &stats);
    printf("%llu events, filled in %.1f s.\n\n| bytes an event | |\n|---|---|\n"
           "| table and index | %.1f |\n| the most on the way | %.1f |\n"
           "| resident memory of the process | %.1f |\n",
           (unsigned long long)large.events, took_s, (double)stats.bytes / (double)large.events,
           worst, (resident_bytes() - before) / (double)large.events);
}

int main(int argc, char **argv)
{
    double worst;
    if (argc == 5 && strcmp(argv[1], "ask") == 0)
        return be_client(argv);
    large.events = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    int rounds = argc > 2 ? atoi(argv[2]) : ROUNDS;
    need(large.events >= SMALL, "at least 10000 events");
    need(rounds > 0 && rounds <= ROUNDS_MAX, "1 to 100 rounds");
    need(!status_table_new(&small.table) && !status_table_new(&large.table), "memory");
    measure_filling();
    (void)grow(small.table, 1, small.events, &worst);
    fflush(stdout);
    measure_rpcs(argv[0], rounds);
    if (argc < 3) {
        printf("\n| while the table | look-ups | the longest | the lock's longest hold (CPU) |\n"
               "|---|---|---|---|\n");
        measure_pauses(false);
        measure_pauses(true);
    }
    status_table_free(small.table);
    status_table_free(large.table);
    return 0;
}
