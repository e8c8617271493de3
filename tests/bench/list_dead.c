/* A page of dead events among millions, and how long the table is locked meanwhile.
 *
 *     build/bench/list_dead [EVENTS]      10,000,000
 *
 * Prints a Markdown table for docs/performance.md; times are CPU times. "Locked" is the longest of
 * the pieces in which a page is looked for: so long may the follower have to wait.
 */
#include "event-processor/status_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLICE_CELLS = 16384, PAGE = 100, NAMES = 20 }; /* a slice is query_list.c's */

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    for (int i = 8; i < 16; i++)
        id.bytes[i] = (uint8_t)(number >> 8 * (15 - i));
    return id;
}

static void need(enum err e)
{
    if (e)
        abort();
}

/* Every `apart`-th event is dead, the others are processed. */
static struct status_table *make(uint64_t events, uint64_t apart)
{
    struct status_table *table;
    char name[32];
    need(status_table_new(&table));
    status_table_write_begin(table);
    for (uint64_t position = 1; position <= events; position++) {
        struct event_id id = id_of(position);
        int len = snprintf(name, sizeof name, "name.%u", (unsigned)(position % NAMES));
        need(status_table_add(table, position, &id, (struct view){name, (size_t)len}, 0));
        struct status_change change = {
            .id = id,
            .event_position = position,
            .state = {.status = position % apart == 0 ? STATUS_DEAD : STATUS_PROCESSED,
                      .attempt = 1}};
        (void)status_table_apply(table, &change, position, 0);
    }
    status_table_passed_event(table, events);
    status_table_write_end(table);
    return table;
}

static bool is_of_one_name(void *ctx, struct view name)
{
    (void)ctx;
    return view_equal(name, VIEW("name.7"));
}

static void measure(struct status_table *table, const char *what, struct status_scan scan,
                    uint64_t events)
{
    struct status_entry entries[PAGE];
    struct status_reflects reflects;
    uint64_t cells = 0;
    size_t count = 0;
    int64_t longest = 0, begin = cpu_ns();
    scan.next = events;
    scan.last = 1;
    while (count < PAGE && scan.next >= scan.last) {
        int64_t since = cpu_ns();
        count += status_table_scan(table, &scan, SLICE_CELLS, entries + count, PAGE - count, &cells,
                                   &reflects);
        int64_t took = cpu_ns() - since;
        longest = took > longest ? took : longest;
    }
    int64_t all = cpu_ns() - begin;
    printf("| %s | %zu | %llu | %.2f ms | %.2f ms |\n", what, count, (unsigned long long)cells,
           (double)all / 1e6, (double)longest / 1e6);
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    const uint64_t aparts[] = {1000, 10000, 100000, 1000000};
    printf("%llu events:\n\n", (unsigned long long)events);
    printf("| a page of 100 | found | cells looked at | it took | locked |\n"
           "|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof aparts / sizeof *aparts; i++) {
        char what[64];
        struct status_table *table = make(events, aparts[i]);
        snprintf(what, sizeof what, "dead, one of %llu", (unsigned long long)aparts[i]);
        measure(table, what, (struct status_scan){.statuses = 1u << STATUS_DEAD}, events);
        if (i == 0) {
            measure(table, "processed", (struct status_scan){.statuses = 1u << STATUS_PROCESSED},
                    events);
            measure(
                table, "processed, one name of 20",
                (struct status_scan){.statuses = 1u << STATUS_PROCESSED, .matches = is_of_one_name},
                events);
            measure(table, "retrying: there is none",
                    (struct status_scan){.statuses = 1u << STATUS_RETRYING}, events);
        }
        status_table_free(table);
    }
    return 0;
}
