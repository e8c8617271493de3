#include "event-processor/snapshot_folder.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* So much is handed to the disk at once, for one long sync holds up others that use it. */
enum { DISK_PART = 8 << 20 };

struct snapshot_folder {
    const char *path, *stem;
    int slot;
    int lock; /* its descriptor */
};

struct path {
    char text[PATH_MAX];
};

static struct path path_of(const struct snapshot_folder *folder, int slot, const char *suffix)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s.%d.%s", folder->path, folder->stem, slot, suffix);
    return path;
}

/* ---- the folder ---- */

/* Each part of the path that is missing. */
static bool make_folder(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    errno = ENAMETOOLONG;
    if (len >= sizeof part)
        return false;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return false;
    }
    return true;
}

/* -1: the place is another's, or there is no lock to be had: errno says which. */
static int take_slot(const struct snapshot_folder *folder, int slot)
{
    struct path path = path_of(folder, slot, "lock");
    int fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static enum err take_a_slot(struct snapshot_folder *folder, struct err_detail *detail)
{
    for (folder->slot = 0; folder->slot < SNAPSHOT_SLOTS; folder->slot++) {
        folder->lock = take_slot(folder, folder->slot);
        if (folder->lock >= 0)
            return ERR_NONE;
        if (errno != EWOULDBLOCK)
            return err_set(detail, ERR_UNAVAILABLE, "%s: %s", folder->path, strerrordesc_np(errno));
    }
    return err_set(detail, ERR_UNAVAILABLE, "%s: %d processors use it", folder->path,
                   SNAPSHOT_SLOTS);
}

enum err snapshot_folder_open(const char *path, const char *stem, struct snapshot_folder **ret,
                              struct err_detail *detail)
{
    struct snapshot_folder *folder = mem_zero(1, sizeof *folder);
    if (!folder)
        return err_set(detail, ERR_MEMORY, "out of memory");
    *folder = (struct snapshot_folder){.path = path, .stem = stem, .lock = -1};
    enum err e = make_folder(path)
                     ? take_a_slot(folder, detail)
                     : err_set(detail, ERR_UNAVAILABLE, "%s: %s", path, strerrordesc_np(errno));
    if (e) {
        mem_free(folder);
        return e;
    }
    unlink(path_of(folder, folder->slot, "new").text); /* of who was killed in the midst of it */
    *ret = folder;
    return ERR_NONE;
}

void snapshot_folder_close(struct snapshot_folder *folder)
{
    if (!folder)
        return;
    close(folder->lock);
    mem_free(folder);
}

int snapshot_folder_slot(const struct snapshot_folder *folder)
{
    return folder->slot;
}

void snapshot_folder_remove(struct snapshot_folder *folder)
{
    unlink(path_of(folder, folder->slot, "snapshot").text);
}

/* ---- reading ---- */

static bool goes_on(const struct snapshot_file *file)
{
    return !file->go_on || file->go_on(file->ctx);
}

enum err snapshot_folder_read(const struct snapshot_folder *folder, int slot,
                              struct snapshot_file *file, struct err_detail *detail)
{
    file->at = file->len = 0;
    file->bytes = 0;
    file->fd = open(path_of(folder, slot, "snapshot").text, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    file->size = file->fd >= 0 && fstat(file->fd, &stat) == 0 ? (uint64_t)stat.st_size : 0;
    if (file->fd >= 0)
        return ERR_NONE;
    return err_set(detail, errno == ENOENT ? ERR_NOT_FOUND : ERR_INTERNAL,
                   "it cannot be opened: %s", strerrordesc_np(errno));
}

static enum err fill(struct snapshot_file *file)
{
    ssize_t got;
    if (!goes_on(file))
        return ERR_CANCELLED;
    do
        got = read(file->fd, file->buffer, sizeof file->buffer);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return ERR_INTERNAL;
    file->at = 0;
    file->len = (size_t)got;
    file->bytes += (size_t)got;
    return ERR_NONE;
}

enum err snapshot_file_read(void *ctx, void *bytes, size_t len, size_t *ret_len)
{
    struct snapshot_file *file = ctx;
    size_t done = 0;
    while (done < len) {
        enum err e = file->at == file->len ? fill(file) : ERR_NONE;
        if (e)
            return e;
        if (file->len == 0)
            break;
        size_t there = file->len - file->at;
        size_t part = len - done < there ? len - done : there;
        memcpy((char *)bytes + done, file->buffer + file->at, part);
        file->at += part;
        done += part;
    }
    *ret_len = done;
    return ERR_NONE;
}

void snapshot_file_close(struct snapshot_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* ---- writing ---- */

static enum err failure(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERR_FULL : ERR_UNAVAILABLE;
}

static enum err fail(const struct snapshot_folder *folder, struct err_detail *detail)
{
    return err_set(detail, failure(errno), "%s: %s", folder->path, strerrordesc_np(errno));
}

enum err snapshot_folder_write(struct snapshot_folder *folder, struct snapshot_file *file,
                               struct err_detail *detail)
{
    file->at = file->len = 0;
    file->bytes = 0;
    file->fd = open(path_of(folder, folder->slot, "new").text,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return file->fd >= 0 ? ERR_NONE : fail(folder, detail);
}

static enum err flush(struct snapshot_file *file)
{
    if (!goes_on(file))
        return ERR_CANCELLED;
    for (size_t done = 0; done < file->len;) {
        ssize_t put = write(file->fd, file->buffer + done, file->len - done);
        if (put < 0 && errno != EINTR) {
            file->error = errno;
            return failure(errno);
        }
        done += put > 0 ? (size_t)put : 0;
    }
    file->bytes += file->len;
    file->len = 0;
    if (file->bytes % DISK_PART == 0)
        (void)sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* fsync will tell */
    return ERR_NONE;
}

enum err snapshot_file_write(void *ctx, const void *bytes, size_t len)
{
    struct snapshot_file *file = ctx;
    while (len > 0) {
        size_t room = sizeof file->buffer - file->len;
        size_t part = len < room ? len : room;
        memcpy(file->buffer + file->len, bytes, part);
        file->len += part;
        bytes = (const char *)bytes + part;
        len -= part;
        enum err e = file->len == sizeof file->buffer ? flush(file) : ERR_NONE;
        if (e)
            return e;
    }
    return ERR_NONE;
}

/* So that the new name survives a power cut. */
static bool sync_folder(const struct snapshot_folder *folder)
{
    int fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    close(fd);
    return synced;
}

enum err snapshot_folder_commit(struct snapshot_folder *folder, struct snapshot_file *file,
                                struct err_detail *detail)
{
    enum err e = flush(file);
    if (e) {
        if (e != ERR_CANCELLED)
            e = fail(folder, detail);
        snapshot_folder_abort(folder, file);
        return e;
    }
    if (fsync(file->fd) != 0 ||
        rename(path_of(folder, folder->slot, "new").text,
               path_of(folder, folder->slot, "snapshot").text) != 0 ||
        !sync_folder(folder)) {
        e = fail(folder, detail);
        snapshot_folder_abort(folder, file);
        return e;
    }
    snapshot_file_close(file);
    return ERR_NONE;
}

void snapshot_folder_abort(struct snapshot_folder *folder, struct snapshot_file *file)
{
    snapshot_file_close(file);
    unlink(path_of(folder, folder->slot, "new").text);
}
