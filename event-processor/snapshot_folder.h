/* The folder of snapshots: which file is whose, and how one takes another one's place.
 *
 * Processors may share a folder. Each takes the first of SNAPSHOT_SLOTS places that is free, by a
 * lock that ends with the process, and writes that place's file only:
 *
 *     <status stream>.<place>.lock       held while a processor has the place; empty
 *     <status stream>.<place>.new        a snapshot that is being written
 *     <status stream>.<place>.snapshot   the last one
 *
 * Any of them may be read by anyone, for processors of one group fold the same. A snapshot is
 * written beside the last one, synced, and then takes its place at once: whoever reads finds a
 * whole one, also after a crash or a power cut.
 *
 * For one thread at a time.
 */
#ifndef TIDINGS_SNAPSHOT_FOLDER_H
#define TIDINGS_SNAPSHOT_FOLDER_H

#include "event-processor/snapshot.h"

#define SNAPSHOT_SLOTS 64

struct snapshot_folder;

/* Makes the folder where it is missing, and takes a place in it. `stem` begins all names, and must
 * live on, as `path`. ERR_UNAVAILABLE: it cannot be used, the detail says why; ERR_MEMORY. */
must_check enum err snapshot_folder_open(const char *path, const char *stem,
                                         struct snapshot_folder **ret, struct err_detail *detail);
void snapshot_folder_close(struct snapshot_folder *folder);
int snapshot_folder_slot(const struct snapshot_folder *folder);
/* Removes the snapshot of its place: it is worth nothing any more. */
void snapshot_folder_remove(struct snapshot_folder *folder);

/* A file that is being read or written. */
struct snapshot_file {
    int fd;
    size_t at, len;           /* of the buffer: what is read next, and how much there is */
    uint64_t bytes;           /* of the whole so far */
    uint64_t size;            /* when it was opened to be read */
    int error;                /* errno of what failed */
    bool (*go_on)(void *ctx); /* asked now and then; false: ERR_CANCELLED */
    void *ctx;
    char buffer[1 << 16];
};

/* Opens the snapshot of that place; close it with snapshot_file_close, in any case. ERR_NOT_FOUND:
 * there is none; ERR_INTERNAL: it cannot be opened, the detail says why. */
must_check enum err snapshot_folder_read(const struct snapshot_folder *folder, int slot,
                                         struct snapshot_file *file, struct err_detail *detail);
/* As snapshot_source.read. ERR_INTERNAL, ERR_CANCELLED. */
enum err snapshot_file_read(void *file, void *bytes, size_t len, size_t *ret_len);
void snapshot_file_close(struct snapshot_file *file);

/* Begins one of the own place; ended by one of the other two. ERR_FULL: there is no room;
 * ERR_UNAVAILABLE: it cannot be written. The detail says why. */
must_check enum err snapshot_folder_write(struct snapshot_folder *folder,
                                          struct snapshot_file *file, struct err_detail *detail);
/* As snapshot_sink.write. ERR_FULL, ERR_UNAVAILABLE, ERR_CANCELLED. */
enum err snapshot_file_write(void *file, const void *bytes, size_t len);
must_check enum err snapshot_folder_commit(struct snapshot_folder *folder,
                                           struct snapshot_file *file, struct err_detail *detail);
void snapshot_folder_abort(struct snapshot_folder *folder, struct snapshot_file *file);

#endif
