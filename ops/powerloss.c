/* Power loss, for tests: preloaded, it writes down what a process does to the files below $SHIM_ROOT: each write, new length,
   name and fsync, in order, with the bytes, in the file $POWERLOSS_LOG. After a kill, `tests/durable/crash_state.rs` rebuilds the
   folder from a copy of how it was before and this log, as a disk may legally hold it when the power goes: what was not fsynced is
   there, torn or not there. (The idea is ALICE's, OSDI 2014: record system calls, and judge states by what POSIX promises, not by
   what one file system happens to do.)

   What is done and not yet written down when the process is killed was not acknowledged by it either: each call returns only
   after its record is in the log. An fsync covers what stands before it. It is not passed on to the disk: a killed
   process loses no page of the system's cache. With POWERLOSS_LIES=1 it is not written down either: a disk that says "done" and is
   not; what the tests do then shows that they would notice.

   Not seen: writes through mappings and through C streams. The store makes neither, but for RocksDB's own LOG, from which nothing
   is read; the tests compare what the log leads to with the folder itself.

       cc -shared -fPIC -O2 -o powerloss.so ops/powerloss.c
       LD_PRELOAD=./powerloss.so SHIM_ROOT=/the/folder POWERLOSS_LOG=/elsewhere/log PROGRAM */
#include "shim.h"
#include <pthread.h>

/* One record: this head, two paths without an end, the bytes. All numbers as this machine has them. */
struct head {
    uint32_t length; /* of the paths and the bytes behind this head */
    uint16_t first, second; /* of the paths */
    uint64_t kind, inode, a, b;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int journal = -2;

/* The log, or -1 where there is none. It keeps its number out of the way of the program's. */
static int opened(void) {
    if (journal == -2) {
        const char *path = getenv("POWERLOSS_LOG");
        journal = -1;
        if (path != NULL && getenv("SHIM_ROOT") != NULL) {
            int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            journal = file < 0 ? -1 : fcntl(file, F_DUPFD_CLOEXEC, 800);
            if (file >= 0) syscall(SYS_close, file);
        }
    }
    return journal;
}

static void lock(void) {
    pthread_mutex_lock(&turn);
}

/* A record or nothing: what cannot be written down must not go on. */
static void note(char kind, uint64_t inode, uint64_t a, uint64_t b, const char *first, const char *second, const void *data, size_t length) {
    struct head head = {0};
    head.first = first ? (uint16_t)strlen(first) : 0;
    head.second = second ? (uint16_t)strlen(second) : 0;
    head.length = (uint32_t)(head.first + head.second + length);
    head.kind = (uint64_t)kind, head.inode = inode, head.a = a, head.b = b;
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)first, head.first}, {(void *)second, head.second}, {(void *)data, length}};
    if (syscall(SYS_writev, opened(), parts, 4) != (long)(sizeof head + head.length)) abort();
}

/* Gives the turn back and keeps errno. */
static long done(long result) {
    int kept = errno;
    pthread_mutex_unlock(&turn);
    errno = kept;
    return result;
}

/* The path of a name, its folder without links; false where that is elsewhere. */
static int place_of(int at, const char *name, char *path) {
    if (opened() < 0) return 0;
    char folder[PATH_MAX];
    size_t length = strlen(name);
    while (length > 1 && name[length - 1] == '/') length--;
    if (length >= PATH_MAX) return 0;
    memcpy(folder, name, length), folder[length] = 0;
    char *slash = strrchr(folder, '/');
    const char *last = slash ? slash + 1 : folder;
    char end[NAME_MAX + 1];
    if (strlen(last) > NAME_MAX) return 0;
    strcpy(end, last);
    if (slash == folder) slash[1] = 0;
    else if (slash) *slash = 0;
    else strcpy(folder, ".");
    int open = (int)syscall(SYS_openat, at, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (open < 0) return 0;
    int is = path_of(open, path);
    syscall(SYS_close, open);
    if (is) strcat(path, "/"), strcat(path, end);
    return is;
}

/* The inode of an open file or folder; false for sockets, pipes and the like. */
static int inode_of(int file, struct stat *facts) {
    return opened() >= 0 && fstat(file, facts) == 0 && (S_ISREG(facts->st_mode) || S_ISDIR(facts->st_mode));
}

static int open_at(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat facts;
    if (opened() < 0 || (flags & O_PATH)) return (int)syscall(SYS_openat, at, name, flags, mode);
    lock();
    int is_new = (flags & O_CREAT) && fstatat(at, name, &facts, AT_SYMLINK_NOFOLLOW) != 0;
    int file = (int)syscall(SYS_openat, at, name, flags, mode);
    if (file >= 0 && path_of(file, path) && inode_of(file, &facts)) {
        note('o', facts.st_ino, (uint64_t)is_new, facts.st_mode, path, NULL, NULL, 0);
        if ((flags & O_TRUNC) && !is_new) note('t', facts.st_ino, 0, 0, NULL, NULL, NULL, 0);
    }
    return (int)done(file);
}

int creat(const char *name, mode_t mode) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* What was written, by its parts, so that it ends at `end`. */
static void note_written(int file, const struct stat *facts, const struct iovec *parts, int count, long written, off_t start) {
    for (int n = 0; n < count && written > 0; n++) {
        size_t length = parts[n].iov_len < (size_t)written ? parts[n].iov_len : (size_t)written;
        if (length > 0) note('w', facts->st_ino, (uint64_t)start, 0, NULL, NULL, parts[n].iov_base, length);
        start += (off_t)length, written -= (long)length;
    }
    if (fcntl(file, F_GETFL) & O_DSYNC) note('s', facts->st_ino, 0, 0, NULL, NULL, NULL, 0);
}

static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t at) {
    struct stat facts;
    if (!inode_of(file, &facts)) return at < 0 ? syscall(SYS_writev, file, parts, count) : syscall(SYS_pwritev, file, parts, count, at, 0);
    lock();
    long written = at < 0 ? syscall(SYS_writev, file, parts, count) : syscall(SYS_pwritev, file, parts, count, at, 0);
    if (written > 0) {
        off_t start = at < 0 ? syscall(SYS_lseek, file, 0, SEEK_CUR) - written : at;
        note_written(file, &facts, parts, count, written, start);
    }
    return done(written);
}

