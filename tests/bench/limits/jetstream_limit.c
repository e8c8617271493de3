/* JetStream's own limits, from a client on nats.c that does nothing else: messages with an event's
 * headers, each acknowledged.
 *
 *     build/bench/limits/jetstream_limit NATS_URL SECONDS BYTES IN_FLIGHT
 *
 * IN_FLIGHT messages wait for acknowledgements at a time; with 1, js_PublishMsg in a loop. Prints
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

enum { TIMES_MAX = 1000000 };

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
    if (f->sent - f->stored <= f->most / 2)
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

static void publish_many(natsConnection *nc, int64_t seconds, int bytes, int64_t most)
{
    static struct flight f = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
    natsInbox *inbox = NULL;
    natsSubscription *sub = NULL;
    need(natsInbox_Create(&inbox), "an inbox");
    need(natsConnection_Subscribe(&sub, nc, inbox, on_ack, &f), "a subscription");
    natsMsg *msg = make_message(inbox, bytes);
    f.most = most;
    int64_t begin = now_us(), end = begin + seconds * 1000000;
    while (now_us() < end)
        for (int64_t count = room(&f); count > 0; count--)
            need(natsConnection_PublishMsg(nc, msg), "a publish");
    pthread_mutex_lock(&f.lock);
    printf("{\"messages\": %lld, \"seconds\": %.6f}\n", (long long)f.stored,
           (double)(now_us() - begin) / 1e6);
    pthread_mutex_unlock(&f.lock);
    natsMsg_Destroy(msg);
    natsSubscription_Destroy(sub);
    natsInbox_Destroy(inbox);
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
    if (argc != 5 || atoi(argv[2]) < 1 || atoi(argv[3]) < 1 || atoi(argv[4]) < 1) {
        fprintf(stderr, "usage: jetstream_limit NATS_URL SECONDS BYTES IN_FLIGHT\n");
        return 2;
    }
    need(natsOptions_Create(&options), "options");
    need(natsOptions_SetURL(options, argv[1]), "the URL");
    need(natsConnection_Connect(&nc, options), "the connection");
    need(natsConnection_JetStream(&js, nc, NULL), "JetStream");
    make_stream(js);
    if (atoi(argv[4]) == 1)
        publish_one_by_one(js, atoi(argv[2]), atoi(argv[3]));
    else
        publish_many(nc, atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(options);
    nats_Close();
}
