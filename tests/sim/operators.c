/* Those who replay: each starts a few replays, by ids and by filters, watches them from wherever
 * there is a processor, and cancels some. */
#include "tests/sim/world.h"

#include "event-processor/replay_desk.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIES_MAX = 60, IDS_MAX = 4, ASK_MS = 3000 };

/* What is asked for; the answer's time is the process's. */
struct order {
    struct world *world;
    struct node *node;
    struct processor *processor;
    enum replay_wish wish;
    char replay_id[ID_TEXT_SIZE];
    char ids[IDS_MAX][ID_TEXT_SIZE];
    struct view id_views[IDS_MAX];
    struct replay_request request;
    bool done;
    enum err answer;
    enum replay_state state;
    uint32_t losses; /* of the world's, when it was asked */
};

static void on_answer(void *ctx, enum err e, const char *message,
                      const struct replay_progress *progress)
{
    struct order *order = ctx;
    (void)message;
    order->answer = e;
    if (!e) {
        order->state = progress->state;
        id_format(&progress->id, order->replay_id);
    }
    order->done = true;
}

static void serve(void *arg)
{
    struct order *order = arg;
    for (size_t i = 0; i < order->request.event_id_count; i++)
        order->id_views[i] = view_of(order->ids[i]);
    order->request.event_ids = order->id_views;
    if (order->wish == REPLAY_START)
        order->request.replay_id = view_of(order->replay_id);
    replay_desk_ask(order->processor->desk,
                    &(struct replay_ask){.wish = order->wish,
                                         .request = order->request,
                                         .replay_id = view_of(order->replay_id),
                                         .timeout_ms = ASK_MS,
                                         .done = on_answer,
                                         .ctx = order});
}

static struct node *some_processor(struct world *world)
{
    size_t gateways = world->plan.gateways;
    struct node *node = &world->nodes[gateways + sim_random(world->plan.processors)];
    return node->up && !node->stopping ? node : NULL;
}

static void check_answer(const struct order *order)
{
    enum err e = order->answer;
    bool started = order->wish == REPLAY_START;
    bool lost = e == ERR_NOT_FOUND && order->world->losses > 0;
    if (e && e != ERR_UNAVAILABLE && e != ERR_BUSY && !(started && e == ERR_NOT_ENDED) && !lost)
        sim_fail("a replay was answered with %s", err_slug(e));
    bool kept = order->losses == order->world->losses; /* what it has recorded */
    if (!e && order->wish == REPLAY_CANCEL && order->state == REPLAY_RUNNING && kept)
        sim_fail("replay %s runs after it was cancelled", order->replay_id);
}

/* True: it has been answered, and the answer ends the matter. */
static bool try_once(struct order *what)
{
    struct node *node = some_processor(what->world);
    if (!node)
        return false;
    int process = node->process;
    struct order *order = malloc(sizeof *order); /* a killed processor keeps it */
    *order = *what;
    order->node = node;
    order->losses = what->world->losses;
    order->processor = node->processor;
    sim_spawn(process, serve, order);
    while (!order->done && !sim_is_killed(process) && node->process == process)
        sim_sleep_us(500);
    if (!order->done)
        return false;
    check_answer(order);
    what->answer = order->answer;
    what->state = order->state;
    memcpy(what->replay_id, order->replay_id, sizeof what->replay_id);
    return order->answer != ERR_UNAVAILABLE && order->answer != ERR_BUSY;
}

static bool ask(struct order *order, enum replay_wish wish)
{
    order->wish = wish;
    for (int try = 0; try < TRIES_MAX; try++) {
        if (try_once(order))
            return order->answer == ERR_NONE;
        if (order->replay_id[0] == '\0') /* it may have begun all the same */
            return false;
        sim_sleep_us((int64_t)sim_random(300000));
    }
    return false;
}

/* ---- which events ---- */

static void choose_ids(const struct world *world, struct order *order)
{
    size_t count = 1 + sim_random(IDS_MAX);
    for (size_t i = 0; i < count && world->accepted_count > 0; i++)
        id_format(&world->accepted[sim_random(world->accepted_count)].id, order->ids[i]);
    order->request.event_id_count = world->accepted_count > 0 ? count : 0;
}

static void choose_filter(struct order *order)
{
    static const char *const names[] = {"", ">", "a.>", "b.>", "c.event", "a.shared"};
    struct replay_request *request = &order->request;
    request->name = view_of(names[sim_random(sizeof names / sizeof *names)]);
    if (sim_chance(30))
        request->from_position = sim_random(20);
    if (sim_chance(30))
        request->to_position = request->from_position + 1 + sim_random(20);
    int64_t now_ms = clock_wall_ms(&clock_system);
    if (sim_chance(30))
        request->accepted_since_ms = now_ms - 2001 - (int64_t)sim_random(2000);
    if (sim_chance(30))
        request->accepted_until_ms = now_ms - (int64_t)sim_random(2000);
}

static void make_order(struct world *world, struct order *ret)
{
    static const unsigned statuses[] = {1u << STATUS_DEAD, 1u << STATUS_PROCESSED,
                                        1u << STATUS_DEAD | 1u << STATUS_PROCESSED};
    *ret = (struct order){.world = world};
    ret->request.statuses = statuses[sim_random(3)];
    if (sim_chance(20))
        ret->request.rate = (uint32_t)sim_between(2, 50);
    ret->request.detach = true;
    if (sim_chance(40))
        choose_ids(world, ret);
    else
        choose_filter(ret);
    struct event_id id;
    id_make(&clock_system, &id);
    if (sim_chance(70))
        id_format(&id, ret->replay_id);
}

/* ---- what they do ---- */

static void run_operator(void *arg)
{
    struct world *world = arg;
    struct order order;
    for (size_t i = 0; i < world->plan.replays; i++) {
        sim_sleep_us((int64_t)sim_between(1, 4000000));
        make_order(world, &order);
        if (!ask(&order, REPLAY_START))
            continue;
        uint32_t losses = world->losses;
        if (sim_chance(50)) /* any processor knows */
            (void)ask(&order, REPLAY_GET);
        if (sim_chance(30)) {
            sim_sleep_us((int64_t)sim_between(1, 1000000));
            if (losses == world->losses)
                (void)ask(&order, REPLAY_CANCEL);
        }
    }
    world->clients_left--;
}

void operators_start(struct world *world)
{
    if (world->plan.replays == 0)
        return;
    world->clients_left++;
    sim_spawn(SIM_PROCESS_CLIENT, run_operator, world);
}
