/* Producers: each POSTs its events one after the other, and again until it has an answer that ends
 * the matter. They live on, whatever happens to the gateways. */
#include "tests/sim/world.h"

#include "http-gateway/store_event.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIES_MAX = 40 };

/* One request, as long as its gateway's process lives. */
struct post {
    struct world *world;
    struct node *node;
    char producer_id[32]; /* empty: none */
    char payload[32];
    enum { IN_BODY, IN_KEY } where;
    bool done;
    enum err answer;
    struct event_id id;
    char digest[EVENT_DIGEST_TEXT_SIZE];
};

struct client {
    struct world *world;
    size_t number, events;
};

static void serve(void *arg)
{
    struct post *post = arg;
    struct store_identity identity;
    struct err_detail detail;
    struct event event = {.name = VIEW("sim.event"),
                          .content_type = VIEW("text/plain"),
                          .payload = view_of(post->payload)};
    struct view key = {0};
    bool duplicate = false;
    if (post->where == IN_KEY)
        key = view_of(post->producer_id);
    else
        event.producer_id = view_of(post->producer_id);
    struct gateway *g = post->node->gateway;
    enum err e = store_event_identify(g, key, &event, &identity, &detail);
    post->id = event.id;
    memcpy(post->digest, identity.digest, sizeof post->digest);
    if (!e)
        e = store_event(g, &event, &identity, &duplicate, &detail);
    post->answer = e;
    post->done = true;
}

static struct node *some_gateway(struct world *world)
{
    struct node *node = &world->nodes[sim_random(world->plan.gateways)];
    return node->up && !node->stopping ? node : NULL;
}

/* One id is one event, whoever answers. */
static void check_id(const struct post *post)
{
    static struct {
        char producer_id[32];
        struct event_id id;
    } known[EVENTS_MAX];
    static size_t count;
    if (post->producer_id[0] == '\0')
        return;
    size_t i = 0;
    while (i < count && strcmp(known[i].producer_id, post->producer_id) != 0)
        i++;
    if (i == count) {
        memcpy(known[i].producer_id, post->producer_id, sizeof post->producer_id);
        known[i].id = post->id;
        count++;
    }
    if (!id_equal(&known[i].id, &post->id))
        sim_fail("%s has two event_ids", post->producer_id);
}

static void accept(struct world *world, const struct post *post)
{
    struct accepted *a = &world->accepted[world->accepted_count++];
    a->id = post->id;
    memcpy(a->digest, post->digest, sizeof a->digest);
}

/* True: the matter has ended. */
static bool try_once(struct client *client, const struct post *what)
{
    struct world *world = client->world;
    struct node *node = some_gateway(world);
    if (!node)
        return false;
    int process = node->process;
    struct post *post = malloc(sizeof *post); /* a killed gateway keeps it */
    *post = *what;
    post->node = node;
    uint32_t losses = world->losses;
    sim_spawn(process, serve, post);
    while (!post->done && !sim_is_killed(process))
        sim_sleep_us(500);
    if (!post->done)
        return false;
    enum err e = post->answer;
    check_id(post);
    if (!e && losses == world->losses) /* else it may have been lost before the answer */
        accept(world, post);
    if (e == ERR_ID_REUSED || e == ERR_KEY_REUSED) {
        if (world->plan.conflict == 0)
            sim_fail("an id was said to be another event's, but no two events share one");
        return true;
    }
    if (e && e != ERR_UNAVAILABLE && e != ERR_UNKNOWN_OUTCOME && e != ERR_BUSY)
        sim_fail("a POST was answered with %s", err_slug(e));
    return !e;
}

static void run_client(void *arg)
{
    struct client *client = arg;
    const struct plan *plan = &client->world->plan;
    for (size_t i = 0; i < client->events; i++) {
        struct post post = {.world = client->world, .where = sim_chance(50) ? IN_BODY : IN_KEY};
        snprintf(post.payload, sizeof post.payload, "%zu-%zu", client->number, i);
        if (sim_chance(plan->reuse)) { /* few ids, so that clients use each other's */
            size_t shared = sim_random(1 + plan->events / 8);
            snprintf(post.producer_id, sizeof post.producer_id, "shared-%zu", shared);
            snprintf(post.payload, sizeof post.payload, "of %zu, %d", shared,
                     sim_chance(plan->conflict));
        } else if (sim_chance(plan->own_ids)) {
            snprintf(post.producer_id, sizeof post.producer_id, "own-%zu-%zu", client->number, i);
        }
        for (int try = 0; try < TRIES_MAX && !try_once(client, &post); try++)
            sim_sleep_us((int64_t)sim_random(300000));
        sim_sleep_us((int64_t)sim_between(0, 200000));
    }
    client->world->clients_left--;
}

void clients_start(struct world *world)
{
    world->clients_left = world->plan.clients;
    for (size_t i = 0; i < world->plan.clients; i++) {
        struct client *client = malloc(sizeof *client);
        *client = (struct client){world, i, world->plan.events / world->plan.clients};
        sim_spawn(SIM_PROCESS_CLIENT, run_client, client);
    }
}
