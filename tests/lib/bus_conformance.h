/* What every driver of the bus must do (common/bus.h), told as tests. A driver's own test program
 * says how to open it and how to make it misbehave, and adds what only it can do.
 */
#ifndef TESTS_BUS_CONFORMANCE_H
#define TESTS_BUS_CONFORMANCE_H

#include "common/bus.h"
#include "tests/lib/unit.h"

struct bus_world {
    const char *url;
    /* From now on publishes stay in flight / their outcomes come after all. */
    void (*hold)(struct bus_world *world, struct bus *bus);
    void (*let_go)(struct bus_world *world, struct bus *bus);
    /* Deletes the log and makes it anew, empty. `spec` is what it was opened with. */
    void (*renew)(struct bus_world *world, struct bus_log *log, const struct bus_log_spec *spec);
    void *ctx;
};

/* Runs them all, and then the driver's own tests; the number that failed. */
int bus_conformance_run(const char *driver, struct bus_world *world, const struct CMUnitTest *own,
                        size_t own_count);

/* ---- for its parts, and for the drivers' own tests ---- */

enum { TEST_LIMIT_MS = 30000, TEST_ACK_WAIT_MS = 500 };

/* A bus with one log of a name not used before, both ready. */
struct bus_fixture {
    struct bus_world *world;
    struct bus *bus;
    struct bus_log *log;
    struct bus_log_spec spec;
    char name[32];
    char subject[48]; /* what the log takes */
    char prefix[32];  /* its subjects: <prefix>.anything */
};
struct bus_fixture_options {
    enum bus_log_kind kind;
    uint64_t max_bytes;
    int64_t max_age_ms;
    uint32_t max_in_flight;
    int64_t publish_timeout_ms;
};
void bus_fixture_begin(struct bus_fixture *f, struct bus_world *world,
                       const struct bus_fixture_options *options); /* options may be NULL */
void bus_fixture_end(struct bus_fixture *f);

/* Publishes a text under <prefix>.<name> and waits; fails the test unless it was taken. */
struct bus_receipt bus_fixture_publish(struct bus_fixture *f, const char *name, const char *text);
/* Publishes "1", "2", ... "count"; the position of each must be `first` and on. */
void bus_fixture_publish_many(struct bus_fixture *f, uint64_t first, int count);
struct bus_consumer *bus_fixture_consumer(struct bus_fixture *f, const char *group);
/* Fetches one delivery within the limit. */
struct bus_delivery *bus_fixture_fetch_one(struct bus_consumer *consumer);
/* Reads `count` records in order, the first at `first`, each text being its position less
 * `offset`. */
void bus_fixture_expect_read(struct bus_reader *reader, uint64_t first, int count, uint64_t offset);
int64_t test_now_ms(void);
void test_sleep_a_little(void); /* between two looks at a condition */

extern const struct CMUnitTest bus_publish_tests[];
extern const size_t bus_publish_test_count;
extern const struct CMUnitTest bus_read_tests[];
extern const size_t bus_read_test_count;
extern const struct CMUnitTest bus_consume_tests[];
extern const size_t bus_consume_test_count;

#endif
