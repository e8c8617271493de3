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
    char name[16], key[8], content_type[24], colour[8];
    char source[16];      /* empty: the default one */
    char producer_id[40]; /* empty: none */
    char payload[PLAN_PAYLOAD_SIZE];
    char traceparent[64]; /* another one in each try */
    enum { IN_BODY, IN_KEY } where;
    bool done;
    enum err answer;
    struct event_id id;
};

struct client {
    struct world *world;
    size_t number, events;
};

/* ---- one try ---- */

static void serve(void *arg)
{
    struct post *post = arg;
    struct store_identity identity;
    struct err_detail detail;
    struct event_extension colour = {VIEW("colour"), view_of(post->colour)};
    struct event event = {.name = view_of(post->name),
                          .source = view_of(post->source),
                          .key = view_of(post->key),
                          .content_type = view_of(post->content_type),
                          .traceparent = view_of(post->traceparent),
                          .extensions = &colour,
                          .extension_count = post->colour[0] != '\0',
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

/* ---- ids ---- */

static const char *source_of(const struct post *post)
{
    return post->source[0] ? post->source : WORLD_SOURCE;
}

static bool is_uuid(const char *text)
{
    return strlen(text) == 36 && text[8] == '-' && text[13] == '-';
}

static void canonical(const char *from, char to[ID_TEXT_SIZE])
{
    size_t i = 0;
    for (; from[i] && i + 1 < ID_TEXT_SIZE; i++)
        to[i] = (char)(from[i] >= 'A' && from[i] <= 'F' ? from[i] + ('a' - 'A') : from[i]);
    to[i] = '\0';
}

/* One id is one event, whoever answers: a UUID is the event_id, and other ids are one event's in
 * their source. */
static void check_id(const struct post *post)
{
    static struct {
        char name[64];
        struct event_id id;
    } known[2 * EVENTS_MAX];
    static size_t count;
    char name[64], text[ID_TEXT_SIZE], expected[ID_TEXT_SIZE];
    id_format(&post->id, text);
    if (post->producer_id[0] == '\0' && text[14] != '7')
        sim_fail("%s is no UUIDv7", text);
    if (post->producer_id[0] == '\0')
        return;
    canonical(post->producer_id, expected);
    if (is_uuid(post->producer_id) && strcmp(text, expected) != 0)
        sim_fail("%s has become %s", post->producer_id, text);
    if (is_uuid(post->producer_id))
        return;
    snprintf(name, sizeof name, "%s of %s", post->producer_id, source_of(post));
    size_t i = 0;
    while (i < count && strcmp(known[i].name, name) != 0 && !id_equal(&known[i].id, &post->id))
        i++;
    if (i == count && count < sizeof known / sizeof *known) {
        memcpy(known[i].name, name, sizeof name);
        known[i].id = post->id;
        count++;
    } else if (!id_equal(&known[i].id, &post->id) || strcmp(known[i].name, name) != 0) {
        sim_fail("%s and %s share an event_id, or have two", name, known[i].name);
    }
}

static void accept(struct world *world, const struct post *post)
{
    struct accepted *a = &world->accepted[world->accepted_count++];
    a->id = post->id;
    memcpy(a->producer_id, post->producer_id, sizeof a->producer_id);
    memcpy(a->source, post->source, sizeof a->source);
    content_write(a->content, view_of(post->name), view_of(source_of(post)), view_of(post->key),
                  view_of(post->content_type), view_of(post->colour), view_of(post->payload));
}

static void check_answer(const struct world *world, const struct post *post)
{
    enum err e = post->answer;
    bool reused = e == (post->where == IN_KEY ? ERR_KEY_REUSED : ERR_ID_REUSED);
    if (reused && world->plan.conflict == 0)
        sim_fail("an id was said to be another event's, but no two events share one");
    if (e && !reused && e != ERR_UNAVAILABLE && e != ERR_UNKNOWN_OUTCOME && e != ERR_BUSY)
        sim_fail("a POST was answered with %s", err_slug(e));
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
    if (sim_chance(50))
        snprintf(post->traceparent, sizeof post->traceparent, "00-%032llx-%016llx-01",
                 (unsigned long long)sim_random(1000) + 1,
                 (unsigned long long)sim_random(1000) + 1);
    uint32_t losses = world->losses;
    sim_spawn(process, serve, post);
    while (!post->done && !sim_is_killed(process))
        sim_sleep_us(500);
    if (!post->done)
        return false;
    enum err e = post->answer;
    check_id(post);
    check_answer(world, post);
    if (!e && losses == world->losses) /* else it may have been lost before the answer */
        accept(world, post);
    return !e || e == ERR_ID_REUSED || e == ERR_KEY_REUSED;
}

/* ---- what they send ---- */

static void set_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text);
}

/* In one of the members that make it another event. */
static void differ(const struct plan *plan, struct post *post, size_t shared)
{
    char text[32];
    switch (sim_random(6)) {
    case 0:
        set_text(post->name, sizeof post->name, "c.other");
        break;
    case 1:
        set_text(post->key, sizeof post->key, "other");
        break;
    case 2:
        set_text(post->content_type, sizeof post->content_type, "text/other");
        break;
    case 3:
        set_text(post->colour, sizeof post->colour, "other");
        break;
    case 4:
        if (is_uuid(post->producer_id)) {
            set_text(post->source, sizeof post->source, "/other");
            break;
        } /* fall through */
    default:
        snprintf(text, sizeof text, "other of %zu", shared);
        plan_payload(plan, text, post->payload);
    }
}

/* Few ids, so that clients use each other's. */
static void share_id(const struct plan *plan, struct post *post)
{
    size_t shared = sim_random(1 + plan->events / 8);
    char text[32];
    snprintf(text, sizeof text, "of %zu", shared);
    plan_payload(plan, text, post->payload);
    snprintf(post->name, sizeof post->name, "%c.shared", (char)('a' + shared % 3));
    snprintf(post->producer_id, sizeof post->producer_id, "shared-%zu", shared / 2);
    if (shared % 2)
        set_text(post->source, sizeof post->source, "/elsewhere");
    else if (sim_chance(50))
        set_text(post->source, sizeof post->source, WORLD_SOURCE);
    set_text(post->colour, sizeof post->colour, "red");
    if ((shared + plan->kind) % 3 == 2)
        snprintf(post->producer_id, sizeof post->producer_id,
                 sim_chance(50) ? "0195abcd-0000-7000-8000-%012zu"
                                : "0195ABCD-0000-7000-8000-%012zu",
                 shared);
    if (sim_chance(plan->conflict))
        differ(plan, post, shared);
}

static void make_post(const struct client *client, size_t number, struct post *ret)
{
    const struct plan *plan = &client->world->plan;
    char text[32];
    *ret = (struct post){.world = client->world, .where = sim_chance(50) ? IN_BODY : IN_KEY};
    set_text(ret->content_type, sizeof ret->content_type, "application/json");
    if (sim_chance(plan->reuse)) {
        share_id(plan, ret);
        return;
    }
    snprintf(text, sizeof text, "%zu-%zu", client->number, number);
    plan_payload(plan, text, ret->payload);
    snprintf(ret->name, sizeof ret->name, "%c.event", (char)('a' + sim_random(4)));
    if (sim_chance(20))
        set_text(ret->key, sizeof ret->key, "key");
    if (sim_chance(plan->own_ids))
        snprintf(ret->producer_id, sizeof ret->producer_id, "own-%zu-%zu", client->number, number);
}

static void run_client(void *arg)
{
    struct client *client = arg;
    for (size_t i = 0; i < client->events; i++) {
        struct post post;
        make_post(client, i, &post);
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
