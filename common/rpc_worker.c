/* Workers: threads that each handle the events of one completion queue, a turn at a time. */
#include "common/rpc_gather.h"
#include "common/rpc_server.h"

#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <grpc/support/time.h>
#include <stdio.h>

#define KEPT_WARNING_S 5
#define TURN 64 /* events handled between two gatherings of writes */

_Thread_local struct rpc_worker *rpc_this_worker;

/* Sequentially consistent, as rpc_workers_wait is: one of the two sees what the other wrote. */
static void tell_open(struct rpc_worker *worker)
{
    struct rpc_server *server = worker->server;
    worker->open_told = worker->open;
    if (worker->open == 0 && server->awaited) {
        pthread_mutex_lock(&server->idle_lock);
        pthread_cond_signal(&server->idle);
        pthread_mutex_unlock(&server->idle_lock);
    }
}

static void *worker_main(void *arg)
{
    struct rpc_worker *worker = arg;
    gpr_timespec forever = gpr_inf_future(GPR_CLOCK_REALTIME);
    gpr_timespec at_once = gpr_time_0(GPR_CLOCK_MONOTONIC);
    grpc_event events[TURN];
    grpc_event event;
    rpc_this_worker = worker;
    do {
        size_t count = 0;
        event = grpc_completion_queue_next(worker->queue, forever, NULL);
        while (event.type == GRPC_OP_COMPLETE) {
            events[count++] = event;
            if (count == TURN)
                break;
            event = grpc_completion_queue_next(worker->queue, at_once, NULL);
        }
        bool gather = atomic_load_explicit(&worker->server->gather, memory_order_relaxed);
        if (gather)
            rpc_gather_begin();
        for (size_t i = 0; i < count; i++)
            rpc_call_event(events[i].tag, events[i].success != 0);
        if (gather)
            rpc_gather_end();
        tell_open(worker);
    } while (event.type != GRPC_QUEUE_SHUTDOWN);
    rpc_this_worker = NULL;
    return NULL;
}

enum err rpc_workers_create(struct rpc_server *server, uint32_t count)
{
    server->workers = mem_zero(count, sizeof *server->workers);
    if (!server->workers)
        return ERR_MEMORY;
    server->worker_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct rpc_worker *worker = &server->workers[i];
        worker->server = server;
        worker->owed = mem_zero(server->entry_count, sizeof *worker->owed);
        if (!worker->owed)
            return ERR_MEMORY;
        worker->queue = grpc_completion_queue_create_for_next(NULL);
        grpc_server_register_completion_queue(server->core, worker->queue, NULL);
    }
    return ERR_NONE;
}

enum err rpc_workers_start(struct rpc_server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct rpc_worker *worker = &server->workers[i];
        for (uint32_t m = 0; m < server->entry_count; m++) {
            for (uint32_t k = 0; k < server->entries[m].outstanding; k++)
                rpc_call_request(worker, &server->entries[m]);
        }
        if (worker->owed_total)
            return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct rpc_worker *worker = &server->workers[i];
        char name[16];
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            return ERR_MEMORY;
        server->workers_running++;
        snprintf(name, sizeof name, "rpc-%u", (unsigned)i);
        pthread_setname_np(worker->thread, name);
    }
    return ERR_NONE;
}

static bool is_idle(struct rpc_server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (server->workers[i].open_told)
            return false;
    }
    return true;
}

void rpc_workers_wait(struct rpc_server *server)
{
    pthread_mutex_lock(&server->idle_lock);
    server->awaited = true;
    while (!is_idle(server)) {
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += KEPT_WARNING_S;
        if (pthread_cond_timedwait(&server->idle, &server->idle_lock, &limit) == ETIMEDOUT)
            log_warn("the gRPC server waits for calls that are still to be answered");
    }
    pthread_mutex_unlock(&server->idle_lock);
}

void rpc_workers_join(struct rpc_server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (server->workers[i].queue)
            grpc_completion_queue_shutdown(server->workers[i].queue);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct rpc_worker *worker = &server->workers[i];
        if (i < server->workers_running)
            pthread_join(worker->thread, NULL);
        else if (worker->queue)
            worker_main(worker); /* never had a thread: its queue is drained here */
    }
}

void rpc_workers_free(struct rpc_server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct rpc_worker *worker = &server->workers[i];
        if (worker->queue)
            grpc_completion_queue_destroy(worker->queue);
        while (worker->pool) {
            struct rpc_call *call = worker->pool;
            worker->pool = call->next;
            rpc_call_free(call);
        }
        mem_free(worker->owed);
    }
    mem_free(server->workers);
}
