/* JetStream's own limits, from a client on nats.c that does nothing else: messages with an event's
 * headers, each acknowledged.
 *
 *     build/bench/limits/jetstream_limit NATS_URL SECONDS BYTES IN_FLIGHT [pull]
 *
 * IN_FLIGHT messages wait for acknowledgements at a time; with 1, js_PublishMsg in a loop. With
 * `pull` a consumer takes and acknowledges them meanwhile, and the time is until it has all. Prints
 * JSON: messages, and with IN_FLIGHT 1 how long a round trip took. The stream is made as the
 * gateway makes it.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TIMES_MAX = 1000000,
    PULL = 1000,            /* messages a request, of which two are under way */
    ACK_PENDING_MAX = 20000 /* as a group of processors may have in hand */
};

static const char SUBJECT[] = "tidings.events.bench.event";

static const char *const HEADERS[][2] = {
    {"Tidings-Event-Id", "01a22f12-887f-71c0-85c8-58e2184b16a3"},
    {"Tidings-Digest", "d83638cbc46b950f11e4e399fedad7a9"},
    {"ce-specversion", "1.0"},
    {"ce-id", "01a22f12-887f-71c0-85c8-58e2184b16a3"},
    {"ce-source", "/tidings"},
    {"ce-type", "bench.event"},
    {"ce-time", "2030-01-01T00:00:00.000Z"},
    {"ce-datacontenttype", "application/json"},
    {"content-type", "application/json"},
};

static void need(natsStatus s, const char *what)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "jetstream_limit: %s: %s\n", what, natsStatus_GetText(s));
    _Exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void make_stream(jsCtx *js)
{
    jsStreamConfig config;
    jsErrCode code = 0;
    need(jsStreamConfig_Init(&config), "a stream's configuration");
    config.Name = "TIDINGS_EVENTS";
    config.Subjects = (const char *[]){"tidings.events.>"};
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Discard = js_DiscardNew;
    config.DenyDelete = true;
    config.DenyPurge = true;
    config.AllowDirect = true;
    config.Duplicates = INT64_C(120) * 1000000000;
    natsStatus s = js_AddStream(NULL, js, &config, NULL, &code);
    if (code != JSStreamNameExistErr)
        need(s, "the stream");
}

static natsMsg *make_message(const char *reply, int bytes)
{
    natsMsg *msg = NULL;
    char *data = malloc((size_t)bytes);
    if (!data)
        need(NATS_NO_MEMORY, "memory");
    memset(data, 'x', (size_t)bytes);
    need(natsMsg_Create(&msg, SUBJECT, reply, data, bytes), "a message");
    free(data);
    for (size_t i = 0; i < sizeof HEADERS / sizeof *HEADERS; i++)
        need(natsMsgHeader_Set(msg, HEADERS[i][0], HEADERS[i][1]), "a header");
    return msg;
}

/* ---- many at a time ---- */

struct flight {
    pthread_mutex_t lock;
    pthread_cond_t some_room;
    int64_t sent;
    int64_t stored;
    int64_t refused;
    int64_t most; /* in flight */
};

static void on_ack(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct flight *f = ctx;
    (void)nc;
    (void)sub;
    bool good = strstr(natsMsg_GetData(msg), "\"seq\"") && !strstr(natsMsg_GetData(msg), "error");
    natsMsg_Destroy(msg);
    pthread_mutex_lock(&f->lock);
    f->stored += good;
    f->refused += !good;
    if (f->sent - f->stored <= f->most / 2 || f->refused)
        pthread_cond_signal(&f->some_room);
    pthread_mutex_unlock(&f->lock);
}

/* How many may be sent now; waits until it is half of what may be in flight. */
static int64_t room(struct flight *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->sent - f->stored > f->most / 2 && f->refused == 0)
        pthread_cond_wait(&f->some_room, &f->lock);
    int64_t count = f->most - (f->sent - f->stored);
    f->sent += count;
    if (f->refused)
        need(NATS_ERR, "an acknowledgement is none");
    pthread_mutex_unlock(&f->lock);
    return count;
}

static int64_t publish_many(natsConnection *nc, int64_t end_us, int bytes, int64_t most)
{
    static struct flight f = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
    natsInbox *inbox = NULL;
    natsSubscription *sub = NULL;
    need(natsInbox_Create(&inbox), "an inbox");
    need(natsConnection_Subscribe(&sub, nc, inbox, on_ack, &f), "a subscription");
    natsMsg *msg = make_message(inbox, bytes);
    f.most = most;
    while (now_us() < end_us)
        for (int64_t count = room(&f); count > 0; count--)
            need(natsConnection_PublishMsg(nc, msg), "a publish");
    pthread_mutex_lock(&f.lock);
    while (f.stored + f.refused < f.sent)
        pthread_cond_wait(&f.some_room, &f.lock);
    if (f.refused)
        need(NATS_ERR, "an acknowledgement is none");
    int64_t stored = f.stored;
    pthread_mutex_unlock(&f.lock);
    natsMsg_Destroy(msg);
    natsSubscription_Destroy(sub);
    natsInbox_Destroy(inbox);
    return stored;
}

/* ---- and taken by a consumer ---- */

