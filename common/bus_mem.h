/* The bus in memory, for unit tests and the simulation: nothing outlives it, and it can be told
 * to misbehave.
 *
 * Each bus_open("mem://") is a world of its own. Waiting is in real time, but what is due
 * (ack_wait, retries, ages, the duplicate window) goes by the options' clock, so a test that
 * turns a manual clock sees redeliveries when it wants them.
 */
#ifndef TIDINGS_BUS_MEM_H
#define TIDINGS_BUS_MEM_H

#include "common/bus.h"

/* As if the connection were lost: BUS_AWAY, all calls fail with ERR_UNAVAILABLE and held
 * publishes complete as BUS_UNKNOWN. */
void bus_mem_set_away(struct bus *bus, bool away);
/* The same for lack of a log: the bus itself is connected. */
void bus_mem_set_logless(struct bus *bus, bool logless);
/* While held, publishes are stored but their receipts wait: they are in flight. Letting go
 * completes them in order. */
void bus_mem_set_held(struct bus *bus, bool held);
/* Deletes the log and makes it anew, empty: another life, positions from 1. */
void bus_mem_renew(struct bus_log *log);
/* Loses the log's tail: everything after this position. Groups that have been given these
 * are not given them again, as a server's. */
void bus_mem_lose_tail(struct bus_log *log, uint64_t last);
/* Empties the log, as an operator can by hand: positions go on, and message ids are still known
 * although nothing is kept of them. */
void bus_mem_purge(struct bus_log *log);
/* From now on bus_log_read fails with it; ERR_NONE: no more. */
void bus_mem_set_unreadable(struct bus *bus, enum err e);
/* Makes a hole in the log, as a damaged file of a server's does. */
void bus_mem_delete(struct bus_log *log, uint64_t position);

#endif
