/* Interned event names: each distinct name is kept once and known by a number.
 *
 * Bounded: past STATUS_NAMES_MAX names, all further ones share number 0, "(other)"; so does a name
 * that memory is too short for, or that is longer than an event's name may be. A name is never
 * forgotten: its view lives as long as the names. Not thread-safe: guarded by the status table's
 * lock.
 */
#ifndef TIDINGS_STATUS_NAMES_H
#define TIDINGS_STATUS_NAMES_H

#include "common/buf.h"

#define STATUS_NAMES_MAX 65536
#define STATUS_NAMES_OTHER "(other)"

struct status_names;

must_check enum err status_names_new(struct status_names **ret);
void status_names_free(struct status_names *names);
uint32_t status_names_intern(struct status_names *names, struct view name);
struct view status_names_get(const struct status_names *names, uint32_t number);
uint32_t status_names_count(const struct status_names *names);
size_t status_names_bytes(const struct status_names *names);

#endif