struct consumer {
    natsConnection *nc;
    natsInbox *inbox;
    natsSubscription *sub;
    pthread_mutex_t lock;
    pthread_cond_t more;
    int64_t taken; /* and acknowledged */
};

static void ask_for_more(struct consumer *c)
{
    char wish[64];
    int len = snprintf(wish, sizeof wish, "{\"batch\":%d,\"expires\":3600000000000}", PULL);
    need(natsConnection_PublishRequest(c->nc, "$JS.API.CONSUMER.MSG.NEXT.TIDINGS_EVENTS.limit",
                                       c->inbox, wish, len),
         "a request for more");
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct consumer *c = ctx;
    (void)sub;
    if (!natsMsg_GetReply(msg))
        need(NATS_ERR, "a request for more was refused");
    need(natsConnection_PublishString(nc, natsMsg_GetReply(msg), "+ACK"), "an acknowledgement");
    natsMsg_Destroy(msg);
    pthread_mutex_lock(&c->lock);
    bool asks = ++c->taken % PULL == 0;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
    if (asks)
        ask_for_more(c);
}

/* A consumer as a group of processors has it, on a connection of its own. */
static void start_consumer(struct consumer *c, natsOptions *options, jsCtx *js)
{
    jsConsumerConfig config;
    need(jsConsumerConfig_Init(&config), "a consumer's configuration");
    config.Durable = "limit";
    config.AckPolicy = js_AckExplicit;
    config.DeliverPolicy = js_DeliverNew;
    config.MaxAckPending = ACK_PENDING_MAX;
    need(js_AddConsumer(NULL, js, "TIDINGS_EVENTS", &config, NULL, NULL), "the consumer");
    need(natsConnection_Connect(&c->nc, options), "the consumer's connection");
    need(natsInbox_Create(&c->inbox), "an inbox");
    need(natsConnection_Subscribe(&c->sub, c->nc, c->inbox, on_message, c), "a subscription");
    for (int i = 0; i < 2; i++)
        ask_for_more(c);
}

/* Waits until so many have been taken, and the server has their acknowledgements. */
static void finish_consumer(struct consumer *c, int64_t count)
{
    pthread_mutex_lock(&c->lock);
    while (c->taken < count)
        pthread_cond_wait(&c->more, &c->lock);
    pthread_mutex_unlock(&c->lock);
    need(natsConnection_Flush(c->nc), "the last acknowledgements");
}

static void stop_consumer(struct consumer *c)
{
    natsSubscription_Destroy(c->sub);
    natsInbox_Destroy(c->inbox);
    natsConnection_Destroy(c->nc);
}

static void measure_many(natsOptions *options, natsConnection *nc, jsCtx *js, char **argv,
                         bool pulls)
{
    static struct consumer c = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                .more = PTHREAD_COND_INITIALIZER};
    if (pulls)
        start_consumer(&c, options, js);
    int64_t begin = now_us();
    int64_t stored =
        publish_many(nc, begin + atoi(argv[2]) * INT64_C(1000000), atoi(argv[3]), atoi(argv[4]));
    if (pulls)
        finish_consumer(&c, stored);
    printf("{\"messages\": %lld, \"seconds\": %.6f}\n", (long long)stored,
           (double)(now_us() - begin) / 1e6);
    if (pulls)
        stop_consumer(&c);
}

/* ---- one at a time ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void publish_one_by_one(jsCtx *js, int64_t seconds, int bytes)
{
    static int64_t times[TIMES_MAX];
    size_t count = 0;
    natsMsg *msg = make_message(NULL, bytes);
    int64_t begin = now_us(), before = begin;
    while (before < begin + seconds * 1000000 && count < TIMES_MAX) {
        need(js_PublishMsg(NULL, js, msg, NULL, NULL), "a publish");
        int64_t after = now_us();
        times[count++] = after - before;
        before = after;
    }
    qsort(times, count, sizeof *times, by_size);
    printf("{\"messages\": %zu, \"seconds\": %.6f, \"p50_us\": %lld, \"p99_us\": %lld}\n", count,
           (double)(before - begin) / 1e6, (long long)times[count / 2],
           (long long)times[count * 99 / 100]);
    natsMsg_Destroy(msg);
}

int main(int argc, char **argv)
{
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    bool pulls = argc == 6 && strcmp(argv[5], "pull") == 0;
    if ((argc != 5 && !pulls) || atoi(argv[2]) < 1 || atoi(argv[3]) < 1 || atoi(argv[4]) < 1) {
        fprintf(stderr, "usage: jetstream_limit NATS_URL SECONDS BYTES IN_FLIGHT [pull]\n");
        return 2;
    }
    need(natsOptions_Create(&options), "options");
    need(natsOptions_SetURL(options, argv[1]), "the URL");
    need(natsConnection_Connect(&nc, options), "the connection");
    need(natsConnection_JetStream(&js, nc, NULL), "JetStream");
    make_stream(js);
    if (atoi(argv[4]) == 1 && !pulls)
        publish_one_by_one(js, atoi(argv[2]), atoi(argv[3]));
    else
        measure_many(options, nc, js, argv, pulls);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(options);
    nats_Close();
}