ssize_t write(int file, const void *data, size_t length) {
    struct iovec part = {(void *)data, length};
    return write_parts(file, &part, 1, -1);
}
ssize_t writev(int file, const struct iovec *parts, int count) { return write_parts(file, parts, count, -1); }
ssize_t pwrite(int file, const void *data, size_t length, off_t at) {
    struct iovec part = {(void *)data, length};
    return write_parts(file, &part, 1, at);
}
ssize_t pwrite64(int file, const void *data, size_t length, off_t at) { return pwrite(file, data, length, at); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return write_parts(file, parts, count, at); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t at) { return write_parts(file, parts, count, at); }

/* Callers copy with read and write where these say no. */
ssize_t copy_file_range(int from, off_t *at, int to, off_t *there, size_t length, unsigned flags) {
    (void)from, (void)at, (void)to, (void)there, (void)length, (void)flags;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int to, int from, off_t *at, size_t length) {
    (void)to, (void)from, (void)at, (void)length;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int to, int from, off_t *at, size_t length) { return sendfile(to, from, at, length); }

int ftruncate(int file, off_t length) {
    struct stat facts;
    if (!inode_of(file, &facts)) return (int)syscall(SYS_ftruncate, file, length);
    lock();
    int result = (int)syscall(SYS_ftruncate, file, length);
    if (result == 0) note('t', facts.st_ino, (uint64_t)length, 0, NULL, NULL, NULL, 0);
    return (int)done(result);
}
int ftruncate64(int file, off_t length) { return ftruncate(file, length); }

int fallocate(int file, int mode, off_t at, off_t length) {
    struct stat facts;
    if (!inode_of(file, &facts)) return (int)syscall(SYS_fallocate, file, mode, at, length);
    if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    lock();
    int result = (int)syscall(SYS_fallocate, file, mode, at, length);
    if (result == 0 && mode == 0 && at + length > facts.st_size) note('t', facts.st_ino, (uint64_t)(at + length), 0, NULL, NULL, NULL, 0);
    return (int)done(result);
}
int fallocate64(int file, int mode, off_t at, off_t length) { return fallocate(file, mode, at, length); }
int posix_fallocate(int file, off_t at, off_t length) { return fallocate(file, 0, at, length) == 0 ? 0 : errno; }
int posix_fallocate64(int file, off_t at, off_t length) { return posix_fallocate(file, at, length); }

int fchmod(int file, mode_t mode) {
    struct stat facts;
    if (!inode_of(file, &facts)) return (int)syscall(SYS_fchmod, file, mode);
    lock();
    int result = (int)syscall(SYS_fchmod, file, mode);
    if (result == 0) note('c', facts.st_ino, mode, 0, NULL, NULL, NULL, 0);
    return (int)done(result);
}

static int sync_file(int file) {
    struct stat facts;
    if (!inode_of(file, &facts)) return (int)syscall(SYS_fsync, file);
    if (getenv("POWERLOSS_LIES") != NULL) return 0;
    lock();
    note('s', facts.st_ino, 0, 0, NULL, NULL, NULL, 0);
    return (int)done(0);
}
int fsync(int file) { return sync_file(file); }
int fdatasync(int file) { return sync_file(file); }

int mkdirat(int at, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!place_of(at, name, path)) return (int)syscall(SYS_mkdirat, at, name, mode);
    lock();
    int result = (int)syscall(SYS_mkdirat, at, name, mode);
    if (result == 0) note('m', 0, mode, 0, path, NULL, NULL, 0);
    return (int)done(result);
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX];
    if (!place_of(at, name, path)) return (int)syscall(SYS_unlinkat, at, name, flags);
    lock();
    int result = (int)syscall(SYS_unlinkat, at, name, flags);
    if (result == 0) note('u', 0, 0, 0, path, NULL, NULL, 0);
    return (int)done(result);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int renameat2(int at, const char *from, int there, const char *to, unsigned flags) {
    char first[PATH_MAX], second[PATH_MAX];
    if (!place_of(at, from, first) || !place_of(there, to, second)) return (int)syscall(SYS_renameat2, at, from, there, to, flags);
    lock();
    int result = (int)syscall(SYS_renameat2, at, from, there, to, flags);
    if (result == 0) note('r', 0, 0, 0, first, second, NULL, 0);
    return (int)done(result);
}
int renameat(int at, const char *from, int there, const char *to) { return renameat2(at, from, there, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int at, const char *from, int there, const char *to, int flags) {
    char first[PATH_MAX], second[PATH_MAX];
    if (!place_of(at, from, first) || !place_of(there, to, second)) return (int)syscall(SYS_linkat, at, from, there, to, flags);
    lock();
    int result = (int)syscall(SYS_linkat, at, from, there, to, flags);
    if (result == 0) note('l', 0, 0, 0, first, second, NULL, 0);
    return (int)done(result);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
