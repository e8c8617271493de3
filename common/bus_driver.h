/* What a driver of the bus provides. Private to bus.c and the drivers (bus_nats*.c, bus_mem*.c).
 *
 * bus.c checks the arguments (names, subjects, headers, limits) and fills in the defaults of the
 * options, so a driver may rely on them. Every function has the contract of its namesake in
 * bus.h. A driver's structs begin with the ones below.
 */
#ifndef TIDINGS_BUS_DRIVER_H
#define TIDINGS_BUS_DRIVER_H

#include "common/bus.h"

struct bus_driver {
    enum err (*open)(const struct bus_options *options, struct bus **ret,
                     struct err_detail *detail);
    void (*close)(struct bus *bus);
    enum bus_state (*state)(struct bus *bus, struct err_detail *detail);
    bool (*is_connected)(struct bus *bus, struct err_detail *detail);
    enum err (*wait_ready)(struct bus *bus, int64_t timeout_ms, struct err_detail *detail);
    uint32_t (*in_flight)(struct bus *bus);
    uint64_t (*max_payload)(struct bus *bus);

    enum err (*log_open)(struct bus *bus, const struct bus_log_spec *spec, struct bus_log **ret);
    enum err (*log_end)(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret);
    enum err (*log_read)(struct bus_log *log, uint64_t position, int64_t timeout_ms,
                         struct bus_record **ret);
    struct view (*record_header)(const struct bus_record *record, const char *name);
    size_t (*record_headers)(const struct bus_record *record, struct bus_header_view *ret,
                             size_t max);
    void (*record_free)(struct bus_record *record);
    enum err (*publish)(struct bus_log *log, const struct bus_message *message,
                        bus_published_fn done, void *ctx);

    enum err (*reader_open)(struct bus_log *log, uint64_t from, bool headers_only,
                            struct bus_reader **ret);
    void (*reader_close)(struct bus_reader *reader);
    enum err (*reader_next)(struct bus_reader *reader, int64_t timeout_ms, struct bus_record **ret,
                            size_t max, size_t *ret_count);

    enum err (*consumer_open)(struct bus_log *log, const struct bus_consumer_spec *spec,
                              struct bus_consumer **ret);
    void (*consumer_close)(struct bus_consumer *consumer);
    enum err (*consumer_restart)(struct bus_consumer *consumer, int64_t timeout_ms);
    enum err (*consumer_floor)(struct bus_consumer *consumer, int64_t timeout_ms,
                               uint64_t *ret_position);
    enum err (*fetch)(struct bus_consumer *consumer, int64_t timeout_ms, struct bus_delivery **ret,
                      size_t max, size_t *ret_count);
    void (*settle)(struct bus_delivery *delivery, enum bus_settlement how, int64_t delay_ms);
    void (*progress)(struct bus_delivery *delivery);
};

extern const struct bus_driver bus_mem_driver;
extern const struct bus_driver bus_nats_driver;

struct bus {
    const struct bus_driver *driver;
};
struct bus_log {
    struct bus *bus;
};
struct bus_reader {
    struct bus_log *log;
};
struct bus_consumer {
    struct bus_log *log;
};

/* Every record handed out sits in one of these. */
struct bus_record_box {
    const struct bus_driver *driver;
    struct bus_record record;
};
static inline struct bus_record_box *bus_record_box_of(const struct bus_record *record)
{
    return (struct bus_record_box *)((char *)(uintptr_t)record -
                                     offsetof(struct bus_record_box, record));
}

#endif
