/* Many who watch all events: of how many changes each has been told.
 *
 *     build/bench/watchers PORT WATCHERS CONNECTIONS CHANGES
 *
 * Says `watching` when each of the streams has begun, and `told` when each has brought so many
 * changes; fails where one ends before, or has been silent for 30 s. The connections have an equal
 * share of the streams, each of which has a thread. Changes are counted, not unpacked: this program
 * has the same two cores as the server.
 */
#include "common/event_query.h"
#include "common/rpc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WATCHERS_MAX = 1000, PATIENCE_MS = 30000, CHANGES = 0x0a, POSITION = 0x10 };

static pthread_barrier_t begun;
static uint64_t wanted;

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "watchers: %s\n", what);
    _Exit(1);
}

static uint64_t number(struct view *bytes)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && bytes->len > 0; shift += 7) {
        uint8_t byte = (uint8_t)*bytes->data++;
        bytes->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    need(false, "a number is cut off");
    return 0;
}

/* The changes in a WatchEventsResponse (proto/events.proto). */
static uint64_t count_changes(struct view bytes)
{
    uint64_t count = 0;
    while (bytes.len > 0) {
        uint64_t tag = number(&bytes), value = number(&bytes);
        need(tag == CHANGES || tag == POSITION, "an unknown field");
        if (tag == POSITION)
            continue;
        need(value <= bytes.len, "a change is cut off");
        bytes = (struct view){bytes.data + value, bytes.len - value};
        count++;
    }
    return count;
}

static uint64_t next(struct rpc_reader *reader, struct buf *message)
{
    enum err end;
    struct err_detail detail = {{0}};
    if (rpc_reader_next(reader, PATIENCE_MS, message, &end, &detail) != RPC_READ_MESSAGE)
        need(false, detail.text[0] ? detail.text : "nothing has come");
    return count_changes(buf_view(message));
}

static void *watch(void *arg)
{
    struct rpc_channel *channel = arg;
    struct rpc_reader *reader;
    struct buf request, message;
    buf_init(&request, 1 << 10);
    buf_init(&message, RPC_ANSWER_MAX);
    need(!event_changes_request_write(&(struct event_changes_request){0}, &request) &&
             !rpc_reader_open(channel, EVENT_CHANGES_METHOD, buf_view(&request), &reader, NULL),
         "no stream");
    need(next(reader, &message) == 0, "a change from before");
    (void)pthread_barrier_wait(&begun);
    uint64_t told = 0;
    while (told < wanted)
        told += next(reader, &message);
    need(told == wanted, "more changes than there are");
    rpc_reader_close(reader);
    buf_free(&request);
    buf_free(&message);
    return NULL;
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    need(argc == 5, "PORT WATCHERS CONNECTIONS CHANGES are needed");
    unsigned long count = strtoul(argv[2], NULL, 10), connections = strtoul(argv[3], NULL, 10);
    static pthread_t threads[WATCHERS_MAX];
    static struct rpc_channel *channels[WATCHERS_MAX];
    char target[64];
    need(count >= 1 && count <= WATCHERS_MAX && connections >= 1 && connections <= count,
         "1 to 1000 watchers, and no more connections");
    wanted = strtoull(argv[4], NULL, 10);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%s", argv[1]);
    need(!pthread_barrier_init(&begun, NULL, (unsigned)count + 1), "no barrier");
    for (unsigned long i = 0; i < connections; i++)
        need(!rpc_channel_open(target, &channels[i], NULL), "no channel");
    for (unsigned long i = 0; i < count; i++)
        need(!pthread_create(&threads[i], NULL, watch, channels[i % connections]), "no thread");
    (void)pthread_barrier_wait(&begun);
    say("watching");
    for (unsigned long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    say("told");
    for (unsigned long i = 0; i < connections; i++)
        rpc_channel_close(channels[i]);
}
