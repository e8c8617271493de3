/* Simulated histories, one a seed.
 *
 *     sim SEED COUNT JOBS    histories SEED to SEED + COUNT - 1, so many at a time
 *     sim SEED               one history, with the services' logs
 *
 * Each history runs in a process of its own, so that none leaves anything behind for the next, and
 * a crash is a failed history like any other.
 */
#include "common/event_digest.h"
#include "common/id.h"
#include "common/log.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

static void main_fiber(void *arg)
{
    (void)arg;
    struct plan plan;
    plan_make(&plan);
    world_run(&plan);
}

static void run_one(uint64_t seed, enum log_level level)
{
    log_init(NULL, level, LOG_TEXT_LINES);
    disk_remove(getpid()); /* of a killed process with the same number */
    sim_run(seed, main_fiber, NULL);
    if (level == LOG_DEBUG)
        fprintf(stderr, "seed %" PRIu64 ": %" PRIu64 " switches, %lld ms\n", seed, sim_switches(),
                (long long)sim_now_ms());
}

struct job {
    pid_t pid;
    uint64_t seed;
};

static pid_t start_job(uint64_t seed)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        _exit(2);
    }
    if (pid > 0)
        return pid;
    if (!freopen("/dev/null", "w", stderr)) /* a failing seed is run again, aloud */
        _exit(2);
    run_one(seed, LOG_ERROR);
    _exit(0);
}

/* Waits for one of them. False: it failed. */
static bool end_job(struct job *jobs, size_t count, size_t *ret_free)
{
    int status;
    pid_t pid = wait(&status);
    for (size_t i = 0; i < count; i++)
        if (jobs[i].pid == pid)
            *ret_free = i;
    disk_remove(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    printf("seed %" PRIu64 " failed; to see it again: build/sim %" PRIu64 "\n",
           jobs[*ret_free].seed, jobs[*ret_free].seed);
    return false;
}

/* What is made once in a process, before there are many: OpenSSL looks up its digests for long. */
static void warm_up(void)
{
    struct event event = {.payload = VIEW("")};
    char digest[EVENT_DIGEST_TEXT_SIZE];
    id_of_producer(VIEW("/sim"), VIEW("warm"), &event.id);
    if (event_digest(&event, digest))
        _exit(2);
}

static int run_many(uint64_t seed, uint64_t count, size_t job_count)
{
    struct job jobs[JOBS_MAX] = {{0}};
    uint64_t started = 0, failed = 0;
    size_t running = 0;
    warm_up();
    while (started < count || running > 0) {
        size_t place = running;
        if (running == job_count || started == count) {
            failed += !end_job(jobs, job_count, &place);
            jobs[place].pid = 0;
            running--;
        }
        for (place = 0; place < job_count && jobs[place].pid; place++)
            ;
        if (started < count && failed < 20) {
            jobs[place] = (struct job){.pid = start_job(seed + started), .seed = seed + started};
            started++;
            running++;
        } else {
            count = started;
        }
    }
    printf("simulation: %" PRIu64 " histories, %" PRIu64 " failed\n", started, failed);
    return failed > 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    if (argc <= 2) {
        run_one(seed, LOG_DEBUG);
        disk_remove(getpid());
        return 0;
    }
    uint64_t jobs = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    return run_many(seed, strtoull(argv[2], NULL, 10),
                    jobs >= 1 && jobs <= JOBS_MAX ? (size_t)jobs : 1);
}
